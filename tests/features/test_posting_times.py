"""Concepts are planned for the hours that do best, with the reason said."""

from __future__ import annotations

from datetime import timedelta

import pytest
from clusters import Cluster
from factories import TestTenant, make_tenant
from published import publish
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import HASHED, NOW, add_results, add_trends, execute, generate, result

from viral.database.engine import Database
from viral.features.generations.leanings import posting_hours


@pytest.fixture
async def studio(system: Database, cluster: Cluster) -> TestTenant:
    await add_trends(system)
    return await make_tenant(system, cluster.secrets, slug="studio", tier="AGENCY")


async def add_own_hours(
    app: Database, admin: AsyncConnection, studio: TestTenant, residuals: dict[int, float]
) -> None:
    """Add forty learnt videos at each hour, all with the residual of that hour."""
    rows = [
        result(f"v{hour}-{number}", published_at=NOW.replace(hour=hour) - timedelta(days=number))
        for hour in residuals
        for number in range(40)
    ]
    await add_results(app, studio.id, rows)
    for hour, residual in residuals.items():
        await execute(
            admin,
            "UPDATE performance_feedback SET residual = :residual WHERE external_id LIKE :prefix",
            residual=residual,
            prefix=f"v{hour}-%",
        )


async def test_where_nothing_is_known_the_categorys_usual_hours_stay(
    app: Database, studio: TestTenant
) -> None:
    for concept in await generate(app, studio.id, 20, category="food"):
        assert concept.post_at is not None
        assert concept.post_at.hour in {10, 11, 15, 16, 17, 18}
        assert "a usual hour for food, and nothing is known of a better one" in concept.why_it_works


async def test_the_best_published_hour_is_taken_and_one_of_eight_keeps_the_usual(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await publish(admin, "hour", "7", 6.0, variance=9.0)

    concepts = await generate(app, studio.id, 40, category="food")

    late = [each for each in concepts if each.post_at and each.post_at.hour == 22]
    others = [each for each in concepts if each not in late]
    assert 30 <= len(late) < 40
    assert all(
        "Post from 21:00 to 24:00 UTC: +6.0 points by what others' videos showed"
        in each.why_it_works
        for each in late
    )
    assert all("to learn whether another hour does better" in e.why_it_works for e in others)
    for each in concepts:
        assert each.post_at is not None
        assert NOW + timedelta(hours=1) <= each.post_at <= NOW + timedelta(days=7)


async def test_a_tenants_own_videos_count_as_far_as_there_are_enough(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await add_own_hours(app, admin, studio, {4: 10.0, 13: -10.0})

    async with app.tenant_session(studio.id) as session:
        hours = await posting_hours(session, ("tiktok",), now=NOW, hashed=HASHED)
        elsewhere = await posting_hours(session, ("youtube",), now=NOW, hashed=HASHED)

    # Forty videos weigh 40 / (40 + 225 / 3 ** 2).
    assert hours.points[1] == pytest.approx(10 * 40 / 65)
    assert hours.points[4] == pytest.approx(-10 * 40 / 65)
    assert (hours.best, hours.videos[1]) == (1, 40)
    assert set(elsewhere.points) == {0.0}


async def test_another_tenants_hours_are_not_taken_for_ones_own(
    app: Database, studio: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    await add_own_hours(app, admin, studio, {4: 10.0, 13: -10.0})

    async with app.tenant_session(bob.id) as session:
        hours = await posting_hours(session, ("tiktok",), now=NOW, hashed=HASHED)

    assert set(hours.points) == {0.0}
    assert set(hours.videos) == {0}
