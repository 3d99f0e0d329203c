"""Preparing a server: as its superuser, as a managed server's administrator, and on an old one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import asyncpg
import pytest
from clusters import Cluster
from factories import TestTenant, make_tenant
from migrations.histories import revisions
from servers import discard
from sqlalchemy import select, text

from viral.database import migrate
from viral.database.engine import Database, _driver
from viral.database.secrets import Secrets
from viral.database.urls import ServerUrl, parse_url
from viral.errors import ServerRefused, TenantContextMissing, TenantContextUnknown
from viral.postgres.bootstrap import bootstrap, scram_verifier, set_password
from viral.postgres.server import Server
from viral.schema.security import LOGINS, OWNERS
from viral.schema.tenants import AuditEntry, Tenant

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
_numbers = count()


@dataclass(frozen=True)
class Fresh:
    """A server that knows nothing of the product yet, and its superuser's address."""

    server: Server
    secrets: Secrets
    admin: ServerUrl

    async def execute(self, *statements: str, database: str = "postgres") -> list[asyncpg.Record]:
        """Run statements as superuser; the rows of the last."""
        connection = await asyncpg.connect(
            host=self.admin.host,
            port=self.admin.port,
            user=self.admin.user,
            password=self.admin.password,
            database=database,
        )
        try:
            return [await connection.fetch(statement) for statement in statements][-1]
        finally:
            await connection.close()

    def as_role(self, role: str, password: str, database: str) -> ServerUrl:
        url = parse_url(self.server.url("viral_app", database))
        return url.for_role(role, password)

    def database(self, role: str, name: str) -> Database:
        url = parse_url(self.server.url(role, name))
        return Database(url, context_key=self.secrets.context_key)


@asynccontextmanager
async def fresh_server(home: Path, bindir: Path | None = None) -> AsyncIterator[Fresh]:
    secrets = Secrets.load_or_create(home)
    server = Server(home=home, secrets=secrets, bindir=bindir)
    address = await server.start()
    admin = ServerUrl(
        host=str(address.socket_dir),
        port=address.port,
        user="viral_admin",
        password=secrets.password("viral_admin"),
        database="postgres",
    )
    try:
        yield Fresh(server, secrets, admin)
    finally:
        await discard(home)


@pytest.fixture(params=[None, DEBIAN_15], ids=["PostgreSQL 18", "PostgreSQL 15"])
async def managed(
    request: pytest.FixtureRequest, short_folder: Path
) -> AsyncIterator[tuple[Fresh, ServerUrl]]:
    """Start a server whose administrator is no superuser, as on managed servers."""
    if request.param is not None and not (request.param / "postgres").is_file():
        pytest.skip("PostgreSQL 15 of Debian is not installed on this machine")
    async with fresh_server(short_folder / f"cloud{next(_numbers)}", request.param) as fresh:
        verifier = scram_verifier("Cl0ud's secret")
        await fresh.execute(
            f"CREATE ROLE cloud_admin LOGIN CREATEROLE CREATEDB PASSWORD '{verifier}'"
        )
        yield fresh, fresh.as_role("cloud_admin", "Cl0ud's secret", "postgres")


async def rows_apart(fresh: Fresh, name: str) -> None:
    """Make two tenants and see that each reaches its own rows alone."""
    system = fresh.database("viral_system", name)
    app = fresh.database("viral_app", name)
    tenants: list[TestTenant] = [
        await make_tenant(system, fresh.secrets, slug=slug) for slug in ("alice", "bob")
    ]
    for tenant in tenants:
        async with app.tenant_session(tenant.id) as session:
            session.add(AuditEntry(action=tenant.slug, subject="x"))
    for tenant in tenants:
        async with app.tenant_session(tenant.id) as session:
            assert list(await session.scalars(select(Tenant.id))) == [tenant.id]
            assert list(await session.scalars(text("SELECT action FROM audit_log"))) == [
                tenant.slug
            ]
    with pytest.raises(TenantContextMissing):
        async with app.session_without_tenant() as session:
            await session.execute(select(Tenant.id))
    stranger = Database(app.url, context_key=b"k" * 32)
    with pytest.raises(TenantContextUnknown):
        async with stranger.tenant_session(tenants[0].id) as session:
            await session.execute(select(Tenant.id))
    for database in (system, app, stranger):
        await database.close()


