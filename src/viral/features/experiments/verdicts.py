"""What an experiment's posts say so far, and its end once they say enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import and_, func, select

from viral.errors import BadInput
from viral.features.experiments.arms import arms_of
from viral.features.experiments.sequential import (
    ArmState,
    Comparison,
    compare,
    judge,
    states_of,
)
from viral.features.experiments.told import was_told
from viral.schema.content import FORMER_MODEL, ConceptVariant, Experiment, Prediction
from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class Outlook:
    """An experiment with its arms and comparisons; all figures are points against the forecast.

    `concepts` take part, `posts` of them have a result that was learnt. All intervals hold at
    every look: those of the arms together, and those of the comparisons together.
    """

    experiment: Experiment
    concepts: int
    posts: int
    arms: tuple[ArmState, ...]
    comparisons: tuple[Comparison, ...]


class _Record(msgspec.Struct, frozen=True):
    """What an experiment's row keeps of its end."""

    posts: int = 0
    arms: tuple[ArmState, ...] = ()
    comparisons: tuple[Comparison, ...] = ()


async def settle_experiment(
    session: AsyncSession, experiment: Experiment, *, now: datetime
) -> Outlook:
    """Say how an experiment stands, and end one that runs and whose posts decide it.

    What had ended shows what it ended with, whatever came in since.
    """
    concepts = await count_concepts(session, experiment)
    if experiment.status != "running":
        record = msgspec.convert(experiment.document, _Record)
        return Outlook(experiment, concepts, record.posts, record.arms, record.comparisons)
    labels = [arm.label for arm in arms_of(experiment)]
    verdict = judge(
        await _posts(session, experiment),
        labels,
        alpha=experiment.alpha,
        most_posts=experiment.most_posts,
    )
    outlook = Outlook(
        experiment,
        concepts,
        verdict.posts,
        tuple(states_of(verdict.arms, alpha=experiment.alpha)),
        tuple(compare(verdict.arms, alpha=experiment.alpha)),
    )
    if verdict.winner is not None:
        await _end(session, outlook, "decided", winner=verdict.winner, now=now)
    elif verdict.posts >= experiment.most_posts:
        await _end(session, outlook, "undecided", winner=None, now=now)
    return outlook


async def stop_experiment(
    session: AsyncSession, experiment: Experiment, *, now: datetime
) -> Outlook:
    """End an experiment by hand, where its posts have not decided it by now."""
    if experiment.status != "running":
        raise BadInput(f"The experiment {experiment.name!r} has ended.", hint="Nothing is to do.")
    outlook = await settle_experiment(session, experiment, now=now)
    if experiment.status == "running":
        await _end(session, outlook, "stopped", winner=None, now=now)
    return outlook


async def count_concepts(session: AsyncSession, experiment: Experiment) -> int:
    """Count the concepts that take part."""
    counted = select(func.count(ConceptVariant.concept_id.distinct())).where(
        ConceptVariant.experiment_id == experiment.id
    )
    return await session.scalar(counted) or 0


async def _end(
    session: AsyncSession, outlook: Outlook, status: str, *, winner: str | None, now: datetime
) -> None:
    experiment = outlook.experiment
    experiment.status, experiment.winner, experiment.decided_at = status, winner, now
    record = _Record(outlook.posts, outlook.arms, outlook.comparisons)
    experiment.document = msgspec.to_builtins(record)
    await session.flush()


async def _posts(session: AsyncSession, experiment: Experiment) -> list[tuple[str, float]]:
    """Give arm and value of each post, in the order in which they were learnt.

    The value is the score less what was foretold of the concept before it was given an arm: the
    forecast cannot know the arm, and takes away what has nothing to do with it.
    """
    score = (PerformanceFeedback.engagement_score + PerformanceFeedback.reach_score) / 2
    query = (
        select(ConceptVariant.label, score - Prediction.score)
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
        .order_by(PerformanceFeedback.applied_no)
        .limit(experiment.most_posts)
    )
    rows = await session.execute(query)
    return [(label, float(value)) for label, value in rows if value is not None]
