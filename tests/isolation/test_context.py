"""The tenant context: what is refused without one, and that none can be made up or carried over."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

import asyncpg
import pytest
from clusters import Cluster, count_rows
from factories import TestTenant, fill_every_table
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from viral.database.engine import Database, _driver, tenant_of
from viral.database.faults import sqlstate_of
from viral.database.tenancy import (
    current_tenant,
    parse_tenant_id,
    set_tenant_context,
)
from viral.database.urls import ServerUrl
from viral.errors import (
    BadTenantId,
    CommitLost,
    PowerfulRole,
    TenantContextMissing,
    TenantContextUnknown,
)
from viral.schema.base import uuid7
from viral.schema.content import Concept
from viral.schema.publishing import SocialAccount, Video
from viral.schema.tenants import AuditEntry

TENANTS = text("SELECT id FROM tenants")


def small(url: ServerUrl, size: int = 1) -> ServerUrl:
    return replace(url, pool_size=size)


@pytest.fixture
async def narrow(cluster: Cluster, database_name: str) -> AsyncIterator[Database]:
    """Open the app's database with one connection, so that everybody gets the same."""
    database = Database(
        small(cluster.url("viral_app", database_name)), context_key=cluster.secrets.context_key
    )
    yield database
    await database.close()


@pytest.fixture
async def raw(
    cluster: Cluster, database_name: str
) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Connect as the app's role, past the product."""
    connection = await cluster.connect("viral_app", database_name)
    yield connection
    await connection.close()


async def tenants_seen(database: Database, tenant_id: UUID | str) -> list[UUID]:
    async with database.tenant_session(tenant_id) as session:
        return list(await session.scalars(TENANTS))


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
    behind = await admin.scalar(text("SELECT count(*) FROM pg_stats WHERE schemaname = 'viral'"))

    assert (seen, behind) == (0, 4)


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


# The tenant of a task.


async def test_a_session_is_of_the_tenant_that_its_task_named(
    app: Database, alice: TestTenant, bob: TestTenant
) -> None:
    async def seen_by(tenant: TestTenant) -> list[UUID]:
        set_tenant_context(tenant.id)
        await asyncio.sleep(0)
        async with app.session() as session:
            assert tenant_of(session) == tenant.id
            return list(await session.scalars(TENANTS))

    first, second = await asyncio.gather(seen_by(alice), seen_by(bob))

    assert (first, second) == ([alice.id], [bob.id])
    with pytest.raises(TenantContextMissing):
        current_tenant()


async def test_a_task_does_not_inherit_the_tenant(alice: TestTenant) -> None:
    async def child() -> UUID:
        return current_tenant()

    async def parent() -> UUID:
        set_tenant_context(alice.id)
        with pytest.raises(TenantContextMissing, match="No tenant is named"):
            await asyncio.create_task(child())
        return await child()

    assert await asyncio.create_task(parent()) == alice.id


async def test_a_finished_tasks_tenant_is_gone(alice: TestTenant) -> None:
    async def named() -> None:
        set_tenant_context(alice.id)

    await asyncio.create_task(named())

    with pytest.raises(TenantContextMissing):
        current_tenant()


@pytest.mark.parametrize(
    "value",
    [
        "' OR true --",
        "00000000-0000-0000-0000-000000000000'; DROP TABLE tenants; --",
        "",
        "1",
        None,
        b"x",
        "*",
        "0" * 31,
    ],
)
def test_a_tenant_id_is_a_uuid_or_refused(value: object) -> None:
    with pytest.raises(BadTenantId):
        parse_tenant_id(value)


async def test_a_bad_tenant_id_opens_no_session(app: Database) -> None:
    with pytest.raises(BadTenantId):
        await tenants_seen(app, "'; SELECT 1; --")
    with pytest.raises(BadTenantId):
        set_tenant_context("x")


# One transaction.


async def test_a_savepoint_keeps_the_tenant(app: Database, alice: TestTenant) -> None:
    async def add_and_fail(session: AsyncSession) -> None:
        async with session.begin_nested():
            session.add(AuditEntry(action="lost", subject="x"))
            await session.flush()
            await session.execute(text("SELECT 1 / 0"))

    async with app.tenant_session(alice.id) as session:
        async with session.begin_nested():
            session.add(AuditEntry(action="kept", subject="x"))
        with pytest.raises(DBAPIError, match="division by zero"):
            await add_and_fail(session)
        seen = list(await session.scalars(TENANTS))

    async with app.tenant_session(alice.id) as session:
        actions = list(await session.scalars(select(AuditEntry.action)))
    assert seen == [alice.id]
    assert actions == ["kept"]


async def test_an_error_in_the_block_stores_nothing(
    app: Database, admin: AsyncConnection, alice: TestTenant
) -> None:
    async def fail() -> None:
        async with app.tenant_session(alice.id) as session:
            session.add(AuditEntry(action="lost", subject="x"))
            await session.flush()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await fail()

    assert await count_rows(admin, "audit_log") == 0


