"""What may be asked of the queue: shares, limits, order, moments, parents, batches, effects."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from datetime import timedelta
from uuid import UUID

import pytest
from clusters import Cluster
from factories import TestTenant, make_tenant
from queues import (
    NUMBERED,
    PLAIN,
    Claimant,
    Numbered,
    add,
    done,
    handled,
    until,
    work_off,
    working,
)
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import execute, fetch

from viral.database.engine import Database
from viral.errors import BadInput, NotFound
from viral.features.jobs.queue import (
    Wish,
    batch_status,
    cancel_jobs,
    enqueue_many,
    enqueue_now,
    find_job,
    retry_jobs,
)
from viral.features.jobs.types import JobType, Rate
from viral.runtime import Runtime
from viral.schema.base import uuid7
from viral.schema.tenants import AuditEntry
from viral.worker.handling import AtWork, JobLost
from worker import computing


@pytest.fixture(params=["listening"])
def jobs_listen(request: pytest.FixtureRequest) -> bool:
    """One way is enough where it does not matter."""
    return bool(request.param == "listening")


async def status_of(runtime: Runtime, tenant: TestTenant, job_id: UUID) -> str:
    async with runtime.app.tenant_session(tenant.id) as session:
        return (await find_job(session, job_id)).status


async def put_many(
    runtime: Runtime, tenant: TestTenant, count: int, wish: Wish | None = None
) -> list[UUID]:
    async with runtime.app.tenant_session(tenant.id) as session:
        return await enqueue_many(session, PLAIN, [None] * count, wish=wish or Wish())


# Shares.


async def test_a_tenant_with_one_job_is_served_beside_one_with_thousands(
    runtime: Runtime, alice: TestTenant, bob: TestTenant
) -> None:
    await put_many(runtime, alice, 3_000)
    worker = Claimant(runtime)
    first = await worker.claim(10)
    (wanted,) = await put_many(runtime, bob, 1)

    second = await worker.claim(10)

    assert {claim.tenant_id for claim in first} == {alice.id}
    assert wanted in {claim.id for claim in second}


async def test_each_tenant_has_a_turn_before_anybody_has_another(
    runtime: Runtime, system: Database, cluster: Cluster
) -> None:
    tenants = [
        await make_tenant(system, cluster.secrets, slug=f"t{number}") for number in range(70)
    ]
    for tenant in tenants:
        await put_many(runtime, tenant, 3)
    worker = Claimant(runtime)

    # A page of the ring holds 64: the second begins where the first one ended.
    rounds = [await worker.claim(7) for _ in range(30)]

    order = [claim.tenant_id for claims in rounds for claim in claims]
    assert [set(Counter(order[turn : turn + 70]).values()) for turn in (0, 70, 140)] == [{1}] * 3


async def test_system_jobs_have_a_share_of_their_own(
    runtime: Runtime, system: Database, alice: TestTenant
) -> None:
    await put_many(runtime, alice, 50)
    await system.call(
        "INSERT INTO job_queue (id, scope, job_type) VALUES ($1, 'system', 'plain')", uuid7()
    )

    claims = await Claimant(runtime).claim(4)

    assert Counter(claim.tenant_id for claim in claims) == {alice.id: 2, None: 1}


async def test_a_larger_priority_runs_first_among_a_tenants_jobs_only(
    runtime: Runtime, alice: TestTenant, bob: TestTenant
) -> None:
    (ordinary,) = await put_many(runtime, alice, 1)
    (urgent,) = await put_many(runtime, alice, 1, Wish(priority=9))
    (others,) = await put_many(runtime, bob, 1, Wish(priority=1))
    worker = Claimant(runtime)

    order = [(await worker.claim())[0].id for _ in range(3)]

    assert order.index(urgent) < order.index(ordinary)
    assert order.index(others) < 2


# Limits.


async def test_no_more_jobs_of_a_tenant_run_at_once_than_its_type_allows(
    runtime: Runtime, alice: TestTenant, bob: TestTenant
) -> None:
    limited = JobType("limited", running_limit=2)
    for tenant in (alice, bob):
        for _ in range(5):
            await add(runtime, tenant.id, limited)
    first, second = Claimant(runtime, "limited", limited), Claimant(runtime, "limited", limited)

    at_once = await first.claim(20) + await second.claim(20)
    assert Counter(claim.tenant_id for claim in at_once) == {alice.id: 2, bob.id: 2}
    mine = next(claim for claim in await first.claim(1) or at_once if claim.tenant_id == alice.id)
    assert await first.end(mine, outcome="{}")

    assert [claim.tenant_id for claim in await second.claim(20)] == [alice.id]


async def test_no_more_jobs_of_a_tenant_start_than_its_rate_allows(
    runtime: Runtime, alice: TestTenant, bob: TestTenant
) -> None:
    paced = JobType("paced", rate=Rate(3, timedelta(hours=1)))
    for _ in range(5):
        await add(runtime, alice.id, paced)
    await add(runtime, bob.id, paced)
    worker = Claimant(runtime, "paced", paced)

    claims = await worker.claim(20)

    assert Counter(claim.tenant_id for claim in claims) == {alice.id: 3, bob.id: 1}
    assert await worker.claim(20) == []


async def test_two_workers_at_once_keep_a_limit(runtime: Runtime, alice: TestTenant) -> None:
    limited = JobType("limited", running_limit=3)
    for _ in range(20):
        await add(runtime, alice.id, limited)
    workers = [Claimant(runtime, "limited", limited) for _ in range(6)]

    claims = await asyncio.gather(*(worker.claim(20) for worker in workers))

    assert sum(map(len, claims)) == 3


# Moments.


async def test_a_delayed_job_runs_at_its_moment(runtime: Runtime, alice: TestTenant) -> None:
    with handled(PLAIN, done):
        async with working(runtime):
            delay = timedelta(seconds=0.4)
            job_id = await add(runtime, alice.id, wish=Wish(delay=delay))
            await until(lambda: is_status(runtime, alice, job_id, "completed"))

    async with runtime.app.tenant_session(alice.id) as session:
        job = await find_job(session, job_id)
        assert job.started_at is not None
        late = (job.started_at - job.scheduled_for).total_seconds()
    assert 0 <= late < 5
    assert job.scheduled_for - job.created_at == delay


async def is_status(runtime: Runtime, tenant: TestTenant, job_id: UUID, status: str) -> bool:
    return await status_of(runtime, tenant, job_id) == status


# Parents.


async def test_a_job_waits_for_all_its_parents(runtime: Runtime, alice: TestTenant) -> None:
    parents = [await add(runtime, alice.id) for _ in range(2)]
    child = await add(runtime, alice.id, wish=Wish(after=parents))
    grandchild = await add(runtime, alice.id, wish=Wish(after=[child]))
    worker = Claimant(runtime)

    for claim in await worker.claim(10):
        assert claim.id in parents
        assert await status_of(runtime, alice, child) == "blocked"
        assert await worker.end(claim, outcome="{}")

    (claim,) = await worker.claim(10)
    assert claim.id == child
    assert await worker.end(claim, outcome="{}")
    assert [claim.id for claim in await worker.claim(10)] == [grandchild]
    # Who has only completed parents waits for nobody.
    late = await add(runtime, alice.id, wish=Wish(after=[child]))
    assert await status_of(runtime, alice, late) == "pending"


async def test_parents_that_end_at_once_in_two_workers_let_their_child_go(
    runtime: Runtime, alice: TestTenant
) -> None:
    for _ in range(5):
        parents = [await add(runtime, alice.id) for _ in range(4)]
        child = await add(runtime, alice.id, wish=Wish(after=parents))
        workers = [Claimant(runtime) for _ in parents]
        claims = [(await worker.claim())[0] for worker in workers]

        await asyncio.gather(
            *(
                worker.end(claim, outcome="{}")
                for worker, claim in zip(workers, claims, strict=True)
            )
        )

        assert [claim.id for claim in await workers[0].claim()] == [child]


async def test_a_parent_that_fails_takes_its_children_with_it(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    parent = await add(runtime, alice.id)
    child = await add(runtime, alice.id, wish=Wish(after=[parent]))
    grandchild = await add(runtime, alice.id, wish=Wish(after=[child]))
    worker = Claimant(runtime)
    (claim,) = await worker.claim()

    assert await worker.end(claim, failure="no")

    assert await status_of(runtime, alice, parent) == "failed"
    assert await status_of(runtime, alice, child) == "canceled"
    assert await status_of(runtime, alice, grandchild) == "canceled"
    with pytest.raises(BadInput, match="has failed or was canceled"):
        await add(runtime, alice.id, wish=Wish(after=[parent]))
    assert await fetch(admin, "SELECT count(*) FROM job_queue") == [(3,)]


async def test_nobody_waits_for_another_tenants_job(
    runtime: Runtime, alice: TestTenant, bob: TestTenant
) -> None:
    others = await add(runtime, bob.id)

    with pytest.raises(NotFound):
        await add(runtime, alice.id, wish=Wish(after=[others]))


# Batches.


async def test_a_batch_is_counted_by_status(
    runtime: Runtime, alice: TestTenant, bob: TestTenant
) -> None:
    batch = uuid7()
    await put_many(runtime, alice, 4, Wish(batch_id=batch))
    await put_many(runtime, bob, 2, Wish(batch_id=batch))
    worker = Claimant(runtime)
    mine = [claim for claim in await worker.claim(4) if claim.tenant_id == alice.id]
    assert await worker.end(mine[0], outcome="{}")

    async with runtime.app.tenant_session(alice.id) as session:
        counts = await batch_status(session, batch)

    assert counts == {"completed": 1, "running": 1, "pending": 2}


async def test_jobs_without_a_transaction_are_put_in_in_one_call(
    runtime: Runtime, alice: TestTenant
) -> None:
    seen = []

    async def note(_at_work: AtWork, request: Numbered) -> None:
        seen.append(request.n)

    payloads = [Numbered(number) for number in range(20)]
    ids = await enqueue_now(runtime.app, alice.id, NUMBERED, payloads)
    with handled(NUMBERED, note):
        await work_off(runtime, alice.id)

    assert sorted(seen) == list(range(20))
    assert {await status_of(runtime, alice, job_id) for job_id in ids} == {"completed"}


async def test_a_payload_of_another_type_or_size_is_refused_at_once(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    large = JobType("large", payload=computing.Large)
    for job_type, payload in (
        (PLAIN, Numbered(1)),
        (NUMBERED, None),
        (large, computing.Large("x" * 300_000)),
    ):
        with pytest.raises(BadInput):
            await add(runtime, alice.id, job_type, payload)

    assert await fetch(admin, "SELECT id FROM job_queue") == []


async def test_a_payload_that_is_not_of_its_type_fails_closed_and_is_noted(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    called = []

    async def note(_at_work: AtWork, request: Numbered) -> None:
        called.append(request)

    job_id = await add(runtime, alice.id, NUMBERED, Numbered(1))
    await execute(admin, """UPDATE job_queue SET payload = '{"n": "one"}'""")
    with handled(NUMBERED, note):
        await work_off(runtime, alice.id)

    async with runtime.app.tenant_session(alice.id) as session:
        job = await find_job(session, job_id)
        noted = (await session.execute(select(AuditEntry.action, AuditEntry.details))).all()
    assert (job.status, job.attempts, called) == ("failed", 1, [])
    assert "$.n" in str(job.error_message)
    assert [tuple(each) for each in noted] == [("refused job", {"job_id": str(job_id)})]


# At work.


async def test_a_running_job_can_be_canceled_and_its_result_is_refused(
    runtime: Runtime, alice: TestTenant
) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def work(_at_work: AtWork) -> None:
        started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    job_id = await add(runtime, alice.id)
    with handled(PLAIN, work):
        async with working(runtime):
            await started.wait()
            async with runtime.app.tenant_session(alice.id) as session:
                assert await cancel_jobs(session, [job_id]) == [job_id]
            await asyncio.wait_for(ended.wait(), 20)
    assert await status_of(runtime, alice, job_id) == "canceled"
    async with runtime.app.tenant_session(alice.id) as session:
        assert await cancel_jobs(session, [job_id]) == []
        assert await retry_jobs(session, [job_id]) == [job_id]
    with handled(PLAIN, done):
        await work_off(runtime, alice.id)
    assert await status_of(runtime, alice, job_id) == "completed"


async def test_a_tenant_cancels_and_retries_only_its_own_jobs(
    runtime: Runtime, alice: TestTenant, bob: TestTenant
) -> None:
    job_id = await add(runtime, alice.id)
    async with runtime.app.tenant_session(bob.id) as session:
        assert await cancel_jobs(session, [job_id]) == []
    async with runtime.app.tenant_session(alice.id) as session:
        await cancel_jobs(session, [job_id])
    async with runtime.app.tenant_session(bob.id) as session:
        assert await retry_jobs(session, [job_id]) == []

    assert await status_of(runtime, alice, job_id) == "canceled"


async def test_progress_is_seen_and_ends_an_attempt_that_lost_its_job(
    runtime: Runtime, alice: TestTenant
) -> None:
    seen: list[object] = []

    async def work(at_work: AtWork) -> None:
        await at_work.progress(40)
        async with at_work.session() as session:
            seen.append((await find_job(session, at_work.id)).progress)
            await cancel_jobs(session, [at_work.id])
        try:
            await at_work.progress(80)
        except JobLost:
            seen.append("lost")
            raise

    job_id = await add(runtime, alice.id)
    with handled(PLAIN, work):
        await work_off(runtime, alice.id)

    assert seen == [40, "lost"]
    assert await status_of(runtime, alice, job_id) == "canceled"


async def test_a_job_that_takes_too_long_is_ended(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    async def work(_at_work: AtWork) -> None:
        await asyncio.sleep(3600)

    endless = JobType("endless", time_limit_s=0.1)
    await add(runtime, alice.id, endless)
    with handled(endless, work):
        await work_off(runtime, alice.id)

    state = "SELECT status, attempts, error_message FROM job_queue"
    assert await fetch(admin, state) == [("pending", 1, "took longer than 0.1 s")]


async def test_an_effect_happens_once_over_all_attempts(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    outside: dict[str, int] = {}

    async def act(key: str) -> dict[str, object]:
        outside[key] = outside.get(key, 0) + 1
        raise ConnectionResetError("the answer is lost")

    async def look_up(key: str) -> dict[str, object] | None:
        return {"post": 7} if key in outside else None

    async def work(at_work: AtWork) -> dict[str, object]:
        first = await at_work.once("post", act, look_up)
        return {"posts": [first, await at_work.once("post", act, look_up)]}

    job_id = await add(runtime, alice.id)
    with handled(PLAIN, work):
        await work_off(runtime, alice.id)
        await execute(admin, "UPDATE job_queue SET scheduled_for = now(), is_due = true")
        await work_off(runtime, alice.id)

    assert outside == {f"{job_id}:post": 1}
    async with runtime.app.tenant_session(alice.id) as session:
        job = await find_job(session, job_id)
    assert (job.attempts, job.result) == (2, {"posts": [{"post": 7}, {"post": 7}]})


async def test_jobs_that_compute_have_a_process_of_their_own(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    squares = JobType("squares", payload=Numbered, is_cpu_bound=True)
    deadly = JobType("deadly", payload=Numbered, is_cpu_bound=True, max_attempts=1)
    endless = JobType("endless", payload=Numbered, is_cpu_bound=True, time_limit_s=1)
    with (
        handled(squares, computing.square),
        handled(deadly, computing.die),
        handled(endless, computing.never_end),
    ):
        good = await add(runtime, alice.id, squares, Numbered(12))
        for job_type in (deadly, endless):
            await add(runtime, alice.id, job_type, Numbered(1))
        await work_off(runtime, alice.id)

    async with runtime.app.tenant_session(alice.id) as session:
        result = (await find_job(session, good)).result
    assert result is not None
    assert result["square"] == 144
    assert result["pid"] != os.getpid()
    state = f"SELECT job_type, status, error_message FROM job_queue WHERE id <> '{good}' ORDER BY 1"
    assert await fetch(admin, state) == [
        ("deadly", "failed", "work_failed: The process of this job ended in the middle of it."),
        ("endless", "pending", "took longer than 1 s"),
    ]


async def test_jobs_that_ended_long_ago_are_pruned(
    runtime: Runtime, alice: TestTenant, admin: AsyncConnection
) -> None:
    old = "'0190a5b0-0000-7000-8000-00000000000{}'"
    values = ", ".join(
        f"({old.format(number)}, '{alice.id}', 'plain', '{status}', now() - interval '{days} days')"
        for number, (status, days) in enumerate(
            [("completed", 8), ("completed", 6), ("failed", 8), ("failed", 31)]
        )
    )
    await execute(
        admin,
        "INSERT INTO job_queue (id, tenant_id, job_type, status, completed_at) VALUES " + values,
    )

    await runtime.worker.call("SELECT viral.prune_jobs('7 days', '30 days', 100)")

    left = "SELECT status, right(id::text, 1) FROM job_queue ORDER BY id"
    assert await fetch(admin, left) == [("completed", "1"), ("failed", "2")]
