"""Jobs that come by themselves: each moment once, by the clock of their time zone."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest
from queues import NUMBERED, PLAIN, done, handled, until, working
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import execute, fetch

from viral.database.engine import Database
from viral.errors import AlreadyExists, BadInput, NotFound
from viral.features.jobs.cron import next_moment
from viral.features.jobs.schedules import (
    Schedule,
    add_schedule,
    pause_schedule,
    remove_schedule,
    resume_schedule,
    run_schedule,
    ship_schedules,
)
from viral.runtime import Runtime
from viral.worker import keeper
from viral.worker.schedules import fire_due

BERLIN = "Europe/Berlin"
MADE = "SELECT count(*) FROM job_queue"
OPEN_OR_DUE = """
SELECT (SELECT count(*) FROM job_queue WHERE status <> 'completed')
     + (SELECT count(*) FROM job_schedules WHERE next_at <= now())
"""


@pytest.fixture(params=["listening"])
def jobs_listen() -> bool:
    """One way is enough: the clock asks nobody."""
    return True


async def add(system: Database, missed: str = "once", cron: str = "0 3 * * *") -> None:
    async with system.session_without_tenant() as session:
        await add_schedule(session, Schedule("plain", PLAIN, cron, missed=missed))


async def set_back(admin: AsyncConnection, span: str) -> None:
    passed = f"UPDATE job_schedules SET next_at = now() - interval '{span}' WHERE name = 'plain'"
    await execute(admin, passed)


async def count(admin: AsyncConnection) -> int:
    ((made,),) = await fetch(admin, MADE)
    assert isinstance(made, int)
    return made


# By whom.


async def test_a_moment_is_passed_once_however_many_workers_tick(
    runtime: Runtime,
    system: Database,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeper, "TICK_S", 0.1)
    # Three at once would be in each other's way.
    await runtime.worker.call("SELECT viral.make_partitions()")
    await add(system)

    async def is_idle() -> bool:
        return await fetch(admin, OPEN_OR_DUE) == [(0,)]

    with handled(PLAIN, done):
        async with AsyncExitStack() as workers:
            for _ in range(3):
                await workers.enter_async_context(working(runtime))
            for _ in range(3):
                await set_back(admin, "1 second")
                await until(is_idle)
            # Time for those who come second.
            # Time for those who come second.
            await asyncio.sleep(0.5)

    assert await count(admin) == 3


async def test_of_workers_that_saw_the_same_moment_one_passes_it(
    runtime: Runtime, system: Database, admin: AsyncConnection
) -> None:
    await add(system)
    fired = []
    for _ in range(5):
        await set_back(admin, "1 second")
        fired.append(sorted(await asyncio.gather(*(fire_due(runtime.worker) for _ in range(3)))))
        await execute(admin, "UPDATE job_queue SET status = 'completed'")

    assert [[0, 0, 1]] * 5 == fired
    assert await count(admin) == 5


# What was missed.


@pytest.mark.parametrize(
    ("missed", "late", "jobs"),
    [("once", "3 days", 1), ("skip", "3 days", 0), ("skip", "30 seconds", 1)],
)
async def test_what_was_missed_is_made_up_for_once_or_skipped(
    worker: Database,
    system: Database,
    admin: AsyncConnection,
    missed: str,
    late: str,
    jobs: int,
) -> None:
    await add(system, missed)
    await set_back(admin, late)

    await fire_due(worker)
    await fire_due(worker)

    assert await count(admin) == jobs
    assert await fetch(
        admin,
        "SELECT next_at > now(), extract(hour FROM next_at AT TIME ZONE 'UTC')::int,"
        " last_at IS NOT NULL FROM job_schedules",
    ) == [(True, 3, jobs == 1)]


async def test_a_pause_brings_no_jobs_and_is_passed_over(
    worker: Database, system: Database, admin: AsyncConnection
) -> None:
    await add(system)
    async with system.session_without_tenant() as session:
        await pause_schedule(session, "plain")
    await set_back(admin, "3 days")

    await fire_due(worker)
    paused = await count(admin)
    async with system.session_without_tenant() as session:
        await resume_schedule(session, "plain")
    await fire_due(worker)

    assert (paused, await count(admin)) == (0, 0)
    assert await fetch(admin, "SELECT is_paused, next_at > now() FROM job_schedules") == [
        (False, True)
    ]


async def test_a_run_by_hand_is_one_job_while_it_waits(
    worker: Database, system: Database, admin: AsyncConnection
) -> None:
    await add(system)
    runs = []
    for _ in range(2):
        async with system.session_without_tenant() as session:
            runs.append(await run_schedule(session, "plain", PLAIN))
    await set_back(admin, "1 second")
    await fire_due(worker)

    assert [False, True] == [run is None for run in runs]
    assert await fetch(admin, "SELECT scope, job_type, status FROM job_queue") == [
        ("system", "plain", "pending")
    ]


# Moments.


@pytest.mark.parametrize(
    ("cron", "zone", "after", "then"),
    [
        # Clocks go forward at 01:00 UTC: 02:30 is left out, and comes right after.
        ("30 2 * * *", BERLIN, "2026-03-28T12:00", "2026-03-29T01:00"),
        ("30 2 * * *", BERLIN, "2026-03-29T01:00", "2026-03-30T00:30"),
        ("0 * * * *", BERLIN, "2026-03-29T00:30", "2026-03-29T01:00"),
        # Clocks go back at 01:00 UTC: a fixed hour comes once, each half hour every time.
        ("30 2 * * *", BERLIN, "2026-10-24T12:00", "2026-10-25T00:30"),
        ("30 2 * * *", BERLIN, "2026-10-25T00:30", "2026-10-26T01:30"),
        ("30 2 * * *", BERLIN, "2026-10-25T01:05", "2026-10-26T01:30"),
        ("*/30 * * * *", BERLIN, "2026-10-25T00:30", "2026-10-25T01:00"),
        ("0 3 29 2 *", "UTC", "2026-03-01T00:00", "2028-02-29T03:00"),
        ("0 3 31 * *", "UTC", "2026-01-31T03:00", "2026-03-31T03:00"),
        ("0 3 L * *", "UTC", "2026-01-31T03:00", "2026-02-28T03:00"),
        ("0 3 * * 1", "UTC", "2026-11-23T03:00", "2026-11-30T03:00"),
    ],
)
def test_the_next_moment_is_that_of_the_clock_on_the_wall(
    cron: str, zone: str, after: str, then: str
) -> None:
    moment = next_moment(cron, zone, after=datetime.fromisoformat(after).replace(tzinfo=UTC))

    assert datetime.fromisoformat(then).replace(tzinfo=UTC) == moment


# What a schedule may say.


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (Schedule("a", PLAIN, "0 3 * *"), "has 4 fields, not 5"),
        (Schedule("a", PLAIN, "0 0 3 * * *"), "has 6 fields, not 5"),
        (Schedule("a", PLAIN, "0 3 * * *", "Europe"), "no time zone 'Europe'"),
        (Schedule("a", PLAIN, "0 3 30 2 *"), "no cron expression"),
        (Schedule("a", PLAIN, "0 3 * * *", "Mars/Olympus"), "no time zone 'Mars/Olympus'"),
        (Schedule("a", PLAIN, "0 3 * * *", missed="twice"), "no rule for missed moments"),
        (Schedule("A b", PLAIN, "0 3 * * *"), "cannot be a schedule's name"),
        (Schedule("a", NUMBERED, "0 3 * * *"), "needs a payload"),
    ],
)
async def test_a_schedule_that_says_nonsense_is_not_made(
    system: Database, admin: AsyncConnection, schedule: Schedule, said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        async with system.session_without_tenant() as session:
            await add_schedule(session, schedule)

    assert await fetch(admin, "SELECT name FROM job_schedules") == []


async def test_a_name_is_taken_once_and_an_unknown_one_found_by_nobody(system: Database) -> None:
    await add(system)

    with pytest.raises(AlreadyExists):
        await add(system)
    with pytest.raises(NotFound):
        async with system.session_without_tenant() as session:
            await pause_schedule(session, "plane")


# What the product comes with.


async def test_a_worker_makes_the_shipped_schedule_and_changes_none(
    runtime: Runtime, admin: AsyncConnection
) -> None:
    shipped = "SELECT name, job_type, cron, time_zone, is_paused FROM job_schedules"

    async def is_made() -> bool:
        return await fetch(admin, shipped) != []

    async with working(runtime):
        await until(is_made)
    made = await fetch(admin, shipped)
    await execute(admin, "UPDATE job_schedules SET cron = '5 5 * * *', is_paused = true")
    async with runtime.system.session_without_tenant() as session:
        await ship_schedules(session)

    assert made == [("learn-daily", "reflexion", "0 3 * * *", "UTC", False)]
    assert await fetch(admin, shipped) == [("learn-daily", "reflexion", "5 5 * * *", "UTC", True)]


async def test_a_schedule_is_removed_but_not_a_shipped_one(
    system: Database, admin: AsyncConnection
) -> None:
    await add(system)
    async with system.session_without_tenant() as session:
        await ship_schedules(session)
        await remove_schedule(session, "plain")

    with pytest.raises(BadInput, match="comes with the product"):
        async with system.session_without_tenant() as session:
            await remove_schedule(session, "learn-daily")
    assert await fetch(admin, "SELECT name FROM job_schedules") == [("learn-daily",)]