async def test_a_swallowed_error_does_not_pass_for_a_commit(
    app: Database, admin: AsyncConnection, alice: TestTenant
) -> None:
    async def swallow() -> None:
        async with app.tenant_session(alice.id) as session:
            session.add(AuditEntry(action="lost", subject="x"))
            await session.flush()
            with suppress(DBAPIError):
                await session.execute(text("SELECT 1 / 0"))

    with pytest.raises(CommitLost, match="ROLLBACK"):
        await swallow()

    assert await count_rows(admin, "audit_log") == 0
    assert await tenants_seen(app, alice.id) == [alice.id]


async def test_a_new_row_gets_the_sessions_tenant_and_no_other(
    app: Database, alice: TestTenant, bob: TestTenant
) -> None:
    async with app.tenant_session(alice.id) as session:
        session.add(AuditEntry(action="mine", subject="x"))
        await session.flush()
        session.add(AuditEntry(action="theirs", subject="x", tenant_id=bob.id))
        with pytest.raises(DBAPIError) as caught:
            await session.flush()
        await session.rollback()

    assert sqlstate_of(caught.value) == "42501"


async def test_a_child_cannot_point_into_another_tenant(
    app: Database, admin: AsyncConnection, alice: TestTenant, bob: TestTenant
) -> None:
    theirs = (await fill_every_table(admin, bob))["concepts"]["id"]
    answers = []

    for concept_id in (theirs, uuid7()):
        with pytest.raises(DBAPIError) as caught:
            async with app.tenant_session(alice.id) as session:
                session.add(
                    Video(concept_id=concept_id, category="tech", platform="tiktok", provider="x")
                )
        answers.append((sqlstate_of(caught.value), str(caught.value.orig)))

    assert answers[0][0] == "23503"
    assert answers[0] == answers[1]


async def test_a_tenant_cannot_tell_a_taken_key_of_another_from_a_free_one(
    app: Database, admin: AsyncConnection, alice: TestTenant, bob: TestTenant
) -> None:
    taken = (await fill_every_table(admin, bob))["social_accounts"]

    async with app.tenant_session(alice.id) as session:
        account = SocialAccount(
            id=taken["id"],
            platform=taken["platform"],
            external_id=taken["external_id"],
            username="x",
            access_token=b"x",
        )
        session.add(account)
        await session.flush()

    assert await count_rows(admin, "social_accounts") == 2


async def test_get_of_another_tenants_row_finds_nothing(
    app: Database, admin: AsyncConnection, alice: TestTenant, bob: TestTenant
) -> None:
    theirs = (await fill_every_table(admin, bob))["concepts"]

    async with app.tenant_session(alice.id) as session:
        found = await session.get(Concept, (bob.id, theirs["id"]))
        also = await session.get(Concept, (alice.id, theirs["id"]))

    assert (found, also) == (None, None)


async def test_a_plan_made_for_one_tenant_serves_another_its_own_rows(
    narrow: Database, alice: TestTenant, bob: TestTenant
) -> None:
    seen = [await tenants_seen(narrow, tenant.id) for tenant in [alice] * 7 + [bob] * 7]

    assert seen == [[alice.id]] * 7 + [[bob.id]] * 7


async def test_a_cursor_does_not_outlive_its_transaction(
    narrow: Database, alice: TestTenant, bob: TestTenant
) -> None:
    async with narrow.tenant_session(alice.id) as session:
        await session.execute(text("DECLARE c CURSOR WITH HOLD FOR SELECT id FROM tenants"))

    with pytest.raises(DBAPIError) as caught:
        async with narrow.tenant_session(bob.id) as session:
            await session.execute(text("FETCH ALL FROM c"))

    assert sqlstate_of(caught.value) == "34000"


async def test_a_setting_of_the_session_does_not_outlive_it(
    narrow: Database, cluster: Cluster, alice: TestTenant, bob: TestTenant
) -> None:
    async with narrow.tenant_session(alice.id) as session:
        await session.execute(text(f"SET app.tenant = '{cluster.token(alice.id)}'"))

    with pytest.raises(TenantContextMissing):
        async with narrow.session_without_tenant() as session:
            await session.execute(TENANTS)
    assert await tenants_seen(narrow, bob.id) == [bob.id]


# Cancellation.


