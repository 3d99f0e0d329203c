"""Reads through a replica: never stale, never an error, never another tenant's."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from clusters import TEMPLATE, Cluster, free_port
from factories import TestTenant
from replicas import ask, on_replica, send
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from tenancy import tenants_seen
from web.conftest import browsing, live_some_weeks, serving, settings_for, sign_in

from viral.database import reading as reading_module
from viral.database.engine import Database
from viral.database.reading import Position, Reading, examine_replica
from viral.database.urls import parse_url
from viral.errors import TenantContextMissing, TenantContextUnknown
from viral.features.audit import note
from viral.postgres.server import Server

pytest_plugins = ["replicas"]

ROUNDS = 300
COUNT = text("SELECT count(*) FROM audit_log WHERE action = 'signed in'")
# Every route that reads through `Runtime.reading`.
ROUTES = (
    "/",
    "/learning.csv",
    "/api/v1/reflexion",
    "/api/v1/performance/weeks",
    "/api/v1/reflexion/adjustments",
    "/api/v1/reflexion/critiques",
    "/api/v1/reflexion/insights",
    "/api/v1/reflexion/report",
    "/metrics",
    "/reflexion",
    "/reflexion/accuracy.csv",
    "/reflexion/calibration.csv",
    "/performance",
    "/performance/weeks.csv",
)


@pytest.fixture
async def elsewhere(
    cluster: Cluster, replica: Server, database_name: str
) -> AsyncIterator[Database]:
    database = await on_replica(cluster, replica, "viral_readonly", database_name)
    yield database
    await database.close()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a replica that failed tried again by the next read."""
    monkeypatch.setattr(reading_module, "LEFT_ALONE_S", 0.0)


async def count_entries(session: AsyncSession) -> int:
    return int(await session.scalar(COUNT) or 0)


async def is_replica(session: AsyncSession) -> bool:
    return bool(await session.scalar(text("SELECT pg_is_in_recovery()")))


@asynccontextmanager
async def paused_now_and_then(replica: Server) -> AsyncIterator[None]:
    """Hold replay for moments, as a long query or a slow disk does."""

    async def pause() -> None:
        while True:
            await asyncio.sleep(0.1)
            await ask(replica, "SELECT pg_wal_replay_pause()")
            await asyncio.sleep(0.1)
            await ask(replica, "SELECT pg_wal_replay_resume()")

    pausing = asyncio.create_task(pause())
    try:
        yield
    finally:
        pausing.cancel()
        await asyncio.wait({pausing})
        await ask(replica, "SELECT pg_wal_replay_resume()")


@pytest.mark.usefixtures("at_once")
async def test_what_was_committed_by_anybody_is_read_at_once(
    app: Database,
    elsewhere: Database,
    replica: Server,
    alice: TestTenant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading_module, "PATIENCE_S", 0.02)
    reading = Reading(app, elsewhere)
    found = []

    async with paused_now_and_then(replica):
        for _ in range(ROUNDS):
            async with app.tenant_session(alice.id) as session:
                await note(session, "signed in", user_id=alice.user_id)
            found.append(await reading.read(alice.id, count_entries))

    assert found == list(range(1, ROUNDS + 1))
    assert 0 < reading.from_replica < ROUNDS


@pytest.mark.parametrize("role", ["viral_app", "viral_readonly"])
async def test_tenants_are_as_apart_on_the_replica(
    cluster: Cluster,
    replica: Server,
    app: Database,
    database_name: str,
    alice: TestTenant,
    bob: TestTenant,
    role: str,
) -> None:
    database = await on_replica(cluster, replica, role, database_name)
    reading = Reading(app, database)

    async def entries_of_bob(session: AsyncSession) -> tuple[bool, int]:
        sql = text("SELECT count(*) FROM tenants WHERE id = :id")
        return await is_replica(session), int(await session.scalar(sql, {"id": bob.id}) or 0)

    assert await reading.read(bob.id, entries_of_bob) == (True, 1)
    assert await reading.read(alice.id, entries_of_bob) == (True, 0)
    assert await tenants_seen(database, alice.id) == [alice.id]
    with pytest.raises(TenantContextUnknown):
        await tenants_seen(database, uuid4())
    async with database.session_without_tenant() as session:
        with pytest.raises(TenantContextMissing):
            await session.execute(text("SELECT id FROM tenants"))
        await session.rollback()
    await database.close()


async def test_routes_that_read_elsewhere_write_nothing(
    cluster: Cluster,
    replica: Server,
    app: Database,
    system: Database,
    database_name: str,
    alice: TestTenant,
) -> None:
    await live_some_weeks(app, system, cluster, alice)
    settings = settings_for(cluster, cluster.home, database_name).model_copy(
        update={"replica_url": replica.url("viral_readonly", database_name)}
    )
    async with serving(settings) as application, browsing(application) as browser:
        await sign_in(browser, system, alice)
        reading = application.state.runtime.reading
        for number, path in enumerate(ROUTES, start=1):
            answer = await browser.get(path)

            assert (path, answer.status_code) == (path, 200)
            assert (path, reading.from_replica) == (path, number)


