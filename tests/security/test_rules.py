"""Each rule that the wall stands on: where it is broken, lines of A01 to A50 fail and say where."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from clusters import Cluster
from verifications import verify_database
from ways import about_the_direct_way

from security.looks import LITERAL, Raw, doors_that_open, shown_to_its_like
from security.verified import failures, only
from viral.database.tenancy import TenantConnection, TenantTransaction
from viral.database.validate.live import validate_database
from viral.features.verification import run
from viral.schema.security import MIGRATOR

Failures = set[tuple[str, str]]

# The rule, the SQL that breaks it, the lines that fail with the object they name.
BROKEN: list[tuple[int, str, Failures]] = [
    (
        3,
        "ALTER TABLE concept_variants DISABLE ROW LEVEL SECURITY",
        {
            (line, "public.concept_variants")
            for line in (
                *("A01", "A02", "A03", "A06", "A13", "A14", "A15"),
                *("A16", "A17", "A18", "A20", "A28", "A30", "A31"),
            )
        },
    ),
    (
        3,
        "ALTER TABLE learner_effects NO FORCE ROW LEVEL SECURITY",
        {("A14", "public.learner_effects")},
    ),
    (
        3,
        "ALTER POLICY tenant_only ON videos USING (true) WITH CHECK (true)",
        {(line, "public.videos") for line in ("A01", "A15", "A16", "A17", "A18")},
    ),
    (
        3,
        (
            "CREATE UNIQUE INDEX one_video ON videos (id);"
            "ALTER TABLE social_posts ADD FOREIGN KEY (video_id) REFERENCES videos (id);"
            "ALTER TABLE social_posts DROP CONSTRAINT fk_social_posts_tenant_id_video_id"
        ),
        {("A21", "public.social_posts"), ("A22", "public.social_posts")},
    ),
    (3, "CREATE UNIQUE INDEX one_title ON concepts (title)", {("A23", "public.concepts")}),
    (
        4,
        (
            "ALTER POLICY tenant_only ON performance_feedback USING"
            " (CASE coalesce(current_setting('app.tenant', true), '') WHEN '' THEN false"
            " ELSE tenant_id = (SELECT viral.tenant_id()) END)"
        ),
        {("A03", "public.performance_feedback")},
    ),
    (6, "GRANT SELECT ON self_critiques TO PUBLIC", {("A47", "public.self_critiques")}),
    (6, "GRANT CREATE ON SCHEMA public TO PUBLIC", {("A29", "schema public")}),
    (6, "GRANT TEMP ON DATABASE {database} TO PUBLIC", {("A29", "schema pg_temp")}),
    (6, "GRANT EXECUTE ON FUNCTION lo_create(oid) TO PUBLIC", {("A38", "large objects")}),
    (
        6,
        "GRANT EXECUTE ON FUNCTION pg_try_advisory_lock(bigint) TO PUBLIC",
        {("A39", "advisory locks")},
    ),
    (
        6,
        "GRANT EXECUTE ON FUNCTION viral.take_quota(uuid,integer,uuid) TO PUBLIC",
        {("A26", "viral.take_quota(uuid,integer,uuid)")},
    ),
    (
        7,
        "GRANT SELECT (password_hash) ON users TO viral_app",
        {("A40", "public.users.password_hash")},
    ),
    (
        7,
        "GRANT UPDATE (monthly_quota) ON tenants TO viral_app",
        {("A41", "public.tenants.monthly_quota")},
    ),
    (7, "GRANT UPDATE (role) ON memberships TO viral_app", {("A41", "public.memberships.role")}),
]
ID_AS_CONTEXT = """
CREATE OR REPLACE FUNCTION viral.tenant_id() RETURNS uuid LANGUAGE plpgsql STABLE
SECURITY DEFINER SET search_path = '' AS $$ BEGIN
  RETURN (SELECT t.id FROM public.tenants AS t WHERE t.id::text = current_setting('app.tenant')
          OR t.id = (SELECT c.tenant_id FROM viral.tenant_contexts AS c WHERE c.token_sha256
                     = sha256(convert_to(current_setting('app.tenant'), 'UTF8'))));
END $$
"""
TRUST = "host all all 127.0.0.1/32 trust\n"


async def attack(cluster: Cluster, database: str, *lines: str) -> Failures:
    """Attack a database by no more than what some lines need; what came through."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "FAMILIES", only(lines))
        return failures(await verify_database(cluster, database))


@pytest.fixture(scope="module")
async def broken(cluster: Cluster, module_database: str) -> Failures:
    """Attack one database in which every rule is broken on an object of its own."""
    sql = [sql.replace("{database}", module_database) for _, sql, _ in BROKEN]
    await cluster.execute_as_admin(module_database, *sql)
    lines = {line for _, _, failing in BROKEN for line, _ in failing}
    return await attack(cluster, module_database, *lines)


