"""Results as the learner takes them in: which wait, which were taken in, and in what order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Select, and_, func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import aliased, defer, load_only

from viral.database.bulk import as_arrays, unnested
from viral.features.experiments.told import was_told
from viral.features.generations.concepts import video_of
from viral.features.reflexion.served import was_served
from viral.schema.content import Concept, ConceptVariant, Prediction
from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.learner.video import Video

ResultQuery = Select[PerformanceFeedback, Concept, Prediction, ConceptVariant]

# As `PerformanceFeedback.is_mature` has it.
MATURES_AFTER = timedelta(days=2)
BATCH = 5_000
# What the learner needs: prompts and reasons are long, and a row has many columns.
_COLUMNS = (
    load_only(
        PerformanceFeedback.platform,
        PerformanceFeedback.concept_id,
        PerformanceFeedback.published_at,
        PerformanceFeedback.followers,
        PerformanceFeedback.views,
        PerformanceFeedback.engagement_rate,
        PerformanceFeedback.applied_no,
        PerformanceFeedback.engagement_score,
        PerformanceFeedback.reach_score,
        PerformanceFeedback.residual,
        raiseload=True,
    ),
    load_only(
        Concept.category,
        Concept.title,
        Concept.hashtags,
        Concept.duration_s,
        Concept.sound,
        Concept.hook_type,
        Concept.hook,
        Concept.script,
        raiseload=True,
    ),
    defer(Prediction.reasons, raiseload=True),
)
_NAME = ("tenant_id", "id")
_UNJUDGED = (PerformanceFeedback.judged_at.is_(None), PerformanceFeedback.applied_no.is_not(None))


@dataclass(frozen=True, slots=True)
class Result:
    """One result with its video and, where there was one, the prediction that was served."""

    feedback: PerformanceFeedback
    video: Video
    served: Prediction | None

    @property
    def day(self) -> int:
        return (self.feedback.published_at + MATURES_AFTER).date().toordinal()


async def load_results(
    session: AsyncSession, query: ResultQuery, *, limit: int | None = BATCH
) -> list[Result]:
    """Load one batch."""
    rows = await session.execute(
        query.limit(limit).options(*_COLUMNS).execution_options(populate_existing=True)
    )
    return [_result(*row) for row in rows]


async def unjudged_places(session: AsyncSession) -> dict[str, tuple[int, int]]:
    """Give, by platform, the first and last place of results that nobody judged since learnt."""
    place = PerformanceFeedback.applied_no
    rows = await session.execute(
        select(PerformanceFeedback.platform, func.min(place), func.max(place))
        .where(*_UNJUDGED)
        .group_by(PerformanceFeedback.platform)
        .order_by(PerformanceFeedback.platform)
    )
    return {platform: (first or 0, last or 0) for platform, first, last in rows}


async def unjudged_predicted(session: AsyncSession) -> list[tuple[Result, Concept]]:
    """Load the tenant's unjudged results that were served a prediction, in their order."""
    rows = await session.execute(
        _with_concept()
        .where(*_UNJUDGED, Prediction.id.is_not(None))
        .order_by(PerformanceFeedback.applied_no)
        .execution_options(populate_existing=True)
    )
    return [(_result(*row), row[1]) for row in rows]


async def count_waiting(session: AsyncSession, platform: str) -> int:
    """Count the results that the learner has not taken in."""
    waiting = select(func.count()).select_from(_first_readings(platform).subquery())
    return await session.scalar(waiting) or 0


async def last_place(session: AsyncSession, platform: str) -> int:
    """Give the place of the newest result in the order: of all tenants as the system role."""
    place = await session.scalar(
        select(func.max(PerformanceFeedback.applied_no)).where(
            PerformanceFeedback.platform == platform
        )
    )
    return place or 0


async def waiting_results(session: AsyncSession, platform: str) -> list[tuple[UUID, UUID]]:
    """Name what was never learnt, tenant and id, by the time of publication."""
    first = _first_readings(platform).subquery()
    rows = await session.execute(
        select(first.c.tenant_id, first.c.id).order_by(first.c.published_at, first.c.id)
    )
    return [(tenant_id, feedback_id) for tenant_id, feedback_id in rows]


async def load_named(session: AsyncSession, names: Sequence[tuple[UUID, UUID]]) -> list[Result]:
    """Load results by tenant and id, by the time of publication."""
    wanted = unnested(PerformanceFeedback, _NAME)
    query = _with_concept().join(
        wanted,
        and_(
            PerformanceFeedback.tenant_id == wanted.c.tenant_id,
            PerformanceFeedback.id == wanted.c.id,
        ),
    )
    rows = await session.execute(
        query.order_by(PerformanceFeedback.published_at, PerformanceFeedback.id).options(*_COLUMNS),
        as_arrays(names, _NAME),
        execution_options={"populate_existing": True},
    )
    return [_result(*row) for row in rows]


def applied_results(platform: str, *, after: int = 0) -> ResultQuery:
    """Select what was learnt, in that order, behind a place in it."""
    return (
        _with_concept()
        .where(PerformanceFeedback.platform == platform, PerformanceFeedback.applied_no > after)
        .order_by(PerformanceFeedback.applied_no)
    )


def outdated_results(platform: str, version: int, *, after: int) -> ResultQuery:
    """Select what was scored with older tables, in that order, behind a place in it."""
    return applied_results(platform, after=after).where(
        PerformanceFeedback.outcome_version != version
    )


def _first_readings(platform: str) -> Select[UUID, UUID, datetime]:
    """Select one waiting reading a video: the first mature one, where none was learnt before."""
    before = aliased(PerformanceFeedback)
    video = (PerformanceFeedback.tenant_id, PerformanceFeedback.external_id)
    return (
        select(
            PerformanceFeedback.tenant_id, PerformanceFeedback.id, PerformanceFeedback.published_at
        )
        .where(
            PerformanceFeedback.platform == platform,
            PerformanceFeedback.applied_no.is_(None),
            PerformanceFeedback.is_mature,
            ~select(before.id)
            .where(
                before.tenant_id == PerformanceFeedback.tenant_id,
                before.platform == PerformanceFeedback.platform,
                before.external_id == PerformanceFeedback.external_id,
                before.applied_no.is_not(None),
            )
            .exists(),
        )
        .order_by(*video, PerformanceFeedback.observed_on, PerformanceFeedback.id)
        .ext(distinct_on(*video))
    )


def _result(
    feedback: PerformanceFeedback,
    concept: Concept,
    served: Prediction | None,
    variant: ConceptVariant | None,
) -> Result:
    video = video_of(
        concept,
        published_at=feedback.published_at,
        followers=feedback.followers,
        variant=variant,
    )
    return Result(feedback, video, served)


def _with_concept() -> ResultQuery:
    return (
        select(PerformanceFeedback, Concept, Prediction, ConceptVariant)
        .join(
            Concept,
            and_(
                Concept.tenant_id == PerformanceFeedback.tenant_id,
                Concept.id == PerformanceFeedback.concept_id,
            ),
        )
        .outerjoin(Prediction, was_served())
        .outerjoin(ConceptVariant, was_told())
    )
