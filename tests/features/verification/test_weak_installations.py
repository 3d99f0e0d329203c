"""A weak installation is attacked with success: each weakness is named, with its object."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import chain

import pytest
from clusters import Cluster
from factories import make_tenant
from verifications import verify_database

from viral.database.tenancy import TenantConnection, TenantTransaction
from viral.features.verification.report import Report
from viral.features.verification.run import FAMILIES
from viral.schema.security import SYSTEM

Leaks = set[tuple[str, str]]

# What is weak, by the SQL that makes it so; then the leaks that have to be named.
TABLES: list[tuple[str, Leaks]] = [
    (
        "ALTER TABLE concept_variants DISABLE ROW LEVEL SECURITY",
        {
            (attack, "public.concept_variants")
            for attack in (
                *("A01", "A02", "A03", "A06", "A13", "A14", "A15", "A16"),
                *("A17", "A18", "A20", "A28", "A30", "A31"),
            )
        }
        | {("A45", "row-security-off")},
    ),
    (
        "ALTER TABLE learner_effects NO FORCE ROW LEVEL SECURITY",
        {("A14", "public.learner_effects")},
    ),
    (
        (
            "ALTER POLICY tenant_only ON performance_feedback USING"
            " (CASE coalesce(current_setting('app.tenant', true), '') WHEN '' THEN false"
            " ELSE tenant_id = (SELECT viral.tenant_id()) END)"
        ),
        {("A03", "public.performance_feedback")},
    ),
    ("ALTER TABLE predictions OWNER TO viral_app", {("A12", "public.predictions")}),
    (
        "ALTER POLICY tenant_only ON videos USING (true) WITH CHECK (true)",
        {("A01", "public.videos"), ("A15", "public.videos"), ("A45", "policy-without-tenant")},
    ),
    (
        "ALTER POLICY tenant_only ON generations WITH CHECK (true)",
        {("A15", "public.generations")},
    ),
    (
        (
            "CREATE UNIQUE INDEX one_video ON videos (id);"
            "ALTER TABLE social_posts ADD FOREIGN KEY (video_id) REFERENCES videos (id);"
            "ALTER TABLE social_posts DROP CONSTRAINT fk_social_posts_tenant_id_video_id"
        ),
        {("A21", "public.social_posts"), ("A22", "public.social_posts")},
    ),
    (
        "GRANT SELECT ON self_critiques TO PUBLIC",
        {("A47", "public.self_critiques"), ("A45", "public-privilege")},
    ),
    (
        "CREATE VIEW films AS SELECT * FROM generations; GRANT SELECT ON films TO viral_app",
        {("A01", "public.films"), ("A03", "public.films"), ("A24", "public.films")},
    ),
    (
        (
            "CREATE FUNCTION viral.rows_of(tenant uuid) RETURNS bigint LANGUAGE sql"
            " SECURITY DEFINER SET search_path = '' AS 'SELECT 1::bigint';"
            "REVOKE ALL ON FUNCTION viral.rows_of FROM PUBLIC;"
            "GRANT EXECUTE ON FUNCTION viral.rows_of TO viral_app"
        ),
        {("A26", "viral.rows_of(uuid)")},
    ),
    (
        (
            "CREATE FUNCTION viral.look_up(wanted uuid) RETURNS SETOF uuid LANGUAGE sql"
            " SECURITY DEFINER SET search_path = ''"
            " AS 'SELECT g.id FROM public.generations AS g WHERE g.id = wanted';"
            "REVOKE ALL ON FUNCTION viral.look_up FROM PUBLIC;"
            "GRANT EXECUTE ON FUNCTION viral.look_up TO viral_readonly"
        ),
        {("A26", "viral.look_up(uuid)")},
    ),
    (
        (
            "CREATE FUNCTION viral.anybody() RETURNS integer LANGUAGE sql SECURITY DEFINER"
            " AS 'SELECT 1'"
        ),
        {("A26", "viral.anybody()")},
    ),
    (
        (
            "CREATE MATERIALIZED VIEW stored AS SELECT * FROM trends;"
            "GRANT SELECT ON stored TO viral_readonly"
        ),
        {("A25", "public.stored")},
    ),
    ("CREATE UNIQUE INDEX one_title ON concepts (title)", {("A23", "public.concepts")}),
    ("GRANT SELECT (password_hash) ON users TO viral_app", {("A40", "public.users.password_hash")}),
    (
        "GRANT UPDATE (monthly_quota) ON tenants TO viral_app",
        {("A41", "public.tenants.monthly_quota")},
    ),
    ("GRANT TRUNCATE ON audit_log TO viral_app", {("A32", "public.audit_log")}),
    (
        (
            "DO $$ BEGIN EXECUTE (SELECT format('GRANT SELECT ON %I TO viral_app', min(relname))"
            " FROM pg_class WHERE relname ~ '^api_usage_\\d+$') ; END $$"
        ),
        {("A46", "{partition}")},
    ),
    (
        (
            "CREATE TABLE notes (id uuid PRIMARY KEY, tenant_id uuid NOT NULL, body text NOT NULL);"
            "ALTER TABLE notes OWNER TO viral_owner;"
            "GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO viral_app;"
            "INSERT INTO notes SELECT gen_random_uuid(), gen_random_uuid(), 'kept'"
            " FROM generate_series(1, 50); ANALYZE notes"
        ),
        {(attack, "public.notes") for attack in ("A01", "A02", "A18", "A34")},
    ),
    (
        (
            "CREATE TABLE codes (code text PRIMARY KEY, tenant_id uuid NOT NULL);"
            "ALTER TABLE codes OWNER TO viral_owner; GRANT INSERT ON codes TO viral_app"
        ),
        {("A23", "public.codes")},
    ),
    (
        "CREATE SEQUENCE numbers; GRANT USAGE, SELECT ON SEQUENCE numbers TO viral_app",
        {("A33", "public.numbers")},
    ),
    ("GRANT CREATE ON SCHEMA public TO viral_app", {("A29", "schema public")}),
    (
        "GRANT SELECT ON viral.tenant_contexts TO viral_readonly",
        {("A09", "viral.tenant_contexts"), ("A40", "viral.tenant_contexts.token_sha256")},
    ),
    (
        "GRANT EXECUTE ON FUNCTION pg_try_advisory_lock(bigint) TO viral_app",
        {("A38", "advisory locks")},
    ),
    (
        "GRANT EXECUTE ON FUNCTION pg_ls_dir(text) TO viral_readonly",
        {("A49", "files of the server")},
    ),
    (
        "ALTER ROLE viral_app IN DATABASE {database} SET statement_timeout = 0",
        {("A50", "role viral_app")},
    ),
]
ID_AS_CONTEXT = """
CREATE OR REPLACE FUNCTION viral.tenant_id() RETURNS uuid LANGUAGE plpgsql STABLE
SECURITY DEFINER SET search_path = '' AS $$ BEGIN
  RETURN (SELECT t.id FROM public.tenants AS t WHERE t.id::text = current_setting('app.tenant')
          OR t.id = (SELECT c.tenant_id FROM viral.tenant_contexts AS c WHERE c.token_sha256
                     = sha256(convert_to(current_setting('app.tenant'), 'UTF8'))));
