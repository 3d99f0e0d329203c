"""Misses outside their interval are critiqued; what lies inside is noise and gets no story.

A critic may take minutes and money: it is asked while no transaction is open, a few misses at a
time, up to a number a run, a number a day and the tenant's cost a day.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from viral.errors import ViralError
from viral.features.reflexion.critic import Critic, Critique, Miss, Neighbour
from viral.features.reflexion.neighbours import earlier_results, foretold, nearest
from viral.features.reflexion.results import unjudged_places, unjudged_predicted
from viral.features.scoring.predictions import reasons_of
from viral.learner.video import effect_keys
from viral.schema.base import uuid7
from viral.schema.learning import SelfCritique
from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.reflexion.results import Result
    from viral.learner.families import EffectKey
    from viral.schema.content import Concept
    from viral.schema.vocabulary import Direction

MOST_A_RUN = 20
MOST_A_DAY = 60
ASKED_AT_ONCE = 3
# The specification's measure of an accurate prediction.
ACCURATE_WITHIN = 0.2
MODEL = "model"


@dataclass(frozen=True, slots=True)
class Missed:
    """A miss, the rows that it is of, and the effects that had a share in it."""

    miss: Miss
    feedback_id: UUID
    concept_id: UUID
    keys: tuple[EffectKey, ...]


@dataclass(slots=True)
class Findings:
    """What a tenant's new results show: the misses to ask about; by platform, their places."""

    misses: list[Missed] = field(default_factory=list)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a critic made of a miss; capped, the offline one for want of the day's money."""

    missed: Missed
    critique: Critique
    critic: str
    is_capped: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """A stored critique with its answer."""

    critique: SelfCritique
    answer: Answer


@dataclass(slots=True)
class Purse:
    """What a tenant has spent since midnight, and may spend; None is without a limit."""

    spent: Decimal
    most: Decimal | None

    @property
    def is_empty(self) -> bool:
        return self.most is not None and self.spent >= self.most


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


async def find_misses(session: AsyncSession, *, now: datetime) -> Findings:
    """Find the tenant's largest new misses, as many as may be critiqued today."""
    found = Findings(places=await unjudged_places(session))
    misses = [
        (result, concept)
        for result, concept in await unjudged_predicted(session)
        if result.served is not None
        and not result.served.low <= outcome_of(result.feedback) <= result.served.high
    ]
    misses.sort(key=lambda each: (-abs(_gap(each[0])), each[0].feedback.id))
    left = MOST_A_DAY - await _count_today(session, now=now)
    misses = misses[: max(0, min(MOST_A_RUN, left))]
    platforms = {result.feedback.platform for result, _ in misses}
    earlier = {platform: await earlier_results(session, platform) for platform in platforms}
    found.misses = [_missed(result, concept, earlier) for result, concept in misses]
    return found


async def ask_critic(
    misses: Sequence[Missed], critic: Critic, offline: Critic, *, purse: Purse
) -> list[Answer]:
    """Have every miss explained, in their order; `offline` answers where the critic cannot."""
    turns = asyncio.Semaphore(ASKED_AT_ONCE)

    async def ask(missed: Missed) -> Answer:
        async with turns:
            return await _ask(missed, critic, offline, purse=purse)

    return list(await asyncio.gather(*(ask(missed) for missed in misses)))


async def store_critiques(
    session: AsyncSession, found: Findings, answers: Sequence[Answer], *, now: datetime
) -> list[Judged]:
    """Store the critiques of results that nobody judged meanwhile, and mark all as judged."""
    unjudged = PerformanceFeedback.judged_at.is_(None)
    waiting = set(
        await session.scalars(
            select(PerformanceFeedback.id).where(
                PerformanceFeedback.id.in_([each.missed.feedback_id for each in answers]), unjudged
            )
        )
    )
    judged = [
        Judged(_critique_row(each, now=now), each)
        for each in answers
        if each.missed.feedback_id in waiting
    ]
    session.add_all([each.critique for each in judged])
    await session.flush()
    for platform, (_, newest) in found.places.items():
        await session.execute(
            update(PerformanceFeedback)
            .where(
                PerformanceFeedback.platform == platform,
                PerformanceFeedback.applied_no <= newest,
                unjudged,
            )
            .values(judged_at=func.now())
            .execution_options(synchronize_session=False)
        )
    return judged


async def _ask(missed: Missed, critic: Critic, offline: Critic, *, purse: Purse) -> Answer:
    if critic is offline:
        return Answer(missed, await offline.critique(missed.miss), offline.name)
    if is_capped := purse.is_empty:
        note = f"The day's {purse.most} USD for {critic.name} are spent"
    else:
        try:
            critique = await critic.critique(missed.miss)
        except ViralError as error:
            note = f"{critic.name} could not answer ({error.code})"
        else:
            purse.spent += critique.usage.cost
            return Answer(missed, critique, critique.critic or critic.name)
    critique = replace(
        await offline.critique(missed.miss), note=f"{note}; the offline critic wrote this."
    )
    return Answer(missed, critique, offline.name, is_capped)


async def _count_today(session: AsyncSession, *, now: datetime) -> int:
    counted = select(func.count()).where(
        SelfCritique.feedback_id.is_not(None), SelfCritique.created_at >= _midnight(now)
    )
    return await session.scalar(counted) or 0


def _midnight(now: datetime) -> datetime:
    return datetime.combine(now.astimezone(UTC).date(), time(), UTC)


def _gap(result: Result) -> float:
    assert result.served is not None
    return outcome_of(result.feedback) - result.served.score


def _missed(result: Result, concept: Concept, earlier: Mapping[str, Sequence[Result]]) -> Missed:
    feedback, served, video = result.feedback, result.served, result.video
    assert served is not None
    actual = round(outcome_of(feedback), 1)
    miss = Miss(
        title=concept.title,
        category=concept.category,
        platform=feedback.platform,
        predicted=served.score,
        low=served.low,
        high=served.high,
        actual=actual,
        engagement_rate=feedback.engagement_rate,
        views=feedback.views,
        reasons=reasons_of(served.reasons),
        direction=direction_of(predicted=served.score, actual=actual),
        published_at=feedback.published_at,
        hook=concept.hook,
        hook_type=concept.hook_type,
        tags=video.tags,
        duration_s=concept.duration_s,
        sound=concept.sound,
        script_features=video.script,
        neighbours=tuple(
            Neighbour(
                title=each.video.title,
                category=each.video.category,
                predicted=round(foretold(each), 1),
                actual=round(outcome_of(each.feedback), 1),
            )
            for each in nearest(result, earlier[feedback.platform])
        ),
    )
    return Missed(miss, feedback.id, feedback.concept_id, effect_keys(video))


def _critique_row(answer: Answer, *, now: datetime) -> SelfCritique:
    miss, critique, usage = answer.missed.miss, answer.critique, answer.critique.usage
    gap = round(miss.actual - miss.predicted, 1)
    issues = [*critique.issues, *([critique.note] if critique.note else [])]
    return SelfCritique(
        id=uuid7(),
        concept_id=answer.missed.concept_id,
        feedback_id=answer.missed.feedback_id,
        performance_gap={
            "concept_id": str(answer.missed.concept_id),
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
            **({MODEL: usage.model} if usage.model else {}),
        },
        critique=critique.text,
        hypothesized_reasons=list(critique.reasons),
        scoring_issues=issues,
        adjustment_plan=critique.plan,
        confidence_level=critique.confidence,
        critic=answer.critic,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost=usage.cost,
        created_at=now,
    )
