"""Jobs run once, survive the worker that ran them, and fail in words."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from uuid import UUID

import pytest
from clusters import Cluster
from factories import TestTenant
from queues import PLAIN, Claimant, add, done, handled, until, work_off, working
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import add_results, execute, fetch, result

from viral.database.engine import Database
from viral.errors import NotFound, VendorUnreachable
from viral.features.jobs.queue import ask_for_all, ask_for_reflexion, enqueue, find_job
from viral.features.jobs.types import REFLEXION, JobType
from viral.runtime import Runtime
from viral.worker import lane
from viral.worker.handling import AtWork
from worker.conftest import Installation

STATE = "SELECT status, attempts, error_message FROM job_queue"
SILENT = "UPDATE job_workers SET heartbeat_at = now() - interval '1 minute'"


async def wait_until(admin: AsyncConnection, condition: str) -> None:
    """Wait for rows of the queue that fulfil a condition."""
    await until(lambda: _exists(admin, condition))


async def _exists(admin: AsyncConnection, condition: str) -> bool:
    return bool(await fetch(admin, f"SELECT id FROM job_queue WHERE {condition}"))


async def test_a_job_runs_and_keeps_its_result(
    runtime: Runtime, app: Database, alice: TestTenant
) -> None:
    await add_results(app, alice.id, [result("v1")])
    job_id = await add(runtime, alice.id, REFLEXION)

    await work_off(runtime, alice.id)

    async with app.tenant_session(alice.id) as session:
        job = await find_job(session, job_id)
    assert (job.status, job.attempts, job.error_message) == ("completed", 1, None)
    # The totals are of all tenants: they are not this one's to know.
    assert job.result == {}
    assert (job.progress, job.completed_at is not None) == (100, True)


async def test_a_system_job_keeps_its_totals(
    runtime: Runtime, app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, [result("v1")])
    async with system.session_without_tenant() as session:
        await ask_for_all(session)

    async with working(runtime):
        await wait_until(admin, "status = 'completed'")

    kept = "SELECT scope, status, (result ->> 'results')::int FROM job_queue"
    assert await fetch(admin, kept) == [("system", "completed", 1)]


async def test_a_failing_job_is_tried_again_later_and_fails_in_the_end(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    async def fail(_at_work: AtWork) -> None:
        raise VendorUnreachable("The moon is full.")

    await add(runtime, alice.id)
    waits = []

    with handled(PLAIN, fail):
        for attempt in range(1, 4):
            await work_off(runtime, alice.id)
            status, attempts, message = (await fetch(admin, STATE))[0]
            assert (status, attempts) == ("pending" if attempt < 3 else "failed", attempt)
            assert message == "vendor_unreachable: The moon is full."
            assert await Claimant(runtime).claim() == []
            waits += await fetch(
                admin, "SELECT extract(epoch FROM scheduled_for - now())::float FROM job_queue"
            )
            await execute(admin, "UPDATE job_queue SET scheduled_for = now(), is_due = true")

    first, second = (float(str(wait)) for (wait,) in waits[:2])
    assert 2 < first < 7.6
    assert 4 < second < 15.1


async def test_a_crash_is_told_by_its_name_only(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    async def crash(_at_work: AtWork) -> None:
        raise RuntimeError("a secret")

    await add(runtime, alice.id)

    with handled(PLAIN, crash):
        await work_off(runtime, alice.id)

    assert await fetch(admin, STATE) == [("pending", 1, "RuntimeError")]


async def test_a_job_of_an_unknown_type_fails_at_once(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add(runtime, alice.id, JobType("dance"))

    await work_off(runtime, alice.id)

    assert await fetch(admin, STATE) == [("failed", 1, "no handler for dance")]


async def test_a_worker_that_was_taken_for_dead_cannot_end_the_job(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add(runtime, alice.id)
    first, second = Claimant(runtime), Claimant(runtime)
    (lost,) = await first.claim()
    await execute(admin, SILENT)
    (taken,) = await second.claim()

    assert (lost.id, lost.attempt, taken.attempt) == (taken.id, 1, 2)
    assert not await first.end(lost, failure="late")
    assert not await second.end(taken._replace(attempt=1), outcome="{}")
    assert await second.end(taken, outcome='{"by": "second"}')
    assert not await second.end(taken, failure="again")
    assert await fetch(admin, "SELECT status, result FROM job_queue") == [
        ("completed", {"by": "second"})
    ]


async def test_a_job_whose_workers_keep_dying_fails(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add(runtime, alice.id)

    for crashes in range(3):
        (claim,) = await Claimant(runtime).claim()
        assert claim.crashes == crashes
        await execute(admin, SILENT)
        await Claimant(runtime).reap()
        await execute(admin, "UPDATE job_queue SET scheduled_for = now(), is_due = true")
    assert await Claimant(runtime).claim() == []

    assert await fetch(admin, STATE) == [("failed", 3, "the worker stopped")]


async def test_a_job_with_the_same_key_waits_once(
    app: Database, alice: TestTenant, bob: TestTenant, runtime: Runtime, admin: AsyncConnection
) -> None:
    async def ask(tenant: TestTenant) -> UUID:
        async with app.tenant_session(tenant.id) as session:
            return await ask_for_reflexion(session)

    first, second, others = await ask(alice), await ask(alice), await ask(bob)

    assert first == second != others
    await work_off(runtime, alice.id)
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
    runtime: Runtime, app: Database, alice: TestTenant, bob: TestTenant
) -> None:
    job_id = await add(runtime, alice.id)

    async with app.tenant_session(bob.id) as session:
        with pytest.raises(NotFound):
            await find_job(session, job_id)


async def test_the_loop_waits_for_a_lost_server_and_ends_the_job_when_it_is_back(
    runtime: Runtime,
    cluster: Cluster,
    database_name: str,
    alice: TestTenant,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started, may_end = asyncio.Event(), asyncio.Event()

    async def work(_at_work: AtWork) -> dict[str, object]:
        started.set()
        await may_end.wait()
        return {"done": True}

    monkeypatch.setattr(lane, "RECONNECT_S", 0.05)
    await add(runtime, alice.id)

    with handled(PLAIN, work):
        async with working(runtime):
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

    assert await fetch(admin, STATE) == [("completed", 1, None)]


async def test_another_worker_finishes_the_job_of_one_that_was_killed(
    installation: Installation,
    runtime: Runtime,
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
    job_id = await add(runtime, alice.id, REFLEXION)

    with installation.worker(tmp_path / "first.log") as first:
        await wait_until(admin, "status = 'running'")
        first.send_signal(signal.SIGKILL)
        first.wait(10)
    await transaction.rollback()
    await blocker.close()
    await execute(admin, SILENT)
    with installation.worker(tmp_path / "second.log") as second:
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
    await Claimant(runtime).claim()
    async with app.tenant_session(alice.id) as session:
        await ask_for_reflexion(session)
    await execute(admin, SILENT)

    claimed = await Claimant(runtime).claim(5)

    assert len(claimed) == 2


async def test_a_job_of_the_future_waits(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add(runtime, alice.id)
    await execute(admin, "UPDATE job_queue SET scheduled_for = now() + interval '1 minute'")

    assert await Claimant(runtime).claim() == []
    assert await Claimant(runtime).reap() == 0


async def test_a_hundred_short_jobs_of_two_tenants_all_run(
    runtime: Runtime, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    for tenant in (alice, bob):
        for _ in range(50):
            await add(runtime, tenant.id)

    with handled(PLAIN, done):
        await work_off(runtime, alice.id)
        await work_off(runtime, bob.id)

    assert await fetch(admin, "SELECT status, attempts, count(*) FROM job_queue GROUP BY 1, 2") == [
        ("completed", 1, 100)
    ]
