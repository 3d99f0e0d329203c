"""Why a concept was scored as it was: each effect with its evidence, adjustment and insight."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the API reads annotations at run time
from typing import TYPE_CHECKING
from uuid import UUID  # noqa: TC003 - as above

from sqlalchemy import and_, false, func, or_, select

from viral.features.generations.concepts import find_concept, video_of
from viral.features.reflexion.critiques import outcome_of
from viral.features.reflexion.neighbours import earlier_results, foretold, most_alike
from viral.features.reflexion.timeline import ITS_CRITIQUE, ITS_INSIGHT
from viral.features.scoring.effects import SHARED_FAMILIES
from viral.features.scoring.predictions import Reason, reasons_of
from viral.schema.content import FORMER_MODEL
from viral.schema.learning import (
    LearnerEffect,
    ReflexionInsight,
    ScoringAdjustment,
    SelfCritique,
    SharedEffect,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.reflexion.results import Result
    from viral.schema.content import Concept, Prediction


@dataclass(frozen=True, slots=True)
class Change:
    """The newest adjustment of an effect that is served, and what stands behind it."""

    id: UUID
    goal: str
    old: float
    new: float
    evidence: str
    applied_at: datetime
    critique_id: UUID
    critique: str
    insight_id: UUID | None
    insight: str | None
    z: float | None


@dataclass(frozen=True, slots=True)
class Share:
    """One reason of a score in points, and what it rests on; `tenants` is 0 of a tenant's own."""

    family: str
    key: str
    label: str
    points: float
    videos: int
    tenants: int
    is_shared: bool
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Similar:
    """An earlier video of the tenant that is much like the concept; scores run 0..100."""

    concept_id: UUID
    title: str
    predicted: float
    actual: float
    published_at: datetime


@dataclass(frozen=True, slots=True)
class Why:
    """What was foretold of a concept on a platform, why, and what videos like it did."""

    platform: str
    score: float
    low: float
    high: float
    model_version: int
    predicted_at: datetime
    shares: tuple[Share, ...]
    similar: tuple[Similar, ...]


@dataclass(frozen=True, slots=True)
class _Evidence:
    """How many videos and tenants an effect was learnt from."""

    videos: int = 0
    tenants: int = 0


async def why_concept(
    session: AsyncSession,
    concept_id: UUID,
    *,
    hashed: Callable[[str], str],
    platform: str | None = None,
) -> tuple[Concept, list[Why]]:
    """Trace the reasons of a concept's predictions back to rows, of all platforms or of one."""
    concept = await find_concept(session, concept_id)
    ours = [each for each in explained(concept) if platform in {None, each.platform}]
    return concept, [await _why(session, concept, each, hashed=hashed) for each in ours]


def explained(concept: Concept) -> list[Prediction]:
    """Return the predictions whose reasons are known: those of another product have none."""
    return [each for each in concept.predictions if each.model_version > FORMER_MODEL]


async def _why(
    session: AsyncSession,
    concept: Concept,
    prediction: Prediction,
    *,
    hashed: Callable[[str], str],
) -> Why:
    reasons = reasons_of(prediction.reasons)
    rows = {each: _row_of(each, hashed) for each in reasons}
    evidence = await _evidence(session, prediction.platform, list(rows.values()))
    changes = await _changes(session, prediction.platform, list(rows.values()))
    video = video_of(concept, published_at=concept.post_at or prediction.created_at, followers=None)
    earlier = [
        each
        for each in await earlier_results(session, prediction.platform)
        if each.feedback.concept_id != concept.id
    ]
    return Why(
        platform=prediction.platform,
        score=prediction.score,
        low=prediction.low,
        high=prediction.high,
        model_version=prediction.model_version,
        predicted_at=prediction.created_at,
        shares=tuple(
            _share(each, evidence.get(row, _Evidence()), changes.get(row, []))
            for each, row in rows.items()
        ),
        similar=tuple(_similar(each) for each in most_alike(video, earlier)),
    )


def _row_of(reason: Reason, hashed: Callable[[str], str]) -> tuple[str, str]:
    key = hashed(reason.key) if reason.family == "word" else reason.key
    return reason.family, key


async def _evidence(
    session: AsyncSession, platform: str, rows: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], _Evidence]:
    """Count the videos behind effects: of one goal, as both learn from every result."""
    own = select(LearnerEffect.family, LearnerEffect.key, func.max(LearnerEffect.samples)).where(
        LearnerEffect.platform == platform,
        or_(false(), *(_is_row(LearnerEffect, *row) for row in rows)),
    )
    shared = select(
        SharedEffect.family,
        SharedEffect.key,
        func.max(SharedEffect.samples),
        func.max(SharedEffect.tenants),
    ).where(
        SharedEffect.platform == platform,
        or_(false(), *(_is_row(SharedEffect, *row) for row in rows)),
    )
    found = {
        (family, key): _Evidence(videos)
        for family, key, videos in await session.execute(
            own.group_by(LearnerEffect.family, LearnerEffect.key)
        )
    }
    # A tenant's row of a shared effect counts its own contributions only.
    for family, key, videos, tenants in await session.execute(
        shared.group_by(SharedEffect.family, SharedEffect.key)
    ):
        found[family, key] = _Evidence(videos, tenants)
    return found


def _is_row(
    table: type[LearnerEffect | SharedEffect], family: str, key: str
) -> ColumnElement[bool]:
    return and_(table.family == family, table.key == key)


async def _changes(
    session: AsyncSession, platform: str, rows: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], list[Change]]:
    """Find the newest adjustment of each goal of effects, with its critique and its insight."""
    matches = [
        and_(ScoringAdjustment.adjustment_type == family, ScoringAdjustment.category == key)
        for family, key in rows
    ]
    found: dict[tuple[str, str], dict[str, Change]] = {}
    query = (
        select(ScoringAdjustment, SelfCritique.critique, ReflexionInsight)
        .join(SelfCritique, ITS_CRITIQUE)
        .outerjoin(ReflexionInsight, ITS_INSIGHT)
        .where(
            ScoringAdjustment.platform == platform,
            ScoringAdjustment.reverted_at.is_(None),
            or_(false(), *matches),
        )
        .order_by(ScoringAdjustment.id)
    )
    for row, critique, insight in await session.execute(query):
        goals = found.setdefault((row.adjustment_type, row.category), {})
        goals[row.goal] = Change(
            id=row.id,
            goal=row.goal,
            old=row.old_value,
            new=row.new_value,
            evidence=row.reason,
            applied_at=row.applied_at,
            critique_id=row.critique_id,
            critique=critique,
            insight_id=row.insight_id,
            insight=None if insight is None else insight.pattern,
            z=None if insight is None else insight.z,
        )
    return {key: list(goals.values()) for key, goals in found.items()}


def _share(reason: Reason, evidence: _Evidence, changes: Sequence[Change]) -> Share:
    return Share(
        family=reason.family,
        key=reason.key,
        label=reason.label,
        points=reason.points,
        videos=evidence.videos,
        tenants=evidence.tenants,
        is_shared=reason.family in SHARED_FAMILIES,
        changes=tuple(changes),
    )


def _similar(result: Result) -> Similar:
    return Similar(
        concept_id=result.feedback.concept_id,
        title=result.video.title,
        predicted=round(foretold(result), 1),
        actual=round(outcome_of(result.feedback), 1),
        published_at=result.feedback.published_at,
    )
