"""F13: a worker whose clock is wrong, and jumps."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from factories import TestTenant
from queues import Claimant, add, until
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import execute, fetch

from viral.features.jobs.queue import Wish
from viral.runtime import Runtime
from worker.conftest import Installation
from worker.worker_with_test_jobs import MODULE, SLEEP, Step, told

# Debian's libfaketime: what a process asks its clock for is what a file says.
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
SCHEDULE = (
    "INSERT INTO job_schedules (id, name, job_type, cron, time_zone, next_at) VALUES"
    " (gen_random_uuid(), 'daily', 'sleep', '0 3 * * *', 'UTC', now() + interval '2 s')"
)


@pytest.fixture(params=["listening"])
def jobs_listen(request: pytest.FixtureRequest) -> bool:
    """One way is enough where it does not matter."""
    return bool(request.param == "listening")


async def all_of(admin: AsyncConnection, condition: str) -> bool:
    return await fetch(admin, f"SELECT bool_and({condition}) FROM job_queue") == [(True,)]


async def is_scheduled(admin: AsyncConnection) -> bool:
    return await fetch(admin, "SELECT count(*) FROM job_queue WHERE scope = 'system'") == [(1,)]


@pytest.mark.skipif(not LIBRARIES, reason="wrong clocks need Debian's libfaketime")
@pytest.mark.parametrize(("first", "then"), [("+300", "-300"), ("-300", "+300")])
async def test_f13_leases_delays_and_schedules_follow_the_databases_clock(
    installation: Installation,
    runtime: Runtime,
    alice: TestTenant,
    admin: AsyncConnection,
    tmp_path: Path,
    first: str,
    then: str,
) -> None:
    clock = tmp_path / "clock"
    clock.write_text(first)
    wrong = told(
        installation,
        LD_PRELOAD=str(LIBRARIES[0]),
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
        # A jump of the clock on the wall leaves the one that only counts alone.
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )

    with wrong.worker(tmp_path / "log", module=MODULE):
        at_once = await add(runtime, alice.id, SLEEP, Step(lasts_s=4))
        await until(partial(all_of, admin, "status = 'running'"))
        await execute(admin, SCHEDULE)
        await add(runtime, alice.id, SLEEP, Step(), wish=Wish(delay=timedelta(seconds=1)))
        await until(partial(is_scheduled, admin))
        await until(partial(all_of, admin, f"status = 'completed' OR id = '{at_once}'"))
        clock.write_text(then)
        await until(partial(all_of, admin, "status = 'completed'"))
        # Nobody takes it for dead.
        taken_back = await Claimant(runtime).reap()

    by_moment = (
        "SELECT scope, attempts, started_at - scheduled_for BETWEEN interval '0' AND interval '5 s'"
        " FROM job_queue WHERE job_type = 'sleep' ORDER BY created_at"
    )
    following = (
        "SELECT next_at - now() BETWEEN interval '0' AND interval '1 day' FROM job_schedules"
        " WHERE name = 'daily'"
    )
    assert taken_back == 0
    assert await fetch(admin, by_moment) == [
        ("tenant", 1, True),
        ("tenant", 1, True),
        ("system", 1, True),
    ]
    assert await fetch(admin, following) == [(True,)]
