"""The loop in small steps for tests: trends, concepts, results, a turn of reflexion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Literal
from uuid import UUID

from factories import TestTenant
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.adapters.offline_critic import OfflineCritic
from viral.adapters.offline_writer import OfflineWriter
from viral.database.engine import Database
from viral.features.generations.concepts import generate_concepts
from viral.features.generations.drafts import Writer
from viral.features.performance.files import ResultRow
from viral.features.performance.imports import ImportReport, import_results
from viral.features.reflexion.adjustments import adjustment
from viral.features.reflexion.critic import Critic, Critique, Hypothesis, Miss
from viral.features.reflexion.learning import hold_learning
from viral.features.reflexion.run import RunReport, run_reflexion
from viral.features.reflexion.status import list_adjustments
from viral.features.reflexion.versions import serve_version
from viral.features.scoring.effects import word_hasher
from viral.features.scoring.predictions import Forecast, forecast
from viral.features.trends import TrendRow, import_trends
from viral.learner.video import Video
from viral.schema.base import uuid7
from viral.schema.content import Concept
from viral.schema.learning import LearnerEffect, ScoringAdjustment, SelfCritique, SharedEffect
from viral.schema.vocabulary import GOALS, Confidence, Platform

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HASHED = word_hasher(b"a key of the tests")


def trend(topic: str = "one-pan dinners", *, category: str = "food", score: float = 80) -> TrendRow:
    return TrendRow(
        topic=topic, category=category, score=score, source="test", external_id=topic.casefold()
    )


async def add_trends(system: Database, *rows: TrendRow, now: datetime = NOW) -> None:
    """Store trends; some of food and tech where none are given."""
    usual = [
        trend(f"{name} {noun}", category=category, score=60 + number)
        for category, noun, names in (
            ("food", "dinners", ("one-pan", "cold", "crispy", "lazy", "green")),
            ("tech", "cameras", ("old", "tiny", "cheap", "silent", "broken")),
        )
        for number, name in enumerate(names)
    ]
    async with system.session_without_tenant() as session:
        await import_trends(session, rows or usual, now=now)


async def generate(
    app: Database,
    tenant_id: UUID,
    count: int = 3,
    *,
    writer: Writer | None = None,
    seed: int = 1,
    category: str | None = None,
    platform: Platform | None = None,
    now: datetime = NOW,
) -> list[Concept]:
    return await generate_concepts(
        app,
        tenant_id,
        count=count,
        writer=writer or OfflineWriter(),
        rng=Random(seed),
        now=now,
        hashed=HASHED,
        category=category,
        platform=platform,
    )


def result(
    external_id: str = "v1",
    *,
    platform: str = "tiktok",
    concept_id: UUID | None = None,
    views: int = 6_000,
    likes: int | None = 300,
    published_at: datetime = NOW,
    days: int = 2,
    title: str = "Crispy chickpeas again",
    category: str = "food",
    tags: tuple[str, ...] = ("snack",),
    tenant: str | None = None,
    line: int = 0,
) -> ResultRow:
    """Make a row as a file gives it, read `days` after publication."""
    return ResultRow(
        external_id=external_id,
        platform=platform,
        format=None,
        tenant=tenant,
        concept_id=concept_id,
        published_at=published_at,
        observed_on=(published_at + timedelta(days=days)).date(),
        category=category,
        title=title,
        tags=tags,
        duration_s=31,
        views=views,
        likes=likes,
        comments=None,
        shares=None,
        followers=None,
        sound=None,
        hook_type=None,
        line=line,
    )


def result_of(
    concept: Concept, *, views: int, likes: int, platform: str = "tiktok", day: int = 0
) -> ResultRow:
    """Make the result of a concept that was posted `day` days after now."""
    return result(
        f"post-{concept.id}",
        platform=platform,
        concept_id=concept.id,
        views=views,
        likes=likes,
        published_at=NOW + timedelta(days=day),
        title=concept.title,
        category=concept.category,
        tags=tuple(concept.hashtags),
    )


async def add_results(app: Database, tenant_id: UUID, rows: Sequence[ResultRow]) -> ImportReport:
    async with app.tenant_session(tenant_id) as session:
        return await import_results(session, rows)


async def learn(
    app: Database,
    system: Database,
    *,
    now: datetime = NOW + timedelta(days=7),
    critic: Critic | None = None,
    daily_cost: Decimal | None = None,
) -> RunReport:
    return await run_reflexion(
        app,
        system,
        critic=critic or OfflineCritic(),
        offline=OfflineCritic(),
        daily_cost=daily_cost,
        now=now,
        hashed=HASHED,
    )


async def fetch(admin: AsyncConnection, sql: str, **values: object) -> list[tuple[object, ...]]:
    """Read rows behind row security, in a transaction of their own."""
    rows = [tuple(row) for row in await admin.execute(text(sql), values)]
    await admin.rollback()
    return rows


async def execute(admin: AsyncConnection, sql: str, **values: object) -> None:
    await admin.execute(text(sql), values)
    await admin.commit()


def many(
    count: int, *, prefix: str = "v", views: int = 90_000, first_day: int = 0
) -> list[ResultRow]:
    """Make results of videos that were made elsewhere, one a day."""
    return [
        result(
            f"{prefix}{number}",
            views=views + 13 * number,
            likes=views // 9 + 7 * number,
            published_at=NOW + timedelta(days=first_day + number),
            title=f"Crispy {prefix} number {number}",
        )
        for number in range(count)
    ]


async def post(
    app: Database,
    tenant: TestTenant,
    count: int = 5,
    *,
    views: int = 400_000,
    likes: int = 90_000,
    seed: int = 1,
) -> list[Concept]:
    """Generate concepts and report the same result for each."""
    concepts = await generate(app, tenant.id, count, seed=seed)
    rows = [result_of(each, views=views, likes=likes) for each in concepts]
    await add_results(app, tenant.id, rows)
    return concepts


async def foretell(app: Database, tenant: TestTenant, platform: str = "tiktok") -> Forecast:
    return await foretell_video(
        app, tenant, title="Crispy chickpeas", tags=("snack",), platform=platform
    )


async def foretell_video(
    app: Database,
    tenant: TestTenant,
    *,
    title: str,
    tags: tuple[str, ...] = (),
    platform: str = "tiktok",
) -> Forecast:
    video = Video(
        tenant=str(tenant.id),
        category="food",
        published_at=NOW,
        title=title,
        tags=tags,
        duration_s=31,
        followers=None,
        sound=None,
    )
    async with app.tenant_session(tenant.id) as session:
        (each,) = await forecast(
            session, platform, [video], day=NOW.date().toordinal(), hashed=HASHED
        )
    return each


async def adjustments_of(app: Database, tenant: TestTenant) -> list[ScoringAdjustment]:
    async with app.tenant_session(tenant.id) as session:
        return await list_adjustments(session, limit=500)


async def force_version(
    system: Database, points: float, *, family: str = "category", key: str = "food"
) -> int:
    """Serve a shared effect of both goals with points that nothing has proven."""
    async with system.session_without_tenant() as session:
        await hold_learning(session, "tiktok")
        changes = []
        for goal in GOALS:
            row = await session.get(SharedEffect, ("tiktok", goal, family, key))
            assert row is not None
            changes.append((goal, family, key, row.published, points))
        return await serve_version(session, "tiktok", changes, now=NOW)


async def force_adjustment(
    app: Database, tenant: TestTenant, points: float, *, after_no: int, now: datetime
) -> list[UUID]:
    """Serve a tenant's level with points that nothing has proven, as if they were published."""
    async with app.tenant_session(tenant.id) as session:
        rows = await session.scalars(
            select(LearnerEffect).where(
                LearnerEffect.platform == "tiktok", LearnerEffect.family == "tenant"
            )
        )
        critique = SelfCritique(
            performance_gap={},
            critique="forced",
            hypothesized_reasons=[],
            scoring_issues=[],
            adjustment_plan="",
            confidence_level="low",
            critic="test",
        )
        session.add(critique)
        await session.flush()
        forced = []
        for row in rows.all():
            each = adjustment(row, uuid7(), critique.id, after_no=after_no, now=now)
            each.new_value = points
            row.former, row.published = row.published, points
            forced.append(each)
        session.add_all(forced)
        return [each.id for each in forced]


