"""The tenant context: what is refused without one, and that none can be made up or carried over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from uuid import uuid4

import asyncpg
import pytest
from clusters import Cluster
from factories import TestTenant, fill_every_table
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from tenancy import TENANTS, small, tenants_seen

from viral.database.engine import Database
from viral.database.urls import ServerUrl
from viral.errors import (
    TenantContextMissing,
    TenantContextUnknown,
)

# Without a context.


@pytest.mark.parametrize("table", ["tenants", "users", "memberships", "concepts", "audit_log"])
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM {table}",
        "UPDATE {table} SET id = id",
        "DELETE FROM {table}",
    ],
)
async def test_sql_without_a_context_is_an_error_or_forbidden(
    raw: asyncpg.Connection[asyncpg.Record],
    admin: AsyncConnection,
    alice: TestTenant,
    table: str,
    sql: str,
) -> None:
    await fill_every_table(admin, alice)

    with pytest.raises(asyncpg.PostgresError) as caught:
        await raw.execute(sql.format(table=table))

    assert caught.value.sqlstate in {"VT001", "42501"}
    assert sql.startswith("SELECT") <= (caught.value.sqlstate == "VT001")


@pytest.mark.usefixtures("alice")
async def test_an_empty_setting_is_no_context(raw: asyncpg.Connection[asyncpg.Record]) -> None:
    await raw.execute("SET app.tenant = ''")

    with pytest.raises(asyncpg.PostgresError, match="no tenant context") as caught:
        await raw.fetch("SELECT id FROM tenants")

    assert caught.value.sqlstate == "VT001"


async def test_nothing_is_left_on_the_connection_after_a_commit(
    narrow: Database, alice: TestTenant
) -> None:
    assert await tenants_seen(narrow, alice.id) == [alice.id]

    async with narrow.session_without_tenant() as session:
        with pytest.raises(TenantContextMissing):
            await session.execute(TENANTS)
        await session.rollback()


async def test_nothing_is_left_on_the_connection_after_an_error(
    narrow: Database, alice: TestTenant
) -> None:
    with pytest.raises(DBAPIError, match="division by zero"):
        async with narrow.tenant_session(alice.id) as session:
            await session.execute(text("SELECT 1 / 0 FROM tenants"))

    with pytest.raises(TenantContextMissing):
        async with narrow.session_without_tenant() as session:
            await session.execute(TENANTS)


# A wrong context.


def _altered(token: str) -> str:
    return token[:-1] + ("0" if token[-1] != "0" else "1")


@pytest.mark.parametrize(
    "forge",
    [
        lambda _token: "0" * 64,
        _altered,
        str.upper,
        lambda token: token[:-1],
        lambda token: token + "0",
        lambda token: f" {token}",
        lambda token: token[::-1],
        lambda _token: "x",
        lambda _token: "' OR true --",
        lambda token: token + "\n",
    ],
)
async def test_a_forged_context_is_refused(
    raw: asyncpg.Connection[asyncpg.Record],
    cluster: Cluster,
    alice: TestTenant,
    forge: Callable[[str], str],
) -> None:
    async with raw.transaction():
        await raw.fetchval(
            "SELECT set_config('app.tenant', $1, true)", forge(cluster.token(alice.id))
        )

        with pytest.raises(asyncpg.PostgresError) as caught:
            await raw.fetch("SELECT id FROM tenants")

    assert caught.value.sqlstate == "VT002"


async def test_the_id_of_a_tenant_is_not_its_context(
    app: Database, alice: TestTenant, bob: TestTenant
) -> None:
    async with app.tenant_session(alice.id) as session:
        await session.execute(text(f"SET LOCAL app.tenant = '{bob.id}'"))

        with pytest.raises(TenantContextUnknown):
            await session.execute(TENANTS)
        await session.rollback()


async def test_the_key_of_another_installation_opens_nothing(
    cluster: Cluster, database_name: str, alice: TestTenant
) -> None:
    stranger = Database(cluster.url("viral_app", database_name), context_key=b"k" * 32)

    with pytest.raises(TenantContextUnknown, match="installation"):
        await tenants_seen(stranger, alice.id)

    await stranger.close()


@pytest.mark.usefixtures("alice")
async def test_an_unknown_tenant_is_refused(app: Database) -> None:
    with pytest.raises(TenantContextUnknown):
        await tenants_seen(app, uuid4())


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM viral.tenant_contexts",
        "SELECT token_sha256 FROM viral.tenant_contexts",
        "SELECT c FROM viral.tenant_contexts AS c",
        "COPY viral.tenant_contexts TO STDOUT",
        "INSERT INTO viral.tenant_contexts VALUES ('x', gen_random_uuid(), 1)",
        "MERGE INTO viral.tenant_contexts USING tenants ON true WHEN MATCHED THEN DELETE",
        "TRUNCATE viral.tenant_contexts",
        "SET ROLE viral_auth",
        "SET ROLE viral_owner",
        "SET SESSION AUTHORIZATION viral_auth",
        "SET row_security = off; SELECT * FROM tenants",
        "ALTER TABLE tenants DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE tenants NO FORCE ROW LEVEL SECURITY",
        "CREATE POLICY mine ON tenants USING (true)",
        "DROP POLICY tenant_only ON tenants",
        "ALTER FUNCTION viral.tenant_id() RENAME TO other",
        "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TABLE public.t ()",
        "CREATE TEMP TABLE t ()",
        "CREATE SCHEMA s",
        "TRUNCATE concepts",
        "COPY concepts FROM STDIN",
        "COPY concepts TO PROGRAM 'cat'",
        "SELECT pg_read_file('postgresql.auto.conf')",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_notify('jobs', '')",
        "SELECT lo_create(0)",
        "ALTER SYSTEM SET work_mem = '1MB'",
    ],
)
async def test_the_app_cannot_reach_round_the_context(
    raw: asyncpg.Connection[asyncpg.Record], cluster: Cluster, alice: TestTenant, sql: str
) -> None:
    await raw.execute(f"SET app.tenant = '{cluster.token(alice.id)}'")

    with pytest.raises(asyncpg.PostgresError) as caught:
        await raw.execute(sql)

    assert caught.value.sqlstate in {"42501", "0A000"}
    assert caught.value.sqlstate == "42501" or sql == "COPY concepts FROM STDIN"


@pytest.mark.usefixtures("alice")
async def test_statistics_show_the_app_no_context(
    raw: asyncpg.Connection[asyncpg.Record], admin: AsyncConnection
) -> None:
    await admin.execute(text("COMMIT"))
    await admin.execute(text("ANALYZE"))
    await admin.commit()

    seen = await raw.fetchval(
        "SELECT count(*) FROM pg_stats WHERE schemaname IN ('public', 'viral')"
    )
    behind = await admin.scalar(
        text("SELECT count(*) FROM pg_stats WHERE tablename = 'tenant_contexts'")
    )

    assert (seen, behind) == (0, 3)


@pytest.mark.usefixtures("bob")
async def test_an_injected_search_path_changes_nothing(
    raw: asyncpg.Connection[asyncpg.Record], cluster: Cluster, alice: TestTenant
) -> None:
    async with raw.transaction():
        await raw.execute(f"SET LOCAL app.tenant = '{cluster.token(alice.id)}'")
        await raw.execute("SET LOCAL search_path = pg_temp, viral, public")

        assert await raw.fetchval("SELECT array_agg(id) FROM public.tenants") == [alice.id]


# Nothing is sent.


@dataclass
class Proxy:
    """Passes bytes between a client and the server, and counts those of the client."""

    target: ServerUrl
    sent: int = 0
    server: asyncio.Server | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up = await asyncio.open_connection(self.target.host, self.target.port)
        await asyncio.gather(self._pump(reader, up[1], counts=1), self._pump(up[0], writer))

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: int = 0
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                self.sent += counts * len(data)
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture
async def proxy(cluster: Cluster, database_name: str) -> AsyncIterator[tuple[Proxy, Database]]:
    """Put a counter between the app and the server."""
    url = small(cluster.url("viral_app", database_name))
    proxy = Proxy(url)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    database = Database(replace(url, port=port), context_key=cluster.secrets.context_key)
    yield proxy, database
    await database.close()
    server.close()
    await server.wait_closed()


async def test_a_session_without_a_named_tenant_sends_nothing(
    proxy: tuple[Proxy, Database], alice: TestTenant
) -> None:
    counter, database = proxy
    await tenants_seen(database, alice.id)
    before = counter.sent

    with pytest.raises(TenantContextMissing, match="nothing was sent"):
        async with database.session() as session:
            await session.execute(TENANTS)

    assert before > 0
    assert counter.sent == before


async def test_a_session_of_somebody_elses_making_sends_nothing(
    proxy: tuple[Proxy, Database], alice: TestTenant
) -> None:
    counter, database = proxy
    await tenants_seen(database, alice.id)

    async with AsyncSession(database._engine) as session:
        await session.connection()
        before = counter.sent
        with pytest.raises(TenantContextMissing, match="nothing was sent"):
            await session.execute(text("SELECT 1"))
        assert counter.sent == before

    assert await tenants_seen(database, alice.id) == [alice.id]


async def test_the_first_session_of_a_connection_needs_a_tenant_as_well(app: Database) -> None:
    async with app.session_without_tenant() as first, AsyncSession(app._engine) as second:
        await first.execute(text("SELECT 1"))

        with pytest.raises(TenantContextMissing):
            await second.execute(text("SELECT 1"))
