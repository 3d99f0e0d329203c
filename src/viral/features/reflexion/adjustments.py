"""What a tenant is served changes by adjustments: published with evidence, watched, undone."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, or_, select, update

from viral.features.reflexion.guard import (
    FIRST_OWN,
    NEXT_OWN,
    is_lost,
    watch_challenger,
    watch_own,
)
from viral.features.reflexion.undo import revert
from viral.features.reflexion.versions import PUBLISH_DEVIATIONS, PUBLISH_POINTS
from viral.features.scoring.effects import OWN_FAMILIES
from viral.features.scoring.labels import label_of, points
from viral.learner.families import HYPOTHESES
from viral.learner.interval import Z_80
from viral.schema.base import uuid7, uuid7_run
from viral.schema.learning import LearnerEffect, ReflexionInsight, ScoringAdjustment, SelfCritique

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.reflexion.critiques import Judged
    from viral.features.reflexion.guard import Pooled
    from viral.learner.families import EffectKey
    from viral.schema.vocabulary import Confidence

# Two-sided 90 % and 99 % of a normal distribution.
MEDIUM_Z, HIGH_Z = 1.64, 2.5
_PLAIN_FAMILIES = tuple(name for name in OWN_FAMILIES if name not in HYPOTHESES.values())


async def guard_adjustments(
    session: AsyncSession,
    platform: str,
    judged: Sequence[Judged],
    *,
    pooled: Pooled,
    after_no: int,
    now: datetime,
) -> list[ScoringAdjustment]:
    """Publish the tenant's learnt effects if they are proven, or take back those that are not.

    `after_no` is the place of the platform's newest result. Gives what was published.
    """
    newest = await newest_publication(session, platform)
    since = 0 if newest is None else newest.after_no
    if newest is not None and newest.reverted_at is None:
        watch = await watch_own(session, platform, after=since)
        if is_lost(watch.guard):
            reason = (
                f"guard: {watch.guard.results} results missed by {watch.error:.1f} points with it,"
                f" {watch.other_error:.1f} without"
            )
            await revert(session, await _of_moment(session, newest), reason=reason, now=now)
            return []
    own = (await watch_challenger(session, platform, after=since)).guard
    needed = FIRST_OWN if newest is None else NEXT_OWN
    # What all tenants' results show, the tenant's own must not contradict.
    if not pooled.is_sure or own.results < needed or own.mean <= 0:
        return []
    return await publish_adjustments(session, platform, judged, after_no=after_no, now=now)


async def newest_publication(session: AsyncSession, platform: str) -> ScoringAdjustment | None:
    """Find an adjustment of the newest that the guard published.

    Insights have their own watch; what a person overrode needs none.
    """
    return await session.scalar(
        select(ScoringAdjustment)
        .where(
            ScoringAdjustment.platform == platform,
            ScoringAdjustment.insight_id.is_(None),
            ScoringAdjustment.adjustment_type.in_(OWN_FAMILIES),
            ScoringAdjustment.after_no > 0,
        )
        .order_by(
            ScoringAdjustment.applied_at.desc(),
            ScoringAdjustment.reverted_at.desc().nulls_first(),
            ScoringAdjustment.id,
        )
        .limit(1)
    )


async def publish_adjustments(
    session: AsyncSession,
    platform: str,
    judged: Sequence[Judged],
    *,
    after_no: int,
    now: datetime,
) -> list[ScoringAdjustment]:
    """Serve the tenant's effects that moved enough, each as one adjustment that can be undone."""
    insights = await _confirmed(session, platform)
    moved = await _moved_effects(session, platform, insights)
    if not moved:
        return []
    critiques = _critiques_by_effect(judged)
    summary = _summary(moved, now=now)
    adjustments = []
    await session.execute(
        update(LearnerEffect)
        .where(LearnerEffect.platform == platform, LearnerEffect.former.is_not(None))
        .values(former=None)
        .execution_options(synchronize_session=False)
    )
    for row, adjustment_id in zip(moved, uuid7_run(len(moved)), strict=True):
        key = row.family, row.key
        critique = critiques.get((platform, *key), summary)
        critique.applied_at = now
        each = adjustment(row, adjustment_id, critique.id, after_no=after_no, now=now)
        each.insight_id = insights.get(key)
        adjustments.append(each)
        # An insight is watched by itself, where it fires.
        row.former = row.published if each.insight_id is None else None
        row.published = row.mean
    if any(each.critique_id == summary.id for each in adjustments):
        session.add(summary)
        await session.flush()
    session.add_all(adjustments)
    await session.flush()
    return adjustments


