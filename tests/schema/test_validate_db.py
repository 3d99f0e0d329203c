"""The lint of a live database names each thing that lets somebody pass row security."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from clusters import Cluster, free_port, superuser
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.urls import ServerUrl
from viral.database.validate.live import lint_catalog, live_rules, validate_database
from viral.errors import ServerRefused, ServerUnreachable

VIEW = "CREATE VIEW films AS SELECT * FROM videos; ALTER VIEW films OWNER TO viral_owner"
SEARCH = "CREATE FUNCTION viral.search() RETURNS int LANGUAGE"
OURS = (
    "REVOKE ALL ON FUNCTION viral.search FROM PUBLIC;"
    "ALTER FUNCTION viral.search OWNER TO viral_auth"
)
BROKEN = [
    ("row-security-off", "public.videos", "ALTER TABLE videos DISABLE ROW LEVEL SECURITY"),
    ("row-security-off", "public.videos", "ALTER TABLE videos NO FORCE ROW LEVEL SECURITY"),
    ("row-security-off", "{partition}", "ALTER TABLE {partition} NO FORCE ROW LEVEL SECURITY"),
    (
        "row-security-off",
        "viral.tenant_contexts",
        "ALTER TABLE viral.tenant_contexts DISABLE ROW LEVEL SECURITY",
    ),
    ("policy-missing", "public.social_posts", "DROP POLICY tenant_only ON social_posts"),
    ("policy-role", "public.trends.extra", "CREATE POLICY extra ON trends USING (false)"),
    (
        "policy-role",
        "public.videos.migration_pass",
        "CREATE POLICY migration_pass ON videos TO viral_owner USING (true)",
    ),
    (
        "policy-without-tenant",
        "public.videos.tenant_only",
        "ALTER POLICY tenant_only ON videos USING (true)",
    ),
    (
        "policy-without-tenant",
        "public.tenants.extra",
        "CREATE POLICY extra ON tenants FOR SELECT TO viral_worker USING (true)",
    ),
    (
        "policy-without-tenant",
        "public.videos.tenant_only",
        "ALTER POLICY tenant_only ON videos USING (tenant_id = (SELECT viral.tenant_id()) OR true)",
    ),
    (
        "policy-without-tenant",
        "public.videos.tenant_only",
        "ALTER POLICY tenant_only ON videos WITH CHECK (platform = 'tiktok')",
    ),
    ("partition-open", "{partition}", "GRANT SELECT ON {partition} TO viral_app"),
    ("partition-open", "{partition}", "GRANT SELECT (id) ON {partition} TO viral_app"),
    (
        "partition-open",
        "{partition}",
        "CREATE POLICY extra ON {partition} TO viral_system USING (true)",
    ),
    ("owner", "public.videos", "ALTER TABLE videos OWNER TO viral_migrator"),
    (
        "owner",
        "function viral.heartbeat(uuid)",
        "ALTER FUNCTION viral.heartbeat OWNER TO viral_app",
    ),
    ("owner", "schema viral", "ALTER SCHEMA viral OWNER TO viral_migrator"),
    (
        "stray",
        "elsewhere.videos",
        (
            "CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.videos (id uuid);"
            "ALTER TABLE elsewhere.videos OWNER TO viral_owner"
        ),
    ),
    ("role-powerful", "role viral_app", "ALTER ROLE viral_app SUPERUSER"),
    ("role-powerful", "role viral_system", "ALTER ROLE viral_system BYPASSRLS"),
    ("role-powerful", "role viral_app", "ALTER ROLE viral_app CREATEROLE"),
    ("role-powerful", "role viral_worker", "ALTER ROLE viral_worker CREATEDB"),
    ("role-powerful", "role viral_readonly", "ALTER ROLE viral_readonly REPLICATION"),
    ("role-powerful", "role viral_owner", "ALTER ROLE viral_owner LOGIN"),
    ("role-membership", "role viral_app", "GRANT viral_owner TO viral_app"),
    (
        "role-membership",
        "role viral_intern",
        "CREATE ROLE viral_intern; GRANT pg_read_server_files TO viral_intern",
    ),
    ("role-membership", "role intern", "CREATE ROLE intern LOGIN; GRANT viral_auth TO intern"),
    ("role-setting", "role viral_app", "ALTER ROLE viral_app SET row_security = off"),
    ("role-setting", "role viral_app", "ALTER ROLE viral_app SET search_path = 'public, pg_temp'"),
    ("role-setting", "role viral_app", "ALTER ROLE viral_app SET app.tenant = 'x'"),
    (
        "role-setting",
        "database {database}",
        "ALTER DATABASE {database} SET search_path = 'viral'",
    ),
    ("public-privilege", "table public.videos", "GRANT SELECT ON videos TO PUBLIC"),
    ("public-privilege", "column public.trends.topic", "GRANT SELECT (topic) ON trends TO PUBLIC"),
    ("public-privilege", "schema viral", "GRANT USAGE ON SCHEMA viral TO PUBLIC"),
    ("public-privilege", "database {database}", "GRANT CONNECT ON DATABASE {database} TO PUBLIC"),
    (
        "public-privilege",
        "function viral.heartbeat(uuid)",
        "GRANT EXECUTE ON FUNCTION viral.heartbeat TO PUBLIC",
    ),
    ("privilege-past-row-security", "table public.videos", "GRANT TRUNCATE ON videos TO viral_app"),
    (
        "privilege-passed-on",
        "table public.videos",
        "GRANT SELECT ON videos TO viral_app WITH GRANT OPTION",
    ),
    ("privilege-to-create", "schema public", "GRANT CREATE ON SCHEMA public TO viral_app"),
    (
        "privilege-to-create",
        "database {database}",
        "GRANT TEMP ON DATABASE {database} TO viral_app",
    ),
    (
        "default-privileges",
        "default privileges of viral_admin",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO viral_app",
    ),
    (
        "default-privileges",
        "default privileges of viral_owner",
        "ALTER DEFAULT PRIVILEGES FOR ROLE viral_owner GRANT SELECT ON TABLES TO PUBLIC",
    ),
    ("secret-readable", "public.sessions.token_sha256", "GRANT SELECT ON sessions TO viral_worker"),
    (
        "secret-readable",
        "public.social_accounts.access_token",
        "GRANT SELECT (access_token) ON social_accounts TO viral_readonly",
    ),
    ("secret-readable", "public.users.clerk_id", "GRANT SELECT (clerk_id) ON users TO viral_app"),
    (
        "function-search-path",
        "viral.heartbeat(uuid)",
        "ALTER FUNCTION viral.heartbeat SET search_path = public",
    ),
    (
        "function-search-path",
        "viral.heartbeat(uuid)",
        "ALTER FUNCTION viral.heartbeat RESET search_path",
    ),
    ("function-language", "viral.search()", f"{SEARCH} internal AS 'pg_backend_pid'; {OURS}"),
    ("function-leakproof", "viral.search()", f"{SEARCH} sql LEAKPROOF AS 'SELECT 1'; {OURS}"),
    (
        "language-untrusted",
        "language unsafe",
        "CREATE LANGUAGE unsafe HANDLER plpgsql_call_handler",
    ),
    ("extension-dangerous", "extension postgres_fdw", "CREATE EXTENSION postgres_fdw"),
    ("view-as-owner", "public.films", VIEW),
    ("view-as-owner", "public.films", f"{VIEW}; ALTER VIEW films SET (security_invoker = off)"),
    (
        "view-stored",
        "public.stored",
        (
            "CREATE MATERIALIZED VIEW stored AS SELECT 1 AS one;"
            "ALTER MATERIALIZED VIEW stored OWNER TO viral_owner;"
            "GRANT SELECT ON stored TO viral_readonly"
        ),
    ),
    (
        "foreign-data",
        "server other",
        "CREATE FOREIGN DATA WRAPPER bare; CREATE SERVER other FOREIGN DATA WRAPPER bare",
    ),
    (
        "trigger",
        "public.videos.watch",
        (
            "CREATE TRIGGER watch BEFORE UPDATE ON videos FOR EACH ROW"
            " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
        ),
    ),
    ("trigger", "public.trends.nothing", "CREATE RULE nothing AS ON DELETE TO trends DO NOTHING"),
    (
        "reference-disabled",
        "public.webhook_events",
        "ALTER TABLE webhook_events DISABLE TRIGGER ALL",
    ),
    (
        "constraint-not-valid",
        "public.videos.late",
        "ALTER TABLE videos ADD CONSTRAINT late CHECK (model <> '') NOT VALID",
    ),
    (
        "constraint-not-valid",
        "public.videos.idle",
        "ALTER TABLE videos ADD CONSTRAINT idle CHECK (model <> '') NOT ENFORCED",
    ),
    (
        "reference-without-index",
        "public.videos.fk_videos_tenant_id_concept_id",
        "DROP INDEX ix_videos_tenant_id_concept_id",
    ),
    (
        "reference-without-index",
        "public.videos.fk_videos_tenant_id_concept_id",
        (
            "DROP INDEX ix_videos_tenant_id_concept_id;"
            "CREATE INDEX by_concept ON videos (tenant_id, concept_id) WHERE platform = 'tiktok'"
        ),
    ),
    (
        "index-invalid",
        "public.ix_videos_tenant_id_status",
        (
            "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'ix_videos_tenant_id_status'::regclass"
        ),
    ),
    (
        "index-not-leakproof",
        "public.by_cost",
        "CREATE INDEX by_cost ON videos (tenant_id, generation_cost)",
    ),
    ("table-unlogged", "public.model_versions", "ALTER TABLE model_versions SET UNLOGGED"),
    (
        "sequence",
        "public.numbers",
        "CREATE SEQUENCE numbers; ALTER SEQUENCE numbers OWNER TO viral_owner",
    ),
    ("large-object", "large object 4711", "SELECT lo_create(4711)"),
]


@pytest.fixture(scope="module")
async def migrated(cluster: Cluster, module_database: str) -> AsyncIterator[AsyncConnection]:
    """Open a database that the tests of this module share."""
    async with superuser(cluster, module_database) as connection:
        await connection.execute(text("SELECT viral.make_partitions()"))
        await connection.commit()
        yield connection


@pytest.fixture
async def shared(migrated: AsyncConnection) -> AsyncIterator[AsyncConnection]:
    """Take back what a test changes."""
    yield migrated
    await migrated.rollback()


@pytest.mark.parametrize(("rule", "broken", "sql"), BROKEN, ids=[sql for _, _, sql in BROKEN])
async def test_what_breaks_a_rule_is_named(
    shared: AsyncConnection, module_database: str, rule: str, broken: str, sql: str
) -> None:
    partition = await shared.scalar(
        text(
            "SELECT 'public.' || min(relname) FROM pg_class WHERE relispartition AND relkind = 'r'"
        )
    )
    for statement in sql.format(partition=partition, database=module_database).split(";"):
        await shared.exec_driver_sql(statement)

    found = await lint_catalog(shared)

    named = broken.format(partition=partition, database=module_database)
    assert {named} == {finding.object for finding in found if finding.rule == rule}


def test_every_rule_is_broken_once_and_says_what_to_do() -> None:
    rules = live_rules()

    assert {rule for rule, _, _ in BROKEN} == {rule.name for rule in rules}
    assert all(rule.hint.endswith(".") for rule in rules)


async def test_nothing_is_found_in_a_migrated_database(
    cluster: Cluster, database_name: str
) -> None:
    async with superuser(cluster, database_name) as connection:
        await connection.execute(text("SELECT viral.make_partitions()"))
        await connection.commit()

    found = await validate_database(cluster.url("viral_migrator", database_name))

    assert [] == found


async def test_the_migrator_sees_what_the_superuser_sees(
    cluster: Cluster, database_name: str
) -> None:
    await cluster.execute_as_admin(
        database_name,
        "ALTER TABLE videos DISABLE ROW LEVEL SECURITY",
        "ALTER FUNCTION viral.heartbeat RESET search_path",
        "ALTER TABLE webhook_events DISABLE TRIGGER ALL",
    )

    found = await validate_database(cluster.url("viral_migrator", database_name))

    assert [
        ("row-security-off", "public.videos"),
        ("function-search-path", "viral.heartbeat(uuid)"),
        ("reference-disabled", "public.webhook_events"),
    ] == [(finding.rule, finding.object) for finding in found]


async def test_an_unprepared_database_is_refused(cluster: Cluster) -> None:
    with pytest.raises(ServerRefused, match="no schema viral"):
        await validate_database(cluster.admin)


async def test_an_address_without_a_server_is_named() -> None:
    nowhere = ServerUrl(
        host="127.0.0.1", port=free_port(), user="viral_migrator", password="x", database="viral"
    )

    with pytest.raises(ServerUnreachable):
        await validate_database(nowhere)
