"""A shared effect as it was before, for one tenant alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert

from viral.errors import BadInput, NotFound
from viral.features.reflexion.results import last_place
from viral.features.scoring.effects import SHARED_FAMILIES
from viral.features.scoring.labels import label_of
from viral.learner.effects import start_of
from viral.schema.base import uuid7
from viral.schema.learning import LearnerEffect, ScoringAdjustment, SelfCritique, SharedEffect

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.database.engine import Database


async def override_shared(
    app: Database,
    system: Database,
    tenant_id: UUID,
    *,
    platform: str,
    goal: str,
    family: str,
    key: str,
    now: datetime,
    hashed: Callable[[str], str],
) -> ScoringAdjustment:
    """Serve a shared effect to a tenant as it was before its version, or as if never learnt.

    Undoing the adjustment that this is lifts it again. A word is given in plain.
    """
    if family not in SHARED_FAMILIES:
        raise BadInput(
            f"{family[:60]!r} is not a shared family of effects.",
            hint=f"These are: {', '.join(SHARED_FAMILIES)}.",
        )
    place = platform, goal, family, hashed(key.lower()) if family == "word" else key
    async with system.session_without_tenant() as session:
        shared = await session.get(SharedEffect, place)
        if shared is None:
            raise NotFound(
                f"There is no shared effect {platform} {goal} {family} {key[:60]}.",
                hint="`viral reflexion why CONCEPT` names those of a concept.",
            )
        await _make_row(session, tenant_id, place)
        after_no = await last_place(session, platform)
    points = start_of((family, key)) if shared.former is None else shared.former
    async with app.tenant_session(tenant_id) as session:
        return await _override(session, shared, points, key, after_no=after_no, now=now)


async def _make_row(
    session: AsyncSession, tenant_id: UUID, place: tuple[str, str, str, str]
) -> None:
    """Make the tenant's row of a shared effect where it has contributed nothing to it so far."""
    platform, goal, family, key = place
    await session.execute(
        insert(LearnerEffect)
        .values(
            tenant_id=tenant_id,
            id=uuid7(),
            platform=platform,
            goal=goal,
            family=family,
            key=key,
            mean=0.0,
            variance=0.0,
            samples=0,
            day=0,
        )
        .on_conflict_do_nothing()
    )


async def _override(
    session: AsyncSession,
    shared: SharedEffect,
    points: float,
    word: str,
    *,
    after_no: int,
    now: datetime,
) -> ScoringAdjustment:
    await session.execute(
        update(LearnerEffect)
        .where(
            LearnerEffect.platform == shared.platform,
            LearnerEffect.goal == shared.goal,
            LearnerEffect.family == shared.family,
            LearnerEffect.key == shared.key,
        )
        .values(published=points, former=None, is_frozen=True)
        .execution_options(synchronize_session=False)
    )
    critique = _critique(shared, label_of(shared.family, word), now=now)
    session.add(critique)
    await session.flush()
    adjustment = ScoringAdjustment(
        id=uuid7(),
        critique_id=critique.id,
        platform=shared.platform,
        goal=shared.goal,
        adjustment_type=shared.family,
        category=shared.key,
        old_value=shared.published,
        new_value=points,
        reason="Served to you as it was before, by hand.",
        evidence={"samples": shared.samples, "tenants": shared.tenants},
        applied_at=now,
        after_no=after_no,
    )
    session.add(adjustment)
    await session.flush()
    return adjustment


def _critique(shared: SharedEffect, what: str, *, now: datetime) -> SelfCritique:
    return SelfCritique(
        id=uuid7(),
        performance_gap={"effects": 1, "platform": shared.platform},
        critique=f"{what} was undone for this tenant alone, by hand.",
        hypothesized_reasons=[],
        scoring_issues=[],
        adjustment_plan="Serve the value from before.",
        confidence_level="high",
        critic="person",
        created_at=now,
        applied_at=now,
    )
