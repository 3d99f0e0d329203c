"""The rules of row security, each with what breaks it and what keeps it."""

from __future__ import annotations

import pytest

from viral.database.lint.linter import lint_revision
from viral.database.lint.rules import HINTS

TABLE = "CREATE TABLE clips (tenant_id uuid, id uuid, PRIMARY KEY (tenant_id, id));"
ENABLE = "ALTER TABLE clips ENABLE ROW LEVEL SECURITY;"
FORCE = "ALTER TABLE clips FORCE ROW LEVEL SECURITY;"
MINE = "tenant_id = (SELECT viral.tenant_id())"
POLICY = f"CREATE POLICY tenant_only ON clips TO viral_app USING ({MINE}) WITH CHECK ({MINE});"
MISSING = "row-security-missing"


def broken(*scripts: str) -> list[str]:
    findings = lint_revision({f"{at}.sql": sql for at, sql in enumerate(scripts)})
    return [finding.rule for finding in findings if finding.rule in HINTS]


def test_a_table_with_row_security_and_a_policy_is_clean() -> None:
    assert [] == broken(TABLE + ENABLE + FORCE + POLICY)


def test_row_security_may_come_in_a_later_script_and_in_one_command() -> None:
    both = "ALTER TABLE clips ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"

    assert [] == broken(TABLE, both, POLICY)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (TABLE, "without ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY and a policy."),
        (TABLE + ENABLE + POLICY, "without FORCE ROW LEVEL SECURITY."),
        (TABLE + FORCE + POLICY, "without ENABLE ROW LEVEL SECURITY."),
        (TABLE + ENABLE + FORCE, "without a policy."),
    ],
)
def test_what_a_made_table_lacks_is_named(sql: str, words: str) -> None:
    found = [each for each in lint_revision({"clips.sql": sql}) if each.rule in HINTS]

    assert [(MISSING, f"clips is made {words}")] == [(each.rule, each.message) for each in found]


@pytest.mark.parametrize(
    "sql",
    [
        TABLE + ENABLE.replace("clips", "public.others") + FORCE + POLICY,
        "CREATE TABLE clips AS SELECT 1 AS id;",
        "CREATE UNLOGGED TABLE viral.clips (id uuid);",
        "CREATE TABLE clips (LIKE videos);",
        "CREATE TABLE clips_2026 PARTITION OF clips FOR VALUES IN (1);" + ENABLE,
    ],
)
def test_every_lasting_table_needs_row_security_of_its_own(sql: str) -> None:
    assert [MISSING] == broken(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TEMPORARY TABLE clips (id uuid);",
        "CREATE TABLE clips (id uuid); DROP TABLE clips;",
        "CREATE TABLE viral.clips PARTITION OF clips DEFAULT;"
        + (ENABLE + FORCE).replace("clips", "viral.clips"),
        TABLE.replace("clips", "public.clips") + ENABLE + FORCE + POLICY,
    ],
)
def test_a_table_that_goes_or_is_a_partition_needs_no_policy(sql: str) -> None:
    assert [] == broken(sql)


@pytest.mark.parametrize("words", ["DISABLE", "NO FORCE"])
def test_row_security_is_not_switched_off(words: str) -> None:
    sql = f"ALTER TABLE videos ADD COLUMN a text, {words} ROW LEVEL SECURITY;"

    assert ["row-security-off"] == broken(sql)


def test_a_policy_does_not_go_without_a_successor() -> None:
    assert ["policy-dropped"] == broken("DROP POLICY tenant_only ON videos;")


@pytest.mark.parametrize(
    "successor",
    [
        POLICY,
        f"-- step: later\n{POLICY.replace('clips', 'videos')}",
    ],
)
def test_a_successor_on_another_table_or_in_another_step_does_not_count(successor: str) -> None:
    sql = f"-- step: first\nDROP POLICY tenant_only ON videos;\n{successor}"

    assert "policy-dropped" in broken(sql)


def test_a_policy_goes_with_a_successor_or_with_its_table() -> None:
    successor = POLICY.replace("clips", "videos")

    assert [] == broken("DROP POLICY tenant_only ON videos;" + successor)
    assert [] == broken(
        "-- at risk: videos: SELECT count(*) FROM videos\n"
        "DROP POLICY tenant_only ON videos; DROP TABLE videos;"
    )