async def test_a_storm_of_cancellations_leaves_the_pool_whole(
    cluster: Cluster, database_name: str, alice: TestTenant, bob: TestTenant
) -> None:
    url = replace(small(cluster.url("viral_app", database_name), 5), pool_timeout_s=20)
    database = Database(url, context_key=cluster.secrets.context_key)
    rng = random.Random(7)

    async def work(tenant: TestTenant) -> None:
        async with database.tenant_session(tenant.id) as session:
            assert list(await session.scalars(TENANTS)) == [tenant.id]
            await session.execute(text("SELECT pg_sleep(0.01)"))
            assert list(await session.scalars(TENANTS)) == [tenant.id]

    async def cancelled(tenant: TestTenant, after_s: float) -> object:
        task = asyncio.create_task(work(tenant))
        await asyncio.sleep(after_s)
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        return outcome

    outcomes = await asyncio.gather(
        *(cancelled(rng.choice([alice, bob]), rng.uniform(0, 0.4)) for _ in range(200))
    )
    after = await asyncio.gather(
        *(tenants_seen(database, tenant.id) for tenant in [alice, bob] * 20)
    )

    kinds = {type(outcome) for outcome in outcomes}
    assert asyncio.CancelledError in kinds
    assert kinds <= {asyncio.CancelledError, type(None)}
    assert after == [[alice.id], [bob.id]] * 20
    with pytest.raises(TenantContextMissing):
        async with database.session_without_tenant() as session:
            await session.execute(TENANTS)
    await database.close()


# How the context travels.


async def _force(database: Database, *, hides_statements: bool) -> None:
    async with database.session_without_tenant() as session:
        driver = await session.run_sync(lambda sync: _driver(sync.connection()))
        assert driver.hides_statements
        driver.hides_statements = hides_statements


@pytest.mark.parametrize("hides_statements", [True, False])
async def test_both_forms_of_the_context_isolate(
    narrow: Database, alice: TestTenant, bob: TestTenant, *, hides_statements: bool
) -> None:
    await _force(narrow, hides_statements=hides_statements)

    assert await tenants_seen(narrow, alice.id) == [alice.id]
    assert await tenants_seen(narrow, bob.id) == [bob.id]
    with pytest.raises(TenantContextUnknown):
        await tenants_seen(narrow, uuid4())
    with pytest.raises(TenantContextMissing):
        async with narrow.session_without_tenant() as session:
            await session.execute(TENANTS)
    assert await tenants_seen(narrow, alice.id) == [alice.id]


@pytest.mark.parametrize("hides_statements", [True, False])
async def test_another_session_of_the_role_never_sees_the_token(
    narrow: Database,
    raw: asyncpg.Connection[asyncpg.Record],
    cluster: Cluster,
    alice: TestTenant,
    *,
    hides_statements: bool,
) -> None:
    await _force(narrow, hides_statements=hides_statements)
    token = cluster.token(alice.id)
    if not hides_statements:
        # As on a managed server, where the role's statements are visible to its like.
        await cluster.execute_as_admin("postgres", "ALTER ROLE viral_app RESET track_activities")
    try:
        seen = []
        async with narrow.tenant_session(alice.id) as session:
            for sql in ("SELECT 1", "SELECT id FROM tenants"):
                await session.execute(text(sql))
                seen += await raw.fetch("SELECT query FROM pg_stat_activity")
    finally:
        await cluster.execute_as_admin(
            "postgres", "ALTER ROLE viral_app SET track_activities = off"
        )

    assert len(seen) > 2
    assert token not in str(seen)


async def test_a_refused_statement_never_shows_the_token(
    app: Database, cluster: Cluster, alice: TestTenant
) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with app.tenant_session(alice.id) as session:
            await session.execute(text("SELECT 1 / 0"))

    assert cluster.token(alice.id) not in repr(caught.value) + str(caught.value)


# Roles that are too strong.


@pytest.mark.parametrize("role", ["viral_migrator", "viral_backup"])
async def test_the_app_refuses_a_role_that_passes_row_security(
    cluster: Cluster, database_name: str, role: str
) -> None:
    database = cluster.database(role, database_name)

    with pytest.raises(PowerfulRole, match="refuses to run"):
        async with database.session_without_tenant() as session:
            await session.execute(text("SELECT 1"))

    await database.close()


async def test_the_app_refuses_a_superuser(cluster: Cluster, database_name: str) -> None:
    database = Database(
        cluster.admin.for_database(database_name), context_key=cluster.secrets.context_key
    )

    with pytest.raises(PowerfulRole):
        async with database.session_without_tenant() as session:
            await session.execute(text("SELECT 1"))

    await database.close()


async def test_the_app_refuses_a_role_that_may_act_as_the_functions_owner(
    cluster: Cluster, database_name: str
) -> None:
    await cluster.execute_as_admin("postgres", "GRANT viral_auth TO viral_signin")
    database = cluster.database("viral_signin", database_name)

    try:
        with pytest.raises(PowerfulRole):
            async with database.session_without_tenant() as session:
                await session.execute(text("SELECT 1"))
    finally:
        await cluster.execute_as_admin("postgres", "REVOKE viral_auth FROM viral_signin")
        await database.close()
