"""What is served changes by adjustments: published with evidence, and undone on request."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from viral.errors import AlreadyExists, BadInput, NotFound
from viral.features.generations.concepts import video_of
from viral.features.reflexion.learning import PUBLISH_DEVIATIONS, PUBLISH_POINTS
from viral.features.scoring.labels import label_of
from viral.learner.families import FAMILIES
from viral.learner.interval import Z_80
from viral.learner.video import effect_keys
from viral.schema.base import uuid7, uuid7_run
from viral.schema.learning import LearnerEffect, ScoringAdjustment, SelfCritique

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.reflexion.critiques import Judged
    from viral.schema.vocabulary import Confidence

OWN_FAMILIES = tuple(name for name, family in FAMILIES.items() if not family.is_shared)
# Two-sided 90 % and 99 % of a normal distribution.
MEDIUM_Z, HIGH_Z = 1.64, 2.5


async def publish_adjustments(
    session: AsyncSession, judged: Sequence[Judged], *, now: datetime
) -> list[ScoringAdjustment]:
    """Serve the tenant's effects that moved enough, each as one adjustment that can be undone."""
    moved = await _moved_effects(session)
    if not moved:
        return []
    critiques = _critiques_by_effect(judged)
    summary = _summary(moved, now=now)
    if any((row.platform, row.family, row.key) not in critiques for row in moved):
        session.add(summary)
        await session.flush()
    adjustments = []
    for row, adjustment_id in zip(moved, uuid7_run(len(moved)), strict=True):
        critique = critiques.get((row.platform, row.family, row.key), summary)
        critique.applied_at = now
        adjustments.append(_adjustment(row, adjustment_id, critique.id, now=now))
        row.published = row.mean
    session.add_all(adjustments)
    await session.flush()
    return adjustments


async def undo_adjustment(
    session: AsyncSession, adjustment_id: UUID, *, user_id: UUID | None, now: datetime
) -> ScoringAdjustment:
    """Serve the value from before an adjustment again, and keep the effect at it."""
    adjustment = await session.scalar(
        select(ScoringAdjustment).where(ScoringAdjustment.id == adjustment_id).with_for_update()
    )
    if adjustment is None:
        raise NotFound(
            f"There is no adjustment {adjustment_id}.", hint="See `viral reflexion status`."
        )
    if adjustment.reverted_at is not None:
        raise AlreadyExists(f"Adjustment {adjustment_id} is undone already.")
    later = await session.scalar(
        select(ScoringAdjustment.id)
        .where(
            ScoringAdjustment.platform == adjustment.platform,
            ScoringAdjustment.goal == adjustment.goal,
            ScoringAdjustment.adjustment_type == adjustment.adjustment_type,
            ScoringAdjustment.category == adjustment.category,
            ScoringAdjustment.reverted_at.is_(None),
            ScoringAdjustment.id > adjustment.id,
        )
        .order_by(ScoringAdjustment.id.desc())
        .limit(1)
    )
    if later is not None:
        raise BadInput(
            f"A later adjustment changed the same effect: {later}.", hint="Undo that one first."
        )
    await session.execute(
        update(LearnerEffect)
        .where(
            LearnerEffect.platform == adjustment.platform,
            LearnerEffect.goal == adjustment.goal,
            LearnerEffect.family == adjustment.adjustment_type,
            LearnerEffect.key == adjustment.category,
        )
        .values(published=adjustment.old_value, is_frozen=True)
    )
    adjustment.reverted_at = now
    adjustment.reverted_by = user_id
    await session.flush()
    return adjustment


def confidence_of(mean: float, variance: float) -> Confidence:
    """Grade an effect by how many of its standard deviations it is away from nothing."""
    z = abs(mean) / sqrt(variance) if variance > 0 else 0.0
    if z < MEDIUM_Z:
        return "low"
    return "medium" if z < HIGH_Z else "high"


async def _moved_effects(session: AsyncSession) -> list[LearnerEffect]:
    """Load the tenant's effects that have moved enough to be served, and may be."""
    distance = func.abs(LearnerEffect.mean - LearnerEffect.published)
    doubt = PUBLISH_DEVIATIONS * func.sqrt(LearnerEffect.variance)
    return list(
        await session.scalars(
            select(LearnerEffect)
            .where(
                LearnerEffect.samples > 0,
                LearnerEffect.family.in_(OWN_FAMILIES),
                ~LearnerEffect.is_frozen,
                distance > func.greatest(PUBLISH_POINTS, doubt),
            )
            .order_by(distance.desc(), LearnerEffect.family, LearnerEffect.key)
            # An undo meanwhile would be published over.
            .with_for_update()
        )
    )


def _critiques_by_effect(judged: Sequence[Judged]) -> dict[tuple[str, str, str], SelfCritique]:
    """Find the critique of the largest miss that an effect had a share in."""
    critiques: dict[tuple[str, str, str], SelfCritique] = {}
    for each in judged:
        feedback = each.feedback
        video = video_of(
            each.concept, published_at=feedback.published_at, followers=feedback.followers
        )
        for key in effect_keys(video):
            critiques.setdefault((feedback.platform, *key), each.critique)
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
        f"The largest move: {label}, {first.published:+.1f} to {first.mean:+.1f} points.",
        hypothesized_reasons=[label_of(row.family, row.key) for row in moved[:5]],
        scoring_issues=[],
        adjustment_plan="Serve the values that the results support.",
        confidence_level=confidence_of(first.mean - first.published, first.variance),
        critic="learner",
        created_at=now,
    )


def _adjustment(
    row: LearnerEffect, adjustment_id: UUID, critique_id: UUID, *, now: datetime
) -> ScoringAdjustment:
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
        reason=f"{videos} of yours; 80 % interval {low:+.1f} to {high:+.1f} points.",
        evidence={
            "samples": row.samples,
            "low": round(low, 2),
            "high": round(high, 2),
            "confidence": confidence_of(row.mean, row.variance),
        },
        applied_at=now,
    )
