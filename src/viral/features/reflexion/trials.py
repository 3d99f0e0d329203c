"""Hypotheses on trial: accepted by later results, refuted by them, watched once accepted."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from statistics import fmean, pstdev
from typing import TYPE_CHECKING

from sqlalchemy import select

from viral.features.reflexion.adjustments import adjustment
from viral.features.reflexion.hypotheses import count_results_since
from viral.features.reflexion.undo import end_insight
from viral.features.scoring.labels import points
from viral.learner.contrast import LEAST_FIRINGS, Contrast, Residual, Scope, contrast
from viral.learner.families import HYPOTHESES
from viral.learner.interval import Z_80
from viral.schema.base import uuid7_run
from viral.schema.learning import (
    InsightFiring,
    LearnerEffect,
    ReflexionInsight,
    ScoringAdjustment,
    SelfCritique,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

# Looks at the growing evidence are a third apart: who looks at each result accepts chance at last.
FIRST_LOOK = 8
LOOK_GROWTH = 4 / 3
# A rejected candidate has had its chance after so many firings, a silent one after these results.
MOST_FIRINGS = 60
MOST_RESULTS = 300
LEAST_WATCHED = 15


@dataclass(frozen=True, slots=True)
class Firing:
    """One result that a hypothesis holds for: its place, residual and contrast in points."""

    place: int
    residual: float
    contrast: float


@dataclass(slots=True)
class Verdicts:
    """What became of a tenant's hypotheses in one run."""

    confirmed: list[ReflexionInsight] = field(default_factory=list)
    refuted: list[ReflexionInsight] = field(default_factory=list)
    retired: list[ReflexionInsight] = field(default_factory=list)
    adjustments: list[ScoringAdjustment] = field(default_factory=list)


async def open_insights(session: AsyncSession, platform: str) -> list[ReflexionInsight]:
    """Load the hypotheses that are tested or served."""
    return list(
        await session.scalars(
            select(ReflexionInsight)
            .where(
                ReflexionInsight.platform == platform,
                ReflexionInsight.kind == "hypothesis",
                ReflexionInsight.status.in_(("candidate", "confirmed")),
            )
            .order_by(ReflexionInsight.born_no, ReflexionInsight.id)
            .with_for_update()
        )
    )


async def try_hypotheses(
    session: AsyncSession,
    insights: Sequence[ReflexionInsight],
    *,
    shared: dict[str, Contrast],
    last_no: int,
    now: datetime,
) -> Verdicts:
    """Judge each hypothesis by its evidence; `shared` are trials over all tenants, by predicate."""
    verdicts = Verdicts()
    evidence = await _evidence(session, insights)
    for insight in insights:
        fired = evidence.get(insight.id, [])
        if insight.status == "confirmed":
            await _watch(session, insight, fired, verdicts, now=now)
        else:
            trial = shared.get(insight.pattern_key)
            await _try(session, insight, fired, trial, verdicts, last_no=last_no, now=now)
    return verdicts


def trial_of(fired: Sequence[tuple[int, Residual]], *, born_no: int, scope: Scope) -> Contrast:
    """Test on as many firings before the birth of a hypothesis as after: later ones decide.

    What came before may be what gave the idea. `fired` are places with centred residuals.
    """
    before = [residual for place, residual in fired if place <= born_no]
    later = [residual for place, residual in fired if place > born_no]
    look = _last_look(len(later))
    return contrast((before[-look:] if look else []) + later[:look], scope=scope)


def gain_of(fired: Sequence[Firing], points: float) -> float:
    """Give by how much an effect brings the errors down where it fires, in points, on average."""
    return fmean(abs(each.residual) - abs(each.residual - points) for each in fired)


def _last_look(later: int) -> int:
    look = 0
    number = FIRST_LOOK
    while number <= later:
        look = number
        number = max(number + 1, int(number * LOOK_GROWTH))
    return look


async def _try(
    session: AsyncSession,
    insight: ReflexionInsight,
    fired: Sequence[Firing],
    shared: Contrast | None,
    verdicts: Verdicts,
    *,
    last_no: int,
    now: datetime,
) -> None:
    born_no = insight.born_no or 0
    own = trial_of(
        [(each.place, Residual("", each.contrast)) for each in fired],
        born_no=born_no,
        scope="tenant",
    )
    _describe(insight, fired)
    decided = own
    if own.verdict != "accepted" and shared is not None and shared.verdict == "accepted":
        decided = shared
    insight.z = decided.later_z if decided.verdict != "waiting" else None
    if decided.verdict == "accepted" and decided.effect * (insight.sign or 0) > 0:
        verdicts.confirmed.append(insight)
        verdicts.adjustments += await _confirm(session, insight, decided, last_no=last_no, now=now)
        return
    is_contrary = decided.verdict == "accepted"
    later = sum(each.place > born_no for each in fired)
    if is_contrary or (own.verdict == "rejected" and len(fired) >= MOST_FIRINGS):
        reason = f"refuted: z {points(decided.later_z)} over {decided.firings} videos"
        await end_insight(session, insight, status="refuted", reason=reason, now=now)
        verdicts.refuted.append(insight)
    elif later < FIRST_LOOK and (
        await count_results_since(session, insight.platform, born_no) >= MOST_RESULTS
    ):
        reason = f"It held for {later} of the last {MOST_RESULTS} videos."
        await end_insight(session, insight, status="retired", reason=reason, now=now)
        verdicts.retired.append(insight)


