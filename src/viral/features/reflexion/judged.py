"""Results beside what was foretold of them, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import Float, select, tuple_, type_coerce

from viral.features.reflexion.served import was_served
from viral.schema.content import Concept, Prediction
from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from datetime import date, datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

Verdict = Literal["inside", "above", "below"]
_SCORE = type_coerce(
    (PerformanceFeedback.engagement_score + PerformanceFeedback.reach_score) / 2, Float()
)


@dataclass(frozen=True, slots=True)
class JudgedResult:
    """A reading of a post; scores run 0..100 and are None until it is learnt, or unforetold.

    `is_early` ones were read within two days of publication: learning waits for a later reading.
    """

    id: UUID
    reported_at: datetime
    concept_id: UUID
    is_generated: bool
    title: str
    category: str
    platform: str
    published_at: datetime
    observed_on: date
    views: int
    is_early: bool
    score: float | None
    predicted: float | None
    low: float | None
    high: float | None

    @property
    def verdict(self) -> Verdict | None:
        if self.score is None or self.low is None or self.high is None:
            return None
        if self.low <= self.score <= self.high:
            return "inside"
        return "above" if self.score > self.high else "below"


async def judged_results(
    session: AsyncSession,
    *,
    limit: int,
    platform: str | None = None,
    category: str | None = None,
    before: tuple[datetime, UUID] | None = None,
) -> list[JudgedResult]:
    """List readings as they came in, newest first; `before` is where a page ended."""
    place = (PerformanceFeedback.reported_at, PerformanceFeedback.id)
    query = (
        select(
            PerformanceFeedback.id,
            PerformanceFeedback.reported_at,
            PerformanceFeedback.concept_id,
            Concept.origin == "generated",
            PerformanceFeedback.concept_title,
            PerformanceFeedback.category,
            PerformanceFeedback.platform,
            PerformanceFeedback.published_at,
            PerformanceFeedback.observed_on,
            PerformanceFeedback.views,
            ~PerformanceFeedback.is_mature,
            _SCORE,
            Prediction.score,
            Prediction.low,
            Prediction.high,
        )
        .join(
            Concept,
            (Concept.tenant_id == PerformanceFeedback.tenant_id)
            & (Concept.id == PerformanceFeedback.concept_id),
        )
        .outerjoin(Prediction, was_served())
        .order_by(*(column.desc() for column in place))
        .limit(limit)
    )
    if platform is not None:
        query = query.where(PerformanceFeedback.platform == platform)
    if category is not None:
        query = query.where(PerformanceFeedback.category == category)
    if before is not None:
        query = query.where(tuple_(*place) < before)
    return [JudgedResult(*tuple(row)) for row in await session.execute(query)]