END $$
"""


def leaks_of(report: Report) -> Leaks:
    return {(leak.attack, leak.object) for leak in report.leaks}


async def weaken(cluster: Cluster, database: str, *statements: str) -> None:
    await cluster.execute_as_admin(database, "SELECT viral.make_partitions()", *statements)


@pytest.fixture(scope="module")
async def partition(cluster: Cluster, module_database: str) -> str:
    await weaken(cluster, module_database)
    admin = await cluster.connect_as_admin(module_database)
    name = await admin.fetchval("SELECT min(relname) FROM pg_class WHERE relname ~ '^api_usage_2'")
    await admin.close()
    return f"public.{name}"


@pytest.fixture(scope="module")
async def weak(cluster: Cluster, module_database: str, partition: str) -> Report:
    """Verify one database that has all the weaknesses, each on another object."""
    sql = (sql.replace("{database}", module_database) for sql, _ in TABLES)
    await weaken(cluster, module_database, *sql)
    assert partition
    return await verify_database(cluster, module_database)


@pytest.mark.parametrize(("sql", "leaks"), TABLES, ids=[sql[:60] for sql, _ in TABLES])
def test_a_weakness_is_named_with_its_object(
    weak: Report, partition: str, sql: str, leaks: Leaks
) -> None:
    expected = {(attack, name.format(partition=partition)) for attack, name in leaks}

    assert sql
    assert set() == expected - leaks_of(weak)


def test_what_is_not_weak_holds(weak: Report) -> None:
    sound = {
        "public.analytics_snapshots",
        "public.reflexion_insights",
        "public.scoring_adjustments",
    }

    assert set() == sound & {name for _, name in leaks_of(weak)}


def test_a_leak_says_what_it_means_and_what_to_do(weak: Report) -> None:
    assert all(leak.meaning.endswith(".") and leak.fix.endswith(".") for leak in weak.leaks)


@pytest.fixture
async def app_that_is_owner(cluster: Cluster, database_name: str) -> AsyncIterator[str]:
    """Let the app's role take the owner's; roles are the server's, so it is taken back."""
    await weaken(cluster, database_name)
    await cluster.execute_as_admin("postgres", "GRANT viral_owner TO viral_app")
    yield database_name
    await cluster.execute_as_admin("postgres", "REVOKE viral_owner FROM viral_app")


