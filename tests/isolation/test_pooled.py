"""Many tenants on few connections: a transaction pooler passes nothing on from one to the next."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

import asyncpg
import pytest
from clusters import Cluster
from factories import TestTenant, make_tenant
from poolers import CONNECTIONS, pooled, running_pooler
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from tenancy import TENANTS, small, tenants_seen

from viral.database.engine import Database
from viral.errors import ServerRefused, TenantContextMissing
from viral.postgres.pooler import Pooler
from viral.schema.tenants import AuditEntry

CLIENTS = 200
ROUNDS = 2


class RolledBack(Exception):
    """What a test's own transaction is rolled back by."""


@pytest.fixture(scope="module")
async def pooler(cluster: Cluster) -> AsyncIterator[Pooler]:
    async with running_pooler(cluster.server) as pooler:
        yield pooler


async def raw_connection(
    cluster: Cluster, pooler: Pooler, database: str
) -> asyncpg.Connection[asyncpg.Record]:
    """Connect past the product, with the pooler in between."""
    url = pooled(cluster, pooler, database)
    return await asyncpg.connect(
        host=url.host,
        port=url.port,
        user=url.user,
        password=url.password,
        database=url.database,
        statement_cache_size=0,
    )


async def name_tenant_for_the_session(
    intruder: asyncpg.Connection[asyncpg.Record], token: str
) -> None:
    await intruder.execute(f"SELECT set_config('app.tenant', '{token}', false)")


async def sees_nobody(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    with pytest.raises(asyncpg.PostgresError) as caught:
        await connection.execute("SELECT id FROM tenants")
    assert caught.value.sqlstate == "VT001"


SERVERS = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND usename = 'viral_app'"
)
WRITTEN = text("SELECT tenant_id::text, subject FROM audit_log WHERE action = 'pooled'")


async def work(
    app: Database, tenant: TestTenant, seen: list[tuple[UUID, list[UUID]]], rng: random.Random
) -> None:
    """Write and read as a tenant, then forget to name one; the first round is taken back."""
    for number in range(ROUNDS):
        with suppress(RolledBack):
            async with app.tenant_session(tenant.id) as session:
                session.add(AuditEntry(action="pooled", subject=str(tenant.id)))
                await session.flush()
                await asyncio.sleep(rng.uniform(0, 0.005))
                seen.append((tenant.id, list(await session.scalars(TENANTS))))
                if number == 0:
                    raise RolledBack
        with pytest.raises(TenantContextMissing):
            async with app.session_without_tenant() as session:
                await session.execute(TENANTS)


@pytest.mark.timeout(60)
async def test_200_tenants_on_five_connections_see_and_write_their_own_rows_alone(
    cluster: Cluster,
    pooler: Pooler,
    database_name: str,
    system: Database,
    admin: AsyncConnection,
) -> None:
    tenants = await asyncio.gather(
        *(make_tenant(system, cluster.secrets, slug=f"t{number}") for number in range(CLIENTS))
    )
    url = replace(
        small(pooled(cluster, pooler, database_name), CLIENTS),
        pool_timeout_s=60,
        connect_timeout_s=60,
    )
    app = Database(url, context_key=cluster.secrets.context_key)
    intruder = await raw_connection(cluster, pooler, database_name)
    rng = random.Random(5)
    seen: list[tuple[UUID, list[UUID]]] = []

    async def poison() -> None:
        while True:
            await name_tenant_for_the_session(intruder, cluster.token(tenants[0].id))

    poisoning = asyncio.create_task(poison())
    await asyncio.gather(*(work(app, tenant, seen, rng) for tenant in tenants))
    poisoning.cancel()
    with suppress(asyncio.CancelledError):
        await poisoning

    pools = (await pooler.status()).pools
    clients = [each.clients for each in pools if each.database == database_name]
    servers = await admin.scalar(SERVERS)
    rows = await admin.execute(WRITTEN)
    written = [tuple(row) for row in rows]
    assert CLIENTS * ROUNDS == len(seen)
    assert all(found == [tenant_id] for tenant_id, found in seen)
    assert [CLIENTS + 1] == clients
    assert CONNECTIONS == servers
    assert CLIENTS * (ROUNDS - 1) == len(written)
    assert all(tenant_id == subject for tenant_id, subject in written)
    await intruder.close()
    await app.close()


async def test_a_context_of_the_session_is_gone_for_whoever_comes_next(
    cluster: Cluster, pooler: Pooler, database_name: str, alice: TestTenant, bob: TestTenant
) -> None:
    app = Database(
        small(pooled(cluster, pooler, database_name)), context_key=cluster.secrets.context_key
    )
    intruder = await raw_connection(cluster, pooler, database_name)
    honest = await raw_connection(cluster, pooler, database_name)

    for _ in range(20):
        await name_tenant_for_the_session(intruder, cluster.token(alice.id))
        await sees_nobody(honest)
        await name_tenant_for_the_session(intruder, cluster.token(alice.id))
        assert [bob.id] == await tenants_seen(app, bob.id)
        await name_tenant_for_the_session(intruder, cluster.token(alice.id))
        with pytest.raises(TenantContextMissing):
            async with app.session_without_tenant() as session:
                await session.execute(TENANTS)

    for connection in (intruder, honest):
        await connection.close()
    await app.close()


async def test_our_own_context_is_not_left_behind(
    cluster: Cluster, pooler: Pooler, database_name: str, alice: TestTenant
) -> None:
    app = Database(
        small(pooled(cluster, pooler, database_name)), context_key=cluster.secrets.context_key
    )
    next_one = await raw_connection(cluster, pooler, database_name)

    for _ in range(10):
        assert [alice.id] == await tenants_seen(app, alice.id)
        await sees_nobody(next_one)

    await next_one.close()
    await app.close()


async def test_behind_a_pooler_nothing_is_prepared_under_a_name(
    cluster: Cluster, pooler: Pooler, database_name: str, alice: TestTenant
) -> None:
    count = text("SELECT count(*) FROM pg_prepared_statements")
    app = Database(
        small(pooled(cluster, pooler, database_name)), context_key=cluster.secrets.context_key
    )

    async with app.tenant_session(alice.id) as session:
        await session.execute(TENANTS)
        prepared = await session.scalar(count)

    assert prepared == 0
    await app.close()


async def test_a_pooler_that_nobody_told_of_is_found_out(
    cluster: Cluster, pooler: Pooler, database_name: str, alice: TestTenant
) -> None:
    url = replace(small(pooled(cluster, pooler, database_name)), is_pooled=False)
    app = Database(url, context_key=cluster.secrets.context_key)

    async def read_on() -> None:
        for _ in range(3):
            await tenants_seen(app, alice.id)

    with pytest.raises(ServerRefused, match="is a pooler") as caught:
        await read_on()

    assert "?pgbouncer=true" in caught.value.hint
    await app.close()
