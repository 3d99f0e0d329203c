"""Inngest calls the handlers: the queue decides what goes out, and keeps what comes of it."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from uuid import UUID

import pytest
from factories import TestTenant
from fakes.inngest import FakeInngest
from queues import (
    NUMBERED,
    PLAIN,
    Claimant,
    Numbered,
    add,
    handled,
    working,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import execute, fetch

from viral.errors import BadSetting, PortInUse, VendorUnreachable
from viral.features.jobs.queue import enqueue_many
from viral.features.jobs.types import JobType
from viral.runtime import Runtime, open_runtime
from viral.worker.handling import AtWork
from viral.worker.inngest import relay
from viral.worker.inngest.relay import ENGINE, Relay
from viral.worker.inngest.serving import listen
from viral.worker.loop import Worker
from worker.conftest import Installation
from worker.inngest.conftest import (
    STATE,
    Notes,
    call,
    ended,
    handed_over,
    outcome,
    until_begun,
    until_known,
)


async def test_a_job_runs_through_the_engine_and_only_its_id_leaves(
    runtime: Runtime, engine: FakeInngest, alice: TestTenant, admin: AsyncConnection
) -> None:
    seen = []

    async def work(at_work: AtWork, request: Numbered) -> dict[str, object]:
        async with at_work.session():
            seen.append((at_work.tenant_id, request.n))
        return {"hook": "a secret"}

    ends_the_worker = signal.getsignal(signal.SIGTERM)
    job_id = await add(runtime, alice.id, NUMBERED, Numbered(77))
    with handled(NUMBERED, work):
        async with working(runtime):
            await ended(admin)
            (run,) = await engine.settled()
            assert signal.getsignal(signal.SIGTERM) is ends_the_worker

    assert seen == [(alice.id, 77)]
    state = "SELECT status, attempts, result, worker_id FROM job_queue"
    assert await fetch(admin, state) == [("completed", 1, {"hook": "a secret"}, None)]
    assert outcome(run) == ("completed", [200])
    assert [event["data"] for event in engine.events.values()] == [
        {"job_id": str(job_id), "attempt": 1}
    ]
    assert not any(b"secret" in told.body for told in run.told if told)


async def test_a_failing_job_has_an_event_for_each_attempt_and_fails_in_the_end(
    runtime: Runtime, engine: FakeInngest, alice: TestTenant, admin: AsyncConnection
) -> None:
    async def fail(_at_work: AtWork) -> None:
        raise VendorUnreachable("The moon is full.")

    fragile = JobType("fragile", max_attempts=2)
    job_id = await add(runtime, alice.id, fragile)
    with handled(fragile, fail):
        async with working(runtime):
            await ended(admin, "status = 'pending' AND attempts = 1")
            await execute(admin, "UPDATE job_queue SET scheduled_for = now(), is_due = true")
            await ended(admin, "status = 'failed'")
            runs = await engine.settled()

    assert await fetch(admin, STATE) == [("failed", 2, "vendor_unreachable: The moon is full.")]
    assert list(engine.events) == [f"{job_id}-1", f"{job_id}-2"]
    # For good: the queue decides what follows.
    assert [outcome(run) for run in runs] == [("failed", [400])] * 2


async def test_a_call_that_comes_twice_or_late_has_no_second_effect(
    runtime: Runtime, engine: FakeInngest, alice: TestTenant, admin: AsyncConnection
) -> None:
    notes = Notes()
    notes.may_end.clear()
    engine.repeat()
    job_id = await add(runtime, alice.id)

    with handled(PLAIN, notes):
        async with working(runtime):
            await until_begun(notes)
            twice = await call(runtime, engine, job_id)
            notes.may_end.set()
            (run,) = await engine.settled()
            late = await call(runtime, engine, job_id)
            unborn = await call(runtime, engine, job_id, 2)

    assert [twice.status, late.status, unborn.status] == [200, 200, 200]
    assert outcome(run) == ("completed", [200, 200])
    assert notes.began == [job_id]
    assert await fetch(admin, STATE) == [("completed", 1, None)]


async def test_a_tenants_limits_hold(
    runtime: Runtime, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    limited = JobType("limited", running_limit=2)
    at_once: Counter[UUID | None] = Counter()
    most: Counter[UUID | None] = Counter()

    async def work(at_work: AtWork) -> None:
        at_once[at_work.tenant_id] += 1
        most[at_work.tenant_id] = max(most[at_work.tenant_id], at_once[at_work.tenant_id])
        await asyncio.sleep(0.05)
        at_once[at_work.tenant_id] -= 1

    for tenant in (alice, bob):
        for _ in range(5):
            await add(runtime, tenant.id, limited)
    with handled(limited, work):
        async with working(runtime, concurrency=8):
            await ended(admin)

    assert most == {alice.id: 2, bob.id: 2}


async def test_a_tenant_with_two_jobs_is_served_beside_one_with_many(
    runtime: Runtime,
    alice: TestTenant,
    bob: TestTenant,
    admin: AsyncConnection,
) -> None:
    notes = Notes()
    async with runtime.app.tenant_session(alice.id) as session:
        await enqueue_many(session, PLAIN, [None] * 40)
    others = [await add(runtime, bob.id) for _ in range(2)]

    with handled(PLAIN, notes):
        async with working(runtime, concurrency=1):
            await ended(admin, f"tenant_id = '{alice.id}' OR status = 'completed'")
            left = await fetch(admin, "SELECT id FROM job_queue WHERE status = 'pending'")

    # Four are outside at once, two of each; by then most of the other's wait.
    assert max(notes.done.index(job_id) for job_id in others) < 8
    assert len(left) > 20


# Setting up.


async def test_jobs_go_out_while_the_registration_is_tried_again(
    runtime: Runtime,
    engine: FakeInngest,
    alice: TestTenant,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay, "AWAY_S", 0.5)
    engine.fail(503, times=3)
    # Known from a former start, under another name.
    url = f"{runtime.settings.inngest_serve_url}?fnId=viral-job&stepId=step"
    engine.add_app(url, event="viral/job")
    await add(runtime, alice.id)
    notes = Notes()

    with handled(PLAIN, notes):
        async with working(runtime):
            await ended(admin)

            await until_known(engine)

    assert len(notes.done) == 1


async def test_a_call_for_a_queue_of_another_worker_is_made_again(
    runtime: Runtime, engine: FakeInngest, alice: TestTenant, admin: AsyncConnection
) -> None:
    limited = JobType("limited", running_limit=2)
    job_id = await add(runtime, alice.id, limited)
    other = Claimant(runtime, "limited", limited)
    await other.claim()
    await runtime.worker.call(Relay.give_back, other.id, [job_id], [1])
    stop = asyncio.Event()
    with handled(limited, Notes()):
        task = asyncio.create_task(Worker(runtime, queues=["default"]).run(stop))
        await until_known(engine)
        told = await call(runtime, engine, job_id)
        stop.set()
        await task

    assert (told.status, told.headers["retry-after"]) == (500, "1")
    state = "SELECT status, attempts, worker_id FROM job_queue"
    assert await fetch(admin, state) == [("running", 1, ENGINE)]


async def test_jobs_that_are_outside_run_here_again_without_the_engine(
    installation: Installation,
    runtime: Runtime,
    engine: FakeInngest,
    alice: TestTenant,
    admin: AsyncConnection,
) -> None:
    notes = Notes()
    with handled(PLAIN, notes):
        async with working(runtime):
            job_id = await handed_over(runtime, alice, engine)
        async with open_runtime(installation.settings) as local, working(local):
            await ended(admin)

    assert notes.done == [job_id]
    assert await fetch(admin, STATE) == [("completed", 1, None)]


async def test_what_the_engine_lacks_is_named(runtime: Runtime) -> None:
    lacking = runtime.settings.model_copy(update={"inngest_signing_key": None})
    with pytest.raises(BadSetting, match="INNGEST_SIGNING_KEY is not set"):
        async with open_runtime(lacking):
            pass

    with listen(runtime.settings.inngest_port), pytest.raises(PortInUse, match="in use"):
        await Worker(runtime).run(asyncio.Event())
