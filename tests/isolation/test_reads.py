"""Reads without a session: the tenant's rows alone, whatever happened on the connection before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

import asyncpg
import pytest
from clusters import Cluster
from factories import TestTenant
from poolers import pooled, running_pooler
from tenancy import small

from viral.database import tenancy
from viral.database.engine import Database
from viral.database.tenancy import TenantConnection
from viral.errors import BadTenantId, PowerfulRole, TenantContextMissing, TenantContextUnknown
from viral.schema.base import uuid7

NOT_HERE = "EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'citus')"
TENANTS = "SELECT id FROM public.tenants"
CONTEXT = "SELECT current_setting('app.tenant', true)"


@pytest.fixture(params=["in one message", "in three, as Citus needs it"])
async def narrow(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    database_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Database]:
    """Yield the app's database with a single connection for calls and reads."""
    if request.param != "in one message":
        assert NOT_HERE in tenancy._ROLE_QUERY
        monkeypatch.setattr(tenancy, "_ROLE_QUERY", tenancy._ROLE_QUERY.replace(NOT_HERE, "true"))
    url = small(cluster.url("viral_app", database_name))
    database = Database(url, context_key=cluster.secrets.context_key)
    yield database
    await database.close()


async def seen_by(database: Database, tenant: TestTenant) -> list[UUID]:
    return [row["id"] for row in await database.read_for(tenant.id, TENANTS)]


async def connection_of(database: Database) -> TenantConnection:
    """Return the connection for calls, which nobody uses."""
    await database.call("SELECT 1")
    (connection,) = database._calls._idle
    return connection


async def test_a_read_sees_its_own_tenant_alone(
    narrow: Database, alice: TestTenant, bob: TestTenant
) -> None:
    tenants = [alice, bob] * 5

    found = await asyncio.gather(*(seen_by(narrow, tenant) for tenant in tenants))

    assert [[tenant.id] for tenant in tenants] == found


async def test_its_arguments_come_before_the_context(
    narrow: Database, alice: TestTenant, bob: TestTenant
) -> None:
    asked = f"{TENANTS} WHERE id = ANY($1) AND slug = $2"
    rows = await narrow.read_for(alice.id, asked, [alice.id, bob.id], "alice")

    assert [row["id"] for row in rows] == [alice.id]
    assert await narrow.read_for(bob.id, asked, [alice.id, bob.id], "alice") == []


async def test_nothing_of_a_read_is_left_on_its_connection(
    narrow: Database, alice: TestTenant
) -> None:
    connection = await connection_of(narrow)

    await seen_by(narrow, alice)

    assert not connection.is_in_transaction()
    assert await connection.fetchval(CONTEXT) == ""
    with pytest.raises(TenantContextMissing):
        await narrow.call(TENANTS)


async def test_a_context_that_somebody_left_there_is_nobodys(
    narrow: Database, alice: TestTenant, bob: TestTenant, cluster: Cluster
) -> None:
    connection = await connection_of(narrow)
    await connection.execute(f"SET app.tenant = '{cluster.token(bob.id)}'")

    assert await seen_by(narrow, alice) == [alice.id]


async def test_a_tenant_that_is_none_is_an_error_and_no_empty_answer(narrow: Database) -> None:
    with pytest.raises(TenantContextUnknown):
        await narrow.read_for(uuid7(), TENANTS)
    with pytest.raises(BadTenantId):
        await narrow.read_for("1' OR true", TENANTS)


async def test_a_read_that_fails_leaves_the_connection_to_the_next(
    narrow: Database, alice: TestTenant, bob: TestTenant
) -> None:
    connection = await connection_of(narrow)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await narrow.read_for(alice.id, "SELECT 1 / (length(slug) - 5) FROM public.tenants")

    assert not connection.is_in_transaction()
    assert await seen_by(narrow, bob) == [bob.id]
    assert connection is await connection_of(narrow)


async def test_a_read_that_is_given_up_takes_its_connection_along(
    narrow: Database, alice: TestTenant, bob: TestTenant
) -> None:
    connection = await connection_of(narrow)
    reading = asyncio.create_task(
        narrow.read_for(alice.id, "SELECT pg_sleep(5) FROM public.tenants")
    )
    await asyncio.sleep(0.1)
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading

    assert connection.is_closed()
    assert await seen_by(narrow, bob) == [bob.id]


async def test_a_connection_that_the_server_ended_is_not_lent_again(
    narrow: Database, alice: TestTenant, cluster: Cluster
) -> None:
    ended = (await connection_of(narrow)).get_server_pid()
    await cluster.execute_as_admin("postgres", f"SELECT pg_terminate_backend({ended}, 5000)")

    assert await seen_by(narrow, alice) == [alice.id]


async def test_a_role_that_passes_row_security_reads_nothing(
    cluster: Cluster, database_name: str, alice: TestTenant
) -> None:
    database = cluster.database("viral_migrator", database_name)

    with pytest.raises(PowerfulRole):
        await seen_by(database, alice)
    with pytest.raises(PowerfulRole):
        await database.call("SELECT 1")

    await database.close()


async def test_a_pooler_passes_nothing_on_to_a_read(
    cluster: Cluster, database_name: str, alice: TestTenant, bob: TestTenant
) -> None:
    async with running_pooler(cluster.server) as pooler:
        url = pooled(cluster, pooler, database_name)
        database = Database(url, context_key=cluster.secrets.context_key)
        tenants = [alice, bob] * 20

        found = await asyncio.gather(*(seen_by(database, tenant) for tenant in tenants))

        assert [[tenant.id] for tenant in tenants] == found
        with pytest.raises(TenantContextMissing):
            await database.call(TENANTS)
        await database.close()