async def test_a_read_that_writes_is_told_so_and_stores_nothing(
    app: Database, elsewhere: Database, alice: TestTenant, cluster: Cluster, replica: Server
) -> None:
    database = await on_replica(cluster, replica, "viral_app", elsewhere.url.database)
    reading = Reading(app, database)

    async def write(session: AsyncSession) -> None:
        await note(session, "signed in", user_id=alice.user_id)

    with pytest.raises(DBAPIError, match="read-only transaction"):
        await reading.read(alice.id, write)

    assert await reading.read(alice.id, count_entries) == 0
    await database.close()


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("end", ["stopped", "killed"])
async def test_a_replica_that_ends_in_a_read_gives_way_and_comes_back(
    app: Database, elsewhere: Database, replica: Server, alice: TestTenant, end: str
) -> None:
    reading = Reading(app, elsewhere)
    runs: list[bool] = []

    async def work(session: AsyncSession) -> int:
        runs.append(await is_replica(session))
        if len(runs) == 1:
            await (replica.stop() if end == "stopped" else send(replica, signal.SIGKILL))
        return await count_entries(session)

    assert await reading.read(alice.id, work) == 0
    assert runs == [True, False]
    assert not await reading.read(alice.id, is_replica)
    await replica.start()
    assert await reading.read(alice.id, is_replica)


@pytest.mark.parametrize("has_connection", [True, False])
async def test_a_replica_that_answers_nothing_holds_nobody_up(
    app: Database,
    elsewhere: Database,
    replica: Server,
    alice: TestTenant,
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_connection: bool,
) -> None:
    monkeypatch.setattr(reading_module, "OPENING_S", 0.3)
    reading = Reading(app, elsewhere)
    if has_connection:
        assert await reading.read(alice.id, is_replica)
    await send(replica, signal.SIGSTOP)
    try:
        async with asyncio.timeout(5):
            assert not await reading.read(alice.id, is_replica)
        # It is left alone: no further read waits for it.
        monkeypatch.setattr(reading_module, "OPENING_S", 60)
        async with asyncio.timeout(5):
            assert not await reading.read(alice.id, is_replica)
    finally:
        await send(replica, signal.SIGCONT)


async def test_a_replica_that_stops_in_the_middle_of_a_read_holds_nobody_up(
    app: Database,
    elsewhere: Database,
    replica: Server,
    alice: TestTenant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading_module, "READ_S", 0.5)
    reading = Reading(app, elsewhere)

    async def work(session: AsyncSession) -> bool:
        if await is_replica(session):
            await send(replica, signal.SIGSTOP)
        return await is_replica(session)

    try:
        async with asyncio.timeout(5):
            assert not await reading.read(alice.id, work)
    finally:
        await send(replica, signal.SIGCONT)


async def test_what_is_no_replica_of_this_database_is_not_read(
    cluster: Cluster, replica: Server, app: Database, database_name: str, alice: TestTenant
) -> None:
    await (await on_replica(cluster, replica, "viral_app", database_name)).close()
    own = replica.url("viral_app", database_name)
    nothing = own.replace(f":{parse_url(own).port}/", f":{free_port()}/")
    wrong = {
        "it takes writes": cluster.server.url("viral_app", database_name),
        "another database": replica.url("viral_app", TEMPLATE),
        "row security would not hold": replica.url("viral_backup", database_name),
        "nothing listens": nothing,
        "password": own.replace("viral_app:", "viral_app:x"),
    }

    for reason, url in wrong.items():
        database = Database(parse_url(url), context_key=cluster.secrets.context_key)
        reading = Reading(app, database)
        view = await examine_replica(app, database)
        assert await reading.read(alice.id, count_entries) == 0
        assert not await reading.read(alice.id, is_replica)
        assert reason in (view.reason or "")
        await database.close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda found: found._replace(system=1), "another server"),
        (lambda found: found._replace(timeline="00000002"), "another timeline"),
        (lambda found: found._replace(lsn=1), "ahead of the primary"),
    ],
)
async def test_other_histories_are_told_apart(
    app: Database,
    elsewhere: Database,
    alice: TestTenant,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Position], Position],
    reason: str,
) -> None:
    """Show the primary as one that was restored, which the replica does not follow."""
    position = reading_module._position

    async def of_another(session: AsyncSession, *, of_primary: bool) -> Position:
        found = await position(session, of_primary=of_primary)
        return change(found) if of_primary else found

    monkeypatch.setattr(reading_module, "_position", of_another)

    assert not await Reading(app, elsewhere).read(alice.id, is_replica)
    assert reason in capsys.readouterr().out


async def test_lag_is_told_in_bytes_and_seconds(
    app: Database, elsewhere: Database, replica: Server, alice: TestTenant
) -> None:
    await ask(replica, "SELECT pg_wal_replay_pause()")
    try:
        async with app.tenant_session(alice.id) as session:
            await note(session, "signed in", user_id=alice.user_id)
        behind = await examine_replica(app, elsewhere)
    finally:
        await ask(replica, "SELECT pg_wal_replay_resume()")

    assert behind.reason is None
    assert (behind.lag_bytes or 0) > 0
    assert (behind.lag_s or 0) > 0


def test_nobody_reads_elsewhere_unseen() -> None:
    """A route that starts to read elsewhere has to be in ROUTES."""
    web = Path(reading_module.__file__).parents[1] / "web"
    uses = sum(file.read_text("utf-8").count("reading.read(") for file in web.rglob("*.py"))

    assert uses == len(ROUTES)
