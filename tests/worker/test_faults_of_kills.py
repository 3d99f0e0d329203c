"""F02: a worker process that is killed, at each step of ten jobs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from clusters import Cluster
from factories import TestTenant
from fakes.platform import Client, FakePlatform
from queues import add, until, working
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import fetch

from viral.features.jobs.types import JobType
from viral.runtime import Runtime
from viral.worker.handling import HANDLERS
from worker.conftest import Installation
from worker.history import changes, watch
from worker.worker_with_test_jobs import (
    CLAIMED,
    COMPUTE,
    HANDED_IN,
    HANDING_IN,
    MODULE,
    PLATFORM,
    POST,
    SLEEP,
    Step,
    handlers_of,
    told,
)

# Where each of ten jobs stands when their process is killed: at a step of the queue, or of its own.
STEPS: tuple[tuple[JobType, str], ...] = (
    (CLAIMED, ""),
    (HANDING_IN, ""),
    (HANDED_IN, ""),
    (POST, "begun"),
    (POST, "noted"),
    (POST, "acted"),
    (POST, "done"),
    (SLEEP, ""),
    (SLEEP, ""),
    (COMPUTE, ""),
)


@pytest.fixture
def platform() -> Iterator[FakePlatform]:
    with FakePlatform() as fake:
        yield fake


@contextmanager
def jobs_of_the_tests(platform: FakePlatform) -> Iterator[None]:
    """Have the jobs of the tests done in this process too."""
    handlers = handlers_of(Client(platform.port))
    HANDLERS.update(handlers)
    try:
        yield
    finally:
        for name in handlers:
            del HANDLERS[name]


def is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        # A process that ended and is waited for by nobody is there still.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    return False


COUNTS = (
    "SELECT (SELECT count(*) FROM job_queue WHERE status = 'running'),"
    " (SELECT count(*) FROM job_queue WHERE status = 'completed'),"
    " (SELECT count(*) FROM job_effects), (SELECT count(done_at) FROM job_effects)"
)
LEFT = "SELECT count(*) FROM job_queue WHERE status <> 'completed'"


async def test_f02_ten_jobs_go_on_wherever_their_worker_is_killed(
    cluster: Cluster,
    database_name: str,
    installation: Installation,
    runtime: Runtime,
    alice: TestTenant,
    admin: AsyncConnection,
    platform: FakePlatform,
    tmp_path: Path,
) -> None:
    await watch(cluster, database_name)
    computing = tmp_path / "pid"
    jobs = [
        await add(runtime, alice.id, job_type, Step(point, lasts_s=3600, pid_file=str(computing)))
        for job_type, point in STEPS
    ]
    handed_in, begun = jobs[2], jobs[3]
    first = told(installation, **{PLATFORM: str(platform.port)})

    async def is_at_its_steps() -> bool:
        (counts,) = await fetch(admin, COUNTS)
        there = (*counts, platform.effects.total())
        return there == (9, 1, 5, 3, 4) and computing.exists()

    async def is_back() -> bool:
        return await fetch(admin, "SELECT count(*) FROM job_queue WHERE attempts = 2") == [(9,)]

    async def is_done() -> bool:
        return await fetch(admin, LEFT) == [(0,)]

    async def is_gone() -> bool:
        return not is_alive(int(computing.read_text()))

    with first.worker(tmp_path / "log", module=MODULE) as process, jobs_of_the_tests(platform):
        await until(is_at_its_steps)
        async with working(runtime, concurrency=10):
            process.kill()
            await until(is_back, within_s=5 if installation.settings.jobs_listen else 20)
            await until(is_done)
            await until(is_gone)

    attempts = {row[0]: row[1] for row in await fetch(admin, "SELECT id, attempts FROM job_queue")}
    posted = {f"{job}:post": 1 for job in jobs[:7]}
    assert attempts == {job: 1 if job == handed_in else 2 for job in jobs}
    seen = await changes(cluster, database_name)
    assert Counter(each.job for each in seen if each.became == "completed") == Counter(jobs)
    assert platform.effects == posted
    # Each was asked for once: what became of it was looked up, but for the one not begun before.
    assert platform.requests == posted
    assert f"{begun}:post" not in platform.look_ups
