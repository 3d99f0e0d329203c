"""The learnt state built anew from the stored results, bit for bit the one that is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import select

from viral.features.reflexion.learning import forget_state, hold_learning, learn, rare_collections
from viral.features.reflexion.results import Result, applied_results, load_results
from viral.features.scoring.effects import (
    SCORE,
    Learners,
    new_learners,
    save_learners,
    save_shared,
    state_columns,
)
from viral.features.scoring.hypotheses import all_hypotheses, with_hypotheses
from viral.learner.effects import Effect
from viral.learner.families import WIDTH
from viral.learner.interval import FIRST_WIDTH
from viral.schema.learning import LearnerEffect, SharedEffect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.ext.asyncio import AsyncSession

# Tenant ("" for shared), goal, family and key; what is learnt of it.
RowKey = tuple[str, str, str, str]
RowState = tuple[float, float, int, int, int]


@dataclass(slots=True)
class Rebuilt:
    """The state after all results; `missing` counts places of the order whose result is gone."""

    learners: Learners
    width: Effect
    results: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """A row of state that is stored otherwise than a replay makes it; None where there is none."""

    key: RowKey
    stored: RowState | None
    rebuilt: RowState | None


@dataclass(slots=True)
class Replay:
    """What a replay of one platform found."""

    platform: str
    results: int
    missing: int
    rows: int
    differences: list[Difference] = field(default_factory=list)


async def replay_platform(
    session: AsyncSession,
    platform: str,
    *,
    hashed: Callable[[str], str],
    is_check: bool,
    progress: Callable[[int], None] | None = None,
) -> Replay:
    """Rebuild a platform's state under its lock, as the system role; write it unless checking.

    Results that were erased cannot be learnt again: their shares in shared effects are then gone.
    """
    await hold_learning(session, platform)
    with rare_collections():
        rebuilt = await rebuild(session, platform, hashed=hashed, progress=progress)
    rows = dict(_rebuilt_rows(rebuilt))
    stored = await _stored_rows(session, platform)
    differences = [
        Difference(key, stored.get(key), rows.get(key))
        for key in sorted(stored.keys() | rows.keys())
        if stored.get(key) != rows.get(key)
    ]
    if differences and not is_check:
        await forget_state(session, platform)
        await save_learners(session, platform, rebuilt.learners)
        await save_shared(session, platform, SCORE, {WIDTH: rebuilt.width})
    return Replay(platform, rebuilt.results, rebuilt.missing, len(rows), differences)


async def rebuild(
    session: AsyncSession,
    platform: str,
    *,
    hashed: Callable[[str], str],
    progress: Callable[[int], None] | None = None,
) -> Rebuilt:
    """Learn from every result of a platform once more, in its order, in memory."""
    learners = new_learners(hashed)
    rebuilt = Rebuilt(learners, Effect(FIRST_WIDTH, 0.0, 0, 0, FIRST_WIDTH))
    hypotheses = await all_hypotheses(session, platform)
    place = 0
    while results := await load_results(session, applied_results(platform, after=place)):
        for result in results:
            feedback = result.feedback
            assert feedback.applied_no is not None
            assert feedback.engagement_score is not None
            assert feedback.reach_score is not None
            place = feedback.applied_no
            video = with_hypotheses(result.video, hypotheses, place=place)
            learn(
                learners,
                rebuilt.width,
                Result(feedback, video, result.served),
                {"engagement": feedback.engagement_score, "reach": feedback.reach_score},
                place=place,
            )
        rebuilt.results += len(results)
        session.expunge_all()
        if progress is not None:
            progress(rebuilt.results)
    rebuilt.missing = place - rebuilt.results
    return rebuilt


def _rebuilt_rows(rebuilt: Rebuilt) -> Iterator[tuple[RowKey, RowState]]:
    for goal, learner in rebuilt.learners.items():
        for key, effect in learner.shared.items():
            yield ("", goal, *key), _state(effect)
        for tenant, rows in learner.tenants.items():
            for key, effect in rows.items():
                yield (tenant, goal, *key), _state(effect)
    if rebuilt.results:
        yield ("", SCORE, *WIDTH), _state(rebuilt.width)


def _state(effect: Effect) -> RowState:
    return effect.mean, effect.variance, effect.n, effect.day, effect.tenants


async def _stored_rows(session: AsyncSession, platform: str) -> dict[RowKey, RowState]:
    """Load what is kept; a row without a day is as good as none."""
    rows = await session.execute(
        select(*state_columns(SharedEffect), SharedEffect.tenants).where(
            SharedEffect.platform == platform, SharedEffect.day > 0
        )
    )
    stored: dict[RowKey, RowState] = {
        ("", row.goal, row.family, row.key): (
            row.mean,
            row.variance,
            row.samples,
            row.day,
            row.tenants,
        )
        for row in rows
    }
    own = await session.execute(
        select(*state_columns(LearnerEffect), LearnerEffect.tenant_id).where(
            LearnerEffect.platform == platform, LearnerEffect.day > 0
        )
    )
    for row in own:
        key = str(row.tenant_id), row.goal, row.family, row.key
        stored[key] = row.mean, row.variance, row.samples, row.day, 0
    return stored
