"""The posts of an experiment: what each says of its arm, and the concepts that wait for one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, exists, select, tuple_

from viral.features.experiments.arms import arms_of
from viral.features.experiments.told import was_told
from viral.schema.content import FORMER_MODEL, Concept, ConceptVariant, Prediction
from viral.schema.learning import ScoringAdjustment
from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Select
    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.schema.content import Experiment

_SCORE = (PerformanceFeedback.engagement_score + PerformanceFeedback.reach_score) / 2
MOST_CHANGES = 12


@dataclass(frozen=True, slots=True)
class ArmPost:
    """A post of an arm: its score beside what was foretold before the concept had an arm."""

    id: UUID
    reported_at: datetime
    concept_id: UUID
    title: str
    label: str
    score: float
    foretold: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """A concept that takes part and has no result yet, with the words that are to be posted."""

    concept_id: UUID
    title: str
    hook: str
    label: str


async def values_of_posts(session: AsyncSession, experiment: Experiment) -> list[tuple[str, float]]:
    """Give arm and value of each post, in the order in which they were learnt.

    The value is the score less what was foretold of the concept before it was given an arm: the
    forecast cannot know the arm, and takes away what has nothing to do with it.
    """
    query = (
        _learnt(experiment)
        .with_only_columns(ConceptVariant.label, _SCORE - Prediction.score)
        .order_by(PerformanceFeedback.applied_no)
        .limit(experiment.most_posts)
    )
    rows = await session.execute(query)
    return [(label, float(value)) for label, value in rows if value is not None]


async def list_posts(
    session: AsyncSession,
    experiment: Experiment,
    *,
    limit: int,
    before: tuple[datetime, UUID] | None = None,
) -> list[ArmPost]:
    """List a page of the posts that were learnt, the newest first."""
    place = tuple_(PerformanceFeedback.reported_at, PerformanceFeedback.id)
    query = (
        _learnt(experiment)
        .with_only_columns(
            PerformanceFeedback.id,
            PerformanceFeedback.reported_at,
            ConceptVariant.concept_id,
            ConceptVariant.title,
            ConceptVariant.label,
            _SCORE,
            Prediction.score,
        )
        .where(_SCORE.is_not(None))
        .order_by(PerformanceFeedback.reported_at.desc(), PerformanceFeedback.id.desc())
        .limit(limit)
    )
    rows = await session.execute(query if before is None else query.where(place < before))
    return [ArmPost(*row[:5], score=float(row[5] or 0), foretold=row[6]) for row in rows]


async def list_waiting(
    session: AsyncSession, experiment: Experiment, *, limit: int
) -> list[Waiting]:
    """List concepts that take part and have no result on the platform, the newest first."""
    measured = exists().where(
        PerformanceFeedback.tenant_id == ConceptVariant.tenant_id,
        PerformanceFeedback.concept_id == ConceptVariant.concept_id,
        PerformanceFeedback.platform == experiment.platform,
    )
    rows = await session.execute(
        select(
            ConceptVariant.concept_id,
            ConceptVariant.title,
            ConceptVariant.hook,
            ConceptVariant.label,
        )
        .join(
            Concept,
            and_(
                Concept.tenant_id == ConceptVariant.tenant_id,
                Concept.id == ConceptVariant.concept_id,
            ),
        )
        .where(ConceptVariant.experiment_id == experiment.id, ConceptVariant.is_selected, ~measured)
        .order_by(Concept.created_at.desc(), Concept.id.desc())
        .limit(limit)
    )
    return [
        Waiting(concept_id, title, hook or "", label) for concept_id, title, hook, label in rows
    ]


async def changes_since(session: AsyncSession, experiment: Experiment) -> list[ScoringAdjustment]:
    """List what learning changed about the arms' types of hooks since it began, newest first."""
    query = (
        select(ScoringAdjustment)
        .where(
            ScoringAdjustment.platform == experiment.platform,
            ScoringAdjustment.adjustment_type.in_(("hook", "tenant_hook")),
            ScoringAdjustment.category.in_([arm.hook_type for arm in arms_of(experiment)]),
            ScoringAdjustment.applied_at >= experiment.created_at,
            ScoringAdjustment.reverted_at.is_(None),
        )
        .order_by(ScoringAdjustment.applied_at.desc(), ScoringAdjustment.id.desc())
        .limit(MOST_CHANGES)
    )
    return list(await session.scalars(query))


def _learnt(experiment: Experiment) -> Select[UUID]:
    """Join results that were learnt to the arm that each was told as, and its forecast."""
    return (
        select(PerformanceFeedback.id)
        .select_from(PerformanceFeedback)
        .join(ConceptVariant, was_told())
        .join(
            Prediction,
            and_(
                Prediction.tenant_id == PerformanceFeedback.tenant_id,
                Prediction.concept_id == PerformanceFeedback.concept_id,
                Prediction.platform == PerformanceFeedback.platform,
                Prediction.model_version > FORMER_MODEL,
            ),
        )
        .where(
            ConceptVariant.experiment_id == experiment.id,
            ConceptVariant.label.in_([arm.label for arm in arms_of(experiment)]),
            PerformanceFeedback.platform == experiment.platform,
            PerformanceFeedback.applied_no.is_not(None),
        )
    )