async def _confirm(
    session: AsyncSession,
    insight: ReflexionInsight,
    decided: Contrast,
    *,
    last_no: int,
    now: datetime,
) -> list[ScoringAdjustment]:
    """Serve the effects of a hypothesis, each by an adjustment that names it and its critique."""
    insight.status, insight.confirmed_at, insight.applied_to_scoring = "confirmed", now, True
    insight.recommendation = (
        "Do more of it." if decided.effect > 0 else "Do less of it, or try another way."
    )
    assert insight.critique_id is not None
    critique = await session.get(SelfCritique, (insight.tenant_id, insight.critique_id))
    assert critique is not None
    critique.applied_at = now
    rows = (
        await session.scalars(
            select(LearnerEffect)
            .where(
                LearnerEffect.platform == insight.platform,
                LearnerEffect.family == HYPOTHESES[insight.confidence or "medium"],
                LearnerEffect.key == insight.pattern_key,
                LearnerEffect.samples > 0,
                ~LearnerEffect.is_frozen,
            )
            .order_by(LearnerEffect.goal)
            .execution_options(populate_existing=True)
            .with_for_update()
        )
    ).all()
    adjustments = []
    for row, row_id in zip(rows, uuid7_run(len(rows)), strict=True):
        each = adjustment(row, row_id, critique.id, after_no=last_no, now=now)
        each.insight_id = insight.id
        each.reason, each.evidence = _grounds(decided, each.evidence)
        row.published, row.former = row.mean, None
        adjustments.append(each)
    session.add_all(adjustments)
    await session.flush()
    return adjustments


def _grounds(decided: Contrast, evidence: dict[str, object]) -> tuple[str, dict[str, object]]:
    """Say in words and figures what a hypothesis was accepted for."""
    said = (
        f"Held for {decided.firings} videos, {points(decided.effect)} points beside the others,"
        f" z {points(decided.later_z)} on the later ones."
    )
    return said, {
        **evidence,
        "firings": decided.firings,
        "tenants": decided.tenants,
        "effect": round(decided.effect, 2),
        "z": round(decided.later_z, 2),
    }


async def _watch(
    session: AsyncSession,
    insight: ReflexionInsight,
    fired: Sequence[Firing],
    verdicts: Verdicts,
    *,
    now: datetime,
) -> None:
    """Keep an accepted hypothesis under watch: it goes once it makes errors larger."""
    _describe(insight, fired)
    rows = (
        await session.execute(
            select(ScoringAdjustment.after_no).where(ScoringAdjustment.insight_id == insight.id)
        )
    ).all()
    confirmed_no = min((place for (place,) in rows), default=0)
    later = [each for each in fired if each.place > confirmed_no]
    if not later:
        return
    insight.gain = gain = gain_of(later, await _served(session, insight))
    if len(later) >= LEAST_WATCHED and gain < 0:
        reason = f"guard: {len(later)} videos missed by {-gain:.1f} points more with it"
        await end_insight(session, insight, status="retired", reason=reason, now=now)
        verdicts.retired.append(insight)


async def _served(session: AsyncSession, insight: ReflexionInsight) -> float:
    """Give the points that the default score is served with."""
    rows = await session.scalars(
        select(LearnerEffect.published).where(
            LearnerEffect.platform == insight.platform,
            LearnerEffect.family == HYPOTHESES[insight.confidence or "medium"],
            LearnerEffect.key == insight.pattern_key,
        )
    )
    return sum(rows) / 2


def _describe(insight: ReflexionInsight, fired: Sequence[Firing]) -> None:
    """Note the evidence: how many videos, the mean contrast and its 80 % interval."""
    insight.evidence_count = len(fired)
    if len(fired) < LEAST_FIRINGS["tenant"] // 2:
        return
    points = [each.contrast for each in fired]
    half = Z_80 * pstdev(points) / sqrt(len(points))
    insight.effect_size = fmean(points)
    insight.low, insight.high = insight.effect_size - half, insight.effect_size + half


async def _evidence(
    session: AsyncSession, insights: Sequence[ReflexionInsight]
) -> dict[UUID, list[Firing]]:
    rows = await session.execute(
        select(
            InsightFiring.insight_id,
            InsightFiring.applied_no,
            InsightFiring.residual,
            InsightFiring.contrast,
        )
        .where(InsightFiring.insight_id.in_([each.id for each in insights]))
        .order_by(InsightFiring.applied_no)
    )
    found: dict[UUID, list[Firing]] = {}
    for insight_id, place, residual, lead in rows:
        found.setdefault(insight_id, []).append(Firing(place, residual, lead))
    return found