async def test_a_managed_servers_administrator_can_prepare_it(
    managed: tuple[Fresh, ServerUrl],
) -> None:
    fresh, cloud_admin = managed

    name, warnings = await bootstrap(cloud_admin, fresh.secrets)
    again = await bootstrap(cloud_admin, fresh.secrets)
    applied = await migrate.deploy(parse_url(fresh.server.url("viral_migrator", name)))

    assert (name, applied) == ("viral", revisions())
    assert again == (name, warnings)
    said = " ".join(warnings)
    assert "tenant context is sent as a parameter" in said
    assert "viral_backup gets neither REPLICATION nor BYPASSRLS" in said
    assert "PUBLIC keeps advisory locks" in said
    await rows_apart(fresh, name)
    await _sends_the_context_as_a_parameter(fresh, name)
    await _lets_nobody_else_in(fresh, name)


async def _sends_the_context_as_a_parameter(fresh: Fresh, name: str) -> None:
    app = fresh.database("viral_app", name)
    async with app.session_without_tenant() as session:
        driver = await session.run_sync(lambda sync: _driver(sync.connection()))
        assert not driver.hides_statements
    await app.close()


async def _lets_nobody_else_in(fresh: Fresh, name: str) -> None:
    public = await fresh.execute(
        "SELECT has_database_privilege('public', current_database(), 'CONNECT, TEMP, CREATE')"
        " OR has_schema_privilege('public', 'public', 'USAGE, CREATE')"
        " OR has_schema_privilege('public', 'viral', 'USAGE, CREATE')",
        database=name,
    )
    assert not public[0][0]


async def test_a_database_that_the_administrator_has_made_is_used(
    managed: tuple[Fresh, ServerUrl],
) -> None:
    fresh, cloud_admin = managed
    await fresh.execute('CREATE DATABASE "my shop" OWNER cloud_admin')

    name, _ = await bootstrap(cloud_admin.for_database("my shop"), fresh.secrets)
    await migrate.deploy(parse_url(fresh.server.url("viral_migrator", name)))

    assert name == "my shop"
    await rows_apart(fresh, name)
    await _lets_nobody_else_in(fresh, name)


async def test_a_role_without_the_right_to_make_roles_is_told_so(
    cluster: Cluster,
) -> None:
    weak = cluster.url("viral_worker", "viral").for_database("viral")

    with pytest.raises(ServerRefused, match="viral_worker may not prepare the server") as caught:
        await bootstrap(weak, cluster.secrets)

    assert "CREATEROLE" in caught.value.hint


@pytest.mark.skipif(not DEBIAN_15.is_dir(), reason="PostgreSQL 15 of Debian is not installed")
async def test_postgresql_15_serves_as_well(short_folder: Path) -> None:
    async with fresh_server(short_folder / "old", DEBIAN_15) as fresh:
        name, warnings = await bootstrap(fresh.admin, fresh.secrets)
        applied = await migrate.deploy(parse_url(fresh.server.url("viral_migrator", name)))
        await rows_apart(fresh, name)

    assert (warnings, applied) == ([], revisions())


async def test_preparing_twice_changes_nothing_and_renews_the_passwords(
    short_folder: Path,
) -> None:
    roles = (
        "SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin,"
        " rolreplication, rolbypassrls, rolconfig FROM pg_roles WHERE rolname LIKE 'viral%'"
        " ORDER BY rolname"
    )
    async with fresh_server(short_folder / "twice") as fresh:
        first = await bootstrap(fresh.admin, fresh.secrets)
        before = await fresh.execute(roles)
        await fresh.execute("ALTER ROLE viral_app PASSWORD 'forgotten'")

        second = await bootstrap(fresh.admin, fresh.secrets)

        after = await fresh.execute(roles)
        app = fresh.database("viral_app", "viral")
        async with app.session_without_tenant() as session:
            assert await session.scalar(text("SELECT current_user")) == "viral_app"
        await app.close()

    assert first == second == ("viral", [])
    assert before == after
    assert {row["rolname"] for row in after} == {"viral_admin", *OWNERS, *LOGINS}
    assert [row["rolname"] for row in after if row["rolcanlogin"]] == sorted(
        ["viral_admin", *LOGINS]
    )


