"""Take results into the learner's state, in one order that a replay can follow."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from viral.database.bulk import as_arrays, unnested
from viral.features.reflexion.held import HeldState
from viral.features.reflexion.outcomes import current_outcomes, refit_outcomes
from viral.features.reflexion.results import (
    BATCH,
    Result,
    last_place,
    load_named,
    load_results,
    outdated_results,
    waiting_results,
)
from viral.features.scoring.hypotheses import Hypotheses, all_hypotheses, with_hypotheses
from viral.features.scoring.predictions import Band, score_band
from viral.learner.effects import Effect, start_of
from viral.learner.families import FAMILIES, GLOBAL
from viral.learner.interval import next_width
from viral.learner.scale import squeezed
from viral.schema.learning import LearnerEffect, SharedEffect
from viral.schema.results import PerformanceFeedback
from viral.schema.vocabulary import GOALS, Goal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.reflexion.outcomes import Outcomes
    from viral.features.scoring.effects import Learners
    from viral.learner.terms import Means

_NOTED = ("applied_no", "engagement_score", "reach_score")
# Objects between two looks for garbage while learning: about two batches' worth.
ALLOCATIONS = 1_000_000
USUAL = gc.get_threshold()
# Written when a result is first learnt: what was served then cannot be found out later.
_FIRST_NOTED = ("challenger_error", "champion_error", "former_error", "residual")


@dataclass(slots=True)
class Applied:
    """What a run took in on one platform."""

    platform: str
    results: int = 0
    tenants: set[UUID] = field(default_factory=set)
    is_replay: bool = False


@dataclass(frozen=True, slots=True)
class Learnt:
    """A result's place and scores, and how far each view of the default score missed them."""

    place: int
    scores: dict[Goal, float]
    challenger_error: float
    champion_error: float
    former_error: float
    residual: float


async def apply_results(
    session: AsyncSession,
    platform: str,
    *,
    now: datetime,
    hashed: Callable[[str], str],
    progress: Callable[[int], None] | None = None,
) -> Applied:
    """Learn from every result of a platform that waits, as the system role, under its lock.

    Idempotent: a video counts once, however often its counts were read. New outcome tables make
    the whole history count again, in the order it was first applied in.
    """
    await _make_locks(session, platform)
    await hold_learning(session, platform)
    applied = Applied(platform)
    if await refit_outcomes(session, platform, now=now):
        await forget_state(session, platform)
        applied.is_replay = await last_place(session, platform) > 0
    outcomes = await current_outcomes(session, platform)
    hypotheses = await all_hypotheses(session, platform)
    with rare_collections():
        state = await HeldState.begin(session, platform, hashed)
        async for results in _batches(session, platform, outcomes.version):
            await _apply_batch(session, state, results, outcomes=outcomes, hypotheses=hypotheses)
            await state.relieve()
            applied.results += len(results)
            applied.tenants |= {result.feedback.tenant_id for result in results}
            session.expunge_all()
            if progress is not None:
                progress(applied.results)
        await state.save()
    return applied


def learn(
    learners: Learners, width: Effect, result: Result, scores: dict[Goal, float], *, place: int
) -> Learnt:
    """Update both goals, and the width of the default score's interval, by one result."""
    served = result.served
    intervals: dict[Goal, tuple[float, float] | None] = {"engagement": None, "reach": None}
    if served is not None:
        intervals["engagement"] = served.engagement_low, served.engagement_high
        intervals["reach"] = served.reach_low, served.reach_high
    updates = [
        learners[goal].update(result.video, scores[goal], result.day, served=intervals[goal])
        for goal in GOALS
    ]
    if served is not None:
        band = Band(served.score, served.low, served.high)
    else:
        foretold = [squeezed(each.means.live) for each in updates]
        band = score_band(foretold, [each.sd for each in updates], width=width.mean)
    outcome = sum(scores.values()) / len(scores)
    width.mean = next_width(width.mean, is_miss=not band.low <= outcome <= band.high)
    width.n += 1
    width.day = max(width.day, result.day)
    return _learnt(place, scores, outcome, [each.means for each in updates])


def is_shared_place(place: int) -> bool:
    """Tell what a result's former error is of: what tenants share, or the tenant's own effects.

    They take turns: were both former at once, a bad version would be blamed on good adjustments.
    """
    return place % 2 == 1


async def hold_learning(session: AsyncSession, *platforms: str) -> None:
    """Let nobody else learn on these platforms until the transaction ends, as the system role."""
    await session.execute(
        select(SharedEffect.key)
        .where(SharedEffect.platform.in_(platforms), SharedEffect.family == GLOBAL[0])
        .order_by(SharedEffect.platform, SharedEffect.goal)
        .with_for_update()
    )


