"""Reflexion on one page: how much less predictions miss, whether bands hold, what is on trial."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the API reads annotations at run time
from math import sqrt
from statistics import fmean, stdev
from typing import TYPE_CHECKING
from uuid import UUID  # noqa: TC003 - as above

from sqlalchemy import func, select

from viral.features.reflexion.adjustments import newest_publication
from viral.features.reflexion.guard import FIRST_OWN, NEXT_OWN, watch_challenger, watch_own
from viral.features.reflexion.status import (
    Accuracy,
    ScoredResult,
    accuracy_of,
    count_results,
    scored_results,
)
from viral.learner.interval import Z_80
from viral.schema.learning import ModelVersion, ReflexionInsight, ScoringAdjustment
from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.reflexion.guard import Watch

# Points that one bar of the calibration spans.
BIN = 20
FEWEST_TO_COMPARE = 10
# The newest predicted results that the report is made of: more would tell nothing else.
MOST_COMPARED = 5_000
MOST_INSIGHTS = 20


@dataclass(frozen=True, slots=True)
class Comparison:
    """Mean absolute errors without and with learning over predicted results, in points.

    `gain` is their difference, `low` and `high` its 80 % interval.
    """

    results: int
    without_learning: float
    with_learning: float
    gain: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Predictions from `low` to `high` points beside what became of them."""

    low: int
    high: int
    results: int
    predicted: float
    actual: float
    inside: float


@dataclass(frozen=True, slots=True)
class OwnGuard:
    """Where a tenant's effects stand on a platform; leads in points, positive is better.

    `needed` results until the next publication may be; `lead` is what it would gain, in mean and
    standard errors. `watched` results tell whether the newest publication gained: `watched_lead`.
    """

    platform: str
    version: int
    learnt: int
    needed: int
    lead: float
    lead_z: float
    watched: int
    watched_lead: float
    watched_z: float


@dataclass(frozen=True, slots=True)
class TestedInsight:
    """A hypothesis with its evidence: firings, contrast in points, z, gain at each firing.

    `sign` is +1 where its critic guessed that such videos do better, -1 for worse.
    """

    id: UUID
    platform: str
    pattern: str
    status: str
    critic: str
    confidence: str
    sign: int
    firings: int
    effect: float
    low: float
    high: float
    z: float | None
    gain: float | None
    is_applied: bool
    discovered_at: datetime


@dataclass(frozen=True, slots=True)
class CriticCalibration:
    """How many of a critic's hypotheses of a stated confidence were decided, and confirmed."""

    critic: str
    confidence: str
    stated: int
    decided: int
    confirmed: int


@dataclass(frozen=True, slots=True)
class Adjustments:
    """How many changes are served, and how many were taken back, by whom."""

    active: int
    undone_by_guard: int
    undone_by_hand: int


@dataclass(frozen=True, slots=True)
class ReflexionReport:
    """Everything that the page and `viral reflexion report` show."""

    learned: int
    waiting: int
    latest: Accuracy | None
    comparison: Comparison | None
    calibration: tuple[Calibration, ...]
    guards: tuple[OwnGuard, ...]
    insights: tuple[TestedInsight, ...]
    critics: tuple[CriticCalibration, ...]
    adjustments: Adjustments


async def reflexion_report(session: AsyncSession) -> ReflexionReport:
    """Gather the report of the session's tenant."""
    learned, waiting = await count_results(session)
    results = await scored_results(session, most=MOST_COMPARED)
    return ReflexionReport(
        learned=learned,
        waiting=waiting,
        latest=accuracy_of(results),
        comparison=compare(results),
        calibration=calibrate(results),
        guards=tuple(await own_guards(session)),
        insights=tuple(await tested_insights(session, limit=MOST_INSIGHTS)),
        critics=tuple(await critic_calibration(session)),
        adjustments=await _count_adjustments(session),
    )


def compare(results: Sequence[ScoredResult]) -> Comparison | None:
    """Compare errors result by result; None while there are too few to mean anything."""
    if len(results) < FEWEST_TO_COMPARE:
        return None
    gains = [each.error_without_learning - each.error for each in results]
    gain, half = fmean(gains), Z_80 * stdev(gains) / sqrt(len(gains))
    return Comparison(
        results=len(results),
        without_learning=fmean(each.error_without_learning for each in results),
        with_learning=fmean(each.error for each in results),
        gain=gain,
        low=gain - half,
        high=gain + half,
    )


