"""F16: a job that is poison hurts itself, and nobody else."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from clusters import Cluster
from factories import TestTenant
from queues import PLAIN, Claimant, add, done, handled, until, work_off, working
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import execute, fetch

from viral.errors import VendorUnreachable
from viral.features.jobs.queue import Wish, cancel_jobs, enqueue, find_job, retry_jobs
from viral.features.jobs.types import JobType
from viral.runtime import Runtime
from viral.schema.base import uuid7
from viral.worker.attempts import Claim
from viral.worker.handling import AtWork
from worker.conftest import Installation
from worker.worker_with_test_jobs import BLOCK, EXIT, MODULE, SLEEP, STALL, Step, told

STATES = "SELECT id, status, attempts, error_message FROM job_queue"
SILENT = "UPDATE job_workers SET heartbeat_at = now() - interval '1 minute'"
DUE = "UPDATE job_queue SET is_due = true, scheduled_for = now() WHERE status = 'pending'"
POISON = JobType("poison", max_attempts=1)


@pytest.fixture(params=["listening"])
def jobs_listen(request: pytest.FixtureRequest) -> bool:
    """One way is enough where it does not matter."""
    return bool(request.param == "listening")


async def returns_nul(_at_work: AtWork) -> dict[str, object]:
    return {"text": "a\0b"}


async def fails_with_broken_words(_at_work: AtWork) -> None:
    raise VendorUnreachable("a\0b\ud800" + "c" * 5000)


async def cancels_itself(_at_work: AtWork) -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("poison", "said"),
    [
        (returns_nul, "its result cannot be stored"),
        (fails_with_broken_words, f"vendor_unreachable: a?b?{'c' * 1976}"),
        (cancels_itself, "CancelledError"),
    ],
)
async def test_f16_what_postgresql_does_not_take_ends_its_own_job(
    runtime: Runtime,
    alice: TestTenant,
    bob: TestTenant,
    admin: AsyncConnection,
    poison: Callable[[AtWork], Coroutine[None, None, object]],
    said: str,
) -> None:
    job_id = await add(runtime, alice.id, POISON)
    others = await add(runtime, bob.id)

    with handled(POISON, poison), handled(PLAIN, done):
        async with working(runtime):
            await until(partial(nothing_is_left, admin))

    ended = {row[0]: tuple(row[1:]) for row in await fetch(admin, STATES)}
    assert ended == {job_id: ("failed", 1, said), others: ("completed", 1, None)}


async def nothing_is_left(admin: AsyncConnection) -> bool:
    left = "SELECT count(*) FROM job_queue WHERE status IN ('pending', 'running')"
    return await fetch(admin, left) == [(0,)]


async def has_ended(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None


async def test_f16_a_row_that_is_locked_keeps_no_worker_from_the_others(
    cluster: Cluster,
    database_name: str,
    runtime: Runtime,
    alice: TestTenant,
    bob: TestTenant,
    admin: AsyncConnection,
) -> None:
    started, may_end = asyncio.Event(), asyncio.Event()

    async def work(_at_work: AtWork) -> None:
        started.set()
        await may_end.wait()

    role = f"ALTER ROLE viral_worker IN DATABASE {database_name}"
    await cluster.execute_as_admin("postgres", f"{role} SET lock_timeout = '300ms'")
    job_id = await add(runtime, alice.id, POISON)

    with handled(POISON, work), handled(PLAIN, done):
        async with working(runtime):
            await started.wait()
            async with runtime.app.tenant_session(alice.id) as session:
                await cancel_jobs(session, [job_id])
                may_end.set()
                others = await add(runtime, bob.id)
                await until(partial(is_completed, admin, others))
                await session.rollback()
            await until(partial(is_completed, admin, job_id))

    ended = "SELECT status, count(*)::int FROM job_queue GROUP BY 1"
    assert await fetch(admin, ended) == [("completed", 2)]


async def is_completed(admin: AsyncConnection, job_id: UUID) -> bool:
    return await fetch(admin, f"SELECT status FROM job_queue WHERE id = '{job_id}'") == [
        ("completed",)
    ]


async def test_an_attempt_before_a_retry_does_not_end_the_one_after_it(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    started, may_end = [asyncio.Event(), asyncio.Event()], asyncio.Event()
    numbers = iter((0, 1))

    async def work(_at_work: AtWork) -> dict[str, object]:
        number = next(numbers)
        started[number].set()
        # The first one takes no notice of its end.
        with suppress(asyncio.CancelledError):
            await may_end.wait()
        return {"by": number}

    job_id = await add(runtime, alice.id)
    with handled(PLAIN, work):
        async with working(runtime):
            await started[0].wait()
            async with runtime.app.tenant_session(alice.id) as session:
                await cancel_jobs(session, [job_id])
                await retry_jobs(session, [job_id])
            await asyncio.wait_for(started[1].wait(), 20)
            await asyncio.sleep(0.05)
            may_end.set()
            await until(partial(nothing_is_left, admin))

    assert await fetch(admin, "SELECT status, result FROM job_queue") == [("completed", {"by": 1})]


async def test_a_job_that_is_lost_before_its_first_step_leaves_its_place(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    async with working(runtime, concurrency=1) as worker:
        (lane,) = (lane for lane in worker.lanes if lane.queue == "default")
        claim = Claim(uuid7(), alice.id, PLAIN.name, 1, 0, has_payload=False)
        lane._ahead.append(claim)
        lane._begin()
        lane.lose([claim.id])
        job_id = await add(runtime, alice.id)
        with handled(PLAIN, done):
            await until(partial(is_completed, admin, job_id))

    assert lane.held() == []


async def test_a_canceled_job_whose_twin_waits_can_be_retried(
    runtime: Runtime, alice: TestTenant
) -> None:
    wish = Wish(dedupe_key="once")
    job_id = await add(runtime, alice.id, wish=wish)
    async with runtime.app.tenant_session(alice.id) as session:
        await cancel_jobs(session, [job_id])
    await add(runtime, alice.id, wish=wish)

    async with runtime.app.tenant_session(alice.id) as session:
        assert await retry_jobs(session, [job_id]) == [job_id]


async def test_twins_that_wait_for_the_same_job_do_not_keep_it_from_its_end(
    runtime: Runtime, alice: TestTenant
) -> None:
    parent = await add(runtime, alice.id)
    async with runtime.app.tenant_session(alice.id) as session:
        for _ in range(2):
            wish = Wish(dedupe_key="once", after=[parent])
            await enqueue(session, PLAIN, tenant_id=alice.id, wish=wish)
    worker = Claimant(runtime)
    (claim,) = await worker.claim()

    assert await worker.end(claim, outcome="{}")


async def test_f16_innocents_beside_a_poison_job_are_not_brought_down_with_it(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    poison = await add(runtime, alice.id, PLAIN, wish=Wish(priority=9))
    innocent = [await add(runtime, alice.id) for _ in range(3)]

    # Each worker dies at the first job that it begins.
    for _ in range(3):
        await Claimant(runtime).claim(10)
        await execute(admin, SILENT)
        await Claimant(runtime).reap()
        await execute(admin, DUE)
    with handled(PLAIN, done):
        await work_off(runtime, alice.id)

    ended = {row[0]: row[1] for row in await fetch(admin, STATES)}
    assert ended == {poison: "failed"} | dict.fromkeys(innocent, "completed")


async def test_a_suspect_counts_for_its_limit(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    limited = JobType("limited", running_limit=2)
    suspect, *_ = [await add(runtime, alice.id, limited) for _ in range(5)]
    await execute(admin, f"UPDATE job_queue SET crashes = 1, attempts = 1 WHERE id = '{suspect}'")
    worker = Claimant(runtime, "limited", limited)

    claims = [*await worker.claim(20), *await worker.claim(20), *await worker.claim(20)]

    assert len(claims) == 2
    assert claims[0].id == suspect


async def test_f16_a_job_that_ends_its_process_becomes_a_dead_letter(
    installation: Installation,
    runtime: Runtime,
    alice: TestTenant,
    bob: TestTenant,
    admin: AsyncConnection,
    tmp_path: Path,
) -> None:
    poison = await add(runtime, alice.id, EXIT)
    for tenant in (alice, bob):
        await add(runtime, tenant.id, SLEEP, Step(lasts_s=3600))

    for starts in (1, 2):
        with installation.worker(tmp_path / "log", module=MODULE) as process:
            await until(partial(has_ended, process))
            assert process.returncode == 3
        await execute(admin, SILENT)
        await Claimant(runtime).reap()
        await execute(admin, DUE)
        assert await fetch(admin, f"SELECT attempts FROM job_queue WHERE id = '{poison}'") == [
            (starts,)
        ]

    async with runtime.app.tenant_session(alice.id) as session:
        job = await find_job(session, poison)
        assert (job.status, job.crashes, job.error_message) == ("failed", 2, "the worker stopped")
        assert await retry_jobs(session, [poison]) == [poison]
    with handled(EXIT, done), handled(SLEEP, done):
        await work_off(runtime, alice.id)
    assert await fetch(admin, "SELECT DISTINCT status FROM job_queue") == [("completed",)]


async def test_two_workers_take_one_suspect_of_a_tenant_at_its_limit(
    runtime: Runtime,
    alice: TestTenant,
    bob: TestTenant,
    admin: AsyncConnection,
    cluster: Cluster,
    database_name: str,
) -> None:
    limited = JobType("limited", running_limit=1)
    for tenant in (alice, alice, bob):
        await add(runtime, tenant.id, limited)
    await execute(admin, "UPDATE job_queue SET crashes = 1, attempts = 1")
    other, second = (
        await cluster.connect("viral_worker", database_name),
        Claimant(runtime, "limited", limited),
    )
    claim = "SELECT tenant_id FROM viral.claim_jobs($1, 'limited', 5, $1, 1, NULL, NULL, true)"

    async with other.transaction():
        first = await other.fetch(claim, uuid7())
        at_once = await second.claim(5)
    later = await second.claim(5)
    await other.close()

    assert first[0]["tenant_id"] == alice.id
    assert at_once == []
    assert [each.tenant_id for each in later] == [bob.id]


async def test_f16_a_job_that_blocks_its_process_is_ended_with_it(
    installation: Installation,
    runtime: Runtime,
    alice: TestTenant,
    admin: AsyncConnection,
    tmp_path: Path,
) -> None:
    poison = await add(runtime, alice.id, BLOCK)
    beside = await add(runtime, alice.id, SLEEP, Step(lasts_s=3600))

    with told(installation, **{STALL: "1.5"}).worker(tmp_path / "log", module=MODULE) as process:
        await until(partial(has_ended, process))
    with handled(SLEEP, done):
        await work_off(runtime, alice.id)

    # What stood in the way is in the log.
    assert process.returncode == 1
    assert "in block" in (tmp_path / "log").read_text()
    ended = {row[0]: tuple(row[1:]) for row in await fetch(admin, STATES)}
    assert ended == {poison: ("failed", 1, "the worker stopped"), beside: ("completed", 2, None)}


async def test_a_schedule_that_cannot_be_read_keeps_no_worker_from_its_work(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    for name, zone in (("bad", "Nowhere"), ("good", "UTC")):
        await execute(
            admin,
            "INSERT INTO job_schedules (id, name, job_type, cron, time_zone, next_at) VALUES"
            f" (gen_random_uuid(), '{name}', 'plain', '0 3 * * *', '{zone}', now())",
        )
    later = await add(runtime, alice.id, wish=Wish(delay=timedelta(seconds=0.1)))

    with handled(PLAIN, done):
        async with working(runtime):
            await until(partial(is_completed, admin, later))
            await until(partial(nothing_is_left, admin))

    scopes = "SELECT scope, status FROM job_queue WHERE job_type = 'plain' ORDER BY scope"
    assert await fetch(admin, scopes) == [("system", "completed"), ("tenant", "completed")]
