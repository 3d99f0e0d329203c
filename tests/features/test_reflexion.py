"""Results change what is believed, misses are critiqued, what is served changes by adjustments."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from clusters import Cluster
from factories import TestTenant, make_tenant
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import (
    HASHED,
    NOW,
    add_results,
    add_trends,
    execute,
    fetch,
    foretell,
    generate,
    learn,
    many,
    post,
    result,
    result_of,
)

from viral.database.engine import Database
from viral.features.reflexion import outcomes
from viral.features.reflexion.learning import apply_results
from viral.features.reflexion.status import (
    accuracy_of,
    count_results,
    list_critiques,
    scored_results,
)
from viral.schema.tables import METADATA
from viral.schema.vocabulary import PLATFORMS

SHARED = "SELECT * FROM shared_effects ORDER BY platform, goal, family, key"
OWN = (
    "SELECT tenant_id, platform, goal, family, key, mean, variance, samples, day, published,"
    " is_frozen FROM learner_effects ORDER BY tenant_id, platform, goal, family, key"
)


async def rows_of(admin: AsyncConnection, tenant: TestTenant) -> dict[str, object]:
    """Read every row of a tenant, in every table that has one."""
    return {
        table.name: await fetch(
            admin,
            f"SELECT t::text FROM {table} AS t WHERE tenant_id = :tenant ORDER BY 1",
            tenant=tenant.id,
        )
        for table in METADATA.sorted_tables
        if "tenant_id" in table.columns
    }


@pytest.fixture
async def studio(system: Database, cluster: Cluster) -> TestTenant:
    """Make a tenant with trends and five hundred concepts a month."""
    await add_trends(system)
    return await make_tenant(system, cluster.secrets, slug="studio", tier="AGENCY")


async def test_results_change_the_state_and_the_next_prediction(
    app: Database, system: Database, alice: TestTenant
) -> None:
    before = await foretell(app, alice)
    await add_results(app, alice.id, many(20))

    report = await learn(app, system, now=NOW + timedelta(days=30))

    after = await foretell(app, alice)
    assert (report.results, report.by_platform["tiktok"], report.tenants) == (20, 20, 1)
    assert (before.score.score, before.model_version) == (50, 0)
    assert after.score.score > 60
    assert after.score.high - after.score.low < before.score.high - before.score.low
    assert after.model_version == 1
    assert (await foretell(app, alice, "youtube")).score == before.score


async def test_results_are_numbered_without_gaps_on_each_platform(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    for tenant in (alice, bob):
        await add_results(app, tenant.id, many(4, prefix=tenant.slug))
        await add_results(app, tenant.id, [result("y", platform="youtube")])
        await learn(app, system)

    numbers = await fetch(
        admin,
        "SELECT platform, array_agg(applied_no ORDER BY applied_no) FROM performance_feedback"
        " GROUP BY platform ORDER BY platform",
    )
    assert numbers == [("tiktok", [1, 2, 3, 4, 5, 6, 7, 8]), ("youtube", [1, 2])]


async def test_results_are_learnt_in_the_order_of_publication(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, many(5)[::-1])

    await learn(app, system)

    ordered = "SELECT external_id FROM performance_feedback ORDER BY applied_no"
    assert await fetch(admin, ordered) == [(f"v{number}",) for number in range(5)]


async def test_a_second_run_changes_nothing(
    app: Database, system: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await post(app, studio)
    await learn(app, system)
    before = await fetch(admin, SHARED), await fetch(admin, OWN)
    rows = await rows_of(admin, studio)

    report = await learn(app, system)

    assert (report.results, report.tenants, report.critiques, report.adjustments) == (0, 0, 0, 0)
    assert (await fetch(admin, SHARED), await fetch(admin, OWN)) == before
    assert await rows_of(admin, studio) == rows


async def test_a_replay_gives_the_same_state_to_the_last_bit(
    app: Database, system: Database, studio: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    await post(app, studio, 8)
    await add_results(app, bob.id, many(10, prefix="b", views=500))
    await learn(app, system)
    # A second batch looks at what the first one stored.
    await add_results(app, bob.id, many(10, prefix="c", views=900, first_day=20))
    await learn(app, system, now=NOW + timedelta(days=40))
    before = await fetch(admin, SHARED), await fetch(admin, OWN)
    forecasts = [await foretell(app, tenant) for tenant in (studio, bob)]

    for table in ("shared_effects", "learner_effects"):
        forget = "SET mean = 7, variance = 7, samples = 0, day = 0 WHERE platform = 'tiktok'"
        await execute(admin, f"UPDATE {table} {forget}")
    await execute(admin, "UPDATE performance_feedback SET outcome_version = -1")
    await learn(app, system, now=NOW + timedelta(days=40))

    assert (await fetch(admin, SHARED), await fetch(admin, OWN)) == before
    assert [await foretell(app, tenant) for tenant in (studio, bob)] == forecasts


async def test_two_batches_give_the_same_state_as_one(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, many(12))
    await learn(app, system)
    live = (
        "SELECT goal, family, key, mean, variance, samples FROM shared_effects"
        " WHERE platform = 'tiktok' ORDER BY 1, 2, 3"
    )
    at_once = await fetch(admin, live)

    await execute(admin, "TRUNCATE performance_feedback, concepts CASCADE")
    await execute(admin, "TRUNCATE shared_effects, learner_effects, model_versions")
    for number in range(12):
        await add_results(app, alice.id, many(12)[number : number + 1])
        await learn(app, system)

    assert await fetch(admin, live) == at_once


async def test_two_runs_at_a_time_apply_and_judge_each_result_once(
    app: Database, system: Database, studio: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    await post(app, studio, 10)
    await add_results(app, bob.id, many(10))

    reports = await asyncio.gather(*(learn(app, system) for _ in range(3)))

    assert sum(report.results for report in reports) == 20
    assert await fetch(
        admin,
        "SELECT count(DISTINCT applied_no), min(applied_no), max(applied_no)"
        " FROM performance_feedback",
    ) == [(20, 1, 20)]
    twice = (
        "SELECT platform, goal, adjustment_type, category FROM scoring_adjustments"
        " GROUP BY tenant_id, 1, 2, 3, 4 HAVING count(*) > 1"
    )
    assert await fetch(admin, twice) == []
    assert sum(report.critiques for report in reports) == len(
        await fetch(admin, "SELECT id FROM self_critiques WHERE feedback_id IS NOT NULL")
    )


async def test_a_miss_outside_its_interval_gets_one_critique_and_others_none(
    app: Database, system: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    concepts = await generate(app, studio.id, 4)
    await execute(admin, "UPDATE predictions SET low = 45, high = 55")
    outside, inside, edge, _ = concepts
    await add_results(
        app,
        studio.id,
        [
            result_of(outside, views=5_000_000, likes=4_000_000),
            result_of(inside, views=6_000, likes=300),
            result_of(edge, views=300, likes=0),
            result("elsewhere", views=5_000_000, likes=4_000_000),
        ],
    )

    first = await learn(app, system)
    second = await learn(app, system)

    assert (first.critiques, second.critiques) == (2, 0)
    async with app.tenant_session(studio.id) as session:
        critiques = await list_critiques(session, limit=10)
    assert {each.concept_id for each in critiques} == {outside.id, edge.id}
    largest = next(each for each in critiques if each.concept_id == outside.id)
    assert largest.performance_gap["direction"] == "under-predicted"
    assert outside.title in largest.critique


async def test_a_run_critiques_the_twenty_largest_misses_and_judges_the_rest(
    app: Database, system: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    concepts = await generate(app, studio.id, 25)
    await execute(admin, "UPDATE predictions SET low = score - 1, high = score + 1")
    rows = [
        result_of(each, views=40_000 * (place + 1), likes=20_000 * (place + 1))
        for place, each in enumerate(concepts)
    ]
    await add_results(app, studio.id, rows)

    first = await learn(app, system)
    second = await learn(app, system)

    assert (first.critiques, second.critiques) == (20, 0)
    gaps = await fetch(
        admin,
        "SELECT (SELECT count(*) FROM self_critiques WHERE feedback_id = f.id),"
        " (engagement_score + reach_score) / 2 FROM performance_feedback AS f ORDER BY 2 DESC",
    )
    assert [count for count, _ in gaps] == [1] * 20 + [0] * 5


async def test_a_tenants_results_never_change_rows_of_another(
    app: Database, system: Database, studio: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, bob.id, many(10, prefix="b", views=2_000))
    await learn(app, system)
    before = await rows_of(admin, bob)

    await post(app, studio, 10)
    report = await learn(app, system)

    assert report.results == 10
    assert await rows_of(admin, bob) == before
    assert await rows_of(admin, studio) != before


async def test_shared_rows_hold_no_word_of_a_tenant(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    secret = result("v1", title="Zanzibar quokka", tags=("aardvark", "snack"))
    await add_results(app, alice.id, [secret])

    await learn(app, system)

    keys = {str(key) for (key,) in await fetch(admin, "SELECT key FROM shared_effects")}
    words = {"zanzibar", "quokka", "aardvark", "snack"}
    assert not any(word in key for key in keys for word in words)
    assert {HASHED(word) for word in words} <= keys
    own = await fetch(admin, "SELECT key FROM learner_effects WHERE family = 'tenant_word'")
    assert words <= {str(key) for (key,) in own}
    documents = await fetch(admin, "SELECT document::text FROM model_versions")
    assert not any(word in str(document) for document in documents for word in words)


async def test_enough_results_fit_own_outcome_tables_and_replay_the_history(
    app: Database,
    system: Database,
    alice: TestTenant,
    admin: AsyncConnection,
) -> None:
    await add_results(app, alice.id, many(outcomes.FEWEST_RESULTS - 1, views=50_000))
    await learn(app, system, now=NOW + timedelta(days=300))
    served = "SELECT family, key, published FROM learner_effects ORDER BY goal, family, key"
    published = {row[:2]: row[2] for row in await fetch(admin, served)}
    level = "SELECT published FROM shared_effects WHERE family = 'newcomer' ORDER BY goal"
    newcomers = await fetch(admin, level)
    first_score = "SELECT reach_score FROM performance_feedback WHERE applied_no = 1"
    before = await fetch(admin, first_score)

    await add_results(app, alice.id, [result("last", views=1, likes=0)])
    async with system.session_without_tenant() as session:
        applied = await apply_results(
            session, "tiktok", now=NOW + timedelta(days=301), hashed=HASHED
        )

    assert (applied.is_replay, applied.results) == (True, outcomes.FEWEST_RESULTS)
    assert await fetch(admin, first_score) != before
    after = {row[:2]: row[2] for row in await fetch(admin, served)}
    assert {key: after[key] for key in published} == published
    assert len(newcomers) == 2
    versions = "SELECT kind, version, is_current FROM model_versions WHERE kind = 'outcomes'"
    assert await fetch(admin, versions) == [("outcomes", 1, True)]
    assert await fetch(
        admin,
        "SELECT count(*), count(DISTINCT applied_no), max(applied_no)"
        " FROM performance_feedback WHERE outcome_version = 1",
    ) == [(200, 200, 200)]


async def test_a_run_that_was_killed_after_learning_goes_on_with_judging(
    app: Database, system: Database, studio: TestTenant
) -> None:
    await post(app, studio, 5)
    for platform in PLATFORMS:
        async with system.session_without_tenant() as session:
            await apply_results(session, platform, now=NOW, hashed=HASHED)

    report = await learn(app, system)

    assert (report.results, report.tenants) == (0, 1)
    assert report.adjustments > 0


async def test_the_status_counts_videos_and_compares_with_not_learning(
    app: Database, system: Database, studio: TestTenant
) -> None:
    await post(app, studio, 10)
    await learn(app, system)
    await post(app, studio, 10, seed=2)
    await learn(app, system)
    # A second reading of a video waits for nothing.
    await add_results(app, studio.id, [result("new"), result("new", days=9)])

    async with app.tenant_session(studio.id) as session:
        counts = await count_results(session)
        results = await scored_results(session)
        newest = await scored_results(session, most=10)

    assert counts == (20, 1)
    assert len(results) == 20
    assert [each.error for each in newest] == [each.error for each in results[-10:]]
    last = accuracy_of(results, window=10)
    assert last is not None
    assert last.with_learning < last.without_learning
    assert accuracy_of(results[:4]) is None


async def test_a_reading_of_the_first_days_waits_for_a_later_one(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    early = await add_results(app, alice.id, [result("v1", days=1)])
    before = await learn(app, system)

    await add_results(app, alice.id, [result("v1", days=2, views=9_000)])
    after = await learn(app, system)

    assert early.early == 1
    assert (before.results, after.results) == (0, 1)
    query = "SELECT views FROM performance_feedback WHERE applied_no IS NOT NULL"
    assert await fetch(admin, query) == [(9_000,)]
