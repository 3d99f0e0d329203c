"""Concepts as jobs: written once however often it is tried, with progress, or refunded."""

from __future__ import annotations

from uuid import UUID

import pytest
from factories import TestTenant
from queues import work_off
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import add_trends, execute, fetch

from viral.database.engine import Database
from viral.errors import BadInput
from viral.features.generations.orders import order_concepts
from viral.features.jobs.queue import find_job
from viral.features.jobs.types import ConceptsOrder
from viral.runtime import Runtime
from viral.worker.handlers import write_concepts
from viral.worker.handling import AtWork


@pytest.fixture
def jobs_listen() -> bool:
    """Let workers look: how they hear of a job makes no difference here."""
    return False


async def order(app: Database, tenant: TestTenant, count: int) -> UUID:
    async with app.tenant_session(tenant.id) as session:
        return await order_concepts(session, ConceptsOrder(count, category="food", seed=1))


async def test_a_worker_writes_what_was_ordered(
    runtime: Runtime, app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_trends(system)
    job_id = await order(app, alice, 3)

    await work_off(runtime, alice.id)

    async with app.tenant_session(alice.id) as session:
        job = await find_job(session, job_id)
    stored = await fetch(admin, "SELECT id::text FROM concepts ORDER BY id")
    assert (job.status, job.progress, job.error_message) == ("completed", 100, None)
    assert job.result is not None
    written = job.result["concepts"]
    assert isinstance(written, list)
    assert [(each,) for each in sorted(written)] == stored


async def test_a_second_attempt_finds_what_the_first_wrote_and_percents_only_grow(
    runtime: Runtime, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_trends(system)
    told: list[int] = []

    async def report(percent: int) -> None:
        told.append(percent)

    at_work = AtWork(UUID(int=7), alice.id, 1, runtime, report)
    wanted = ConceptsOrder(2, category="food")
    first = await write_concepts(at_work, wanted)
    second = await write_concepts(at_work, wanted)

    assert set(first["concepts"]) == set(second["concepts"])  # type: ignore[call-overload]  # lists of ids
    assert [(2, 2)] == await fetch(
        admin,
        "SELECT used_quota, (SELECT count(*)::int FROM concepts) FROM tenants WHERE id = :id",
        id=alice.id,
    )
    assert told == sorted(told)
    assert told[-1] == 90


async def test_an_attempt_that_lost_its_job_says_so(
    runtime: Runtime, system: Database, alice: TestTenant
) -> None:
    await add_trends(system)

    async def report(percent: int) -> None:  # noqa: ARG001 - the queue's own refusal
        raise ConnectionAbortedError

    at_work = AtWork(UUID(int=7), alice.id, 1, runtime, report)

    with pytest.raises(ConnectionAbortedError):
        await write_concepts(at_work, ConceptsOrder(1))


async def test_an_order_that_is_more_than_the_quota_costs_nothing(
    runtime: Runtime, app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_trends(system)
    await execute(admin, "UPDATE tenants SET monthly_quota = 1")
    job_id = await order(app, alice, 2)

    await work_off(runtime, alice.id)

    async with app.tenant_session(alice.id) as session:
        job = await find_job(session, job_id)
    assert (job.status, job.attempts) == ("failed", 1)
    assert "2 concepts asked for, 1 of 1 left this month. Ask for fewer" in str(job.error_message)
    assert [(0,)] == await fetch(admin, "SELECT used_quota FROM tenants")


async def test_an_order_without_a_trend_to_write_about_fails_once(
    runtime: Runtime, app: Database, alice: TestTenant
) -> None:
    job_id = await order(app, alice, 2)

    await work_off(runtime, alice.id)

    async with app.tenant_session(alice.id) as session:
        job = await find_job(session, job_id)
    assert (job.status, job.attempts) == ("failed", 1)
    assert "There is no trend to write about. Import some" in str(job.error_message)


async def test_too_many_are_refused_before_they_wait(app: Database, alice: TestTenant) -> None:
    with pytest.raises(BadInput, match="101 concepts"):
        await order(app, alice, 101)
