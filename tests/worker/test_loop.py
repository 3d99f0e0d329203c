"""Jobs run once, survive the worker that ran them, and fail in words."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from clusters import Cluster
from factories import TestTenant
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import add_results, execute, fetch, result

from viral.database.engine import Database
from viral.errors import BadInput, NotFound
from viral.features.jobs import REFLEXION, ask_for_reflexion, enqueue, find_job
from viral.runtime import Runtime, open_runtime
from viral.schema.base import uuid7
from viral.settings import Settings
from viral.worker import loop
from viral.worker.handlers import HANDLERS
from viral.worker.loop import Claim, Ending, claim_jobs, finish_job, run_job, run_worker

STATE = "SELECT status, attempts, error_message FROM job_queue"


@dataclass(frozen=True)
class Installation:
    """A database as a process of the product sees it."""

    settings: Settings
    environment: dict[str, str]


@pytest.fixture
def installation(cluster: Cluster, database_name: str, short_folder: Path) -> Installation:
    home = short_folder / "home"
    app = cluster.server.url("viral_app", database_name)
    direct = cluster.server.url("viral_migrator", database_name)
    return Installation(
        Settings(home=home, database_url=app, direct_url=direct),
        {**os.environ, "VIRAL_HOME": str(home), "DATABASE_URL": app, "DIRECT_URL": direct},
    )


@pytest.fixture
async def runtime(installation: Installation) -> AsyncIterator[Runtime]:
    async with open_runtime(installation.settings) as opened:
        yield opened


@contextmanager
def worker_process(installation: Installation, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a real `viral worker`; it is gone at the end."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "viral", "worker"],
            env=installation.environment,
            stdout=file,
            stderr=file,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)


async def wait_until(admin: AsyncConnection, condition: str) -> None:
    """Wait for rows of the queue that fulfil a condition."""
    async with asyncio.timeout(30):
        while not await fetch(admin, f"SELECT id FROM job_queue WHERE {condition}"):
            await asyncio.sleep(0.05)


async def add_job(app: Database, tenant: TestTenant, job_type: str = REFLEXION) -> UUID:
    async with app.tenant_session(tenant.id) as session:
        made = await enqueue(session, job_type, tenant_id=tenant.id)
    assert made is not None
    return made


async def claim(runtime: Runtime, worker_id: UUID) -> Claim:
    (claimed,) = await claim_jobs(runtime, worker_id, wanted=1)
    return claimed


async def run_one(runtime: Runtime) -> None:
    worker_id = uuid7()
    await run_job(runtime, worker_id, await claim(runtime, worker_id), stop=asyncio.Event())


async def test_a_job_runs_and_keeps_its_result(
    runtime: Runtime, app: Database, alice: TestTenant
) -> None:
    await add_results(app, alice.id, [result("v1")])
    job_id = await add_job(app, alice)

    await run_one(runtime)

    async with app.tenant_session(alice.id) as session:
        job = await find_job(session, job_id)
    assert (job.status, job.attempts, job.error_message) == ("completed", 1, None)
    # The totals are of all tenants: they are not this one's to know.
    assert job.result == {}
    assert job.completed_at is not None


async def test_a_system_job_keeps_its_totals(
    runtime: Runtime, app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, [result("v1")])
    async with system.session_without_tenant() as session:
        await enqueue(session, REFLEXION, tenant_id=None, dedupe_key=REFLEXION)

    await run_one(runtime)

    kept = "SELECT scope, status, (result ->> 'results')::int FROM job_queue"
    assert await fetch(admin, kept) == [("system", "completed", 1)]


async def test_a_failing_job_is_tried_again_later_and_fails_in_the_end(
    runtime: Runtime,
    app: Database,
    alice: TestTenant,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(_runtime: Runtime, _tenant_id: UUID | None) -> dict[str, object]:
        raise BadInput("The moon is full.")

    monkeypatch.setitem(HANDLERS, "moon", fail)
    await add_job(app, alice, "moon")
    waits = []

    for attempt in range(1, 4):
        await run_one(runtime)
        status, attempts, message = (await fetch(admin, STATE))[0]
        assert (status, attempts) == ("pending" if attempt < 3 else "failed", attempt)
        assert message == "bad_input: The moon is full."
        assert await claim_jobs(runtime, uuid7(), wanted=1) == []
        waits += await fetch(
            admin, "SELECT extract(epoch FROM scheduled_for - now())::float FROM job_queue"
        )
        await execute(admin, "UPDATE job_queue SET scheduled_for = now()")

    assert [round(float(str(wait)) / 5) for (wait,) in waits[:2]] == [2, 4]


async def test_a_crash_is_told_by_its_name_only(
    runtime: Runtime,
    app: Database,
    alice: TestTenant,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def crash(_runtime: Runtime, _tenant_id: UUID | None) -> dict[str, object]:
        raise RuntimeError("a secret")

    monkeypatch.setitem(HANDLERS, "crash", crash)
    await add_job(app, alice, "crash")

    await run_one(runtime)

    assert await fetch(admin, STATE) == [("pending", 1, "RuntimeError")]


async def test_a_job_of_an_unknown_type_fails_at_once(
    runtime: Runtime, app: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_job(app, alice, "dance")

    await run_one(runtime)

    assert await fetch(admin, STATE) == [("failed", 1, "no handler for dance")]


async def test_a_worker_that_was_taken_for_dead_cannot_end_the_job(
    runtime: Runtime, app: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_job(app, alice)
    first, second = uuid7(), uuid7()
    lost = await claim(runtime, first)
    await execute(admin, "UPDATE job_workers SET heartbeat_at = now() - interval '1 minute'")
    taken = await claim(runtime, second)

    assert (lost.id, lost.attempt, taken.attempt) == (taken.id, 1, 2)
    assert not await finish_job(runtime, first, lost, Ending(failure="late"))
    assert not await finish_job(runtime, second, replace(taken, attempt=1), Ending())
    assert await finish_job(runtime, second, taken, Ending(outcome={"by": "second"}))
    assert not await finish_job(runtime, second, taken, Ending(failure="again"))
    assert await fetch(admin, "SELECT status, result FROM job_queue") == [
        ("completed", {"by": "second"})
    ]


async def test_a_job_whose_workers_keep_dying_fails(
    runtime: Runtime, app: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_job(app, alice)

    for _ in range(3):
        await claim(runtime, uuid7())
        await execute(admin, "UPDATE job_workers SET heartbeat_at = now() - interval '1 minute'")
    assert await claim_jobs(runtime, uuid7(), wanted=1) == []

    assert await fetch(admin, STATE) == [("failed", 3, "the worker stopped")]


async def test_a_job_with_the_same_key_waits_once(
    app: Database, alice: TestTenant, bob: TestTenant, runtime: Runtime, admin: AsyncConnection
) -> None:
    async def ask(tenant: TestTenant) -> UUID:
        async with app.tenant_session(tenant.id) as session:
            return await ask_for_reflexion(session)

    first, second, others = await ask(alice), await ask(alice), await ask(bob)

    assert first == second != others
    await run_one(runtime)
    assert await ask(alice) != first
    assert len(await fetch(admin, STATE)) == 3


async def test_a_tenant_cannot_ask_for_anothers_or_a_system_job(
    app: Database, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    for owner in (bob.id, None):
        with pytest.raises(DBAPIError, match="row-level security"):
            async with app.tenant_session(alice.id) as session:
                await enqueue(session, REFLEXION, tenant_id=owner)

    assert await fetch(admin, STATE) == []


async def test_a_tenant_does_not_find_anothers_job(
    app: Database, alice: TestTenant, bob: TestTenant
) -> None:
    job_id = await add_job(app, alice)

    async with app.tenant_session(bob.id) as session:
        with pytest.raises(NotFound):
            await find_job(session, job_id)


async def test_the_loop_waits_for_a_lost_server_and_ends_the_job_when_it_is_back(
    runtime: Runtime,
    cluster: Cluster,
    database_name: str,
    app: Database,
    alice: TestTenant,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started, may_end, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work(_runtime: Runtime, _tenant_id: UUID | None) -> dict[str, object]:
        started.set()
        await may_end.wait()
        return {"done": True}

    monkeypatch.setitem(HANDLERS, "work", work)
    monkeypatch.setattr(loop, "RECONNECT_S", 0.05)
    await add_job(app, alice, "work")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_worker(runtime, stop))
        await started.wait()
        await cluster.execute_as_admin(
            "postgres",
            "ALTER ROLE viral_worker NOLOGIN",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{database_name}' AND usename = 'viral_worker'",
        )
        may_end.set()
        await asyncio.sleep(0.5)
        await cluster.execute_as_admin("postgres", "ALTER ROLE viral_worker LOGIN")
        await wait_until(admin, "status = 'completed'")
        stop.set()

    assert await fetch(admin, STATE) == [("completed", 1, None)]


async def test_another_worker_finishes_the_job_of_one_that_was_killed(
    installation: Installation,
    app: Database,
    alice: TestTenant,
    admin: AsyncConnection,
    cluster: Cluster,
    database_name: str,
    tmp_path: Path,
) -> None:
    await add_results(app, alice.id, [result(f"v{number}") for number in range(5)])
    # Learning waits for this lock: so the worker is killed in the middle of the job.
    blocker = await cluster.connect_as_admin(database_name)
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("LOCK TABLE model_versions")
    job_id = await add_job(app, alice)

    with worker_process(installation, tmp_path / "first.log") as first:
        await wait_until(admin, "status = 'running'")
        first.send_signal(signal.SIGKILL)
        first.wait(10)
    await transaction.rollback()
    await blocker.close()
    await execute(admin, "UPDATE job_workers SET heartbeat_at = now() - interval '1 minute'")
    with worker_process(installation, tmp_path / "second.log") as second:
        await wait_until(admin, "status = 'completed'")
        second.send_signal(signal.SIGTERM)
        code = second.wait(20)

    assert code == 0, (tmp_path / "second.log").read_text()
    async with app.tenant_session(alice.id) as session:
        job = await find_job(session, job_id)
    assert (job.attempts, job.result) == (2, {})
    numbers = "SELECT min(applied_no), max(applied_no), count(*) FROM performance_feedback"
    assert await fetch(admin, numbers) == [(1, 5, 5)]


async def test_a_job_is_taken_back_while_another_with_its_key_waits(
    app: Database, alice: TestTenant, runtime: Runtime, admin: AsyncConnection
) -> None:
    async with app.tenant_session(alice.id) as session:
        await ask_for_reflexion(session)
    await claim(runtime, uuid7())
    async with app.tenant_session(alice.id) as session:
        await ask_for_reflexion(session)
    await execute(admin, "UPDATE job_workers SET heartbeat_at = now() - interval '1 minute'")

    claimed = await claim_jobs(runtime, uuid7(), wanted=5)

    assert len(claimed) == 2


async def test_a_job_of_the_future_waits(
    runtime: Runtime, app: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_job(app, alice)
    await execute(admin, "UPDATE job_queue SET scheduled_for = now() + interval '1 minute'")

    assert await claim_jobs(runtime, uuid7(), wanted=1) == []
    async with runtime.worker.session_without_tenant() as session:
        assert await session.scalar(select(func.viral.reap_jobs(timedelta(seconds=12)))) == 0
