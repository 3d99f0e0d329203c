"""Write concepts from current trends, predict them, and store them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import selectinload

from viral.errors import BadInput, NotFound, NothingToWriteAbout
from viral.features.generations.drafts import Brief, Draft, Writer
from viral.features.generations.quota import refund_quota, reserved_quota
from viral.features.scoring.predictions import Forecast, forecast
from viral.features.trends import current_trends
from viral.learner.video import Video
from viral.schema.base import uuid7, uuid7_run
from viral.schema.content import Concept, Generation, Prediction
from viral.schema.results import PerformanceFeedback
from viral.schema.tenants import Tenant
from viral.schema.vocabulary import PLATFORMS, Platform

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from random import Random
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.database.engine import Database
    from viral.features.generations.quota import Reservation

# No title or hook twice within a tenant's latest concepts.
MEMORY = 200
MOST_AT_ONCE = 100


async def generate_concepts(
    app: Database,
    tenant_id: UUID,
    *,
    count: int,
    writer: Writer,
    rng: Random,
    now: datetime,
    hashed: Callable[[str], str],
    category: str | None = None,
    platform: Platform | None = None,
    user_id: UUID | None = None,
) -> list[Concept]:
    """Write concepts and count them against the quota, or change nothing.

    The quota is taken first and given back on failure; what the writer could not deliver is
    given back as well. No transaction is open while the writer works.
    """
    if not 1 <= count <= MOST_AT_ONCE:
        raise BadInput(
            f"{count} concepts cannot be generated at once.", hint=f"Ask for 1 to {MOST_AT_ONCE}."
        )
    async with reserved_quota(app, tenant_id, count=count, user_id=user_id) as reservation:
        async with app.tenant_session(tenant_id) as session:
            brief = await _brief(session, count=count, category=category, now=now)
        written = await writer.write(brief, rng=rng)
        drafts = list(written.drafts[:count])
        if not drafts:
            raise NothingToWriteAbout("The writer found nothing to write.")
        async with app.tenant_session(tenant_id) as session:
            drafts = await _still_new(session, drafts)
            generation = await _store_generation(
                session,
                reservation,
                drafts,
                brief=brief,
                writer=written.writer or writer.name,
                user_id=user_id,
            )
            concepts = await _store_concepts(session, generation, drafts, now=now)
            await predict_concepts(
                session,
                concepts,
                platforms=PLATFORMS if platform is None else (platform,),
                now=now,
                hashed=hashed,
            )
        return concepts


async def newest_concepts(
    session: AsyncSession, *, limit: int, before: tuple[datetime, UUID] | None = None
) -> list[Concept]:
    """List the newest generated concepts with their predictions; `before` is where a page ended."""
    newest = (
        select(Concept)
        .where(Concept.origin == "generated")
        .options(selectinload(Concept.predictions))
        .order_by(Concept.created_at.desc(), Concept.id.desc())
        .limit(limit)
    )
    if before is not None:
        newest = newest.where(tuple_(Concept.created_at, Concept.id) < before)
    return list(await session.scalars(newest))


async def count_concepts(session: AsyncSession, *, since: datetime) -> int:
    """Count the concepts that were generated since a moment."""
    counted = select(func.count()).where(Concept.origin == "generated", Concept.created_at >= since)
    return await session.scalar(counted) or 0


async def find_concept(session: AsyncSession, concept_id: UUID) -> Concept:
    """Find one concept of the tenant, with its predictions."""
    concept = await session.scalar(
        select(Concept).where(Concept.id == concept_id).options(selectinload(Concept.predictions))
    )
    if concept is None:
        raise NotFound(f"There is no concept {concept_id}.")
    return concept


def video_of(concept: Concept, *, published_at: datetime, followers: int | None) -> Video:
    """Return a concept as the learner sees it."""
    return Video(
        tenant=str(concept.tenant_id),
        category=concept.category,
        published_at=published_at,
        title=concept.title,
        tags=tuple(concept.hashtags),
        duration_s=concept.duration_s,
        followers=followers,
        sound=concept.sound,
        hook_type=concept.hook_type,
        hook=concept.hook,
    )


async def predict_concepts(
    session: AsyncSession,
    concepts: Sequence[Concept],
    *,
    platforms: Sequence[Platform],
    now: datetime,
    hashed: Callable[[str], str],
) -> None:
    """Store what is foretold of concepts on each platform."""
    for platform in platforms:
        followers = await _latest_followers(session, platform)
        videos = [
            video_of(each, published_at=each.post_at or now, followers=followers)
            for each in concepts
        ]
        forecasts = await forecast(
            session, platform, videos, day=now.date().toordinal(), hashed=hashed
        )
        for concept, each in zip(concepts, forecasts, strict=True):
            concept.predictions.append(_prediction(each, now=now))
    await session.flush()


async def _brief(
    session: AsyncSession, *, count: int, category: str | None, now: datetime
) -> Brief:
    trends = await current_trends(session, category=category)
    if not trends:
        raise NothingToWriteAbout("There is no trend to write about.")
    titles, hooks = await _taken(session)
    return Brief(
        trends=trends,
        count=count,
        asked_at=now,
        category=category,
        taken_titles=titles,
        taken_hooks=hooks,
    )


async def _taken(session: AsyncSession) -> tuple[frozenset[str], frozenset[str]]:
    """Return the titles and hooks of the tenant's latest concepts, casefolded."""
    latest = (
        await session.execute(
            select(Concept.title, Concept.hook)
            .order_by(Concept.created_at.desc(), Concept.id.desc())
            .limit(MEMORY)
        )
    ).all()
    titles = frozenset(title.casefold() for title, _ in latest)
    return titles, frozenset(hook.casefold() for _, hook in latest if hook)