def calibrate(results: Sequence[ScoredResult]) -> tuple[Calibration, ...]:
    """Group results by what was predicted: a calibrated score is met by the mean outcome."""
    bins: defaultdict[int, list[ScoredResult]] = defaultdict(list)
    for each in results:
        bins[min(int(each.predicted) // BIN, 100 // BIN - 1)].append(each)
    return tuple(
        Calibration(
            low=number * BIN,
            high=(number + 1) * BIN,
            results=len(group),
            predicted=fmean(each.predicted for each in group),
            actual=fmean(each.actual for each in group),
            inside=fmean(each.is_inside for each in group),
        )
        for number, group in sorted(bins.items())
    )


async def own_guards(session: AsyncSession) -> list[OwnGuard]:
    """Tell, for each platform with results, what the guard of the tenant's effects waits for."""
    counts = await session.execute(
        select(PerformanceFeedback.platform, func.count(PerformanceFeedback.applied_no))
        .where(PerformanceFeedback.applied_no.is_not(None))
        .group_by(PerformanceFeedback.platform)
        .order_by(PerformanceFeedback.platform)
    )
    return [await _own_guard(session, platform, learnt) for platform, learnt in counts.all()]


async def tested_insights(session: AsyncSession, *, limit: int) -> list[TestedInsight]:
    """List hypotheses: what is served first, then what is on trial, then what has ended."""
    rank = func.array_position(
        ["confirmed", "candidate", "retired", "refuted"], ReflexionInsight.status
    )
    rows = await session.scalars(
        select(ReflexionInsight)
        .where(ReflexionInsight.kind == "hypothesis")
        .order_by(rank, ReflexionInsight.evidence_count.desc(), ReflexionInsight.id)
        .limit(limit)
    )
    return [_tested(row) for row in rows]


async def critic_calibration(session: AsyncSession) -> list[CriticCalibration]:
    """Count, by critic and stated confidence, how many hypotheses later results confirmed."""
    is_confirmed = ReflexionInsight.confirmed_at.is_not(None)
    is_refuted = ReflexionInsight.status == "refuted"
    rows = await session.execute(
        select(
            ReflexionInsight.critic,
            ReflexionInsight.confidence,
            func.count(),
            func.count().filter(is_confirmed | is_refuted),
            func.count().filter(is_confirmed),
        )
        .where(ReflexionInsight.kind == "hypothesis")
        .group_by(ReflexionInsight.critic, ReflexionInsight.confidence)
        .order_by(ReflexionInsight.critic, ReflexionInsight.confidence)
    )
    return [
        CriticCalibration(critic or "", confidence or "", stated, decided, confirmed)
        for critic, confidence, stated, decided, confirmed in rows
    ]


async def _own_guard(session: AsyncSession, platform: str, learnt: int) -> OwnGuard:
    newest = await newest_publication(session, platform)
    since = 0 if newest is None else newest.after_no
    least = FIRST_OWN if newest is None else NEXT_OWN
    lead = await watch_challenger(session, platform, after=since)
    watched: Watch | None = None
    if newest is not None and newest.reverted_at is None:
        watched = await watch_own(session, platform, after=since)
    version = await session.scalar(
        select(ModelVersion.version).where(
            ModelVersion.kind == "effects",
            ModelVersion.platform == platform,
            ModelVersion.is_current,
        )
    )
    return OwnGuard(
        platform=platform,
        version=version or 0,
        learnt=learnt,
        needed=max(0, least - lead.guard.results),
        lead=lead.guard.mean,
        lead_z=lead.z,
        watched=0 if watched is None else watched.guard.results,
        watched_lead=0.0 if watched is None else watched.guard.mean,
        watched_z=0.0 if watched is None else watched.z,
    )


def _tested(row: ReflexionInsight) -> TestedInsight:
    return TestedInsight(
        id=row.id,
        platform=row.platform,
        pattern=row.pattern,
        status=row.status,
        critic=row.critic or "",
        confidence=row.confidence or "",
        sign=row.sign or 0,
        firings=row.evidence_count,
        effect=row.effect_size,
        low=row.low,
        high=row.high,
        z=row.z,
        gain=row.gain,
        is_applied=row.applied_to_scoring,
        discovered_at=row.discovered_at,
    )


async def _count_adjustments(session: AsyncSession) -> Adjustments:
    is_undone = ScoringAdjustment.reverted_at.is_not(None)
    is_guards = ScoringAdjustment.revert_reason.startswith("guard")
    row = (
        await session.execute(
            select(
                func.count().filter(~is_undone),
                func.count().filter(is_undone & func.coalesce(is_guards, False)),
                func.count().filter(is_undone & ~func.coalesce(is_guards, False)),
            ).select_from(ScoringAdjustment)
        )
    ).one()
    return Adjustments(*row)
