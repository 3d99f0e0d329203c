"""Take results into the learner's state, in one order that a replay can follow."""

from __future__ import annotations

import asyncio
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
_ROW = ("tenant_id", "id", *_NOTED, *_FIRST_NOTED)
_Row = tuple[object, ...]
# A place in the order of learning, and what is learnt there.
_Placed = tuple[int, Result]


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
        rows: list[_Row] = []
        async for batch in _batches(session, platform, outcomes.version, hypotheses):
            await state.load(result.video for _, result in batch)
            # The server notes one batch while the next is learnt.
            rows, _ = await asyncio.gather(
                asyncio.to_thread(_learn_batch, state, batch, outcomes),
                _note_applied(session, rows, version=outcomes.version),
            )
            await state.relieve()
            applied.results += len(batch)
            applied.tenants |= {result.feedback.tenant_id for _, result in batch}
            if progress is not None:
                progress(applied.results)
        await _note_applied(session, rows, version=outcomes.version)
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
    session: AsyncSession, platform: str, version: int, hypotheses: Hypotheses
) -> AsyncIterator[list[_Placed]]:
    """Give what was scored with older tables at its old place, then what waits behind the last.

    Their rows are the session's no longer: a thread may read them.
    """
    place = 0
    while results := await load_results(session, outdated_results(platform, version, after=place)):
        batch = [_placed(result, result.feedback.applied_no or 0, hypotheses) for result in results]
        place, _ = batch[-1]
        session.expunge_all()
        yield batch
    place = await last_place(session, platform)
    waiting = await waiting_results(session, platform)
    for first in range(0, len(waiting), BATCH):
        results = await load_named(session, waiting[first : first + BATCH])
        batch = [
            _placed(result, place, hypotheses) for place, result in enumerate(results, place + 1)
        ]
        place += len(batch)
        session.expunge_all()
        yield batch


def _placed(result: Result, place: int, hypotheses: Hypotheses) -> _Placed:
    """Give a result its place in the order, and its video the hypotheses that are live there."""
    video = with_hypotheses(result.video, hypotheses, place=place)
    return place, Result(result.feedback, video, result.served)


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


def _learn_batch(state: HeldState, batch: Sequence[_Placed], outcomes: Outcomes) -> list[_Row]:
    """Learn from results in order; what there is to note of each."""
    rows: list[_Row] = []
    for place, result in batch:
        feedback = result.feedback
        scores = outcomes.scores(views=feedback.views, engagement_rate=feedback.engagement_rate)
        learnt = learn(state.learners, state.width, result, scores, place=place)
        is_first = feedback.applied_no is None
        errors = [getattr(learnt, name) if is_first else None for name in _FIRST_NOTED]
        noted = place, scores["engagement"], scores["reach"]
        rows.append((feedback.tenant_id, feedback.id, *noted, *errors))
    return rows


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


async def _note_applied(session: AsyncSession, rows: Sequence[_Row], *, version: int) -> None:
    """Write each result's place in the order, its scores, and at first how far views missed it."""
    if not rows:
        return
    values = unnested(PerformanceFeedback, _ROW)
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
        as_arrays(rows, _ROW),
    )
