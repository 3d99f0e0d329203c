"""The page of metrics: a tenant's use of the API, and how the installation does, for operators."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from clusters import Cluster
from factories import TestTenant
from litestar import Litestar
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.errors import BackupError
from viral.features.usage.measurements import measured
from viral.features.usage.requests import use_of_api
from viral.features.usage.spread import bin_of, percentile
from viral.schema.base import uuid7
from viral.web.dashboard import installation
from viral.web.traffic import Traffic
from web.conftest import Browser, make_operator
from web.programs import make_key
from web.test_home import words

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
async def database_name(emptied_database: str, cluster: Cluster) -> str:
    """Give one database to all tests here, with partitions, and without measurements."""
    await cluster.execute_as_admin(emptied_database, "SELECT viral.make_partitions()")
    return emptied_database


async def use(
    admin: AsyncConnection,
    tenant: TestTenant,
    *took_ms: int,
    endpoint: str = "/api/v1/concepts",
    status: int = 200,
    key_id: UUID | None = None,
    ago: timedelta = timedelta(minutes=1),
) -> None:
    """Note calls of a tenant to the API."""
    for each in took_ms:
        await admin.execute(
            text(
                "INSERT INTO api_usage (id, tenant_id, user_id, api_key_id, request_id, endpoint,"
                " method, status_code, response_time_ms, requested_at) VALUES (:id, :tenant,"
                " :user, :key, 'r', :endpoint, 'GET', :status, :took,"
                " now() - CAST(:ago AS interval))"
            ),
            {
                "id": uuid7(),
                "tenant": tenant.id,
                "user": tenant.user_id,
                "key": key_id,
                "endpoint": endpoint,
                "status": status,
                "took": each,
                "ago": ago,
            },
        )
    await admin.commit()


async def measure(admin: AsyncConnection, name: str, value: float, metadata: str = "{}") -> None:
    await admin.execute(
        text(
            "INSERT INTO system_metrics (id, recorded_at, metric_type, value, metadata) VALUES"
            " (:id, date_trunc('minute', now()), :name, :value, CAST(:metadata AS jsonb))"
        ),
        {"id": uuid7(), "name": name, "value": value, "metadata": metadata},
    )
    await admin.commit()


def test_a_percentile_is_told_within_an_eighth() -> None:
    times = [1, 2, 3, 40, 90, 200, 777, 5_000, 60_000]

    for each in times:
        told = percentile({bin_of(each): 3}, 0.5)
        assert told is not None
        assert abs(told - each) <= each / 8 + 0.2
    assert percentile({bin_of(10): 94, bin_of(1000): 6}, 0.95) == percentile({bin_of(1000): 1}, 1)
    assert percentile({bin_of(10): 95, bin_of(1000): 5}, 0.95) == percentile({bin_of(10): 1}, 1)
    assert percentile({}, 0.5) is None


async def test_without_calls_a_tenant_is_told_how_they_come(alices: Browser) -> None:
    said = words(await alices.get("/metrics"))

    assert "No calls in this time. Programs ask the API with a key" in said
    assert "The installation now" not in said
    assert "Slowest endpoints" not in said


async def test_use_of_the_api_is_told_by_endpoint_and_by_key(
    alices: Browser,
    alice: TestTenant,
    bob: TestTenant,
    admin: AsyncConnection,
) -> None:
    await make_key(alices, name="Nightly import")
    key_id = await admin.scalar(text("SELECT id FROM api_keys"))
    await use(admin, alice, 10, 10, key_id=key_id)
    await use(admin, alice, 900, endpoint="/api/v1/trends", status=500)
    await use(admin, alice, 10, 10, 10, ago=timedelta(days=2))
    await use(admin, bob, *[5000] * 5, endpoint="/api/v1/secret")

    day = words(await alices.get("/metrics"))
    week = words(await alices.get("/metrics?span=7d"))

    assert "Calls 3 by keys and browsers" in day
    assert "Errors 33.3 % 1 answer from 400 on" in day
    assert "calls 3, errors 1." in day
    assert day.index("GET /api/v1/trends") < day.index("GET /api/v1/concepts")
    assert "GET /api/v1/concepts 10 ms 10 ms 2 0" in day
    assert "Nightly import 2 0" in day
    assert "Browsers 1 1" in day
    assert "secret" not in day
    assert "Calls 6 by keys" in week


async def test_the_steps_of_use_count_each_call_once(
    app: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    since = datetime.now(UTC) - timedelta(hours=3)
    for hours, calls in ((2.5, 1), (1.5, 2), (0.0001, 4), (3.5, 8)):
        await use(admin, alice, *[5] * calls, ago=timedelta(hours=hours))

    async with app.tenant_session(alice.id) as session:
        found = await use_of_api(
            session, since=since, step=timedelta(hours=1), until=datetime.now(UTC)
        )

    assert found.calls[:3] == (1, 2, 4)
    assert sum(found.calls) == 7
    assert found.keys[None].calls == found.calls


async def test_operators_see_how_the_installation_does(
    alices: Browser, alice: TestTenant, system: Database, admin: AsyncConnection
) -> None:
    await make_operator(system, alice)
    await measure(admin, "job_workers", 2)
    await measure(admin, "jobs", 3, '{"type": "a", "status": "pending"}')
    await measure(admin, "jobs", 4, '{"type": "b", "status": "pending"}')
    await measure(admin, "job_oldest_s", 75, '{"type": "a"}')
    await measure(admin, "memory_pct", 55)
    await measure(admin, "requests", 20, f'{{"{bin_of(10)}": 19, "{bin_of(500)}": 1, "failed": 2}}')

    page = await alices.get("/metrics")
    table = (await alices.get("/metrics.csv")).text.splitlines()

    said = words(page)
    assert "Failed, last hour 2 of 20" in said
    assert "Answers, last hour 10 ms" in said
    assert "Workers 2 heard of in the last minutes" in said
    assert "waiting 7.0, running 0.0 jobs." in said
    assert "oldest 75 s." in said
    assert "memory 55" in said
    assert table[0].startswith("since,requests,failed,p50_ms")
    assert table[1].split(",")[1:3] == ["20", "2"]


async def test_what_a_new_installation_lacks_is_no_fault(
    alices: Browser,
    alice: TestTenant,
    application: Litestar,
    system: Database,
    cluster: Cluster,
    database_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await make_operator(system, alice)
    traffic, now = application.state.traffic, datetime.now(UTC)

    monkeypatch.setattr(traffic, "started_at", now)
    fresh = words(await alices.get("/metrics"))
    monkeypatch.setattr(traffic, "started_at", now - timedelta(minutes=4))
    await cluster.execute_as_admin(
        database_name, "UPDATE tenants SET created_at = now() - interval '25 hours'"
    )
    older = words(await alices.get("/metrics"))

    assert "just started: workers are counted once a minute" in fresh
    assert "Last backup none yet Make the first: viral backup create" in fresh
    assert "none has said how many there are for 3 minutes" in older
    assert "Last backup none Make one: viral backup create" in older


async def test_members_get_no_measurements_of_the_installation(alices: Browser) -> None:
    assert (await alices.get("/metrics.csv")).status_code == 403


async def test_where_the_backups_do_not_answer_the_rest_of_the_page_stands(
    alices: Browser,
    alice: TestTenant,
    system: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await make_operator(system, alice)

    async def refuse(_settings: object) -> None:
        raise BackupError("s3://secret-bucket says no.")

    async def wait(_settings: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(installation, "backup_catalogue", refuse)
    refused = words(await alices.get("/metrics"))
    monkeypatch.setattr(installation, "backup_catalogue", wait)
    monkeypatch.setattr(installation, "BACKUPS_WITHIN_S", 0.01)
    late = words(await alices.get("/metrics"))

    assert "The backups cannot be listed." in refused
    assert "secret-bucket" not in refused
    assert "The place of the backups did not answer." in late
    assert "Nothing measured in this time." in late


async def test_requests_are_measured_by_the_minute(
    system: Database, admin: AsyncConnection
) -> None:
    now = NOON
    traffic = Traffic(lambda: now)
    traffic.add(status=200, took_ms=10)
    traffic.add(status=503, took_ms=10)
    now += timedelta(minutes=1)
    traffic.add(status=404, took_ms=700)

    await admin.execute(text("CREATE TABLE system_metrics_all PARTITION OF system_metrics DEFAULT"))
    await admin.commit()
    await traffic.write(system)
    async with system.session_without_tenant() as session:
        whole = await measured(
            session, since=NOON, step=timedelta(minutes=1), until=NOON + timedelta(hours=1)
        )
    await traffic.write(system, is_over=True)
    await traffic.write(system, is_over=True)
    async with system.session_without_tenant() as session:
        both = await measured(
            session, since=NOON, step=timedelta(hours=1), until=NOON + timedelta(hours=1)
        )
    await admin.execute(text("DROP TABLE system_metrics_all"))
    await admin.commit()

    assert [(each.requests, each.failed) for each in whole] == [(2, 1)]
    assert [(each.requests, each.failed) for each in both] == [(3, 1)]
    assert both[0].p50_ms == percentile({bin_of(10): 1}, 1)


async def test_minutes_wait_for_a_database_that_is_lost_and_pages_are_counted_but_files_not(
    application: Litestar, alices: Browser, system: Database, admin: AsyncConnection
) -> None:
    traffic = application.state.traffic
    await traffic.write(system, is_over=True)
    before = await admin.scalar(text("SELECT sum(value) FROM system_metrics"))
    await alices.get("/jobs")
    await alices.get("/static/mark.svg")
    await alices.get("/health")
    await admin.execute(text("ALTER TABLE system_metrics RENAME TO away"))
    await admin.commit()
    await traffic.write(system, is_over=True)
    await admin.execute(text("ALTER TABLE away RENAME TO system_metrics"))
    await admin.commit()

    await traffic.write(system, is_over=True)

    after = await admin.scalar(text("SELECT sum(value) FROM system_metrics"))
    assert (before or 0) + 1 == after


async def test_beside_each_key_stand_its_calls_and_the_slowest_endpoints(
    alices: Browser, alice: TestTenant, admin: AsyncConnection
) -> None:
    await make_key(alices, name="Nightly import")
    unused = words(await alices.get("/settings/keys"))
    key_id = await admin.scalar(text("SELECT id FROM api_keys"))
    await use(admin, alice, 10, 10, 10, key_id=key_id, ago=timedelta(days=3))
    await use(admin, alice, 10, key_id=key_id, ago=timedelta(days=9))

    page = await alices.get("/settings/keys")

    assert "none never" in unused
    assert "Slowest endpoints" not in unused
    assert 'class="num">3</span><svg class="sparkline"' in page.text
    assert "GET /api/v1/concepts 10 ms" in words(page)
