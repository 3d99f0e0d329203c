"""Open pages hear what changed: their tenant's news, soon, and nobody else's."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from time import monotonic
from uuid import UUID

import pytest
import uvicorn
from clusters import Cluster, free_port
from factories import TestTenant, make_tenant
from litestar import Litestar
from people import Someone, sign_in_by_link

from viral.adapters.offline_writer import OfflineWriter
from viral.database.announcing import CHANNEL, KINDS, SHARED, Kind, News, Piece, pieces_of
from viral.database.engine import Database
from viral.features.audit import note
from viral.features.generations.concepts import generate_concepts
from viral.features.jobs.queue import cancel_jobs, enqueue, enqueue_many, retry_jobs
from viral.features.jobs.types import REFLEXION
from viral.features.performance.files import ResultRow
from viral.features.performance.imports import import_results
from viral.features.scoring.effects import word_hasher
from viral.features.users.sessions import end_session
from viral.schema.base import uuid7
from viral.schema.tables import METADATA
from viral.schema.tenants import Tenant
from viral.settings import Settings
from viral.web.live import KEPT, PER_SESSION, WAITING, Hub, Reader, Ring
from web.conftest import add_sample_trends, serving
from web.streams import DEADLINE_S, Listening, listening, opened, refused

NOBODY = uuid7()


@pytest.fixture
async def teller(cluster: Cluster, database_name: str) -> AsyncIterator[Database]:
    """Open the app's database as processes of the product do: what changes is told."""
    async with telling(cluster, database_name) as database:
        yield database


@asynccontextmanager
async def telling(cluster: Cluster, name: str, role: str = "viral_app") -> AsyncIterator[Database]:
    database = Database(
        cluster.url(role, name), context_key=cluster.secrets.context_key, announces=True
    )
    yield database
    await database.close()


@pytest.fixture
async def application(settings: Settings, database_name: str) -> AsyncIterator[Litestar]:
    """An application of the test's own, whose streams it ends."""
    assert database_name
    async with serving(settings) as application:
        yield application