async def _still_new(session: AsyncSession, drafts: list[Draft]) -> list[Draft]:
    """Leave out what another request of the tenant wrote meanwhile; until commit none can."""
    await session.execute(select(Tenant.id).with_for_update())
    titles, hooks = await _taken(session)
    new = [
        draft
        for draft in drafts
        if draft.title.casefold() not in titles and draft.hook.casefold() not in hooks
    ]
    if not new:
        raise NothingToWriteAbout("Another request wrote the same concepts.", hint="Ask again.")
    return new


async def _store_generation(
    session: AsyncSession,
    reservation: Reservation,
    drafts: Sequence[Draft],
    *,
    brief: Brief,
    writer: str,
    user_id: UUID | None,
) -> Generation:
    if missing := reservation.count - len(drafts):
        await refund_quota(session, reservation, count=missing)
    generation = Generation(
        id=uuid7(),
        user_id=user_id,
        reservation_id=reservation.id,
        date=brief.asked_at,
        settings={"count": brief.count, "category": brief.category},
        trends=[asdict(trend) for trend in dict.fromkeys(draft.trend for draft in drafts)],
        writer=writer,
    )
    session.add(generation)
    await session.flush()
    return generation


async def _store_concepts(
    session: AsyncSession, generation: Generation, drafts: Sequence[Draft], *, now: datetime
) -> list[Concept]:
    concepts = [
        Concept(
            id=concept_id,
            generation_id=generation.id,
            category=draft.category,
            title=draft.title,
            hook=draft.hook,
            hook_type=draft.hook_type,
            script=[asdict(scene) for scene in draft.script],
            caption=draft.caption,
            hashtags=list(draft.hashtags),
            duration_s=draft.duration_s,
            post_at=draft.post_at,
            why_it_works=draft.why_it_works,
            prompts=dict(draft.prompts),
            trend=asdict(draft.trend),
            created_at=now,
            predictions=[],
        )
        for concept_id, draft in zip(uuid7_run(len(drafts)), drafts, strict=True)
    ]
    session.add_all(concepts)
    await session.flush()
    return concepts


async def _latest_followers(session: AsyncSession, platform: str) -> int | None:
    return await session.scalar(
        select(PerformanceFeedback.followers)
        .where(PerformanceFeedback.platform == platform, PerformanceFeedback.followers.is_not(None))
        .order_by(PerformanceFeedback.published_at.desc(), PerformanceFeedback.id)
        .limit(1)
    )


def _prediction(each: Forecast, *, now: datetime) -> Prediction:
    engagement, reach = each.goals["engagement"], each.goals["reach"]
    return Prediction(
        platform=each.platform,
        score=each.score.score,
        low=each.score.low,
        high=each.score.high,
        engagement_score=engagement.score,
        engagement_low=engagement.low,
        engagement_high=engagement.high,
        reach_score=reach.score,
        reach_low=reach.low,
        reach_high=reach.high,
        reasons=[asdict(reason) for reason in each.reasons],
        model_version=each.model_version,
        created_at=now,
    )