class TellingCritic:
    """States the same hypotheses about every miss."""

    name = "telling"

    def __init__(
        self, *predicates: str, sign: Literal[-1, 1] = 1, confidence: Confidence = "medium"
    ) -> None:
        self._guesses = tuple(Hypothesis(each, sign, confidence) for each in predicates)

    async def critique(self, miss: Miss) -> Critique:
        answer = await OfflineCritic().critique(miss)
        return replace(answer, hypotheses=self._guesses)


def kinds(
    count: int, *, prefix: str, first_day: int, hit: int = 90_000, other: int = 3_000
) -> list[ResultRow]:
    """Make results where only both words together do well: no single effect can say that."""
    titles = ("alpha", "beta", "alpha beta", "gamma")
    return [
        result(
            f"{prefix}{number}",
            views=(hit if number % 4 == 2 else other) + 17 * number,
            likes=(hit // 9 if number % 4 == 2 else other // 40) + number,
            published_at=NOW + timedelta(days=first_day, minutes=number),
            title=titles[number % 4],
            tags=(),
        )
        for number in range(count)
    ]


async def suggest(
    app: Database,
    system: Database,
    tenant: TestTenant,
    admin: AsyncConnection,
    critic: TellingCritic,
    *,
    seed: int = 1,
) -> None:
    """Have a critic see one miss, and so state its hypotheses."""
    (concept,) = await generate(app, tenant.id, 1, seed=seed)
    await execute(admin, "UPDATE predictions SET low = 99, high = 100, score = 99")
    await add_results(app, tenant.id, [result_of(concept, views=6_000, likes=300)])
    report = await learn(app, system, critic=critic)
    assert report.critiques == 1