@pytest.fixture
async def port(application: Litestar) -> AsyncIterator[int]:
    """Serve the application on a port of this machine."""
    port = free_port()
    config = uvicorn.Config(application, port=port, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    served = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield port
    application.state.hub.close()
    server.should_exit = True
    await served


@pytest.fixture
async def someone(app: Database, system: Database, alice: TestTenant) -> Someone:
    return await sign_in_by_link(app, system, alice)


def cookie_of(someone: Someone) -> str:
    return f"viral_session={someone.token}"


async def caught_up(stream: Listening) -> str:
    """Read what a stream begins with when nobody listened before; where it stands."""
    event = await stream.next(5)
    assert event.name == "stale"
    return event.id


async def ask(database: Database, tenant_id: UUID) -> None:
    """Change something of a tenant: a job is asked for."""
    async with database.tenant_session(tenant_id) as session:
        await enqueue(session, REFLEXION, tenant_id=tenant_id)


async def test_a_page_hears_what_changed_and_comes_back_where_it_was(
    port: int, someone: Someone, bob: TestTenant, teller: Database
) -> None:
    tenant_id = someone.tenant.id
    async with listening(port, cookie_of(someone)) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        await caught_up(stream)
        await ask(teller, bob.id)

        await ask(teller, tenant_id)
        event = await stream.next()

        assert ("news", {"kind": "jobs", "id": None}) == (event.name, event.data)
    missed = uuid7()
    teller.announce(tenant_id, "keys", missed)
    await asyncio.sleep(0.3)
    async with listening(port, cookie_of(someone), Last_Event_ID=event.id, after="x-1") as stream:
        assert (await stream.next()).data["id"] == str(missed)
        assert await stream.is_quiet()
    async with listening(port, cookie_of(someone), after=event.id) as stream:
        assert (await stream.next()).data["id"] == str(missed)
    async with listening(port, cookie_of(someone), after="12345678-1") as stream:
        assert (await stream.next()).name == "stale"


async def test_a_page_knows_where_it_stands(
    port: int, application: Litestar, someone: Someone, teller: Database
) -> None:
    hub: Hub = application.state.hub
    assert hub.position(someone.tenant.id) == ""
    async with listening(port, cookie_of(someone)) as stream:
        await caught_up(stream)
        position = hub.position(someone.tenant.id)
        async with listening(port, cookie_of(someone), after=position) as later:
            assert await later.is_quiet()
            await ask(teller, someone.tenant.id)
            assert (await later.next()).name == "news"


async def test_every_feature_tells_its_kind(
    port: int, someone: Someone, teller: Database, cluster: Cluster, system: Database
) -> None:
    tenant_id = someone.tenant.id
    await add_sample_trends(system)

    async def kinds(stream: Listening, most: int) -> set[Kind]:
        return {(await stream.next()).data["kind"] for _ in range(most)}

    async with listening(port, cookie_of(someone)) as stream:
        await caught_up(stream)
        async with teller.tenant_session(tenant_id) as session:
            jobs = await enqueue_many(session, REFLEXION, [None])
        assert {"jobs"} == await kinds(stream, 1)
        async with teller.tenant_session(tenant_id) as session:
            await cancel_jobs(session, jobs)
        assert {"jobs"} == await kinds(stream, 1)
        async with teller.tenant_session(tenant_id) as session:
            await retry_jobs(session, jobs)
        assert {"jobs"} == await kinds(stream, 1)
        async with teller.tenant_session(tenant_id) as session:
            await note(session, "signed in", user_id=someone.user_id)
        assert {"people", "keys"} == await kinds(stream, 2)
        await generate_concepts(
            teller,
            tenant_id,
            count=1,
            writer=OfflineWriter(),
            rng=Random(1),
            now=datetime.now(UTC),
            hashed=word_hasher(cluster.secrets.word_key),
        )
        assert {"concepts", "quota"} == await kinds(stream, 2)
        assert await stream.is_quiet()


async def test_results_are_news_and_a_plan_of_the_systems_too(
    port: int, someone: Someone, teller: Database, cluster: Cluster, database_name: str
) -> None:
    tenant_id = someone.tenant.id
    result = ResultRow(
        external_id="v1",
        platform="tiktok",
        format=None,
        tenant=None,
        concept_id=None,
        published_at=datetime(2026, 1, 5, tzinfo=UTC),
        observed_on=date(2026, 1, 12),
        category="food",
        title="Lunch",
        tags=(),
        duration_s=30,
        views=10,
        likes=None,
        comments=None,
        shares=None,
        followers=None,
        sound=None,
        hook_type=None,
        line=1,
    )
    async with listening(port, cookie_of(someone)) as stream:
        await caught_up(stream)
        async with teller.tenant_session(tenant_id) as session:
            await import_results(session, [result])
        kinds = {(await stream.next()).data["kind"] for _ in range(3)}
        assert {"results", "concepts", "quota"} == kinds
        async with telling(cluster, database_name, "viral_system") as system:
            async with system.session_without_tenant() as session:
                tenant = await session.get_one(Tenant, tenant_id)
                tenant.name = "Renamed"

            assert {"kind": "quota", "id": str(tenant_id)} == (await stream.next()).data


async def test_trends_are_news_for_all(
    port: int, someone: Someone, cluster: Cluster, database_name: str
) -> None:
    async with (
        telling(cluster, database_name, "viral_system") as system,
        listening(port, cookie_of(someone)) as stream,
    ):
        await caught_up(stream)

        await add_sample_trends(system)

        assert (await stream.next()).data["kind"] == "trends"


async def test_what_is_rolled_back_is_no_news(
    port: int, someone: Someone, teller: Database
) -> None:
    async with listening(port, cookie_of(someone)) as stream:
        await caught_up(stream)

        async with teller.tenant_session(someone.tenant.id) as session:
            await enqueue(session, REFLEXION, tenant_id=someone.tenant.id)
            await session.rollback()

        assert await stream.is_quiet()


async def test_a_stream_ends_with_its_session(
    port: int, application: Litestar, someone: Someone, teller: Database
) -> None:
    application.state.hub.check_s = 60
    async with listening(port, cookie_of(someone)) as stream:
        await caught_up(stream)
        async with teller.tenant_session(someone.tenant.id) as session:
            await note(session, "signed out", user_id=someone.user_id)
            await end_session(session, someone.token)

        assert await stream.ended(DEADLINE_S)


async def test_a_session_that_ends_unsaid_is_noticed(
    port: int, application: Litestar, someone: Someone, app: Database
) -> None:
    application.state.hub.check_s = 0.1
    async with listening(port, cookie_of(someone)) as stream:
        await caught_up(stream)
        assert not await stream.ended(0.5)
        async with app.session_without_tenant() as session:
            await end_session(session, someone.token)

        assert await stream.ended(DEADLINE_S)


async def test_strangers_programs_and_crowds_hear_nothing(port: int, someone: Someone) -> None:
    cookie = cookie_of(someone)
    assert (await refused(port, "viral_session=nobody")).status == 303
    assert (await refused(port, cookie, Accept="text/html")).status == 422
    async with AsyncExitStack() as stack:
        for _ in range(PER_SESSION):
            stream = await stack.enter_async_context(listening(port, cookie))
            assert stream.status == 200
        # A stream counts from its first byte on.
        await caught_up(stream)

        crowded = await refused(port, cookie)

        assert (crowded.status, crowded.headers["retry-after"]) == (429, "5")


async def test_forged_news_do_no_more_than_let_a_page_look(
    port: int, someone: Someone, cluster: Cluster, database_name: str
) -> None:
    intruder = await cluster.connect("viral_app", database_name)
    async with listening(port, cookie_of(someone)) as stream:
        await caught_up(stream)
        for payload in ("", "{}", "[[1,2,3]]", '[["x","jobs",null]]', "\x7f", "[" * 5000):
            await intruder.execute(f"NOTIFY {CHANNEL}, '{payload}'")
        hostile = f'[["{someone.tenant.id}","jobs\\nevent: evil",null]]'
        await intruder.execute(f"NOTIFY {CHANNEL}, '{hostile}'")
        assert await stream.is_quiet()

        forged = f'[["{someone.tenant.id}","jobs","{NOBODY}"]]'
        await intruder.execute(f"NOTIFY {CHANNEL}, '{forged}'")

        assert (await stream.next()).data == {"kind": "jobs", "id": str(NOBODY)}
    await intruder.close()


async def test_streams_hear_again_after_their_connection_broke(
    port: int, someone: Someone, cluster: Cluster, database_name: str, teller: Database
) -> None:
    async with listening(port, cookie_of(someone)) as stream:
        before = await caught_up(stream)

        await cluster.execute_as_admin(
            database_name,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = current_database() AND query LIKE 'LISTEN%{CHANNEL}%'",
        )

        event = await stream.next(10)
        assert event.name == "stale"
        assert event.id.partition("-")[0] != before.partition("-")[0]
        await ask(teller, someone.tenant.id)
        assert (await stream.next()).name == "news"


async def test_who_reads_slowly_is_told_once_that_anything_may_have_happened() -> None:
    ring, reader = Ring(), Reader(b"")
    position = ring.position
    for _ in range(WAITING + 5):
        reader.tell([ring.add(Piece(NOBODY, "jobs"))], ring)

    said = await reader.news(0)

    assert said.count(b"event: ") == said.count(b"event: stale") + 4
    assert said.startswith(f"id: {position.partition('-')[0]}-{WAITING + 1}\n".encode())


def test_a_ring_replays_what_it_holds_and_no_more() -> None:
    ring = Ring()
    before = ring.position
    events = [ring.add(Piece(NOBODY, "jobs")) for _ in range(KEPT)]

    assert ring.since(before) == events
    assert ring.since(ring.position) == []
    events.append(ring.add(Piece(NOBODY, "jobs")))
    for unknown in (before, "", "x", ring.position + "0", ring.position + "x", "-1"):
        assert ring.since(unknown) == [ring.stale()]


def test_many_changes_of_a_kind_are_one_piece() -> None:
    news, row = News(), uuid7()
    news.add(NOBODY, "jobs", row)
    news.add(NOBODY, "jobs", row)
    news.add(NOBODY, "concepts", row)
    news.add(NOBODY, "concepts", uuid7())

    assert news.take() == [Piece(NOBODY, "jobs", row), Piece(NOBODY, "concepts", None)]
    assert not news
    for hostile in ("", "{}", "[[1,2,3]]", '[["x","jobs",null]]', "\x7f", "[" * 5000):
        assert pieces_of(hostile) == []
    assert pieces_of(json.dumps([[str(NOBODY), "keys", None]])) == [Piece(NOBODY, "keys", None)]


def test_what_is_told_of_are_tables() -> None:
    assert set(KINDS) <= set(METADATA.tables)
    assert set(KINDS) >= SHARED


@dataclass(frozen=True)
class Process:
    """A web process, and what it may be asked."""

    port: int
    process: asyncio.subprocess.Process


@pytest.fixture
async def web(cluster: Cluster, database_name: str, tmp_path: Path) -> AsyncIterator[Process]:
    """Start `viral web` on the test's database."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    shutil.copy2(cluster.home / "secrets.json", home / "secrets.json")
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "VIRAL_HOME": str(home),
        "VIRAL_PORT": str(port),
        "DATABASE_URL": cluster.url("viral_app", database_name).setting(password=True),
        "DIRECT_URL": cluster.url("viral_migrator", database_name).libpq(password=True),
    }
    with (tmp_path / "web.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "viral", "web", env=environment, stdout=log, stderr=log
        )
    for _ in range(300):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            break
    try:
        yield Process(port, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_200_streams_of_50_tenants_each_hear_their_own_within_a_second(
    web: Process, cluster: Cluster, app: Database, system: Database, teller: Database
) -> None:
    people = []
    for number in range(50):
        tenant = await make_tenant(system, cluster.secrets, slug=f"tenant-{number}")
        people.append(await sign_in_by_link(app, system, tenant))
    streams = [
        (each.tenant.id, await opened(web.port, cookie_of(each)))
        for each in people
        for _ in range(4)
    ]
    for _, stream in streams:
        await caught_up(stream)

    jobs = {each.tenant.id: uuid7() for each in people}
    for tenant_id, job_id in jobs.items():
        teller.announce(tenant_id, "jobs", job_id)
    heard = await asyncio.gather(*(stream.next() for _, stream in streams))

    assert [str(jobs[tenant_id]) for tenant_id, _ in streams] == [each.data["id"] for each in heard]
    quiet = await asyncio.gather(*(stream.is_quiet() for _, stream in streams[::4]))
    assert all(quiet)
    began = monotonic()
    web.process.terminate()
    ends = await asyncio.gather(*(stream.ended(2) for _, stream in streams))
    await asyncio.wait_for(web.process.wait(), 4)
    assert all(ends)
    for _, stream in streams:
        await stream.close()
    # Uvicorn gives requests five seconds: none of them was waited for.
    assert monotonic() - began < 4
