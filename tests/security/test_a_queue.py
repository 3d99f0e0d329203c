"""What lines of A and B ask of the job queue and its worker, beyond the product's verification."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from clusters import Cluster
from factories import TestTenant, fill_every_table
from queues import NUMBERED, PLAIN, Numbered, add, done, handled, until, work_off, working
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import fetch
from ways import about_the_direct_way
from web.conftest import settings_for

from security.looks import Raw
from viral.database.engine import Database
from viral.database.faults import sqlstate_of
from viral.database.tenancy import current_tenant
from viral.errors import NotFound, TenantContextMissing
from viral.features.jobs.queue import cancel_jobs, enqueue, find_job, retry_jobs
from viral.features.jobs.types import JobType
from viral.runtime import Runtime, open_runtime
from viral.schema.base import uuid7
from viral.schema.security import APP, READONLY, WORKER
from viral.schema.tables import METADATA
from viral.worker.handling import AtWork

SECRET = 4_815_162_342
SYSTEM_JOB = "INSERT INTO job_queue (id, scope, job_type) VALUES ($1, 'system', 'plain')"


@pytest.fixture
async def runtime(cluster: Cluster, database_name: str) -> AsyncIterator[Runtime]:
    async with open_runtime(settings_for(cluster, cluster.home, database_name)) as opened:
        yield opened


@pytest.mark.parametrize("role", [pytest.param(APP, marks=about_the_direct_way), READONLY])
async def test_a36_what_wakes_workers_says_nothing(
    cluster: Cluster, database_name: str, runtime: Runtime, bob: TestTenant, role: str
) -> None:
    heard: list[tuple[str, object]] = []
    listener = await cluster.connect(role, database_name)
    for channel in ("viral_jobs", "job_queue", str(bob.id)):
        await listener.add_listener(channel, lambda *message: heard.append(message[2:]))

    async def is_heard() -> bool:
        return bool(heard)

    with handled(NUMBERED, done):
        await add(runtime, bob.id, NUMBERED, Numbered(SECRET))
        await until(is_heard)
        await work_off(runtime, bob.id)
    await listener.close()

    assert set(heard) == {("viral_jobs", "")}


async def test_a37_a_forged_message_wakes_and_does_no_more(
    runtime: Runtime, alice: TestTenant, bob: TestTenant, raw: Raw, admin: AsyncConnection
) -> None:
    ended = asyncio.Event()

    async def work(_at_work: AtWork) -> None:
        await ended.wait()

    with handled(PLAIN, work):
        running = await add(runtime, bob.id)
        async with working(runtime, concurrency=1):
            await until(lambda: _is(admin, f"status = 'running' AND id = '{running}'"))
            waiting = await add(runtime, bob.id)
            before = await fetch(admin, "SELECT * FROM job_queue ORDER BY id")
            for payload in (str(running), f'{{"id": "{waiting}", "status": "failed"}}', "x" * 7999):
                for _ in range(20):
                    await raw.execute(f"NOTIFY viral_jobs, '{payload}'")
            # Heard by now: what is enqueued after them is heard as well.
            own = await add(runtime, alice.id, JobType("unknown"))
            assert await fetch(
                admin, f"SELECT * FROM job_queue WHERE id <> '{own}' ORDER BY id"
            ) == (before)
            ended.set()
            await until(lambda: _is(admin, f"status = 'completed' AND id = '{waiting}'"))


async def _is(admin: AsyncConnection, condition: str) -> bool:
    return bool(await fetch(admin, f"SELECT id FROM job_queue WHERE {condition}"))


async def test_a47_the_workers_role_calls_functions_and_reads_no_table(
    cluster: Cluster, database_name: str, bob: TestTenant, admin: AsyncConnection
) -> None:
    await fill_every_table(admin, bob)
    worker = await cluster.connect(WORKER, database_name)
    told = set()
    for table in METADATA.tables.values():
        for statement in (
            f"SELECT FROM {table.fullname}",
            f"DELETE FROM {table.fullname}",
            f"COPY {table.fullname} TO STDOUT",
        ):
            with pytest.raises(asyncpg.PostgresError) as refused:
                await worker.execute(statement)
            told.add(refused.value.sqlstate)
    # Routing columns: neither a payload nor a result.
    claim = "SELECT * FROM viral.claim_jobs($1, 'default', 10, $1, NULL, NULL, NULL, true)"
    columns = list((await worker.fetch(claim, uuid7()))[0].keys())
    await worker.close()

    assert told == {"42501"}
    assert columns == [
        "id",
        "tenant_id",
        "job_type",
        "attempt",
        "crashes",
        "has_payload",
        "place",
    ]


async def test_a48_a_handler_reaches_what_is_its_tenants(
    runtime: Runtime, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    theirs = (await fill_every_table(admin, bob))["concepts"]["id"]
    tried: list[object] = []

    async def work(at_work: AtWork) -> None:
        for statement in (
            f"SELECT id FROM concepts WHERE id = '{theirs}'",
            f"UPDATE concepts SET title = 'taken' WHERE id = '{theirs}' RETURNING id",
            f"SELECT id FROM job_queue WHERE tenant_id = '{bob.id}'",
            f"SELECT viral.cancel_jobs(ARRAY['{other}']::uuid[])",
        ):
            async with at_work.session() as session:
                tried.append((await session.execute(text(statement))).all())
        with pytest.raises(DBAPIError) as refused:
            async with at_work.session() as session:
                await enqueue(session, PLAIN, tenant_id=bob.id)
        tried.append(sqlstate_of(refused.value))

    other = await add(runtime, bob.id)
    mine = JobType("mine")
    await add(runtime, alice.id, mine)
    with handled(mine, work), handled(PLAIN, done):
        await work_off(runtime, alice.id)

    assert tried == [[], [], [], [], "42501"]
    assert not await fetch(admin, "SELECT id FROM concepts WHERE title = 'taken'")


async def test_b12_no_job_finds_the_tenant_of_the_one_before(
    runtime: Runtime, system: Database, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    seen: list[object] = []

    async def work(at_work: AtWork) -> None:
        try:
            seen.append((at_work.tenant_id, current_tenant()))
        except TenantContextMissing:
            seen.append((at_work.tenant_id, None))
            with pytest.raises(TenantContextMissing):
                async with at_work.session():
                    pass

    for number in range(4):
        await add(runtime, (alice, bob)[number % 2].id)
        await system.call(SYSTEM_JOB, uuid7())
    with handled(PLAIN, work):
        async with working(runtime, concurrency=1):
            await until(lambda: _all_completed(admin))

    assert len(seen) == 8
    assert set(seen) == {(alice.id, alice.id), (bob.id, bob.id), (None, None)}


async def _all_completed(admin: AsyncConnection) -> bool:
    return await fetch(admin, "SELECT bool_and(status = 'completed') FROM job_queue") == [(True,)]


async def test_b15_a_tenant_sees_and_touches_its_own_jobs_only(
    runtime: Runtime, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    theirs = [await add(runtime, bob.id, NUMBERED, Numbered(SECRET)) for _ in range(2)]
    mine = await add(runtime, alice.id)
    async with runtime.app.tenant_session(bob.id) as session:
        await cancel_jobs(session, theirs[1:])
    before = await fetch(admin, f"SELECT * FROM job_queue WHERE tenant_id = '{bob.id}' ORDER BY id")

    async with runtime.app.tenant_session(alice.id) as session:
        seen = list(await session.scalars(text("SELECT id FROM job_queue")))
        for job_id in theirs:
            with pytest.raises(NotFound):
                await find_job(session, job_id)
        canceled = await cancel_jobs(session, [*theirs, mine])
        retried = await retry_jobs(session, theirs)
    payloads = await runtime.app.call_for(alice.id, "SELECT viral.payloads_of($1, $2)", theirs)

    assert (seen, canceled, retried, payloads) == ([mine], [mine], [], [])
    after = await fetch(admin, f"SELECT * FROM job_queue WHERE tenant_id = '{bob.id}' ORDER BY id")
    assert after == before
