"""Write concepts from current trends, pick the promising ones, predict them, and store them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import selectinload

from viral.database.engine import tenant_of
from viral.errors import BadInput, NotFound, NothingToWriteAbout
from viral.features.generations.brief import lately_said, make_brief, topic_of
from viral.features.generations.costs import affordable_writer
from viral.features.generations.leanings import posting_hours
from viral.features.generations.phrasing import Phrases, Said
from viral.features.generations.picks import candidates_for, pick_concepts
from viral.features.generations.quota import refund_quota, reserved_quota
from viral.features.generations.tellings import Telling, assign_arms
from viral.features.generations.timing import timed
from viral.features.scoring.predictions import Forecast, forecast
from viral.learner.scripts import Shot, script_features
from viral.learner.video import Video
from viral.schema.base import uuid7, uuid7_run
from viral.schema.content import Concept, ConceptVariant, Generation, Prediction
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
    from viral.features.generations.costs import Budget
    from viral.features.generations.drafts import Draft, Writer, Written
    from viral.features.generations.quota import Reservation

MOST_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class _Order:
    """What is asked for, and what decides how it comes out."""

    count: int
    category: str | None
    platforms: tuple[Platform, ...]
    user_id: UUID | None
    job_id: UUID | None
    rng: Random
    now: datetime
    hashed: Callable[[str], str]
    telling: Telling

    @property
    def platform(self) -> Platform | None:
        return self.platforms[0] if len(self.platforms) == 1 else None


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
    trend_id: UUID | None = None,
    user_id: UUID | None = None,
    budget: Budget | None = None,
    job_id: UUID | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Concept]:
    """Write candidates, pick some, and count these against the quota; or change nothing.

    The quota is taken first and given back on failure; what the writer could not deliver is
    given back as well. With a trend all are about that one. No transaction is open while the
    writer works; `progress` is told how many candidates are wanted and how many there are. The
    most promising concept comes first.
    """
    check_count(count)
    platforms = PLATFORMS if platform is None else (platform,)
    telling = Telling(writer if budget is None else budget.offline, rng, now, hashed)
    order = _Order(count, category, platforms, user_id, job_id, rng, now, hashed, telling)
    wanted = candidates_for(count)
    async with reserved_quota(app, tenant_id, count=count, user_id=user_id) as reservation:
        async with app.tenant_session(tenant_id) as session:
            brief = await make_brief(
                session,
                count=wanted,
                category=category,
                platform=platform,
                trend_id=trend_id,
                now=now,
                hashed=hashed,
            )
            author, note = await affordable_writer(session, writer, budget, now=now)
        advance = partial(progress, wanted) if progress is not None else None
        written = await author.write(brief, rng=rng, advance=advance)
        written = replace(
            written,
            writer=written.writer or author.name,
            note=" ".join(each for each in (note, written.note) if each),
        )
        async with app.tenant_session(tenant_id) as session:
            return await _keep(session, reservation, written, order)


def check_count(count: int) -> None:
    """Refuse, with BadInput, what cannot be written at once."""
    if not 1 <= count <= MOST_AT_ONCE:
        raise BadInput(
            f"{count} concepts cannot be generated at once.", hint=f"Ask for 1 to {MOST_AT_ONCE}."
        )


async def _keep(
    session: AsyncSession, reservation: Reservation, written: Written, order: _Order
) -> list[Concept]:
    """Pick among the drafts, and store what is picked with its predictions."""
    drafts = await _still_new(session, written.drafts)
    candidates = await _candidates(session, drafts, order)
    concepts = await pick_concepts(
        session,
        candidates,
        await _videos(session, candidates, order.platforms, now=order.now),
        count=order.count,
        rng=order.rng,
        day=order.now.date().toordinal(),
        hashed=order.hashed,
    )
    if missing := order.count - len(concepts):
        await refund_quota(session, reservation, count=missing)
    generation = _generation(reservation, written, concepts, order)
    session.add(generation)
    await session.flush()
    for concept in concepts:
        concept.generation_id = generation.id
    session.add_all(concepts)
    await session.flush()
    await predict_concepts(
        session, concepts, platforms=order.platforms, now=order.now, hashed=order.hashed
    )
    await assign_arms(session, concepts, platforms=order.platforms, telling=order.telling)
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


def video_of(
    concept: Concept,
    *,
    published_at: datetime,
    followers: int | None,
    variant: ConceptVariant | None = None,
) -> Video:
    """Return a concept as the learner sees it, in the words of a variant where one was told."""
    told = concept if variant is None else variant
    return Video(
        tenant=str(concept.tenant_id),
        category=concept.category,
        published_at=published_at,
        title=told.title,
        tags=tuple(concept.hashtags),
        duration_s=concept.duration_s,
        followers=followers,
        sound=concept.sound,
        # Of a variant from elsewhere only the title is known.
        hook_type=told.hook_type or concept.hook_type,
        hook=told.hook or concept.hook,
        script=script_features(_shots(concept.script)),
    )


def _shots(script: Sequence[object]) -> list[Shot]:
    """Read the scenes of a script that say how long they are; imported ones may not."""
    shots = []
    for scene in script:
        match scene:
            case {"start_s": int(start_s), "end_s": int(end_s), **rest}:
                shots.append(Shot(end_s - start_s, bool(rest.get("on_screen_text"))))
    return shots


async def predict_concepts(
    session: AsyncSession,
    concepts: Sequence[Concept],
    *,
    platforms: Sequence[Platform],
    now: datetime,
    hashed: Callable[[str], str],
) -> None:
    """Store what is foretold of concepts on each platform."""
    seen = await _videos(session, concepts, platforms, now=now)
    for platform, videos in seen.items():
        forecasts = await forecast(
            session, platform, videos, day=now.date().toordinal(), hashed=hashed
        )
        for concept, each in zip(concepts, forecasts, strict=True):
            concept.predictions.append(_prediction(each, now=now))
    await session.flush()


async def _videos(
    session: AsyncSession,
    concepts: Sequence[Concept],
    platforms: Sequence[Platform],
    *,
    now: datetime,
) -> dict[Platform, list[Video]]:
    """Show concepts to the learner as they would be posted on each platform."""
    seen: dict[Platform, list[Video]] = {}
    for platform in platforms:
        followers = await _latest_followers(session, platform)
        seen[platform] = [
            video_of(each, published_at=each.post_at or now, followers=followers)
            for each in concepts
        ]
    return seen


async def _still_new(session: AsyncSession, drafts: Sequence[Draft]) -> list[Draft]:
    """Leave out what repeats another draft or a concept, of another request as well.

    Until commit no other request of the tenant gets past this.
    """
    if not drafts:
        raise NothingToWriteAbout("The writer found nothing to write.")
    await session.execute(select(Tenant.id).with_for_update())
    said = await lately_said(session)
    phrases = Phrases(said)
    titles = {each.title.casefold() for each in said}
    hooks = {each.hook.casefold() for each in said}
    new = []
    for draft in drafts:
        lines = Said(draft.trend.topic, draft.title, draft.hook, draft.caption)
        is_new = draft.title.casefold() not in titles and draft.hook.casefold() not in hooks
        if is_new and phrases.are_fresh(lines):
            phrases.add(lines)
            titles.add(draft.title.casefold())
            hooks.add(draft.hook.casefold())
            new.append(draft)
    if not new:
        raise NothingToWriteAbout("Another request wrote the same concepts.", hint="Ask again.")
    return new


async def _candidates(
    session: AsyncSession, drafts: Sequence[Draft], order: _Order
) -> list[Concept]:
    """Make concepts of drafts, each with its moment to post; they are not stored yet."""
    hours = await posting_hours(session, order.platforms, now=order.now, hashed=order.hashed)
    moments = timed(drafts, hours, now=order.now)
    return [
        Concept(
            id=concept_id,
            tenant_id=tenant_of(session),
            category=draft.category,
            title=draft.title,
            hook=draft.hook,
            hook_type=draft.hook_type,
            script=[asdict(scene) for scene in draft.script],
            caption=draft.caption,
            hashtags=list(draft.hashtags),
            duration_s=draft.duration_s,
            post_at=post_at,
            why_it_works=f"{draft.why_it_works} {reason}".strip(),
            prompts=dict(draft.prompts),
            trend=asdict(draft.trend),
            created_at=order.now,
            predictions=[],
        )
        for concept_id, draft, (post_at, reason) in zip(
            uuid7_run(len(drafts)), drafts, moments, strict=True
        )
    ]


def _generation(
    reservation: Reservation, written: Written, concepts: Sequence[Concept], order: _Order
) -> Generation:
    trends = {topic_of(each.trend): each.trend for each in concepts}
    settings: dict[str, object] = {
        "count": order.count,
        "category": order.category,
        "platform": order.platform,
        "candidates": len(written.drafts),
    }
    if written.note:
        settings["note"] = written.note
    if order.job_id is not None:
        settings["job"] = str(order.job_id)
    return Generation(
        id=uuid7(),
        user_id=order.user_id,
        reservation_id=reservation.id,
        date=order.now,
        settings=settings,
        trends=list(trends.values()),
        writer=written.writer,
        cost=written.usage.cost,
        input_tokens=written.usage.input_tokens,
        output_tokens=written.usage.output_tokens,
    )


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
