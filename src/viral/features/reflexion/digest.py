"""What was learnt lately, in short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select

from viral.schema.learning import ReflexionInsight, ScoringAdjustment

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

CHANGES_NAMED = 4
INSIGHTS_NAMED = 3


@dataclass(frozen=True, slots=True)
class Digest:
    """The largest changes of a span that are served, of how many; and what was seen in results."""

    changes: int
    adjustments: list[ScoringAdjustment]
    insights: list[ReflexionInsight]


async def digest_since(session: AsyncSession, since: datetime) -> Digest:
    """Say in two queries what the session's tenant has learnt since a moment."""
    size = func.abs(ScoringAdjustment.new_value - ScoringAdjustment.old_value)
    rows = await session.execute(
        select(ScoringAdjustment, func.count().over())
        .where(ScoringAdjustment.applied_at >= since, ScoringAdjustment.reverted_at.is_(None))
        .order_by(size.desc(), ScoringAdjustment.id)
        .limit(CHANGES_NAMED)
    )
    found = rows.all()
    insights = await session.scalars(
        select(ReflexionInsight)
        .where(
            or_(ReflexionInsight.confirmed_at >= since, ReflexionInsight.discovered_at >= since),
            ReflexionInsight.status.in_(("candidate", "confirmed")),
        )
        .order_by(
            ReflexionInsight.applied_to_scoring.desc(),
            func.abs(ReflexionInsight.effect_size).desc(),
            ReflexionInsight.id,
        )
        .limit(INSIGHTS_NAMED)
    )
    return Digest(
        changes=found[0][1] if found else 0,
        adjustments=[row for row, _ in found],
        insights=list(insights),
    )
