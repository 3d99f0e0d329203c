"""Short jobs that a worker takes a batch in a row: nobody else has them, and nobody is misled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest
from asyncpg import LockNotAvailableError
from clusters import Cluster
from factories import TestTenant
from queues import NUMBERED, PLAIN, Claimant, Numbered, add, handled, until, working
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import execute, fetch

from viral.features.jobs.listing import list_jobs, list_jobs_of, queue_stats
from viral.features.jobs.queue import (
    Wish,
    batch_status,
    cancel_jobs,
    enqueue_many,
    find_job,
    retry_jobs,
)
from viral.runtime import Runtime
from viral.schema.base import uuid7
from viral.worker.attempts import RELEASE, Answer, Claim, Ending, Exchange
from viral.worker.handling import AtWork

ROWS = "SELECT status, attempts, crashes, worker_id IS NOT NULL FROM job_queue ORDER BY id"
RESERVATIONS = "SELECT cardinality(jobs), open FROM job_reservations"


@pytest.fixture(params=["listening"])
def jobs_listen(request: pytest.FixtureRequest) -> bool:
    """One way is enough: reservations are the same on both."""
    return bool(request.param == "listening")


async def lost(runtime: Runtime, worker: Claimant, claim: Claim) -> bool:
    rows = await runtime.worker.call(
        "SELECT viral.lost_jobs($1, $2, $3)", worker.id, [claim.id], [claim.attempt]
    )
    return bool(rows)


async def test_a_reservation_leaves_the_jobs_alone_until_they_end(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    for _ in range(3):
        await add(runtime, alice.id)
    worker = Claimant(runtime)

    first, second, third = await worker.claim(5, is_short=True)
    untouched = await fetch(admin, ROWS)
    failing = Ending(second, failure="no", retry_s=None)
    answer = await worker.exchange([Ending(first, outcome="{}"), failing], 5, is_short=True)

    assert {first.attempt, second.attempt, third.attempt} == {1}
    assert untouched == [("pending", 0, 0, False)] * 3
    assert answer.claims == answer.refused == []
    assert await fetch(admin, RESERVATIONS) == [(3, 1)]
    ended = "SELECT status, attempts, started_at <= completed_at FROM job_queue ORDER BY id"
    assert await fetch(admin, ended) == [
        ("completed", 1, True),
        ("failed", 1, True),
        ("pending", 0, None),
    ]
    assert await worker.end(third, outcome="{}")
    assert await fetch(admin, RESERVATIONS) == []


async def test_several_workers_at_once_never_take_the_same_job(
    runtime: Runtime, alice: TestTenant
) -> None:
    async with runtime.app.tenant_session(alice.id) as session:
        await enqueue_many(session, PLAIN, [None] * 60)
    workers = [Claimant(runtime) for _ in range(6)]

    found = await asyncio.gather(
        *(worker.claim(10, is_short=number % 3 > 0) for number, worker in enumerate(workers))
    )

    taken = [claim.id for claims in found for claim in claims]
    assert len(taken) == len(set(taken)) == 60


async def test_what_is_reserved_is_shown_as_running(
    runtime: Runtime, alice: TestTenant, bob: TestTenant
) -> None:
    batch = uuid7()
    async with runtime.app.tenant_session(alice.id) as session:
        ids = await enqueue_many(session, PLAIN, [None] * 2, wish=Wish(batch_id=batch))
    await add(runtime, bob.id, wish=Wish(priority=1))
    (taken, _) = await Claimant(runtime).claim(2, is_short=True)

    async with runtime.app.tenant_session(alice.id) as session:
        found = (await find_job(session, ids[0])).status
        counts = await batch_status(session, batch)
        listed = await list_jobs_of(session, "alice", status="running", limit=5)
    async with runtime.system.session_without_tenant() as session:
        of_all = await list_jobs(session, status="running", limit=5)
        waiting = await list_jobs(session, status="pending", limit=5)
        stats = await queue_stats(session)

    assert taken.id == ids[0]
    assert (found, counts) == ("running", {"running": 1, "pending": 1})
    assert [each.id for each in listed] == [ids[0]]
    assert ids[0] in {each.id for each in of_all}
    assert [each.id for each in waiting] == [ids[1]]
    assert {(each.tenant, each.status, each.jobs) for each in stats} == {
        ("alice", "running", 1),
        ("alice", "pending", 1),
        ("bob", "running", 1),
    }


async def test_what_is_at_work_for_long_is_marked_and_still_its_workers(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    for _ in range(2):
        await add(runtime, alice.id)
    worker = Claimant(runtime)
    mine, forgotten = await worker.claim(2, is_short=True)

    begin = "SELECT viral.begin_jobs($1, 'default', $2, '0 s')"
    await runtime.worker.call(begin, worker.id, [mine.id])

    assert await fetch(admin, ROWS) == [("running", 1, 0, True), ("pending", 0, 0, False)]
    assert await fetch(admin, RESERVATIONS) == []
    assert not await lost(runtime, worker, mine)
    assert await lost(runtime, worker, forgotten)
    assert await worker.end(mine, outcome="{}")
    assert not await worker.end(forgotten, outcome="{}")


async def test_progress_marks_a_reserved_job(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add(runtime, alice.id)
    worker = Claimant(runtime)
    (claim,) = await worker.claim(1, is_short=True)

    report = "SELECT viral.report_progress($1, $2, $3, 40)"
    (told,) = await runtime.worker.call(report, worker.id, claim.id, 1)
    (others,) = await runtime.worker.call(report, uuid7(), claim.id, 1)

    assert (told[0], others[0]) == (True, False)
    assert await fetch(admin, ROWS) == [("running", 1, 0, True)]
    assert await worker.end(claim, outcome="{}")
    assert await fetch(admin, RESERVATIONS) == []


async def test_the_jobs_of_a_dead_worker_are_taken_back_and_count_as_tried(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    for _ in range(2):
        await add(runtime, alice.id)
    dead = Claimant(runtime)
    claims = await dead.claim(2, is_short=True)
    await execute(admin, "UPDATE job_workers SET heartbeat_at = now() - interval '1 minute'")

    # It may be a job that killed its worker: they come back one by one, and marked.
    heir = Claimant(runtime)
    (suspect,) = await heir.claim(2, is_short=True)

    assert (suspect.attempt, suspect.crashes) == (2, 1)
    assert sorted(await fetch(admin, ROWS)) == [("pending", 1, 1, False), ("running", 2, 1, True)]
    assert await fetch(admin, RESERVATIONS) == []
    late = await dead.exchange([Ending(claim, outcome="{}") for claim in claims], 0)
    assert set(late.refused) == {claim.id for claim in claims}


async def test_what_is_given_back_was_never_taken(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    for _ in range(2):
        await add(runtime, alice.id)
    first, second = Claimant(runtime), Claimant(runtime)
    kept, given = await first.claim(2, is_short=True)

    (count,) = await runtime.worker.call(RELEASE, first.id, [given.id], [given.attempt])
    (again,) = await second.claim(2, is_short=True)

    assert (count[0], again.id, again.attempt) == (1, given.id, 1)
    assert not await first.end(given, outcome="{}")
    assert await second.end(again, outcome="{}")
    assert await first.end(kept, outcome="{}")
    assert await fetch(admin, RESERVATIONS) == []


async def test_a_canceled_job_is_lost_and_one_that_was_retried_is_another(
    runtime: Runtime, alice: TestTenant
) -> None:
    job_id = await add(runtime, alice.id)
    worker = Claimant(runtime)
    (claim,) = await worker.claim(1, is_short=True)

    async with runtime.app.tenant_session(alice.id) as session:
        await cancel_jobs(session, [job_id])
    was_lost = await lost(runtime, worker, claim)
    async with runtime.app.tenant_session(alice.id) as session:
        await retry_jobs(session, [job_id])

    assert was_lost
    assert await lost(runtime, worker, claim)
    assert not await worker.end(claim, outcome="{}")
    async with runtime.app.tenant_session(alice.id) as session:
        assert (await find_job(session, job_id)).status == "pending"


async def test_a_job_with_a_key_is_marked_so_that_a_twin_may_wait(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    wish = Wish(dedupe_key="one")
    keyed = await add(runtime, alice.id, wish=wish)
    plain = await add(runtime, alice.id)
    claims = await Claimant(runtime).claim(5, is_short=True)

    await add(runtime, alice.id, wish=wish)

    assert [claim.id for claim in claims] == [keyed, plain]
    assert [row[0] for row in await fetch(admin, ROWS)] == ["running", "pending", "pending"]
    assert await fetch(admin, RESERVATIONS) == [(1, 1)]


async def test_payloads_come_with_the_jobs_of_tenants_served_before_and_of_no_other(
    runtime: Runtime, alice: TestTenant, bob: TestTenant
) -> None:
    worker = Claimant(runtime)
    seen: list[tuple[UUID | None, str | None]] = []
    for is_short in (False, True, False):
        await add(runtime, alice.id, NUMBERED, Numbered(1))
        seen += [(each.tenant_id, each.payload) for each in await worker.claim(is_short=is_short)]
    await add(runtime, bob.id, NUMBERED, Numbered(2))
    seen += [(each.tenant_id, each.payload) for each in await worker.claim(is_short=True)]

    with_payload = (alice.id, '{"n": 1}')
    assert seen == [(alice.id, None), with_payload, with_payload, (bob.id, None)]


async def test_a_worker_reserves_a_backlog_and_marks_what_takes_long(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work(_at_work: AtWork, request: Numbered) -> None:
        if request.n == 1_500:
            begun.set()
            await go_on.wait()

    async with runtime.app.tenant_session(alice.id) as session:
        ids = await enqueue_many(session, NUMBERED, [Numbered(n) for n in range(2_000)])
    row = f"SELECT status, attempts FROM job_queue WHERE id = '{ids[1_500]}'"

    async def is_marked() -> bool:
        return await fetch(admin, row) == [("running", 1)]

    async def is_all_done() -> bool:
        return not await fetch(admin, "SELECT 1 FROM job_queue WHERE status <> 'completed' LIMIT 1")

    with handled(NUMBERED, work):
        async with working(runtime, concurrency=10):
            await begun.wait()
            reserved = await fetch(admin, "SELECT sum(cardinality(jobs)) > 0 FROM job_reservations")
            await until(is_marked)
            go_on.set()
            await until(is_all_done)
            assert await fetch(admin, RESERVATIONS) == []

    assert reserved == [(True,)]
    assert await fetch(admin, "SELECT max(attempts), max(crashes) FROM job_queue") == [(1, 0)]


async def test_what_was_taken_beside_a_refused_end_is_not_kept_for_ever(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[int] = []
    hand_in = Exchange.__call__

    async def refuse_once(
        self: Exchange, endings: Sequence[Ending], wanted: int, *, may_suspect: bool = True
    ) -> Answer:
        if len(endings) > 1 and not wanted and not refused:
            await asyncio.sleep(0.2)
            refused.append(len(endings))
            raise LockNotAvailableError
        return await hand_in(self, endings, wanted, may_suspect=may_suspect)

    async def work(_at_work: AtWork, _request: Numbered) -> None:
        """Take no time."""

    for n in range(10):
        async with runtime.app.tenant_session(alice.id) as session:
            await enqueue_many(session, NUMBERED, [Numbered(n)] * 200)
        await add(runtime, alice.id, NUMBERED, Numbered(n), wish=Wish(dedupe_key=str(n)))
    monkeypatch.setattr(Exchange, "__call__", refuse_once)

    async def is_all_done() -> bool:
        return not await fetch(admin, "SELECT 1 FROM job_queue WHERE status <> 'completed' LIMIT 1")

    with handled(NUMBERED, work):
        async with working(runtime, concurrency=10):
            await until(is_all_done)

    assert refused
    assert await fetch(admin, "SELECT max(attempts), max(crashes) FROM job_queue") == [(1, 0)]


async def test_a_claim_need_not_wait_for_the_disk_and_an_end_does(
    cluster: Cluster, database_name: str, runtime: Runtime, alice: TestTenant
) -> None:
    """What an attempt brought is on the disk when it is told; a lost claim is made again."""
    await add(runtime, alice.id, PLAIN)
    claim = "SELECT * FROM viral.exchange_jobs($1, $2, $3, NULL, NULL, NULL, 'default', {}, $4,"
    claim += " NULL, NULL, NULL, false, '{{}}')"
    reserve = "SELECT * FROM viral.reserve_jobs($1, 'default', 5, $2, false, '{}')"
    worker, start = uuid7(), UUID(int=0)
    waits = []
    connection = await cluster.connect("viral_worker", database_name)
    for statement, *arguments in (
        (claim.format(1), worker, [], [], start),
        (reserve, worker, start),
        (claim.format(1), worker, [uuid7()], [1], start),
        (claim.format(0), worker, [uuid7()], [1], start),
    ):
        async with connection.transaction():
            await connection.fetch(statement, *arguments)
            waits.append(await connection.fetchval("SHOW synchronous_commit"))
    waits.append(await connection.fetchval("SHOW synchronous_commit"))
    await connection.close()

    assert waits == ["off", "off", "on", "on", "on"]
