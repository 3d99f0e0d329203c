"""Versions of what all tenants share: served whole, taken back whole."""

from __future__ import annotations

from dataclasses import asdict
from math import sqrt
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import BigInteger, func, select, update

from viral.database.bulk import as_arrays, unnested
from viral.errors import NotFound
from viral.features.reflexion.results import last_place
from viral.features.scoring.effects import is_effect
from viral.learner.effects import Effect
from viral.learner.families import NEWCOMER, TRUST
from viral.learner.newcomer import newcomer_level
from viral.schema.learning import ModelVersion, SharedEffect
from viral.schema.vocabulary import GOALS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.reflexion.guard import Watch
    from viral.learner.guard import Guard

PUBLISH_POINTS = 0.5
PUBLISH_DEVIATIONS = 0.5
# What the words of a video say altogether, in points: half a point of it is news.
TRUST_POINTS = 10.0
_COLUMNS = ("goal", "family", "key", "old", "new")
_SERVED = ("platform", "goal", "family", "key", "published", "former")


class End(msgspec.Struct, frozen=True):
    """Why a version is served no more, and after which result; errors in points, mean."""

    after_no: int
    at: str
    reason: str
    error: float | None = None
    former_error: float | None = None


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What a version changed, from which version on, after which result, and on what grounds."""

    changes: list[tuple[str, str, str, float, float]]
    columns: tuple[str, ...] = _COLUMNS
    parent: int | None = None
    after_no: int = 0
    lead: dict[str, float] | None = None
    ended: End | None = None


async def publish_shared(
    session: AsyncSession, platform: str, *, now: datetime, lead: Guard | None = None
) -> int:
    """Serve the shared effects that moved enough, as a new version; how many there were."""
    rows = await session.execute(
        select(
            SharedEffect.goal,
            SharedEffect.family,
            SharedEffect.key,
            SharedEffect.mean,
            SharedEffect.variance,
            SharedEffect.samples,
            SharedEffect.day,
            SharedEffect.published,
        )
        .where(
            SharedEffect.platform == platform, SharedEffect.goal.in_(GOALS), SharedEffect.day > 0
        )
        .order_by(SharedEffect.goal, SharedEffect.family, SharedEffect.key)
    )
    changes = []
    for row in rows:
        key = row.family, row.key
        live, doubt = row.mean, row.variance
        if key == NEWCOMER:
            # Its row holds votes; the level they give is as sure as it will get.
            votes = Effect(row.mean, row.variance, row.samples, row.day, row.published)
            live, doubt = newcomer_level(votes), 0.0
        elif not is_effect(key) and key != TRUST:
            continue
        scale = TRUST_POINTS if key == TRUST else 1.0
        if is_news(scale * live, scale * row.published, doubt):
            changes.append((row.goal, row.family, row.key, row.published, live))
    if changes:
        await serve_version(session, platform, changes, now=now, lead=lead)
    return len(changes)


async def serve_version(
    session: AsyncSession,
    platform: str,
    changes: Sequence[tuple[str, str, str, float, float]],
    *,
    now: datetime,
    lead: Guard | None = None,
) -> int:
    """Serve new values (goal, family, key, old, new) as a version; its number."""
    current = await current_version(session, platform)
    version = await newest_version(session, platform) + 1
    document = Document(
        changes=list(changes),
        parent=0 if current is None else current.version,
        after_no=await last_place(session, platform),
        lead=None if lead is None else asdict(lead),
    )
    await _serve(
        session, platform, {change[:3]: (change[4], change[3]) for change in document.changes}
    )
    await _point_to(session, platform, None)
    session.add(
        ModelVersion(
            kind="effects",
            platform=platform,
            version=version,
            document=msgspec.to_builtins(document),
            created_at=now,
        )
    )
    await session.flush()
    return version


async def undo_version(
    session: AsyncSession, platform: str, version: int, *, now: datetime, reason: str
) -> list[int]:
    """Serve what was served before a version, undoing those that build on it; which they were.

    As the system role, under the lock.
    """
    undone: list[int] = []
    while version not in undone:
        current = await current_version(session, platform)
        if current is None or current.version < version:
            raise _not_served(platform, version)
        await undo_to_parent(session, current, now=now, reason=reason)
        undone.append(current.version)
    return undone


def is_news(live: float, published: float, variance: float) -> bool:
    """Tell whether an effect has moved further than its own doubt, and by half a point."""
    return abs(live - published) > max(PUBLISH_POINTS, PUBLISH_DEVIATIONS * sqrt(variance))


async def undo_to_parent(
    session: AsyncSession,
    current: ModelVersion,
    *,
    now: datetime,
    reason: str,
    watch: Watch | None = None,
) -> None:
    """Serve what was served before the current version, as the system role, under the lock."""
    platform, document = current.platform, document_of(current)
    parent = current.version - 1 if document.parent is None else document.parent
    await _serve(session, platform, {each[:3]: (each[3], None) for each in document.changes})
    ended = End(
        after_no=await last_place(session, platform),
        at=now.isoformat(),
        reason=reason,
        error=None if watch is None else watch.error,
        former_error=None if watch is None else watch.other_error,
    )
    current.document = msgspec.to_builtins(msgspec.structs.replace(document, ended=ended))
    await session.flush()
    await _point_to(session, platform, parent)


async def _serve(
    session: AsyncSession,
    platform: str,
    values: dict[tuple[str, str, str], tuple[float, float | None]],
) -> None:
    """Publish values, each with what was published before; no other row has a former value."""
    await session.execute(
        update(SharedEffect)
        .where(SharedEffect.platform == platform, SharedEffect.former.is_not(None))
        .values(former=None)
        .execution_options(synchronize_session=False)
    )
    rows = unnested(SharedEffect, _SERVED)
    matches = [SharedEffect.__table__.c[name] == rows.c[name] for name in _SERVED[:4]]
    await session.execute(
        update(SharedEffect)
        .where(*matches)
        .values(published=rows.c.published, former=rows.c.former)
        .execution_options(synchronize_session=False),
        as_arrays(((platform, *key, *served) for key, served in values.items()), _SERVED),
    )


async def _point_to(session: AsyncSession, platform: str, version: int | None) -> None:
    """Make a version the current one, or none."""
    versions = (
        update(ModelVersion)
        .where(ModelVersion.kind == "effects", ModelVersion.platform == platform)
        .execution_options(synchronize_session=False)
    )
    await session.execute(versions.where(ModelVersion.is_current).values(is_current=False))
    await session.execute(versions.where(ModelVersion.version == version).values(is_current=True))


async def current_version(session: AsyncSession, platform: str) -> ModelVersion | None:
    """Find the version that is served."""
    return await session.scalar(
        select(ModelVersion)
        .where(
            ModelVersion.kind == "effects",
            ModelVersion.platform == platform,
            ModelVersion.is_current,
        )
        .execution_options(populate_existing=True)
    )


async def newest_version(session: AsyncSession, platform: str) -> int:
    """Give the number of the newest version, served or not; 0 where there is none."""
    version = await session.scalar(
        select(func.max(ModelVersion.version)).where(
            ModelVersion.kind == "effects", ModelVersion.platform == platform
        )
    )
    return version or 0


async def served_since(session: AsyncSession, platform: str) -> int:
    """Give the place after which what is served has stayed the same."""
    begun, ended = (
        func.jsonb_extract_path_text(ModelVersion.document, *path).cast(BigInteger)
        for path in (("after_no",), ("ended", "after_no"))
    )
    place = await session.scalar(
        select(func.max(func.greatest(begun, ended))).where(
            ModelVersion.kind == "effects", ModelVersion.platform == platform
        )
    )
    return place or 0


def document_of(row: ModelVersion) -> Document:
    """Read what a version changed."""
    return msgspec.convert(row.document, Document)


def _not_served(platform: str, version: int) -> NotFound:
    return NotFound(
        f"Version {version} of {platform} is not served.", hint="See `viral reflexion status`."
    )
