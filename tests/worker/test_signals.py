"""F27: a worker that is asked to end, with work in its hands."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from factories import TestTenant
from queues import PLAIN, add, handled, until, working
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import fetch

from viral.features.jobs.queue import enqueue_now
from viral.runtime import Runtime
from viral.worker import loop
from viral.worker.handling import AtWork
from worker.conftest import Installation
from worker.worker_with_test_jobs import MODULE, SLEEP, Step

MANY = 4_000


@pytest.fixture(params=["listening"])
def jobs_listen(request: pytest.FixtureRequest) -> bool:
    """One way is enough where it does not matter."""
    return bool(request.param == "listening")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_f27_what_runs_is_ended_and_what_is_not_begun_is_given_back(
    installation: Installation,
    runtime: Runtime,
    alice: TestTenant,
    bob: TestTenant,
    admin: AsyncConnection,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    long = [await add(runtime, bob.id, SLEEP, Step(lasts_s=1.5)) for _ in range(2)]
    await enqueue_now(runtime.app, alice.id, SLEEP, [Step(lasts_s=0.001)] * MANY)

    async def is_busy() -> bool:
        some = "SELECT count(*) > 200 FROM job_queue WHERE status = 'completed'"
        return await fetch(admin, some) == [(True,)]

    with installation.worker(tmp_path / "log", module=MODULE) as process:
        await until(is_busy)
        process.send_signal(number)
        code = await asyncio.to_thread(process.wait, 30)

    states = "SELECT status, attempts, crashes FROM job_queue"
    left = {tuple(row) for row in await fetch(admin, f"SELECT DISTINCT * FROM ({states}) AS s")}
    assert code == 0, (tmp_path / "log").read_text()
    assert left == {("completed", 1, 0), ("pending", 0, 0)}
    assert (
        await fetch(admin, f"{states} WHERE id IN ('{long[0]}', '{long[1]}')")
        == [("completed", 1, 0)] * 2
    )


async def test_what_does_not_end_in_time_is_given_back_without_an_attempt(
    runtime: Runtime,
    alice: TestTenant,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def work(_at_work: AtWork) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(loop, "GRACE_S", 0.1)
    job_id = await add(runtime, alice.id)
    with handled(PLAIN, work):
        async with working(runtime):
            await started.wait()

    assert ended.is_set()
    assert await fetch(admin, "SELECT id, status, attempts, crashes FROM job_queue") == [
        (job_id, "pending", 0, 0)
    ]
