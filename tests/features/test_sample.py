"""The demo studio is made once, by the real features, and its predictions visibly improve."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
from clusters import Cluster, superuser
from factories import make_tenant
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import HASHED, NOW, fetch

from viral.adapters.offline_critic import OfflineCritic
from viral.adapters.offline_writer import OfflineWriter
from viral.database.engine import Database
from viral.features.reflexion.status import accuracy_of, scored_results
from viral.features.sample import history
from viral.features.sample.history import CONCEPTS_A_WEEK, OPEN_CONCEPTS, WEEKS, make_demo
from viral.schema.vocabulary import PLATFORMS


async def make(app: Database, system: Database, cluster: Cluster) -> UUID | None:
    return await make_demo(
        app,
        system,
        secrets=cluster.secrets,
        writer=OfflineWriter(),
        critic=OfflineCritic(),
        now=NOW,
        hashed=HASHED,
    )


@pytest.fixture(scope="module")
async def app_of_module(cluster: Cluster, module_database: str) -> AsyncIterator[Database]:
    database = cluster.database("viral_app", module_database)
    yield database
    await database.close()


@pytest.fixture(scope="module")
async def system_of_module(cluster: Cluster, module_database: str) -> AsyncIterator[Database]:
    database = cluster.database("viral_system", module_database)
    yield database
    await database.close()


@pytest.fixture(scope="module")
async def demo(app_of_module: Database, system_of_module: Database, cluster: Cluster) -> UUID:
    """Make the demo studio once for the tests of this module."""
    await make_tenant(system_of_module, cluster.secrets, slug="other")
    made = await make(app_of_module, system_of_module, cluster)
    assert made is not None
    return made


@pytest.fixture
async def rows(cluster: Cluster, module_database: str) -> AsyncIterator[AsyncConnection]:
    async with superuser(cluster, module_database) as connection:
        yield connection


async def test_the_demo_is_made_once(
    app_of_module: Database,
    system_of_module: Database,
    cluster: Cluster,
    demo: UUID,
    rows: AsyncConnection,
) -> None:
    counts = "SELECT (SELECT count(*) FROM concepts), (SELECT count(*) FROM performance_feedback)"
    before = await fetch(rows, counts)

    assert await make(app_of_module, system_of_module, cluster) is None

    assert await fetch(rows, counts) == before
    assert await fetch(rows, "SELECT id FROM tenants WHERE is_demo") == [(demo,)]


async def test_learning_beats_not_learning_clearly(app_of_module: Database, demo: UUID) -> None:
    async with app_of_module.tenant_session(demo) as session:
        results = await scored_results(session)

    assert len(results) == WEEKS * CONCEPTS_A_WEEK * len(PLATFORMS)
    for window in (20, 40):
        last = accuracy_of(results, window=window)
        assert last is not None
        assert last.with_learning < 0.7 * last.without_learning
        assert last.inside > 0.7


@pytest.mark.usefixtures("demo")
async def test_the_history_has_a_handful_of_critiques_and_insights(rows: AsyncConnection) -> None:
    ((critiques, insights, adjustments),) = await fetch(
        rows,
        "SELECT (SELECT count(*) FROM self_critiques WHERE feedback_id IS NOT NULL),"
        " (SELECT count(*) FROM reflexion_insights), (SELECT count(*) FROM scoring_adjustments)",
    )

    assert isinstance(critiques, int)
    assert isinstance(insights, int)
    assert isinstance(adjustments, int)
    assert 5 <= critiques <= 15
    assert insights >= 4
    assert 10 <= adjustments <= 150


async def test_everything_of_it_belongs_to_it_and_is_marked_as_sample(
    demo: UUID, rows: AsyncConnection
) -> None:
    for table in (
        "concepts",
        "predictions",
        "performance_feedback",
        "self_critiques",
        "reflexion_insights",
        "scoring_adjustments",
        "learner_effects",
    ):
        owners = await fetch(rows, f"SELECT DISTINCT tenant_id FROM {table}")
        assert owners == [(demo,)], table
    assert await fetch(rows, "SELECT DISTINCT is_sample, source FROM trends") == [(True, "sample")]


async def test_some_concepts_wait_to_be_posted_and_the_quota_fits(
    demo: UUID, rows: AsyncConnection
) -> None:
    waiting = await fetch(
        rows,
        "SELECT c.created_at FROM concepts AS c WHERE NOT EXISTS"
        " (SELECT FROM performance_feedback AS f WHERE f.concept_id = c.id)",
    )
    used = await fetch(
        rows,
        "SELECT used_quota, (SELECT sum(amount) FROM quota_ledger) FROM tenants WHERE id = :demo",
        demo=demo,
    )

    assert waiting == [(NOW,)] * OPEN_CONCEPTS
    expected = WEEKS * CONCEPTS_A_WEEK + OPEN_CONCEPTS
    assert used == [(expected, expected)]


async def test_results_come_after_their_predictions(demo: UUID, rows: AsyncConnection) -> None:
    early = await fetch(
        rows,
        "SELECT f.id FROM performance_feedback AS f JOIN predictions AS p"
        " ON (p.tenant_id, p.concept_id, p.platform) = (f.tenant_id, f.concept_id, f.platform)"
        " WHERE f.tenant_id = :demo AND (f.published_at < p.created_at OR f.observed_on > :today)",
        demo=demo,
        today=NOW.date(),
    )

    assert early == []


async def test_the_history_is_the_same_on_any_day(
    app: Database,
    system: Database,
    cluster: Cluster,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "WEEKS", 2)
    histories = []
    for days in (0, 3):
        await make_demo(
            app,
            system,
            secrets=cluster.secrets,
            writer=OfflineWriter(),
            critic=OfflineCritic(),
            now=NOW + timedelta(days=days, hours=11),
            hashed=HASHED,
        )
        histories.append(
            await fetch(
                admin,
                "SELECT concept_title, platform, views, likes, engagement_score"
                " FROM performance_feedback ORDER BY published_at, concept_title, platform",
            )
        )
        await admin.exec_driver_sql("TRUNCATE tenants, trends, shared_effects CASCADE")
        await admin.exec_driver_sql("TRUNCATE model_versions")
        await admin.commit()

    assert histories[0] == histories[1]
    assert len(histories[0]) == 2 * CONCEPTS_A_WEEK * len(PLATFORMS)


@pytest.mark.usefixtures("demo")
async def test_the_reasons_of_every_prediction_add_up_to_its_score(rows: AsyncConnection) -> None:
    sums = await fetch(
        rows,
        "SELECT round(score * 10), (SELECT sum(round((r ->> 'points')::numeric * 10))"
        " FROM jsonb_array_elements(reasons) AS r), jsonb_array_length(reasons) FROM predictions",
    )

    assert all(score == total for score, total, _ in sums)
    assert max(int(str(count)) for _, _, count in sums) >= 6
