"""Taking back what is served to a tenant: one change, a run's changes, an insight.

What is taken back by hand stays: its effect is frozen at the value from before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, select, update
from sqlalchemy.orm import aliased

from viral.errors import AlreadyExists, BadInput, NotFound
from viral.features.scoring.effects import SHARED_FAMILIES
from viral.schema.learning import LearnerEffect, ReflexionInsight, ScoringAdjustment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

BY_HAND = "by hand"
_HINT = "See `viral reflexion status`."


async def undo_adjustment(
    session: AsyncSession, adjustment_id: UUID, *, user_id: UUID | None, now: datetime
) -> ScoringAdjustment:
    """Serve the value from before an adjustment again, and keep the effect at it."""
    adjustment = await _find(session, adjustment_id)
    if adjustment.reverted_at is not None:
        raise AlreadyExists(f"Adjustment {adjustment_id} is undone already.")
    await _refuse_covered(session, [adjustment])
    await revert(session, [adjustment], reason=BY_HAND, now=now, user_id=user_id, is_frozen=True)
    return adjustment


async def undo_run(
    session: AsyncSession, adjustment_id: UUID, *, user_id: UUID | None, now: datetime
) -> list[ScoringAdjustment]:
    """Undo all adjustments that were published together with one, or none of them."""
    adjustment = await _find(session, adjustment_id)
    rows = await session.scalars(
        select(ScoringAdjustment)
        .where(
            ScoringAdjustment.applied_at == adjustment.applied_at,
            ScoringAdjustment.reverted_at.is_(None),
        )
        .order_by(ScoringAdjustment.id)
        .with_for_update()
    )
    found = rows.all()
    if not found:
        raise AlreadyExists(f"All adjustments of the run of {adjustment_id} are undone already.")
    await _refuse_covered(session, found)
    await revert(session, found, reason=BY_HAND, now=now, user_id=user_id, is_frozen=True)
    return list(found)


async def undo_insight(
    session: AsyncSession, insight_id: UUID, *, user_id: UUID | None, now: datetime
) -> list[ScoringAdjustment]:
    """Serve nothing of an insight any more, and learn nothing from it; what was undone."""
    insight = await session.scalar(
        select(ReflexionInsight)
        .where(ReflexionInsight.id == insight_id, ReflexionInsight.kind == "hypothesis")
        .with_for_update()
    )
    if insight is None:
        raise NotFound(f"There is no tested insight {insight_id}.", hint=_HINT)
    if insight.ended_at is not None:
        raise AlreadyExists(f"Insight {insight_id} has ended already ({insight.status}).")
    return await end_insight(
        session, insight, status="retired", reason=BY_HAND, now=now, user_id=user_id
    )


async def end_insight(
    session: AsyncSession,
    insight: ReflexionInsight,
    *,
    status: str,
    reason: str,
    now: datetime,
    user_id: UUID | None = None,
) -> list[ScoringAdjustment]:
    """End an insight and undo its adjustments. The next run takes it out of what is learnt."""
    insight.status, insight.ended_at, insight.applied_to_scoring = status, now, False
    rows = await session.scalars(
        select(ScoringAdjustment)
        .where(ScoringAdjustment.insight_id == insight.id, ScoringAdjustment.reverted_at.is_(None))
        .order_by(ScoringAdjustment.id)
        .with_for_update()
    )
    found = list(rows)
    await revert(session, found, reason=reason, now=now, user_id=user_id)
    return found


async def revert(
    session: AsyncSession,
    adjustments: Sequence[ScoringAdjustment],
    *,
    reason: str,
    now: datetime,
    user_id: UUID | None = None,
    is_frozen: bool = False,
) -> None:
    """Serve old values again, of the newest adjustment first; an override is lifted."""
    for each in sorted(adjustments, key=lambda row: row.id, reverse=True):
        served: dict[str, float | bool | None] = {"published": each.old_value, "former": None}
        if each.adjustment_type in SHARED_FAMILIES:
            served["is_frozen"] = False
        elif is_frozen:
            served["is_frozen"] = True
        await session.execute(
            update(LearnerEffect)
            .where(
                LearnerEffect.platform == each.platform,
                LearnerEffect.goal == each.goal,
                LearnerEffect.family == each.adjustment_type,
                LearnerEffect.key == each.category,
            )
            .values(served)
            .execution_options(synchronize_session=False)
        )
        each.reverted_at, each.reverted_by, each.revert_reason = now, user_id, reason
    await session.flush()


async def _find(session: AsyncSession, adjustment_id: UUID) -> ScoringAdjustment:
    adjustment = await session.scalar(
        select(ScoringAdjustment).where(ScoringAdjustment.id == adjustment_id).with_for_update()
    )
    if adjustment is None:
        raise NotFound(f"There is no adjustment {adjustment_id}.", hint=_HINT)
    return adjustment


async def _refuse_covered(session: AsyncSession, adjustments: Sequence[ScoringAdjustment]) -> None:
    """Refuse to undo what a later adjustment, not among these, changed once more."""
    ids = [each.id for each in adjustments]
    earlier = aliased(ScoringAdjustment)
    later = await session.scalar(
        select(ScoringAdjustment.id)
        .join(
            earlier,
            and_(
                earlier.tenant_id == ScoringAdjustment.tenant_id,
                earlier.platform == ScoringAdjustment.platform,
                earlier.goal == ScoringAdjustment.goal,
                earlier.adjustment_type == ScoringAdjustment.adjustment_type,
                earlier.category == ScoringAdjustment.category,
                earlier.id < ScoringAdjustment.id,
            ),
        )
        .where(
            earlier.id.in_(ids),
            ScoringAdjustment.id.not_in(ids),
            ScoringAdjustment.reverted_at.is_(None),
        )
        .order_by(ScoringAdjustment.id.desc())
        .limit(1)
    )
    if later is not None:
        raise BadInput(
            f"A later adjustment changed the same effect: {later}.", hint="Undo that one first."
        )
