"""What gets lost between a worker and Inngest is sent or called for again, and runs once."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest
from factories import TestTenant
from fakes.inngest import FakeInngest
from queues import (
    PLAIN,
    Claimant,
    add,
    handled,
    working,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import execute, fetch

from viral.errors import ServerUnreachable
from viral.features.jobs.queue import cancel_jobs
from viral.features.jobs.types import REFLEXION
from viral.runtime import Runtime
from viral.worker import loop
from viral.worker.inngest import relay
from viral.worker.inngest.relay import ENGINE, Relay
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


async def test_events_are_sent_when_the_engine_is_back(
    runtime: Runtime,
    engine: FakeInngest,
    alice: TestTenant,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay, "AWAY_S", 0.1)
    notes = Notes()

    with handled(PLAIN, notes):
        async with working(runtime):
            await until_known(engine)
            # The adapter tries thrice by itself.
            engine.fail(503, times=4)
            job_id = await add(runtime, alice.id)
            await ended(admin)

    assert notes.done == [job_id]
    assert await fetch(admin, STATE) == [("completed", 1, None)]


@pytest.mark.usefixtures("_impatient")
async def test_an_event_that_got_lost_is_sent_again(
    runtime: Runtime, engine: FakeInngest, alice: TestTenant, admin: AsyncConnection
) -> None:
    notes = Notes()
    engine.drop()
    job_id = await add(runtime, alice.id)

    with handled(PLAIN, notes):
        async with working(runtime):
            await ended(admin)

    assert notes.done == [job_id]
    # First with its own id, which is dropped where it is known, and then with another.
    assert engine.arrivals[f"{job_id}-1"] > 1
    assert len(engine.events) > 1
    assert await fetch(admin, STATE) == [("completed", 1, None)]


@pytest.mark.usefixtures("_impatient")
async def test_another_worker_sends_what_one_handed_over_and_did_not_send(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    notes = Notes()
    job_id = await add(runtime, alice.id)
    killed = Claimant(runtime)
    (claim,) = await killed.claim()
    await runtime.worker.call(Relay.give_back, killed.id, [claim.id], [claim.attempt])
    await execute(admin, "UPDATE job_workers SET heartbeat_at = now() - interval '1 minute'")

    with handled(PLAIN, notes):
        async with working(runtime):
            await ended(admin)

    assert notes.done == [job_id]
    assert await fetch(admin, STATE) == [("completed", 1, None)]


async def test_what_inngest_did_not_sign_now_is_refused_and_runs_nothing(
    runtime: Runtime, engine: FakeInngest, alice: TestTenant
) -> None:
    notes = Notes()
    with handled(PLAIN, notes):
        async with working(runtime):
            job_id = await handed_over(runtime, alice, engine)
            forged = engine.sign(b"{}", key="signkey-test-" + "ff" * 32)
            long_ago = engine.sign(b"{}", at=time.time() - 301)
            refused = [
                await call(runtime, engine, job_id, headers={"X-Inngest-Signature": header})
                for header in (forged, long_ago, "")
            ]
            address = str(runtime.settings.inngest_serve_url)
            large = await asyncio.to_thread(engine.ask, "POST", address, "x" * 70_000)
            elsewhere = await asyncio.to_thread(engine.ask, "POST", f"{address}/other")
            seen = list(notes.began)
            taken = await call(runtime, engine, job_id)

    assert [told.status for told in refused] == [401, 401, 401]
    assert (large.status, elsewhere.status, seen) == (413, 404, [])
    assert (taken.status, notes.done) == (200, [job_id])


async def test_jobs_that_were_canceled_outside_do_not_run_and_leave_room(
    runtime: Runtime, engine: FakeInngest, alice: TestTenant, admin: AsyncConnection
) -> None:
    notes = Notes()
    with handled(PLAIN, notes):
        async with working(runtime, concurrency=1):
            outside = [await handed_over(runtime, alice, engine) for _ in range(4)]
            waiting = await add(runtime, alice.id)
            async with runtime.app.tenant_session(alice.id) as session:
                assert len(await cancel_jobs(session, outside)) == 4
            told = await call(runtime, engine, outside[0])
            await ended(admin, f"status = 'canceled' OR id = '{waiting}' AND status = 'completed'")

    assert told.status == 200
    assert notes.began == [waiting]


async def test_a_job_that_is_canceled_at_work_is_interrupted_and_its_call_answered(
    runtime: Runtime, engine: FakeInngest, alice: TestTenant, admin: AsyncConnection
) -> None:
    notes = Notes()
    notes.may_end.clear()
    job_id = await add(runtime, alice.id)
    with handled(PLAIN, notes):
        async with working(runtime):
            await until_begun(notes)
            async with runtime.app.tenant_session(alice.id) as session:
                await cancel_jobs(session, [job_id])
            (run,) = await engine.settled()

    # The second call finds nothing to do.
    assert outcome(run) == ("completed", [500, 200])
    assert (notes.began, notes.done) == ([job_id], [])
    assert await fetch(admin, STATE) == [("canceled", 1, None)]


# The end.


async def test_a_job_whose_taking_was_not_heard_of_goes_back_to_the_engine(
    runtime: Runtime, engine: FakeInngest, alice: TestTenant, admin: AsyncConnection
) -> None:
    notes = Notes()
    notes.may_end.clear()
    with handled(PLAIN, notes):
        async with working(runtime, concurrency=1) as worker:
            lost = await handed_over(runtime, alice, engine)
            for _ in range(2):
                await add(runtime, alice.id)
            await ended(admin, f"worker_id = '{worker.id}' OR id = '{lost}'")
            await runtime.worker.call("SELECT viral.take_job($1, $2, 1)", worker.id, lost)

            assert worker._engine is not None
            worker._engine._relays["default"].doubt = ServerUnreachable("The answer is lost.")
            notes.may_end.set()
            await ended(admin, f"status = 'completed' OR worker_id = '{ENGINE}'")

    # What was at work, and what was called for and waited, ended here.
    assert len(notes.done) == 2
    assert await fetch(admin, "SELECT id FROM job_queue WHERE status = 'running'") == [(lost,)]


async def test_a_worker_that_ends_lets_jobs_end_and_gives_the_rest_to_the_engine(
    runtime: Runtime, engine: FakeInngest, alice: TestTenant, admin: AsyncConnection
) -> None:
    notes = Notes()
    notes.may_end.clear()
    for _ in range(3):
        await add(runtime, alice.id)

    with handled(PLAIN, notes):
        async with working(runtime, concurrency=1):
            taken = f"worker_id <> '{ENGINE}'"
            await ended(admin, taken)
            asyncio.get_running_loop().call_later(0.3, notes.may_end.set)
        left = "SELECT count(*) FROM job_queue WHERE status = 'running' AND attempts = 1"
        assert (len(notes.done), await fetch(admin, f"{left} AND NOT {taken}")) == (1, [(2,)])
        async with working(runtime):
            await ended(admin)

    # The events of then are called for again: there are no others.
    assert len(engine.events) == len(notes.done) == 3
    assert await fetch(admin, STATE) == [("completed", 1, None)] * 3


async def test_what_does_not_end_in_time_is_called_for_again(
    runtime: Runtime,
    engine: FakeInngest,
    alice: TestTenant,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "GRACE_S", 0.1)
    notes = Notes()
    notes.may_end.clear()
    job_id = await add(runtime, alice.id)

    with handled(PLAIN, notes):
        async with working(runtime):
            await until_begun(notes)
        notes.may_end.set()
        async with working(runtime):
            await ended(admin)
            (run,) = await engine.settled()

    assert notes.began == [job_id, job_id]
    assert notes.done == [job_id]
    assert run.status == "completed"
    assert await fetch(admin, STATE) == [("completed", 1, None)]


async def test_a_real_worker_runs_jobs_for_inngest_and_ends_when_it_is_asked_to(
    installation: Installation,
    runtime: Runtime,
    engine: FakeInngest,
    alice: TestTenant,
    admin: AsyncConnection,
    tmp_path: Path,
) -> None:
    port = runtime.settings.inngest_port
    installation.environment.update(
        VIRAL_JOBS="inngest",
        VIRAL_INNGEST_PORT=str(port),
        INNGEST_EVENT_KEY=engine.event_key,
        INNGEST_SIGNING_KEY=engine.signing_key,
        INNGEST_API_URL=engine.url,
        INNGEST_EVENT_URL=engine.url,
        INNGEST_SERVE_URL=str(runtime.settings.inngest_serve_url),
    )
    await add(runtime, alice.id, REFLEXION)

    with installation.worker(tmp_path / "worker.log") as process:
        await ended(admin)
        (run,) = await engine.settled()
        process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(process.wait, 20)

    told = (tmp_path / "worker.log").read_text()
    assert code == 0, told
    assert "worker.stopped" in told
    assert outcome(run) == ("completed", [200])
