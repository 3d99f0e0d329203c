"""Misses outside their interval are critiqued; what lies inside is noise and gets no story."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, select, update

from viral.features.reflexion.critic import Critic, Critique, Miss
from viral.features.reflexion.served import was_served
from viral.features.scoring.predictions import reasons_of
from viral.schema.base import uuid7
from viral.schema.content import Concept, Prediction
from viral.schema.learning import SelfCritique
from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.schema.vocabulary import Direction

MOST_A_RUN = 20
# The specification's measure of an accurate prediction.
ACCURATE_WITHIN = 0.2


@dataclass(frozen=True, slots=True)
class Judged:
    """A critique with the concept and the result that it is about."""

    critique: SelfCritique
    concept: Concept
    feedback: PerformanceFeedback


def outcome_of(feedback: PerformanceFeedback) -> float:
    """Return the default score of a result that the learner has taken in: the mean of the goals."""
    assert feedback.engagement_score is not None
    assert feedback.reach_score is not None
    return (feedback.engagement_score + feedback.reach_score) / 2


def direction_of(*, predicted: float, actual: float) -> Direction:
    """Name the direction of a miss as the specification does."""
    if abs(actual - predicted) <= ACCURATE_WITHIN * predicted:
        return "accurate"
    return "over-predicted" if actual < predicted else "under-predicted"


async def critique_misses(session: AsyncSession, critic: Critic, *, now: datetime) -> list[Judged]:
    """Critique the tenant's new misses, largest first; every new result is judged once."""
    rows = await _unjudged(session)
    misses = [
        (feedback, concept, prediction)
        for feedback, concept, prediction in rows
        if not prediction.low <= outcome_of(feedback) <= prediction.high
    ]
    misses.sort(key=lambda row: (-abs(outcome_of(row[0]) - row[2].score), row[0].id))
    judged = []
    for feedback, concept, prediction in misses[:MOST_A_RUN]:
        miss = _miss(feedback, concept, prediction)
        critique = await critic.critique(miss)
        row = _critique_row(feedback, miss, critique, critic=critic, now=now)
        judged.append(Judged(row, concept, feedback))
    session.add_all([each.critique for each in judged])
    await session.flush()
    await session.execute(
        update(PerformanceFeedback)
        .where(PerformanceFeedback.judged_at.is_(None), PerformanceFeedback.applied_no.is_not(None))
        .values(judged_at=func.now())
        .execution_options(synchronize_session=False)
    )
    return judged


async def _unjudged(
    session: AsyncSession,
) -> Sequence[tuple[PerformanceFeedback, Concept, Prediction]]:
    rows = await session.execute(
        select(PerformanceFeedback, Concept, Prediction)
        .join(Concept, and_(Concept.id == PerformanceFeedback.concept_id))
        .join(Prediction, was_served())
        .where(PerformanceFeedback.judged_at.is_(None), PerformanceFeedback.applied_no.is_not(None))
        .order_by(PerformanceFeedback.applied_no)
    )
    return rows.all()


def _miss(feedback: PerformanceFeedback, concept: Concept, prediction: Prediction) -> Miss:
    actual = round(outcome_of(feedback), 1)
    return Miss(
        title=concept.title,
        category=concept.category,
        platform=feedback.platform,
        predicted=prediction.score,
        low=prediction.low,
        high=prediction.high,
        actual=actual,
        engagement_rate=feedback.engagement_rate,
        views=feedback.views,
        reasons=reasons_of(prediction.reasons),
        direction=direction_of(predicted=prediction.score, actual=actual),
    )


def _critique_row(
    feedback: PerformanceFeedback, miss: Miss, critique: Critique, *, critic: Critic, now: datetime
) -> SelfCritique:
    gap = round(miss.actual - miss.predicted, 1)
    return SelfCritique(
        id=uuid7(),
        concept_id=feedback.concept_id,
        feedback_id=feedback.id,
        performance_gap={
            "concept_id": str(feedback.concept_id),
            "concept_title": miss.title,
            "category": miss.category,
            "platform": miss.platform,
            "predicted_virality": miss.predicted,
            "low": miss.low,
            "high": miss.high,
            "actual_engagement": round(miss.engagement_rate, 2),
            "actual_virality_score": miss.actual,
            "gap": gap,
            "gap_percentage": round(100 * gap / miss.predicted, 1) if miss.predicted else None,
            "direction": miss.direction,
        },
        critique=critique.text,
        hypothesized_reasons=list(critique.reasons),
        scoring_issues=list(critique.issues),
        adjustment_plan=critique.plan,
        confidence_level=critique.confidence,
        critic=critic.name,
        created_at=now,
    )
