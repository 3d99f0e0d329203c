"""What makes the queue fast, and what each of these must not cost."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence

import pytest
from factories import TestTenant
from queues import NUMBERED, PLAIN, Numbered, add, handled, until, working
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import execute, fetch

from viral.database.engine import Database
from viral.database.waking import LATE_S
from viral.errors import ServerRefused
from viral.features.jobs.queue import enqueue_many, enqueue_now
from viral.runtime import Runtime, settle_memory
from viral.schema.base import uuid7
from viral.worker.attempts import Answer, Ending, Exchange
from viral.worker.handling import AtWork

BATCH = 100
_LEFT_BEHIND = """
WITH gone AS (
  INSERT INTO job_workers (id, heartbeat_at) VALUES (:gone, now() - interval '1 h')
)
UPDATE job_queue SET status = 'running', worker_id = :gone, completed_at = NULL
"""
_NO_FLUSH = """
DO $$ BEGIN
  EXECUTE (SELECT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', p.oid::regprocedure)
           FROM pg_proc AS p WHERE p.proname = 'pg_logical_emit_message' AND p.proargtypes[2] = 25);
END $$
"""
_FLUSHED = "SELECT pg_current_wal_flush_lsn() >= CAST(CAST(:lsn AS text) AS pg_lsn)"


@pytest.fixture(params=["listening"])
def jobs_listen(request: pytest.FixtureRequest) -> bool:
    """One way is enough: nothing here waits to be woken."""
    return bool(request.param == "listening")


class HeldUp(Exchange):
    """Hands in a batch while others pile up; with the next one it does not come to an end."""

    calls = 0
    done = 0
    done_before_second = 0
    may_go_on = asyncio.Event()

    async def __call__(
        self, endings: Sequence[Ending], wanted: int, *, may_suspect: bool = True
    ) -> Answer:
        if not wanted:
            HeldUp.calls += 1
            if HeldUp.calls == 1:
                await asyncio.sleep(0.3)
            if HeldUp.calls == 2:
                HeldUp.done_before_second = HeldUp.done
                await HeldUp.may_go_on.wait()
        return await super().__call__(endings, wanted, may_suspect=may_suspect)


async def test_jobs_are_claimed_while_others_are_handed_in(
    runtime: Runtime, alice: TestTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def count(_at_work: AtWork, _request: Numbered) -> None:
        HeldUp.done += 1

    async def went_on() -> bool:
        return HeldUp.calls >= 2 and HeldUp.done >= HeldUp.done_before_second + BATCH

    async with runtime.app.tenant_session(alice.id) as session:
        await enqueue_many(session, NUMBERED, [Numbered(n) for n in range(15 * BATCH)])
    monkeypatch.setattr("viral.worker.loop.Exchange", HeldUp)
    for name in ("LARGEST_BATCH", "MOST_UNTOLD"):
        monkeypatch.setattr(f"viral.worker.lane.{name}", BATCH)
    # Nor does it go on because it looks up from time to time.
    monkeypatch.setattr("viral.worker.lane.POLL_S", 600.0)
    with handled(NUMBERED, count):
        # It stops as soon as the last is handed in, too.
        async with asyncio.timeout(20), working(runtime):
            await until(went_on)
            # Not for ever: the server would look past all of them at each claim.
            await asyncio.sleep(0.2)
            assert HeldUp.done <= HeldUp.done_before_second + 4 * BATCH
            HeldUp.may_go_on.set()


async def test_a_job_is_on_the_disk_when_its_caller_hears_of_it(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers may have seen it before: the first of a while is not held up by the disk."""
    committed: list[tuple[object, ...]] = []
    flush = Database.flush

    async def noting(database: Database) -> None:
        committed.extend(await fetch(admin, "SELECT pg_current_wal_insert_lsn()::text"))
        await flush(database)

    monkeypatch.setattr(Database, "flush", noting)
    kept = []
    for _ in range(20):
        await asyncio.sleep(2 * LATE_S)
        await enqueue_now(runtime.app, alice.id, PLAIN, [None])
        kept += await fetch(admin, _FLUSHED, lsn=committed[-1][0])

    assert kept == [(True,)] * 20
    assert len(committed) == 20
    assert await fetch(admin, "SELECT count(*) FROM job_queue") == [(20,)]


async def test_what_waits_for_the_disk_in_vain_is_told_so_and_not_sent_twice(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    await execute(admin, _NO_FLUSH)
    callers = [enqueue_now(runtime.app, alice.id, PLAIN, [None]) for _ in range(3)]

    first, *others = await asyncio.gather(*callers, return_exceptions=True)

    assert isinstance(first, ServerRefused)
    # Those that came meanwhile may have been told the same, if they woke somebody as well.
    assert not any(
        isinstance(each, BaseException) and not isinstance(each, ServerRefused) for each in others
    )
    assert await fetch(admin, "SELECT count(*) FROM job_queue") == [(3,)]


async def test_a_lane_finds_what_a_dead_worker_left_while_it_seldom_looks(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    """Its process died: no other job goes before it for want of a look."""
    ran = []

    async def note(at_work: AtWork) -> None:
        ran.append(at_work.id)

    async def is_run() -> bool:
        return suspect in ran

    with handled(PLAIN, note):
        async with working(runtime):
            suspect = await add(runtime, alice.id)
            await until(is_run)
            ran.clear()
            await execute(admin, _LEFT_BEHIND, gone=uuid7())
            await until(is_run)

    assert await fetch(admin, "SELECT status, crashes FROM job_queue") == [("completed", 1)]


async def test_what_a_worker_has_loaded_is_out_of_full_collections(runtime: Runtime) -> None:
    settle_memory.cache_clear()
    before = gc.get_freeze_count()
    loaded = [[number] for number in range(1_000)]

    async def is_settled() -> bool:
        return gc.get_freeze_count() >= before + len(loaded)

    async with working(runtime):
        await until(is_settled)
    settled = gc.get_freeze_count()
    made_since = [[number] for number in range(1_000)]
    async with working(runtime):
        await asyncio.sleep(0.1)

    # A second worker of the same process keeps nothing for good of what was garbage by then.
    assert gc.get_freeze_count() < settled + len(made_since)