@pytest.mark.parametrize(
    "sql",
    [
        f"CREATE POLICY p ON videos USING ({MINE});",
        f"CREATE POLICY p ON videos TO viral_app, PUBLIC USING ({MINE});",
        "ALTER POLICY tenant_only ON videos TO PUBLIC;",
    ],
)
def test_a_policy_names_its_roles(sql: str) -> None:
    assert ["policy-for-everybody"] == broken(sql)


@pytest.mark.parametrize(
    ("table", "condition"),
    [
        ("videos", "USING (true)"),
        ("videos", f"USING ({MINE}) WITH CHECK (true)"),
        ("videos", f"USING ({MINE} OR true)"),
        ("videos", f"USING (NOT ({MINE}))"),
        ("videos", "USING (tenant_id <> (SELECT viral.tenant_id()))"),
        ("videos", "USING (tenant_id = (SELECT other.tenant_id()))"),
        ("videos", "USING (tenant_id = tenant_id)"),
        ("videos", ""),
        ("tenants", "USING (true)"),
        ("users", "USING (true)"),
    ],
)
def test_a_policy_for_a_tenants_role_asks_whose_the_row_is(table: str, condition: str) -> None:
    sql = f"CREATE POLICY p ON {table} TO viral_readonly {condition};"

    assert ["policy-without-tenant"] == broken(sql)


def test_a_policy_asks_whose_a_written_row_is() -> None:
    sql = "CREATE POLICY p ON videos FOR INSERT TO viral_app WITH CHECK (true);"

    assert ["policy-without-tenant"] == broken(sql)


def test_a_changed_policy_asks_as_well_even_where_its_roles_are_not_said() -> None:
    assert ["policy-without-tenant"] == broken("ALTER POLICY p ON videos USING (true);")
    assert [] == broken("ALTER POLICY p ON videos TO viral_system USING (true);")


@pytest.mark.parametrize(
    "sql",
    [
        f"CREATE POLICY p ON videos TO viral_app USING ({MINE} AND status = 'ready');",
        f"CREATE POLICY p ON videos TO viral_app USING ({MINE} OR ({MINE}));",
        "CREATE POLICY p ON tenants TO viral_app USING (id = (SELECT viral.tenant_id()));",
        f"CREATE POLICY p ON users TO viral_app USING (id IN (SELECT id FROM m WHERE {MINE}));",
        "CREATE POLICY p ON videos TO viral_system, viral_auth USING (true);",
        "CREATE POLICY p ON trends FOR SELECT TO viral_app USING (true);",
        "CREATE POLICY p ON videos AS RESTRICTIVE TO viral_app USING (status <> 'failed');",
    ],
)
def test_policies_that_bind_the_tenant_or_are_for_others_are_clean(sql: str) -> None:
    assert [] == broken(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE VIEW ready AS SELECT id FROM videos;",
        "CREATE VIEW ready WITH (security_barrier) AS SELECT id FROM videos;",
        "CREATE VIEW ready WITH (security_invoker = off) AS SELECT id FROM videos;",
        "ALTER VIEW ready SET (security_invoker = false);",
        "ALTER VIEW ready RESET (security_invoker);",
    ],
)
def test_a_view_does_not_read_as_its_owner(sql: str) -> None:
    assert ["view-of-owner"] == broken(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE VIEW ready WITH (security_invoker) AS SELECT id FROM videos;",
        "CREATE VIEW ready WITH (security_invoker = true) AS SELECT id FROM videos;",
        "ALTER VIEW ready SET (security_invoker = on);",
        "ALTER VIEW ready SET (security_barrier = true);",
    ],
)
def test_a_view_reads_as_the_one_who_asks(sql: str) -> None:
    assert [] == broken(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE MATERIALIZED VIEW totals AS SELECT 1;",
        "REFRESH MATERIALIZED VIEW totals;",
    ],
)
def test_a_materialized_view_is_refused(sql: str) -> None:
    assert ["materialized-view"] == broken(sql)