def adjustment(
    row: LearnerEffect, adjustment_id: UUID, critique_id: UUID, *, after_no: int, now: datetime
) -> ScoringAdjustment:
    """Write down that the learnt value of an effect is served."""
    half = Z_80 * sqrt(row.variance)
    low, high = row.mean - half, row.mean + half
    videos = "1 video" if row.samples == 1 else f"{row.samples} videos"
    return ScoringAdjustment(
        id=adjustment_id,
        critique_id=critique_id,
        platform=row.platform,
        goal=row.goal,
        adjustment_type=row.family,
        category=row.key,
        old_value=row.published,
        new_value=row.mean,
        reason=f"{videos} of yours; 80 % interval {points(low)} to {points(high)} points.",
        evidence={
            "samples": row.samples,
            "low": round(low, 2),
            "high": round(high, 2),
            "confidence": confidence_of(row.mean, row.variance),
        },
        applied_at=now,
        after_no=after_no,
    )


def confidence_of(mean: float, variance: float) -> Confidence:
    """Grade an effect by how many of its standard deviations it is away from nothing."""
    z = abs(mean) / sqrt(variance) if variance > 0 else 0.0
    if z < MEDIUM_Z:
        return "low"
    return "medium" if z < HIGH_Z else "high"


async def _of_moment(
    session: AsyncSession, newest: ScoringAdjustment
) -> Sequence[ScoringAdjustment]:
    rows = await session.scalars(
        select(ScoringAdjustment)
        .where(
            ScoringAdjustment.platform == newest.platform,
            ScoringAdjustment.applied_at == newest.applied_at,
            ScoringAdjustment.insight_id.is_(None),
            ScoringAdjustment.reverted_at.is_(None),
        )
        .order_by(ScoringAdjustment.id)
        .with_for_update()
    )
    return rows.all()


async def _confirmed(session: AsyncSession, platform: str) -> dict[EffectKey, UUID]:
    rows = await session.execute(
        select(
            ReflexionInsight.confidence, ReflexionInsight.pattern_key, ReflexionInsight.id
        ).where(
            ReflexionInsight.platform == platform,
            ReflexionInsight.kind == "hypothesis",
            ReflexionInsight.status == "confirmed",
        )
    )
    return {(HYPOTHESES[confidence or "medium"], key): each for confidence, key, each in rows}


async def _moved_effects(
    session: AsyncSession, platform: str, insights: Mapping[EffectKey, UUID]
) -> list[LearnerEffect]:
    """Load the tenant's effects that have moved enough to be served, and may be."""
    distance = func.abs(LearnerEffect.mean - LearnerEffect.published)
    doubt = PUBLISH_DEVIATIONS * func.sqrt(LearnerEffect.variance)
    served = [
        and_(LearnerEffect.family == family, LearnerEffect.key == key) for family, key in insights
    ]
    return list(
        await session.scalars(
            select(LearnerEffect)
            .where(
                LearnerEffect.platform == platform,
                LearnerEffect.samples > 0,
                or_(LearnerEffect.family.in_(_PLAIN_FAMILIES), *served),
                ~LearnerEffect.is_frozen,
                distance > func.greatest(PUBLISH_POINTS, doubt),
            )
            .order_by(distance.desc(), LearnerEffect.family, LearnerEffect.key)
            .execution_options(populate_existing=True)
            # An undo meanwhile would be published over.
            .with_for_update()
        )
    )


def _critiques_by_effect(judged: Sequence[Judged]) -> dict[tuple[str, str, str], SelfCritique]:
    """Find the critique of the largest miss that an effect had a share in."""
    critiques: dict[tuple[str, str, str], SelfCritique] = {}
    for each in judged:
        missed = each.answer.missed
        for key in missed.keys:
            critiques.setdefault((missed.miss.platform, *key), each.critique)
    return critiques


def _summary(moved: Sequence[LearnerEffect], *, now: datetime) -> SelfCritique:
    """Write what stands behind adjustments that no single miss explains."""
    first = moved[0]
    label = label_of(first.family, first.key)
    return SelfCritique(
        id=uuid7(),
        concept_id=None,
        performance_gap={"effects": len(moved), "platform": first.platform},
        critique=f"Results so far moved {len(moved)} effects away from what was served. "
        f"The largest move: {label}, {points(first.published)} to {points(first.mean)} points.",
        hypothesized_reasons=[label_of(row.family, row.key) for row in moved[:5]],
        scoring_issues=[],
        adjustment_plan="Serve the values that the results support.",
        confidence_level=confidence_of(first.mean - first.published, first.variance),
        critic="learner",
        created_at=now,
    )
