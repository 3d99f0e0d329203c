"""Take results into the learner's state, in one order that a replay can follow."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from math import sqrt
from typing import TYPE_CHECKING

from sqlalchemy import Select, and_, func, select, update
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import aliased

from viral.database.bulk import as_arrays, unnested
from viral.features.generations.concepts import video_of
from viral.features.reflexion.outcomes import current_outcomes, refit_outcomes
from viral.features.reflexion.served import was_served
from viral.features.scoring.effects import (
    SCORE,
    Learners,
    is_effect,
    load_learners,
    load_score_width,
    needed_keys,
    save_learners,
    save_shared,
)
from viral.features.scoring.predictions import Band, live_score_band
from viral.learner.effects import Effect, start_of
from viral.learner.families import FAMILIES, GLOBAL, NEWCOMER, TRUST, WIDTH
from viral.learner.interval import next_width
from viral.learner.newcomer import newcomer_level
from viral.schema.content import Concept, Prediction
from viral.schema.learning import LearnerEffect, ModelVersion, SharedEffect
from viral.schema.results import PerformanceFeedback
from viral.schema.vocabulary import GOALS, Goal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.reflexion.outcomes import Outcomes
    from viral.learner.video import Video

ResultQuery = Select[PerformanceFeedback, Concept, Prediction]

# As `PerformanceFeedback.is_mature` has it.
MATURES_AFTER = timedelta(days=2)
BATCH = 2_000
PUBLISH_POINTS = 0.5
PUBLISH_DEVIATIONS = 0.5
# What the words of a video say altogether, in points: half a point of it is news.
TRUST_POINTS = 10.0


@dataclass(frozen=True, slots=True)
class Result:
    """One result that is due to be learnt from."""

    feedback: PerformanceFeedback
    video: Video
    served: Prediction | None

    @property
    def day(self) -> int:
        return (self.feedback.published_at + MATURES_AFTER).date().toordinal()


@dataclass(slots=True)
class Applied:
    """What a run took in on one platform."""

    platform: str
    results: int = 0
    tenants: set[UUID] = field(default_factory=set)
    is_replay: bool = False


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
        applied.is_replay = await _forget_state(session, platform)
    outcomes = await current_outcomes(session, platform)
    for query in (_outdated(platform, outcomes.version), _waiting(platform)):
        while results := await _results(session, query):
            await _apply_batch(session, platform, results, outcomes=outcomes, hashed=hashed)
            applied.results += len(results)
            applied.tenants |= {result.feedback.tenant_id for result in results}
            if progress is not None:
                progress(applied.results)
    if applied.results:
        await publish_shared(session, platform, now=now)
    return applied


async def count_waiting(session: AsyncSession, platform: str) -> int:
    """Count the results that the learner has not taken in."""
    waiting = select(func.count()).select_from(_first_readings(platform).subquery())
    return await session.scalar(waiting) or 0


async def publish_shared(session: AsyncSession, platform: str, *, now: datetime) -> int:
    """Serve the shared effects that moved enough, as a new version; how many there were."""
    changes: list[object] = []
    rows = await session.scalars(
        select(SharedEffect)
        .where(
            SharedEffect.platform == platform, SharedEffect.goal.in_(GOALS), SharedEffect.day > 0
        )
        .order_by(SharedEffect.goal, SharedEffect.family, SharedEffect.key)
    )
    for row in rows:
        key = row.family, row.key
        if not is_effect(key) and key not in {NEWCOMER, TRUST}:
            continue
        live, doubt = row.mean, row.variance
        if key == NEWCOMER:
            # Its row holds votes; the level they give is as sure as it will get.
            votes = Effect(row.mean, row.variance, row.samples, row.day, row.published)
            live, doubt = newcomer_level(votes), 0.0
        scale = TRUST_POINTS if key == TRUST else 1.0
        if is_news(scale * live, scale * row.published, doubt):
            changes.append([row.goal, row.family, row.key, row.published, live])
            row.published = live
    if not changes:
        return 0
    version = await session.scalar(
        select(func.max(ModelVersion.version)).where(
            ModelVersion.kind == "effects", ModelVersion.platform == platform
        )
    )
    await session.execute(
        update(ModelVersion)
        .where(ModelVersion.kind == "effects", ModelVersion.platform == platform)
        .values(is_current=False)
    )
    session.add(
        ModelVersion(
            kind="effects",
            platform=platform,
            version=(version or 0) + 1,
            document={"columns": ["goal", "family", "key", "old", "new"], "changes": changes},
            created_at=now,
        )
    )
    await session.flush()
    return len(changes)


def is_news(live: float, published: float, variance: float) -> bool:
    """Tell whether an effect has moved further than its own doubt, and by half a point."""
    return abs(live - published) > max(PUBLISH_POINTS, PUBLISH_DEVIATIONS * sqrt(variance))


async def hold_learning(session: AsyncSession, *platforms: str) -> None:
    """Let nobody else learn on these platforms until the transaction ends, as the system role."""
    await session.execute(
        select(SharedEffect.key)
        .where(SharedEffect.platform.in_(platforms), SharedEffect.family == GLOBAL[0])
        .order_by(SharedEffect.platform, SharedEffect.goal)
        .with_for_update()
    )


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


def _first_readings(platform: str) -> Select[UUID, UUID]:
    """Select one waiting reading a video: the first mature one, where none was learnt before."""
    before = aliased(PerformanceFeedback)
    video = (PerformanceFeedback.tenant_id, PerformanceFeedback.external_id)
    return (
        select(PerformanceFeedback.tenant_id, PerformanceFeedback.id)
        .where(
            PerformanceFeedback.platform == platform,
            PerformanceFeedback.applied_no.is_(None),
            PerformanceFeedback.is_mature,
            ~select(before.id)
            .where(
                before.tenant_id == PerformanceFeedback.tenant_id,
                before.platform == PerformanceFeedback.platform,
                before.external_id == PerformanceFeedback.external_id,
                before.applied_no.is_not(None),
            )
            .exists(),
        )
        .order_by(*video, PerformanceFeedback.observed_on, PerformanceFeedback.id)
        .ext(distinct_on(*video))
    )


def _waiting(platform: str) -> ResultQuery:
    first = _first_readings(platform).subquery()
    return (
        _with_concept()
        .join(
            first,
            and_(
                PerformanceFeedback.tenant_id == first.c.tenant_id,
                PerformanceFeedback.id == first.c.id,
            ),
        )
        .order_by(PerformanceFeedback.published_at, PerformanceFeedback.id)
    )


def _outdated(platform: str, version: int) -> ResultQuery:
    """Select what was scored with older tables, in the order it was applied in."""
    return (
        _with_concept()
        .where(
            PerformanceFeedback.platform == platform,
            PerformanceFeedback.applied_no.is_not(None),
            PerformanceFeedback.outcome_version != version,
        )
        .order_by(PerformanceFeedback.applied_no)
    )


def _with_concept() -> ResultQuery:
    return (
        select(PerformanceFeedback, Concept, Prediction)
        .join(
            Concept,
            and_(
                Concept.tenant_id == PerformanceFeedback.tenant_id,
                Concept.id == PerformanceFeedback.concept_id,
            ),
        )
        .outerjoin(Prediction, was_served())
    )


async def _results(session: AsyncSession, query: ResultQuery) -> list[Result]:
    rows = await session.execute(query.limit(BATCH).execution_options(populate_existing=True))
    return [
        Result(
            feedback,
            video_of(concept, published_at=feedback.published_at, followers=feedback.followers),
            served,
        )
        for feedback, concept, served in rows
    ]


async def _apply_batch(
    session: AsyncSession,
    platform: str,
    results: Sequence[Result],
    *,
    outcomes: Outcomes,
    hashed: Callable[[str], str],
) -> None:
    keys = needed_keys([result.video for result in results], hashed)
    learners = await load_learners(session, platform, keys=keys, hashed=hashed)
    width = await load_score_width(session, platform)
    scored = []
    for result in results:
        scores = outcomes.scores(
            views=result.feedback.views, engagement_rate=result.feedback.engagement_rate
        )
        _learn(learners, width, result, scores)
        scored.append((result.feedback, scores))
    await save_learners(session, platform, learners)
    await save_shared(session, platform, SCORE, {WIDTH: width})
    await _note_applied(session, platform, scored, version=outcomes.version)


def _learn(learners: Learners, width: Effect, result: Result, scores: dict[Goal, float]) -> None:
    """Update both goals, and the width of the default score's interval, by one result."""
    band = _served_band(learners, width, result)
    served = result.served
    intervals: dict[Goal, tuple[float, float] | None] = {"engagement": None, "reach": None}
    if served is not None:
        intervals["engagement"] = served.engagement_low, served.engagement_high
        intervals["reach"] = served.reach_low, served.reach_high
    for goal, learner in learners.items():
        learner.update(result.video, scores[goal], result.day, served=intervals[goal])
    outcome = sum(scores.values()) / len(scores)
    width.mean = next_width(width.mean, is_miss=not band.low <= outcome <= band.high)
    width.n += 1
    width.day = max(width.day, result.day)