async def forget_state(session: AsyncSession, platform: str) -> None:
    """Let every effect of a platform start anew, while what is published stays."""
    for table in (SharedEffect, LearnerEffect):
        await session.execute(
            update(table).where(table.platform == platform).values(samples=0, day=0)
        )


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for cycles of garbage rarely: batches make few, and looking took a quarter of the time.

    Not never: whatever else runs in this process meanwhile may make them.
    """
    gc.set_threshold(ALLOCATIONS, *USUAL[1:])
    try:
        yield
    finally:
        # Not as it was found: of two that overlap, the second finds what the first has set.
        gc.set_threshold(*USUAL)


async def _batches(
    session: AsyncSession, platform: str, version: int
) -> AsyncIterator[list[Result]]:
    """Give what was scored with older tables once more, then what waits."""
    while results := await load_results(session, outdated_results(platform, version)):
        yield results
    waiting = await waiting_results(session, platform)
    for first in range(0, len(waiting), BATCH):
        yield await load_named(session, waiting[first : first + BATCH])


async def _make_locks(session: AsyncSession, platform: str) -> None:
    """Make the first rows of a platform, which are its locks as well."""
    for goal in GOALS:
        first = insert(SharedEffect).values(
            platform=platform,
            goal=goal,
            family=GLOBAL[0],
            key=GLOBAL[1],
            mean=start_of(GLOBAL),
            variance=FAMILIES[GLOBAL[0]].prior_variance,
            samples=0,
            day=0,
            tenants=0,
            published=start_of(GLOBAL),
        )
        await session.execute(first.on_conflict_do_nothing())


async def _apply_batch(
    session: AsyncSession,
    state: HeldState,
    results: Sequence[Result],
    *,
    outcomes: Outcomes,
    hypotheses: Hypotheses,
) -> None:
    last = await last_place(session, state.platform)
    # A result that is learnt again keeps its place.
    places = [
        result.feedback.applied_no or last + number for number, result in enumerate(results, 1)
    ]
    results = [
        Result(each.feedback, with_hypotheses(each.video, hypotheses, place=place), each.served)
        for each, place in zip(results, places, strict=True)
    ]
    await state.load(result.video for result in results)
    learnt = []
    for result, place in zip(results, places, strict=True):
        scores = outcomes.scores(
            views=result.feedback.views, engagement_rate=result.feedback.engagement_rate
        )
        learnt.append((result, learn(state.learners, state.width, result, scores, place=place)))
    await _note_applied(session, learnt, version=outcomes.version)


def _learnt(
    place: int, scores: dict[Goal, float], outcome: float, means: Sequence[Means]
) -> Learnt:
    live = sum(squeezed(each.live) for each in means) / len(means)
    published = sum(squeezed(each.published) for each in means) / len(means)
    former = sum(
        squeezed(each.shared_former if is_shared_place(place) else each.own_former)
        for each in means
    ) / len(means)
    plain = sum(squeezed(each.plain) for each in means) / len(means)
    return Learnt(
        place=place,
        scores=scores,
        challenger_error=abs(live - outcome),
        champion_error=abs(published - outcome),
        former_error=abs(former - outcome),
        residual=outcome - plain,
    )


async def _note_applied(
    session: AsyncSession, learnt: Sequence[tuple[Result, Learnt]], *, version: int
) -> None:
    """Write each result's place in the order, its scores, and at first how far views missed it."""
    names = ("tenant_id", "id", *_NOTED, *_FIRST_NOTED)
    rows = []
    for result, each in learnt:
        feedback = result.feedback
        is_first = feedback.applied_no is None
        errors = [getattr(each, name) if is_first else None for name in _FIRST_NOTED]
        scores = each.scores["engagement"], each.scores["reach"]
        rows.append((feedback.tenant_id, feedback.id, each.place, *scores, *errors))
    values = unnested(PerformanceFeedback, names)
    await session.execute(
        update(PerformanceFeedback)
        .where(
            PerformanceFeedback.tenant_id == values.c.tenant_id,
            PerformanceFeedback.id == values.c.id,
        )
        .values(
            outcome_version=version,
            **{name: values.c[name] for name in _NOTED},
            **{
                name: func.coalesce(getattr(PerformanceFeedback, name), values.c[name])
                for name in _FIRST_NOTED
            },
        )
        .execution_options(synchronize_session=False),
        as_arrays(rows, names),
    )
