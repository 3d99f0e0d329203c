"""What is asked of the API is counted: by route, in batches, whatever the database does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from clusters import Cluster, count_rows
from factories import TestTenant
from litestar import Litestar
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from viral.database.engine import Database
from viral.schema.base import uuid7
from viral.settings import Settings
from viral.web.usage import BATCH, Usage, Use
from web.conftest import Browser, browsing, serving, sign_in
from web.programs import KEYS, make_key, running

ROWS = text(
    "SELECT api_key_id, user_id, endpoint, method, status_code, request_id FROM api_usage"
    " ORDER BY id"
)


@pytest.fixture(autouse=True)
async def _months(admin: AsyncConnection) -> None:
    """Make the partitions, as the worker does."""
    await admin.execute(text("SELECT viral.make_partitions()"))
    await admin.commit()


@pytest.fixture
async def lost(
    system: Database, admin: AsyncConnection, cluster: Cluster
) -> AsyncIterator[Database]:
    """Give the system role's database while that role may not log in."""
    database = cluster.database("viral_system", system.url.database)
    await admin.execute(text("ALTER ROLE viral_system NOLOGIN"))
    await admin.commit()
    yield database
    await admin.execute(text("ALTER ROLE viral_system LOGIN"))
    await admin.commit()
    await database.close()


def use_of(tenant_id: UUID, *, key_id: UUID | None = None) -> Use:
    return Use(
        tenant_id=tenant_id,
        user_id=uuid7(),
        key_id=key_id,
        request_id="0123456789abcdef",
        endpoint="/api/v1/tenant",
        method="GET",
        status=200,
        took_ms=1,
    )


async def test_each_request_of_somebody_known_is_a_row(
    application: Litestar,
    alices: Browser,
    alice: TestTenant,
    system: Database,
    admin: AsyncConnection,
) -> None:
    key = await make_key(alices)
    async with running(application, key) as robot:
        answers = [
            await robot.get("/api/v1/tenant"),
            await robot.get(f"/api/v1/concepts/{uuid7()}?cursor=secret"),
            await robot.get("/api/v1/audit"),
            await robot.post("/api/v1/concepts", json={"count": "x"}),
        ]
    await application.state.usage.write(system)

    rows = (await admin.execute(ROWS)).all()
    key_id = (await admin.scalars(text("SELECT id FROM api_keys"))).one()
    assert [(each.endpoint, each.method, each.status_code) for each in rows] == [
        ("/api/v1/api-keys", "POST", 201),
        ("/api/v1/tenant", "GET", 200),
        ("/api/v1/concepts/{concept_id}", "GET", 404),
        ("/api/v1/audit", "GET", 403),
        ("/api/v1/concepts", "POST", 422),
    ]
    assert [each.api_key_id for each in rows] == [None, *[key_id] * 4]
    assert {each.user_id for each in rows} == {alice.user_id}
    assert [each.request_id for each in rows[1:]] == [
        each.headers["x-request-id"] for each in answers
    ]


async def test_strangers_and_pages_are_not_counted(
    application: Litestar,
    alices: Browser,
    stranger: Browser,
    system: Database,
    admin: AsyncConnection,
) -> None:
    await alices.get("/")
    await stranger.get("/api/v1/tenant")
    await stranger.get("/api/v1/tenant", Authorization="Bearer vd_live_x")
    await alices.get("/api/v1/nowhere")

    await application.state.usage.write(system)

    assert await count_rows(admin, "api_usage") == 0


async def test_a_tenant_sees_its_own_use_alone(
    alices: Browser,
    bobs: Browser,
    application: Litestar,
    app: Database,
    system: Database,
    alice: TestTenant,
) -> None:
    await alices.get("/api/v1/tenant")
    await bobs.get("/api/v1/tenant")
    await application.state.usage.write(system)

    async with app.tenant_session(alice.id) as session:
        seen = (await session.scalars(text("SELECT user_id FROM api_usage"))).all()

    assert seen == [alice.user_id]


async def test_a_key_knows_when_it_was_used_last(
    application: Litestar, alices: Browser, system: Database
) -> None:
    key = await make_key(alices)
    assert (await alices.get(KEYS)).json()[0]["last_used_at"] is None
    moments = []
    for _ in range(2):
        async with running(application, key) as robot:
            await robot.get("/api/v1/tenant")
        await application.state.usage.write(system)
        moments.append((await alices.get(KEYS)).json()[0]["last_used_at"])

    assert None not in moments
    assert moments[0] < moments[1]


async def test_last_used_never_goes_back(
    alices: Browser, alice: TestTenant, system: Database, admin: AsyncConnection
) -> None:
    await make_key(alices)
    key_id = (await admin.scalars(text("SELECT id FROM api_keys"))).one()
    await admin.execute(text("UPDATE api_keys SET last_used_at = '2199-01-01T00:00:00Z'"))
    await admin.commit()
    usage = Usage()
    usage.add(use_of(alice.id, key_id=key_id))

    assert await usage.write(system)

    assert (await alices.get(KEYS)).json()[0]["last_used_at"] == "2199-01-01T00:00:00Z"


