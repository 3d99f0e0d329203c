"""What may be published and what is taken back: errors of what is served beside those of others.

Nothing is kept but the errors that every result noted when it was learnt; a guard is folded over
them anew each time. Its rules are those of `learner.guard`, for smaller numbers as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from viral.learner.guard import LEAST_RESULTS, LEAST_Z, Guard
from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import InstrumentedAttribute

# Older results weigh less than a quarter of a percent.
WINDOW = 1_500
# Results before what is shared, or a tenant's, is first published: there is nothing to lose yet.
FIRST_SHARED = 20
FIRST_OWN = 5
# Results that a watch needs before it says anything.
LEAST_WATCH = 20
# A tenant's results between two publications: every other one tells of the earlier, as above.
NEXT_OWN = 2 * LEAST_WATCH


@dataclass(frozen=True, slots=True)
class Watch:
    """A lead of one view over another, and the mean errors of both, in points."""

    guard: Guard
    error: float
    other_error: float

    @property
    def z(self) -> float:
        """Give the lead in standard errors; 0 while there is no error to divide by."""
        error = self.guard.standard_error
        return self.guard.mean / error if error else 0.0


@dataclass(frozen=True, slots=True)
class Pooled:
    """What all tenants' results say of the learnt effects: the lead and whether it is sure."""

    watch: Watch
    is_sure: bool


async def watch_challenger(session: AsyncSession, platform: str, *, after: int) -> Watch:
    """Compare the learnt effects with the published ones on the results behind a place."""
    return await _watch(
        session,
        platform,
        PerformanceFeedback.challenger_error,
        PerformanceFeedback.champion_error,
        after=after,
    )


async def watch_version(
    session: AsyncSession, platform: str, *, after: int, earned: Guard | None = None
) -> Watch:
    """Compare the current version with the one before; `earned` is the lead it was published for.

    Every other result tells of it, as `learning.is_shared_place` has it; the rest of adjustments.
    """
    return await _watch(
        session,
        platform,
        PerformanceFeedback.champion_error,
        PerformanceFeedback.former_error,
        PerformanceFeedback.applied_no % 2 == 1,
        after=after,
        start=earned,
    )


async def watch_own(session: AsyncSession, platform: str, *, after: int) -> Watch:
    """Compare the tenant's newest adjustments with what it was served before."""
    return await _watch(
        session,
        platform,
        PerformanceFeedback.champion_error,
        PerformanceFeedback.former_error,
        PerformanceFeedback.applied_no % 2 == 0,
        after=after,
    )


def is_sure(guard: Guard, *, least: int) -> bool:
    """Tell whether a lead is beyond chance."""
    return guard.results >= least and guard.mean > LEAST_Z * guard.standard_error


def is_lost(guard: Guard) -> bool:
    """Tell whether what is published has to go: it is worse beyond chance, or no better at last."""
    if guard.results >= LEAST_RESULTS and guard.mean < 0:
        return True
    return guard.results >= LEAST_WATCH and guard.mean < -LEAST_Z * guard.standard_error


def fold(errors: Iterable[tuple[float, float]], start: Guard) -> Guard:
    """Take in pairs of errors, ours before the other's."""
    guard = start
    for ours, others in errors:
        guard = guard.observe(champion_error=others, challenger_error=ours)
    return guard


async def _watch(
    session: AsyncSession,
    platform: str,
    ours: InstrumentedAttribute[float | None],
    others: InstrumentedAttribute[float | None],
    *chosen: ColumnElement[bool],
    after: int,
    start: Guard | None = None,
) -> Watch:
    rows = await session.execute(
        select(ours, others)
        .where(
            PerformanceFeedback.platform == platform,
            PerformanceFeedback.applied_no > after,
            ours.is_not(None),
            others.is_not(None),
            *chosen,
        )
        .order_by(PerformanceFeedback.applied_no.desc())
        .limit(WINDOW)
    )
    errors = [(our or 0.0, other or 0.0) for our, other in rows]
    count = max(len(errors), 1)
    return Watch(
        guard=fold(reversed(errors), start or Guard()),
        error=sum(our for our, _ in errors) / count,
        other_error=sum(other for _, other in errors) / count,
    )