async def test_no_password_is_sent_to_the_server(short_folder: Path) -> None:
    async with fresh_server(short_folder / "logged") as fresh:
        await fresh.execute("ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()")
        await fresh.execute("SELECT pg_sleep(0.2)")
        await bootstrap(fresh.admin, fresh.secrets)
        log = fresh.server.log_file.read_text()
        stored = await fresh.execute("SELECT rolpassword FROM pg_authid WHERE rolcanlogin")

    assert "CREATE ROLE viral_app LOGIN" in log
    assert all(row[0].startswith("SCRAM-SHA-256$") for row in stored)
    for role in ("viral_admin", *LOGINS):
        assert fresh.secrets.password(role) not in log


@pytest.mark.parametrize("password", ["x", "with 'quotes\" and \\", "p@ss:w/rd%", "a" * 200])
async def test_a_computed_verifier_lets_its_password_in(cluster: Cluster, password: str) -> None:
    await cluster.execute_as_admin(
        "viral",
        f"CREATE ROLE somebody LOGIN PASSWORD '{scram_verifier(password)}'",
        "GRANT CONNECT ON DATABASE viral TO somebody",
    )
    try:
        url = cluster.direct_url("viral_app", "viral").for_role("somebody", password)
        connection = await asyncpg.connect(url.libpq(password=True))
        assert await connection.fetchval("SELECT current_user") == "somebody"
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(url.for_role("somebody", password + "x").libpq(password=True))
    finally:
        await cluster.execute_as_admin(
            "viral", "REVOKE ALL ON DATABASE viral FROM somebody", "DROP ROLE somebody"
        )


def test_a_verifier_is_as_the_standard_says() -> None:
    # What PostgreSQL 18 stores for this password, salt and number of iterations.
    made = scram_verifier("pencil", salt=b"0123456789abcdef", iterations=4096)

    assert made.startswith("SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$")
    assert made == scram_verifier("pencil", salt=b"0123456789abcdef")
    assert made != scram_verifier("pencil")
    assert "pencil" not in made


@pytest.mark.parametrize(
    ("role", "setting", "value"),
    [
        ("viral_app", "statement_timeout", "30s"),
        ("viral_app", "lock_timeout", "10s"),
        ("viral_app", "idle_in_transaction_session_timeout", "1min"),
        ("viral_app", "track_activities", "off"),
        ("viral_readonly", "default_transaction_read_only", "on"),
        ("viral_worker", "statement_timeout", "30s"),
    ],
)
async def test_a_role_has_its_limits(cluster: Cluster, role: str, setting: str, value: str) -> None:
    connection = await cluster.connect(role, "viral")

    assert await connection.fetchval(f"SHOW {setting}") == value
    await connection.close()


@pytest.mark.usefixtures("alice")
async def test_a_backup_role_reads_all_rows_and_writes_none(
    cluster: Cluster, database_name: str
) -> None:
    connection = await cluster.connect("viral_backup", database_name)

    assert await connection.fetchval("SELECT count(*) FROM tenants") == 1
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("DELETE FROM tenants")
    await connection.close()


@pytest.mark.usefixtures("alice")
async def test_the_owner_of_the_tables_sees_no_row(cluster: Cluster, database_name: str) -> None:
    connection = await cluster.connect("viral_migrator", database_name)
    await connection.execute("SET ROLE viral_owner")

    assert await connection.fetchval("SELECT count(*) FROM tenants") == 0
    await connection.execute("SET row_security = off")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetchval("SELECT count(*) FROM tenants")
    await connection.close()


class _Neon:
    """A connection to a server that takes passwords alone, as Neon says of itself."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield

    async def execute(self, statement: str) -> None:
        if "SCRAM-SHA-256$" in statement:
            raise asyncpg.FeatureNotSupportedError("Neon only supports plaintext passwords")
        self.taken.append(statement)


@pytest.mark.parametrize("mode", ["verify-full", "prefer"])
async def test_a_server_that_takes_passwords_alone_gets_them_over_tls_alone(mode: str) -> None:
    neon, url = _Neon(), parse_url(f"postgresql://a:b@host/db?sslmode={mode}")
    change = set_password(neon, "ALTER ROLE me", "word", is_encrypted=url.is_encrypted)  # type: ignore[arg-type]  # a stand-in

    if mode == "prefer":
        with pytest.raises(asyncpg.FeatureNotSupportedError):
            await change
    else:
        await change

    assert neon.taken == ["ALTER ROLE me PASSWORD 'word'"] * (mode != "prefer")