@pytest.mark.parametrize(
    ("rule", "sql", "lines"), BROKEN, ids=[f"{rule}-{sql[:50]}" for rule, sql, _ in BROKEN]
)
def test_where_a_rule_is_broken_lines_fail(
    broken: Failures, rule: int, sql: str, lines: Failures
) -> None:
    assert rule
    assert sql
    assert set() == lines - broken


def test_where_no_rule_is_broken_no_line_fails(broken: Failures) -> None:
    sound = {"public.analytics_snapshots", "public.reflexion_insights", "public.social_accounts"}

    assert set() == {name for _, name in broken} & sound


@asynccontextmanager
async def changed(cluster: Cluster, sql: str, back: str) -> AsyncIterator[None]:
    """Change what belongs to the whole server, and change it back."""
    await cluster.execute_as_admin("postgres", sql)
    try:
        yield
    finally:
        await cluster.execute_as_admin("postgres", back)


async def test_rule_1_where_the_app_may_be_the_owner_a11_a12_and_a32_fail(
    cluster: Cluster, database_name: str
) -> None:
    grant, back = "GRANT viral_owner TO viral_app", "REVOKE viral_owner FROM viral_app"
    async with changed(cluster, grant, back):
        failed = await attack(cluster, database_name, "A11", "A12", "A32")

    expected = {("A11", "role viral_owner"), ("A12", "public.concepts"), ("A32", "public.concepts")}
    assert set() == expected - failed


async def test_rule_2_where_the_server_trusts_who_comes_a11_fails(cluster: Cluster) -> None:
    file = cluster.server.data_dir / "pg_hba.conf"
    rules = file.read_text("utf-8")
    file.write_text(TRUST + rules, "utf-8")
    try:
        await cluster.execute_as_admin("postgres", "SELECT pg_reload_conf()")
        opened = await until_doors(cluster, are_open=True)
    finally:
        file.write_text(rules, "utf-8")
        await cluster.execute_as_admin("postgres", "SELECT pg_reload_conf()")

    assert f"viral_admin at {cluster.url('viral_app', 'viral').host}" in opened
    assert [] == await until_doors(cluster, are_open=False)


async def until_doors(cluster: Cluster, *, are_open: bool) -> list[str]:
    """Try the doors until the server has read its file again; at most some seconds."""
    for _ in range(100):
        opened = await doors_that_open(cluster)
        if bool(opened) == are_open:
            break
        await asyncio.sleep(0.05)
    return opened


async def test_rule_4_where_the_context_is_the_sessions_a04_and_a05_fail(
    cluster: Cluster, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(self: TenantTransaction) -> None:
        connection: TenantConnection = self._connection
        context, connection.context = connection.context, None
        # What fails is rolled back, and a setting with it: it has to come before BEGIN.
        if context and len(context) == 64:
            await connection.execute(f"SET app.tenant = '{context}'")
        await connection.execute("BEGIN")

    monkeypatch.setattr(TenantTransaction, "start", start)

    failed = await attack(cluster, database_name, "A04", "A05")

    assert {"A04", "A05"} <= {line for line, _ in failed}


async def test_rule_5_where_a_tenants_id_is_its_context_a07_fails(
    cluster: Cluster, database_name: str
) -> None:
    await cluster.execute_as_admin(database_name, ID_AS_CONTEXT)

    assert {("A07", "app.tenant")} == await attack(cluster, database_name, "A07", "A08")


@about_the_direct_way
async def test_rule_6_where_statements_are_shown_a35_fails(
    cluster: Cluster, module_database: str, intruder: Raw
) -> None:
    reset = "ALTER ROLE viral_app RESET track_activities"
    async with changed(cluster, reset, "ALTER ROLE viral_app SET track_activities = off"):
        shown = await shown_to_its_like(cluster, module_database, intruder)

    assert LITERAL in shown


async def test_rule_8_where_an_index_needs_an_operator_that_could_tell_a28_fails(
    cluster: Cluster, database_name: str
) -> None:
    await cluster.execute_as_admin(
        database_name, "CREATE INDEX told ON predictions (tenant_id, reasons)"
    )

    findings = await validate_database(cluster.url(MIGRATOR, database_name))

    assert "public.told" in [each.object for each in findings if each.rule == "index-not-leakproof"]


async def test_rule_10_where_nothing_is_cleaned_a43_fails(
    cluster: Cluster, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viral.database.tenancy._CLEAN", "SELECT 1")

    failed = await attack(cluster, database_name, "A04", "A43")

    # A tenant's own setting is written over with BEGIN all the same.
    assert {("A43", "the product's pool")} == failed


def test_every_rule_is_broken_once() -> None:
    alone = {int(name.split("_")[2]) for name in globals() if name.startswith("test_rule_")}

    # Rule 9 is about a search by vectors, which there is none of.
    assert set(range(1, 11)) - {9} == alone | {rule for rule, _, _ in BROKEN}
