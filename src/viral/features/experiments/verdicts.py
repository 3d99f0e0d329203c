"""What an experiment's posts say so far, and its end once they say enough."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import func, select

from viral.errors import BadInput
from viral.features.experiments.arms import arms_of
from viral.features.experiments.posts import values_of_posts
from viral.features.experiments.sequential import (
    ArmState,
    Comparison,
    compare,
    judge,
    states_of,
)
from viral.schema.content import ConceptVariant, Experiment

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession


LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Outlook:
    """An experiment with its arms and comparisons; all figures are points against the forecast.

    `concepts` take part, `posts` of them have a result that was learnt. All intervals hold at
    every look: those of the arms together, and those of the comparisons together. `reason` is that
    of whoever stopped it.
    """

    experiment: Experiment
    concepts: int
    posts: int
    arms: tuple[ArmState, ...]
    comparisons: tuple[Comparison, ...]
    reason: str = ""


class _Record(msgspec.Struct, frozen=True):
    """What an experiment's row keeps of its end; `reason` is that of whoever stopped it."""

    posts: int = 0
    arms: tuple[ArmState, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    reason: str = ""


async def settle_experiment(
    session: AsyncSession, experiment: Experiment, *, now: datetime
) -> Outlook:
    """Say how an experiment stands, and end one that runs and whose posts decide it.

    What had ended shows what it ended with, whatever came in since.
    """
    concepts = await count_concepts(session, experiment)
    if experiment.status != "running":
        record = msgspec.convert(experiment.document, _Record)
        return Outlook(
            experiment, concepts, record.posts, record.arms, record.comparisons, record.reason
        )
    labels = [arm.label for arm in arms_of(experiment)]
    verdict = judge(
        await values_of_posts(session, experiment),
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
    session: AsyncSession, experiment: Experiment, *, now: datetime, reason: str = ""
) -> Outlook:
    """End an experiment by hand, where its posts have not decided it by now.

    The reason is kept for whoever wonders later; it is of 300 characters at most.
    """
    if experiment.status != "running":
        raise BadInput(f"The experiment {experiment.name!r} has ended.", hint="Nothing is to do.")
    reason = " ".join(reason.split())
    if len(reason) > LONGEST_REASON or not reason.isprintable():
        raise BadInput(
            "The reason cannot be kept.", hint=f"Give up to {LONGEST_REASON} characters."
        )
    outlook = await settle_experiment(session, experiment, now=now)
    if experiment.status == "running":
        outlook = replace(outlook, reason=reason)
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
    record = _Record(outlook.posts, outlook.arms, outlook.comparisons, outlook.reason)
    experiment.document = msgspec.to_builtins(record)
    await session.flush()
