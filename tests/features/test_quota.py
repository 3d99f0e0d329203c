"""The quota is taken in one step, never passed, and every step stands in the ledger."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from clusters import Cluster
from factories import TestTenant, fill_every_table, make_tenant
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.database.faults import sqlstate_of
from viral.errors import TenantContextMissing
from viral.schema.base import uuid7
from viral.schema.content import Generation


@pytest.fixture
async def tenant(system: Database, cluster: Cluster) -> TestTenant:
    """Make a tenant with ten concepts a month."""
    return await make_tenant(system, cluster.secrets, slug="small", tier="FREE")


async def take(
    app: Database, tenant: TestTenant, count: int, *, member: UUID | None = None
) -> tuple[UUID, int | None]:
    reservation = uuid7()
    async with app.tenant_session(tenant.id) as session:
        remaining = await session.scalar(
            select(func.viral.take_quota(reservation, count, member or tenant.user_id))
        )
    return reservation, remaining


async def refund(app: Database, tenant: TestTenant, reservation: UUID, count: int) -> bool:
    async with app.tenant_session(tenant.id) as session:
        return bool(
            await session.scalar(select(func.viral.refund_quota(uuid7(), reservation, count)))
        )


async def used(admin: AsyncConnection, tenant: TestTenant) -> tuple[int, int]:
    """Read what the tenant has used: by its counter, and by the ledger of the period."""
    row = await admin.execute(
        text(
            "SELECT used_quota, (SELECT coalesce(sum(amount), 0) FROM quota_ledger AS q"
            " WHERE q.tenant_id = t.id AND q.period_start = t.quota_reset_at - interval '1 month')"
            " FROM tenants AS t WHERE id = :id"
        ),
        {"id": tenant.id},
    )
    counter, ledger = row.one()
    await admin.rollback()
    return counter, ledger


async def end_period(admin: AsyncConnection) -> None:
    """Make this month's quota last month's."""
    await admin.execute(
        text("UPDATE quota_ledger SET period_start = period_start - interval '1 month'")
    )
    await admin.execute(
        text(
            "UPDATE tenants SET quota_reset_at ="
            " date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"
        )
    )
    await admin.commit()


async def test_what_remains_is_told(
    app: Database, tenant: TestTenant, admin: AsyncConnection
) -> None:
    assert (await take(app, tenant, 3))[1] == 7
    assert (await take(app, tenant, 7))[1] == 0
    assert (await take(app, tenant, 1))[1] is None
    assert await used(admin, tenant) == (10, 10)


@pytest.mark.parametrize("count", [11, 0, -1, -1000])
async def test_all_or_nothing_is_taken(
    app: Database, tenant: TestTenant, admin: AsyncConnection, count: int
) -> None:
    assert (await take(app, tenant, count))[1] is None
    assert await used(admin, tenant) == (0, 0)


async def test_fifty_who_take_at_once_get_what_there_is(
    app: Database, tenant: TestTenant, admin: AsyncConnection
) -> None:
    outcomes = await asyncio.gather(*(take(app, tenant, 1) for _ in range(50)))

    assert sorted(left for _, left in outcomes if left is not None) == list(range(10))
    assert await used(admin, tenant) == (10, 10)


async def test_a_refund_happens_once(
    app: Database, tenant: TestTenant, admin: AsyncConnection
) -> None:
    reservation, _ = await take(app, tenant, 5)

    outcomes = await asyncio.gather(*(refund(app, tenant, reservation, 2) for _ in range(10)))

    assert sorted(outcomes) == [False] * 9 + [True]
    assert await used(admin, tenant) == (3, 3)


@pytest.mark.parametrize("count", [6, 0, -3])
async def test_no_more_is_given_back_than_was_taken(
    app: Database, tenant: TestTenant, admin: AsyncConnection, count: int
) -> None:
    reservation, _ = await take(app, tenant, 5)

    assert not await refund(app, tenant, reservation, count)
    assert await used(admin, tenant) == (5, 5)


async def test_a_refund_itself_cannot_be_refunded(
    app: Database, tenant: TestTenant, admin: AsyncConnection
) -> None:
    reservation, _ = await take(app, tenant, 5)
    await refund(app, tenant, reservation, 5)
    line = await admin.scalar(text("SELECT id FROM quota_ledger WHERE kind = 'refund'"))

    assert line is not None
    assert not await refund(app, tenant, line, 5)
    assert not await refund(app, tenant, uuid7(), 1)
    assert await used(admin, tenant) == (0, 0)


async def test_nothing_is_given_back_once_a_generation_rests_on_it(
    app: Database, tenant: TestTenant, admin: AsyncConnection
) -> None:
    reservation, _ = await take(app, tenant, 5)
    async with app.tenant_session(tenant.id) as session:
        session.add(
            Generation(reservation_id=reservation, settings={}, trends=[], writer="offline")
        )

    assert not await refund(app, tenant, reservation, 5)
    assert await used(admin, tenant) == (5, 5)


async def test_a_transaction_that_fails_takes_nothing(
    app: Database, tenant: TestTenant, admin: AsyncConnection
) -> None:
    async def fail() -> None:
        async with app.tenant_session(tenant.id) as session:
            await session.execute(select(func.viral.take_quota(uuid7(), 5, tenant.user_id)))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    assert await used(admin, tenant) == (0, 0)


async def test_a_new_month_begins_anew_without_a_payment(
    app: Database, tenant: TestTenant, admin: AsyncConnection
) -> None:
    await take(app, tenant, 10)
    await end_period(admin)

    outcomes = await asyncio.gather(*(take(app, tenant, 1) for _ in range(20)))

    assert sum(left is not None for _, left in outcomes) == 10
    assert await used(admin, tenant) == (10, 10)
    reset = await admin.scalar(text("SELECT quota_reset_at > now() FROM tenants"))
    assert reset


async def test_a_refund_of_last_month_does_not_enlarge_this_one(
    app: Database, tenant: TestTenant, admin: AsyncConnection
) -> None:
    reservation, _ = await take(app, tenant, 4)
    await end_period(admin)
    await take(app, tenant, 1)

    assert await refund(app, tenant, reservation, 4)
    assert await used(admin, tenant) == (1, 1)


async def test_a_reservation_number_serves_once(app: Database, tenant: TestTenant) -> None:
    reservation, _ = await take(app, tenant, 1)

    with pytest.raises(DBAPIError) as caught:
        async with app.tenant_session(tenant.id) as session:
            await session.execute(select(func.viral.take_quota(reservation, 1, tenant.user_id)))

    assert sqlstate_of(caught.value) == "23505"


async def test_the_quota_of_another_tenant_is_out_of_reach(
    app: Database, tenant: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    theirs, _ = await take(app, bob, 5)

    assert not await refund(app, tenant, theirs, 5)
    with pytest.raises(DBAPIError) as caught:
        await take(app, tenant, 1, member=bob.user_id)
    with pytest.raises(TenantContextMissing):
        async with app.session_without_tenant() as session:
            await session.execute(select(func.viral.take_quota(uuid7(), 1, bob.user_id)))

    assert sqlstate_of(caught.value) == "23503"
    assert await used(admin, bob) == (5, 5)
    assert await used(admin, tenant) == (0, 0)


async def test_the_ledger_cannot_be_rewritten_by_the_app(
    app: Database, tenant: TestTenant, admin: AsyncConnection
) -> None:
    await fill_every_table(admin, tenant)

    for sql in ("UPDATE quota_ledger SET amount = 1", "DELETE FROM quota_ledger"):
        with pytest.raises(DBAPIError) as caught:
            async with app.tenant_session(tenant.id) as session:
                await session.execute(text(sql))
        assert sqlstate_of(caught.value) == "42501"