def _served_band(learners: Learners, width: Effect, result: Result) -> Band:
    if result.served is not None:
        return Band(result.served.score, result.served.low, result.served.high)
    return live_score_band(learners, result.video, result.day, width=width.mean)


async def _note_applied(
    session: AsyncSession,
    platform: str,
    scored: Sequence[tuple[PerformanceFeedback, dict[Goal, float]]],
    *,
    version: int,
) -> None:
    """Write each result's scores and its place in the order; a replay keeps the place."""
    last = await session.scalar(
        select(func.max(PerformanceFeedback.applied_no)).where(
            PerformanceFeedback.platform == platform
        )
    )
    places = count((last or 0) + 1)
    names = ("tenant_id", "id", "applied_no", "engagement_score", "reach_score")
    rows = [
        (
            feedback.tenant_id,
            feedback.id,
            next(places) if feedback.applied_no is None else feedback.applied_no,
            scores["engagement"],
            scores["reach"],
        )
        for feedback, scores in scored
    ]
    values = unnested(PerformanceFeedback, names)
    await session.execute(
        update(PerformanceFeedback)
        .where(
            PerformanceFeedback.tenant_id == values.c.tenant_id,
            PerformanceFeedback.id == values.c.id,
        )
        .values(
            applied_no=values.c.applied_no,
            engagement_score=values.c.engagement_score,
            reach_score=values.c.reach_score,
            outcome_version=version,
        )
        .execution_options(synchronize_session=False),
        as_arrays(rows, names),
    )


async def _forget_state(session: AsyncSession, platform: str) -> bool:
    """Let every effect start anew, while what is published stays; False when none was learnt."""
    for table in (SharedEffect, LearnerEffect):
        await session.execute(
            update(table).where(table.platform == platform).values(samples=0, day=0)
        )
    applied = select(PerformanceFeedback.id).where(
        PerformanceFeedback.platform == platform, PerformanceFeedback.applied_no.is_not(None)
    )
    return bool(await session.scalar(select(applied.exists())))