async def test_batches_are_one_transaction_each_and_leave_nothing(
    alice: TestTenant, system: Database, admin: AsyncConnection
) -> None:
    usage = Usage()
    for _ in range(2 * BATCH + 1):
        usage.add(use_of(alice.id))

    first, second = await asyncio.gather(usage.write(system), usage.write(system))

    assert (first, second) == (True, True)
    assert await count_rows(admin, "api_usage") == 2 * BATCH + 1
    assert await admin.scalar(text("SELECT count(DISTINCT requested_at) FROM api_usage")) > 1
    transactions = await admin.scalar(text("SELECT count(DISTINCT xmin::text) FROM api_usage"))
    assert transactions == 3


async def test_what_comes_while_a_batch_is_written_waits_for_the_next(
    alice: TestTenant, system: Database, admin: AsyncConnection
) -> None:
    usage = Usage()
    usage.add(use_of(alice.id))
    writing = asyncio.create_task(usage.write(system))
    await asyncio.sleep(0)
    usage.add(use_of(alice.id))

    await writing

    assert await count_rows(admin, "api_usage") == 1
    await usage.write(system)
    await admin.rollback()
    assert await count_rows(admin, "api_usage") == 2


async def test_the_use_of_an_erased_tenant_holds_nobody_up(
    alice: TestTenant, system: Database, admin: AsyncConnection
) -> None:
    usage = Usage()
    usage.add(use_of(uuid7()))
    usage.add(use_of(alice.id))

    assert await usage.write(system)

    assert await count_rows(admin, "api_usage") == 1


async def test_what_a_lost_database_does_not_take_is_written_later_and_dated_back(
    alice: TestTenant, system: Database, lost: Database, admin: AsyncConnection
) -> None:
    usage = Usage()
    for _ in range(3):
        usage.add(use_of(alice.id))
    with capture_logs() as logs:
        is_written = await usage.write(lost)
    await asyncio.sleep(0.3)
    await admin.execute(text("ALTER ROLE viral_system LOGIN"))
    await admin.commit()

    assert not is_written
    assert [(each["event"], each["requests"]) for each in logs] == [("usage.waits", 3)]
    assert await usage.write(system)
    assert await count_rows(admin, "api_usage") == 3
    age = text("SELECT min(now() - requested_at) >= '0.3 s' FROM api_usage")
    assert await admin.scalar(age)


async def test_memory_is_bounded_and_what_is_dropped_is_counted(
    alice: TestTenant, system: Database, admin: AsyncConnection
) -> None:
    usage = Usage(most=10)
    for _ in range(25):
        usage.add(use_of(alice.id))

    with capture_logs() as logs:
        await usage.write(system)
        usage.add(use_of(alice.id))
        await usage.write(system)

    assert await count_rows(admin, "api_usage") == 11
    assert [(each["event"], each["requests"]) for each in logs] == [("usage.dropped", 15)]


async def test_what_is_left_is_written_when_the_server_stops(
    settings: Settings, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    async with serving(settings) as application, browsing(application) as browser:
        await sign_in(browser, system, alice)
        await browser.get("/api/v1/tenant")
        assert await count_rows(admin, "api_usage") == 0

    assert await count_rows(admin, "api_usage") == 1


async def test_it_is_written_by_itself_after_a_batch(
    alice: TestTenant, system: Database, admin: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viral.web.usage.EVERY_S", 60)
    usage = Usage()
    async with usage.written_to(system):
        for _ in range(BATCH):
            usage.add(use_of(alice.id))

        await assert_written(admin, BATCH)


async def test_it_is_written_by_itself_after_a_while(
    alice: TestTenant, system: Database, admin: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viral.web.usage.EVERY_S", 0.05)
    usage = Usage()
    async with usage.written_to(system):
        usage.add(use_of(alice.id))

        await assert_written(admin, 1)


async def test_stopping_tries_once_more_what_the_database_did_not_take(
    alice: TestTenant, lost: Database, admin: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viral.web.usage.EVERY_S", 60)
    usage = Usage()
    with capture_logs() as logs:
        async with usage.written_to(lost):
            for _ in range(BATCH):
                usage.add(use_of(alice.id))
            while not logs:
                await asyncio.sleep(0.02)
            await admin.execute(text("ALTER ROLE viral_system LOGIN"))
            await admin.commit()

    assert [each["event"] for each in logs] == ["usage.waits"]
    assert await count_rows(admin, "api_usage") == BATCH


async def test_stopping_with_a_lost_database_tells_how_much_is_lost(
    alice: TestTenant, lost: Database
) -> None:
    usage = Usage()
    usage.add(use_of(alice.id))
    with capture_logs() as logs:
        async with usage.written_to(lost):
            pass

    assert ("usage.lost", 1) in [(each["event"], each["requests"]) for each in logs]


async def assert_written(admin: AsyncConnection, rows: int) -> None:
    async with asyncio.timeout(20):
        while await count_rows(admin, "api_usage") != rows:
            await asyncio.sleep(0.02)
