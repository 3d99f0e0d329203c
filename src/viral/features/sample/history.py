"""The demo tenant: some weeks of concepts, results and learning, by the real features."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from sqlalchemy import select

from viral.features.generations.concepts import generate_concepts
from viral.features.performance.files import ResultRow
from viral.features.performance.imports import import_results
from viral.features.reflexion.run import run_reflexion
from viral.features.sample import SAMPLE_TENANT_NAME, SAMPLE_TENANT_SLUG
from viral.features.sample.audience import SampleAudience
from viral.features.sample.trends import SAMPLE_SOURCE, sample_trends
from viral.features.tenants import create_tenant
from viral.features.trends import TrendRow, import_trends
from viral.features.users.members import add_member, ensure_operator
from viral.schema.tenants import Tenant
from viral.schema.vocabulary import PLATFORMS, Platform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from viral.database.engine import Database
    from viral.database.secrets import Secrets
    from viral.features.generations.drafts import Writer
    from viral.features.reflexion.critic import Critic
    from viral.schema.content import Concept

SEED = 38
WEEKS = 10
CONCEPTS_A_WEEK = 8
# What the studio is about; every week is one of them.
SUBJECTS = ("food", "fitness", "tech")
# Left without results, so that the page has concepts to post.
OPEN_CONCEPTS = 4


async def make_demo(
    app: Database,
    system: Database,
    *,
    secrets: Secrets,
    writer: Writer,
    critic: Critic,
    now: datetime,
    hashed: Callable[[str], str],
    progress: Callable[[int, int], None] | None = None,
) -> UUID | None:
    """Make the demo tenant with its history; None when it is there already."""
    async with system.session_without_tenant() as session:
        known = await session.scalar(select(Tenant.id).where(Tenant.slug == SAMPLE_TENANT_SLUG))
        if known is not None:
            return None
        await import_trends(session, _trend_rows(), now=now)
        operator = await ensure_operator(session)
        tenant_id = await create_tenant(
            session,
            slug=SAMPLE_TENANT_SLUG,
            name=SAMPLE_TENANT_NAME,
            tier="AGENCY",
            is_demo=True,
            secrets=secrets,
        )
        await add_member(session, tenant_id=tenant_id, user_id=operator.id, role="ADMIN")
    rng = Random(SEED)  # noqa: S311 - sample data, no secret
    audience = SampleAudience(SEED)
    for week in range(WEEKS, -1, -1):
        asked_at = _monday(now) - timedelta(weeks=week) if week else now
        concepts = await generate_concepts(
            app,
            tenant_id,
            count=CONCEPTS_A_WEEK if week else OPEN_CONCEPTS,
            writer=writer,
            rng=rng,
            now=asked_at,
            hashed=hashed,
            category=SUBJECTS[week % len(SUBJECTS)] if week else None,
        )
        if week:
            learnt_at = asked_at + timedelta(days=6, hours=23)
            async with app.tenant_session(tenant_id) as session:
                rows = list(_results(concepts, audience, rng, asked_at=asked_at))
                await import_results(session, rows, data_source="manual")
            await run_reflexion(
                app, system, critic=critic, offline=critic, now=learnt_at, hashed=hashed
            )
        if progress is not None:
            progress(WEEKS + 1 - week, WEEKS + 1)
    return tenant_id


def _monday(now: datetime) -> datetime:
    """Begin weeks on Monday, whatever today is: so the history is the same on any day."""
    return (now - timedelta(days=now.weekday())).replace(hour=0, minute=0, second=0, microsecond=0)


def _trend_rows() -> Iterator[TrendRow]:
    for trend in sample_trends():
        yield TrendRow(
            topic=trend.topic,
            category=trend.category,
            score=trend.score,
            source=SAMPLE_SOURCE,
            external_id=trend.topic.casefold(),
            keywords=trend.keywords,
            is_sample=True,
        )


def _results(
    concepts: Sequence[Concept], audience: SampleAudience, rng: Random, *, asked_at: datetime
) -> Iterator[ResultRow]:
    """Post every concept on every platform within four days, and read the counts two days on."""
    for number, concept in enumerate(concepts):
        assert concept.post_at is not None
        published_at = (asked_at + timedelta(days=number % 4)).replace(
            hour=concept.post_at.hour, minute=concept.post_at.minute
        )
        for platform in PLATFORMS:
            yield _result(concept, platform, audience, rng, published_at=published_at)


def _result(
    concept: Concept,
    platform: Platform,
    audience: SampleAudience,
    rng: Random,
    *,
    published_at: datetime,
) -> ResultRow:
    counts = audience.results(
        category=concept.category,
        hook_type=concept.hook_type or "",
        platform=platform,
        published_at=published_at,
        duration_s=concept.duration_s or 0,
        hashtags=tuple(concept.hashtags),
        title=concept.title,
        rng=rng,
    )
    return ResultRow(
        external_id=f"sample-{concept.id}",
        platform=platform,
        format=None,
        tenant=None,
        concept_id=concept.id,
        published_at=published_at,
        observed_on=(published_at + timedelta(days=2)).date(),
        category=concept.category,
        title=concept.title,
        tags=tuple(concept.hashtags),
        duration_s=concept.duration_s,
        views=counts.views,
        likes=counts.likes,
        comments=counts.comments,
        shares=counts.shares,
        followers=counts.followers,
        sound=None,
        hook_type=concept.hook_type,
        line=0,
    )
