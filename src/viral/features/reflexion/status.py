"""The proof: errors with learning and without, from results whose prediction came first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from sqlalchemy import Float, and_, func, or_, select, tuple_, type_coerce

from viral.features.reflexion.served import was_served
from viral.learner.effects import START_SCORE
from viral.schema.content import Prediction
from viral.schema.learning import ReflexionInsight, ScoringAdjustment, SelfCritique
from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

WINDOW = 20
FEWEST_RESULTS = 5
# The default score; both parts are known of every result that was learnt.
_ACTUAL = type_coerce(
    (PerformanceFeedback.engagement_score + PerformanceFeedback.reach_score) / 2, Float()
)


@dataclass(frozen=True, slots=True)
class ScoredResult:
    """A result beside the prediction that was made before it; errors in points, absolute."""

    number: int
    platform: str
    measured_at: datetime
    predicted: float
    actual: float
    is_inside: bool
    error: float
    error_without_learning: float


@dataclass(frozen=True, slots=True)
class AdjustmentPlace:
    """Where an adjustment stands in the list of them; `size` is by how many points it changed."""

    applied_at: datetime
    size: float
    id: UUID


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Mean absolute errors over the last results."""

    results: int
    with_learning: float
    without_learning: float
    inside: float


async def scored_results(session: AsyncSession, *, most: int | None = None) -> list[ScoredResult]:
    """List the tenant's predicted results by publication: all, or the newest.

    Without learning every score would be the start of the scale: that is the comparison. What is
    listed is numbered from 1.
    """
    order = PerformanceFeedback.published_at, PerformanceFeedback.id
    rows = await session.execute(
        select(
            PerformanceFeedback.platform,
            PerformanceFeedback.observed_on,
            Prediction.score,
            Prediction.low,
            Prediction.high,
            _ACTUAL,
        )
        .join(Prediction, was_served())
        .where(PerformanceFeedback.applied_no.is_not(None))
        .order_by(*(each.desc() for each in order))
        .limit(most)
    )
    return [
        ScoredResult(
            number=number,
            platform=platform,
            measured_at=datetime.combine(observed_on, time(), UTC),
            predicted=predicted,
            actual=outcome,
            is_inside=low <= outcome <= high,
            error=abs(predicted - outcome),
            error_without_learning=abs(START_SCORE - outcome),
        )
        for number, (platform, observed_on, predicted, low, high, outcome) in enumerate(
            reversed(rows.all()), start=1
        )
    ]


def accuracy_of(results: Sequence[ScoredResult], *, window: int = WINDOW) -> Accuracy | None:
    """Average the last results; None while there are too few to mean anything."""
    last = results[-window:]
    if len(last) < FEWEST_RESULTS:
        return None
    return Accuracy(
        results=len(last),
        with_learning=sum(result.error for result in last) / len(last),
        without_learning=sum(result.error_without_learning for result in last) / len(last),
        inside=sum(result.is_inside for result in last) / len(last),
    )


async def count_results(session: AsyncSession) -> tuple[int, int]:
    """Count the tenant's videos that were learnt from, and those that wait.

    A second reading of a video waits for nothing: each counts once. One of the first two days
    waits for a later reading and is not counted.
    """
    videos = (
        select(func.count(PerformanceFeedback.applied_no).label("learned"))
        .where(PerformanceFeedback.is_mature)
        .group_by(PerformanceFeedback.platform, PerformanceFeedback.external_id)
        .subquery()
    )
    waiting = func.count().filter(videos.c.learned == 0)
    total = func.coalesce(func.sum(videos.c.learned), 0)
    learned, left = (await session.execute(select(total, waiting).select_from(videos))).one()
    return int(learned), left


async def list_adjustments(
    session: AsyncSession,
    *,
    limit: int,
    after: AdjustmentPlace | None = None,
    platform: str | None = None,
    is_undone: bool | None = None,
) -> list[ScoringAdjustment]:
    """List the newest adjustments, the largest of a run first; `after` is where a page ended."""
    moment = ScoringAdjustment.applied_at
    size = func.abs(ScoringAdjustment.new_value - ScoringAdjustment.old_value)
    wanted = select(ScoringAdjustment).order_by(moment.desc(), size.desc(), ScoringAdjustment.id)
    if after is not None:
        further = or_(size < after.size, and_(size == after.size, ScoringAdjustment.id > after.id))
        wanted = wanted.where(moment <= after.applied_at, or_(moment < after.applied_at, further))
    if platform is not None:
        wanted = wanted.where(ScoringAdjustment.platform == platform)
    if is_undone is not None:
        wanted = wanted.where(ScoringAdjustment.reverted_at.is_not(None) == is_undone)
    return list(await session.scalars(wanted.limit(limit)))


async def adjustment_times(session: AsyncSession) -> list[tuple[datetime, int]]:
    """List the moments at which adjustments were published, with how many, oldest first."""
    rows = await session.execute(
        select(ScoringAdjustment.applied_at, func.count())
        .group_by(ScoringAdjustment.applied_at)
        .order_by(ScoringAdjustment.applied_at)
    )
    return [(applied_at, count) for applied_at, count in rows]


async def outcomes_of(
    session: AsyncSession, concepts: Sequence[UUID]
) -> dict[tuple[UUID, str], tuple[float, datetime]]:
    """Find the newest learnt result of concepts, by concept and platform: its score and its day."""
    rows = await session.execute(
        select(
            PerformanceFeedback.concept_id,
            PerformanceFeedback.platform,
            _ACTUAL,
            PerformanceFeedback.observed_on,
        )
        .where(
            PerformanceFeedback.concept_id.in_(concepts),
            PerformanceFeedback.applied_no.is_not(None),
        )
        .order_by(PerformanceFeedback.observed_on, PerformanceFeedback.id)
    )
    return {
        (concept, platform): (outcome, datetime.combine(observed_on, time(), UTC))
        for concept, platform, outcome, observed_on in rows
    }


async def list_insights(
    session: AsyncSession, *, limit: int, after: tuple[float, UUID] | None = None
) -> list[ReflexionInsight]:
    """List the tenant's insights, the strongest first.

    `after` is where the last page ended: the size of an effect, and an id.
    """
    weakness = -func.abs(ReflexionInsight.effect_size)
    wanted = select(ReflexionInsight).order_by(weakness, ReflexionInsight.id).limit(limit)
    if after is not None:
        size, last_id = after
        wanted = wanted.where(tuple_(weakness, ReflexionInsight.id) > (-size, last_id))
    return list(await session.scalars(wanted))


async def list_critiques(session: AsyncSession, *, limit: int) -> list[SelfCritique]:
    """List the newest critiques of single results."""
    return list(
        await session.scalars(
            select(SelfCritique)
            .where(SelfCritique.concept_id.is_not(None))
            .order_by(SelfCritique.created_at.desc(), SelfCritique.id.desc())
            .limit(limit)
        )
    )


async def page_of_critiques(
    session: AsyncSession,
    *,
    limit: int,
    before: tuple[datetime, UUID] | None = None,
    concept_id: UUID | None = None,
) -> list[SelfCritique]:
    """List critiques of results and those behind adjustments, newest first, by pages."""
    place = SelfCritique.created_at, SelfCritique.id
    wanted = select(SelfCritique).order_by(*(each.desc() for each in place)).limit(limit)
    if before is not None:
        wanted = wanted.where(tuple_(*place) < before)
    if concept_id is not None:
        wanted = wanted.where(SelfCritique.concept_id == concept_id)
    return list(await session.scalars(wanted))
