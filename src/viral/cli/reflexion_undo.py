"""`viral reflexion undo`: which of the ways to take something back is asked for, and its words."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from viral.errors import BadInput
from viral.features.reflexion.learning import hold_learning
from viral.features.reflexion.overrides import override_shared
from viral.features.reflexion.undo import BY_HAND, undo_adjustment, undo_insight, undo_run
from viral.features.reflexion.versions import undo_version
from viral.features.scoring.labels import label_of
from viral.features.tenants import find_tenant
from viral.runtime import open_runtime
from viral.schema.vocabulary import PLATFORMS
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.runtime import Runtime

_HINT = "See `viral reflexion status`."


@dataclass(frozen=True, slots=True)
class Undone:
    """What was done, for people and for programs."""

    text: str
    document: dict[str, object]


def undo_one(
    *,
    adjustment: str | None,
    whole_run: bool,
    insight: str | None,
    shared: tuple[str, str, str, str] | None,
    version: tuple[str, int] | None,
    tenant: str | None,
) -> Undone:
    """Take back the one thing that is named."""
    if sum(each is not None for each in (adjustment, insight, shared, version)) != 1:
        raise BadInput(
            "Name one thing to undo: an adjustment's ID, --insight, --shared or --version.",
            hint=_HINT,
        )
    if whole_run and adjustment is None:
        raise BadInput("--run goes with an adjustment's ID.", hint=_HINT)
    return asyncio.run(_undo(adjustment, insight, shared, version, tenant, whole_run=whole_run))


async def _undo(
    adjustment: str | None,
    insight: str | None,
    shared: tuple[str, str, str, str] | None,
    version: tuple[str, int] | None,
    slug: str | None,
    *,
    whole_run: bool,
) -> Undone:
    adjustment_id = None if adjustment is None else _id(adjustment, "an adjustment")
    insight_id = None if insight is None else _id(insight, "an insight")
    async with open_runtime(load_settings()) as runtime:
        if version is not None:
            return await _undo_version(runtime, *version)
        async with runtime.system.session_without_tenant() as session:
            tenant_id = (await find_tenant(session, slug)).id
        if shared is not None:
            return await _override(runtime, tenant_id, shared)
        async with runtime.app.tenant_session(tenant_id) as session:
            now = runtime.clock()
            if insight_id is not None:
                rows = await undo_insight(session, insight_id, user_id=None, now=now)
                text = f"The insight has ended; adjustments undone with it: {len(rows)}."
                return Undone(text, {"id": insight_id, "adjustments": [row.id for row in rows]})
            assert adjustment_id is not None
            if whole_run:
                rows = await undo_run(session, adjustment_id, user_id=None, now=now)
                text = f"{len(rows)} adjustments of {rows[0].applied_at:%Y-%m-%d %H:%M} are undone."
                return Undone(text, {"adjustments": [row.id for row in rows]})
            undone = await undo_adjustment(session, adjustment_id, user_id=None, now=now)
            what = label_of(undone.adjustment_type, undone.category)
            text = (
                f"{what} ({undone.platform}, {undone.goal}) is served at {undone.old_value:+.1f}"
                " points again, and stays there."
            )
            return Undone(text, {"id": undone.id, "value": undone.old_value})


async def _undo_version(runtime: Runtime, platform: str, number: int) -> Undone:
    if platform not in PLATFORMS:
        raise BadInput(
            f"{platform[:60]!r} is not a platform.", hint=f"These are: {', '.join(PLATFORMS)}."
        )
    async with runtime.system.session_without_tenant() as session:
        await hold_learning(session, platform)
        undone = await undo_version(session, platform, number, now=runtime.clock(), reason=BY_HAND)
    named = ", ".join(str(each) for each in undone)
    return Undone(
        f"{platform}: undone for all tenants: version {named}.",
        {"platform": platform, "versions": undone},
    )


async def _override(runtime: Runtime, tenant_id: UUID, shared: tuple[str, str, str, str]) -> Undone:
    platform, goal, family, key = shared
    made = await override_shared(
        runtime.app,
        runtime.system,
        tenant_id,
        platform=platform,
        goal=goal,
        family=family,
        key=key,
        now=runtime.clock(),
        hashed=runtime.hashed,
    )
    return Undone(
        f"This tenant is served {made.new_value:+.1f} points in place of {made.old_value:+.1f}."
        f" Undo that: viral reflexion undo {made.id}",
        {"id": made.id, "value": made.new_value},
    )


def _id(text: str, what: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise BadInput(f"{text[:60]!r} is not {what}'s id.", hint=_HINT) from error