async def test_an_app_that_is_the_owner_takes_the_wall_away(
    cluster: Cluster, app_that_is_owner: str
) -> None:
    report = await verify_database(cluster, app_that_is_owner)

    expected = {
        ("A11", "role viral_owner"),
        ("A12", "public.concepts"),
        ("A32", "public.concepts"),
        ("A45", "role-membership"),
    }
    assert set() == expected - leaks_of(report)


async def test_a_context_that_a_tenants_id_opens_is_named(
    cluster: Cluster, database_name: str
) -> None:
    await weaken(cluster, database_name, ID_AS_CONTEXT)

    report = await verify_database(cluster, database_name)

    assert ("A08", "app.tenant") in leaks_of(report)
    assert "the tenant's id" in {
        trial.target.statement for trial in report.trials if trial.verdict.result == "leaked"
    }


async def test_a_context_that_plans_keep_is_named(cluster: Cluster, database_name: str) -> None:
    await weaken(cluster, database_name, "ALTER FUNCTION viral.tenant_id() IMMUTABLE")

    report = await verify_database(cluster, database_name)

    assert ("A42", "public.tenants") in leaks_of(report)


async def test_a_context_in_the_settings_of_a_role_is_named(
    cluster: Cluster, database_name: str
) -> None:
    system = cluster.database(SYSTEM, database_name)
    bob = await make_tenant(system, cluster.secrets, slug="bob")
    await system.close()
    await weaken(
        cluster,
        database_name,
        f"ALTER ROLE viral_app IN DATABASE {database_name}"
        f" SET app.tenant = '{cluster.token(bob.id)}'",
    )

    report = await verify_database(cluster, database_name)

    assert {("A03", "public.tenants"), ("A45", "role-setting")} <= leaks_of(report)


async def test_a_context_of_the_session_survives_and_is_named(
    cluster: Cluster, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(self: TenantTransaction) -> None:
        connection: TenantConnection = self._connection
        context, connection.context = connection.context, None
        await connection.execute("BEGIN")
        if context and len(context) == 64:
            await connection.execute(f"SET app.tenant = '{context}'")

    monkeypatch.setattr(TenantTransaction, "start", start)
    await weaken(cluster, database_name)

    report = await verify_database(cluster, database_name)

    assert ("A04", "the product's pool") in leaks_of(report)
    assert ("A35", "public.tenants") not in leaks_of(report)


def test_every_attack_is_seen_to_succeed_somewhere() -> None:
    named = set(chain.from_iterable(leaks for _, leaks in TABLES))
    elsewhere = {"A03", "A04", "A08", "A11", "A12", "A42"}
    elsewhere |= {"A36", "A37", "A44", "A48"}  # test_outside_attacks.py

    attacks = {attack.id for family in FAMILIES for attack in family.attacks}

    # A19 needs a key that answers for others; A35 needs the app's statements to be shown.
    assert {"A19", "A35"} == attacks - {attack for attack, _ in named} - elsewhere


async def test_a_copy_of_the_template_is_not_weak(cluster: Cluster, database_name: str) -> None:
    await weaken(cluster, database_name)

    assert set() == leaks_of(await verify_database(cluster, database_name))
