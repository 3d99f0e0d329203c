"""The guard of what all tenants share: published when proven, taken back when not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from viral.features.reflexion.guard import (
    FIRST_SHARED,
    Pooled,
    Watch,
    is_lost,
    is_sure,
    watch_challenger,
    watch_version,
)
from viral.features.reflexion.versions import (
    current_version,
    document_of,
    newest_version,
    publish_shared,
    served_since,
    undo_to_parent,
)
from viral.learner.guard import LEAST_RESULTS, Guard

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class Decision:
    """What the guard made of a platform: effects published, or the version taken back."""

    published: int = 0
    undone: int | None = None


@dataclass(frozen=True, slots=True)
class SharedStanding:
    """Where what is shared stands: results that a publication still needs, and both leads."""

    platform: str
    version: int
    least: int
    needed: int
    challenger: Watch
    published: Watch | None


async def guard_shared(session: AsyncSession, platform: str, *, now: datetime) -> Decision:
    """Publish what is proven, or take back what is not, as the system role under the lock."""
    standing = await shared_standing(session, platform)
    if standing.published is not None and is_lost(standing.published.guard):
        watch, current = standing.published, await current_version(session, platform)
        assert current is not None
        await undo_to_parent(
            session,
            current,
            now=now,
            reason=f"guard: {watch.guard.results} results missed by {watch.error:.1f} points with"
            f" it, {watch.other_error:.1f} without",
            watch=watch,
        )
        return Decision(undone=standing.version)
    guard = standing.challenger.guard
    if not is_sure(guard, least=standing.least):
        return Decision()
    return Decision(published=await publish_shared(session, platform, now=now, lead=guard))


async def shared_standing(session: AsyncSession, platform: str) -> SharedStanding:
    """Fold the guards of a platform over the results since anything last changed."""
    current = await current_version(session, platform)
    since = await served_since(session, platform)
    challenger = await watch_challenger(session, platform, after=since)
    least = LEAST_RESULTS + 1 if await newest_version(session, platform) else FIRST_SHARED
    published = None
    if current is not None:
        document = document_of(current)
        earned = None if document.lead is None else _guard(document.lead)
        published = await watch_version(session, platform, after=document.after_no, earned=earned)
    return SharedStanding(
        platform=platform,
        version=0 if current is None else current.version,
        least=least,
        needed=max(0, least - challenger.guard.results),
        challenger=challenger,
        published=published,
    )


async def pooled_lead(session: AsyncSession, platform: str, *, least: int) -> Pooled:
    """Say whether learnt effects predict better than published ones, over all tenants.

    Publishing what is shared takes no proof away from what tenants may publish of their own.
    """
    watch = await watch_challenger(session, platform, after=0)
    return Pooled(watch, is_sure(watch.guard, least=least))


def _guard(stored: dict[str, float]) -> Guard:
    return Guard(stored["mean"], stored["variance"], int(stored["results"]))
