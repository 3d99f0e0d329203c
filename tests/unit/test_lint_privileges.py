"""The rules of privileges, roles, definer functions and kinds of objects."""

from __future__ import annotations

import pytest

from viral.database.lint.linter import lint_revision
from viral.database.lint.rules import HINTS

FIXED = "LANGUAGE sql SECURITY DEFINER SET search_path = ''"
FUNCTION = f"CREATE FUNCTION viral.total(a uuid, b int) RETURNS int {FIXED} AS 'SELECT 1';"
REVOKE = "REVOKE ALL ON FUNCTION viral.total(uuid, integer) FROM PUBLIC;"


def broken(sql: str) -> list[str]:
    findings = lint_revision({"change.sql": sql})
    return [finding.rule for finding in findings if finding.rule in HINTS]


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("GRANT SELECT ON videos TO PUBLIC;", "grant-to-everybody"),
        ("GRANT EXECUTE ON FUNCTION viral.tenant_id() TO viral_app, PUBLIC;", "grant-to-everybody"),
        ("GRANT ALL ON videos TO viral_app;", "grant-all"),
        ("GRANT ALL PRIVILEGES ON videos TO viral_app;", "grant-all"),
        ("GRANT ALL (id) ON videos TO viral_app;", "grant-all"),
        ("GRANT SELECT ON videos TO viral_app WITH GRANT OPTION;", "grant-option"),
        ("GRANT SELECT ON ALL TABLES IN SCHEMA public TO viral_app;", "grant-too-wide"),
        ("GRANT USAGE ON SCHEMA viral TO viral_app;", "grant-too-wide"),
        ("GRANT TEMPORARY ON DATABASE viral TO viral_app;", "grant-too-wide"),
        ("GRANT viral_owner TO viral_app;", "role-change"),
        ("GRANT viral_auth TO viral_app WITH ADMIN OPTION;", "role-change"),
        ("REVOKE viral_owner FROM viral_migrator;", "role-change"),
        ("CREATE ROLE helper;", "role-change"),
        ("ALTER ROLE viral_app BYPASSRLS;", "role-change"),
        ("ALTER ROLE viral_app SET row_security = off;", "role-change"),
        ("DROP ROLE viral_readonly;", "role-change"),
        (
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO viral_app;",
            "default-privileges",
        ),
        ("ALTER TABLE videos OWNER TO viral_app;", "strange-owner"),
        ("ALTER FUNCTION viral.tenant_id() OWNER TO viral_admin;", "strange-owner"),
        ("ALTER VIEW ready OWNER TO CURRENT_USER;", "strange-owner"),
        ("REASSIGN OWNED BY viral_auth TO viral_owner;", "strange-owner"),
        ("DROP OWNED BY viral_auth;", "strange-owner"),
        ("SET ROLE viral_owner;", "role-taken"),
        ("SET LOCAL ROLE viral_admin;", "role-taken"),
        ("SET LOCAL ROLE NONE;", "role-taken"),
        ("RESET ROLE;", "role-taken"),
        ("SET SESSION AUTHORIZATION viral_owner;", "role-taken"),
        ("SELECT set_config('role', 'viral_admin', true);", "role-taken"),
    ],
)
def test_a_privilege_or_role_is_not_given_away(sql: str, rule: str) -> None:
    assert [rule] == broken(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "GRANT SELECT, INSERT (id, title) ON videos, concepts TO viral_app, viral_readonly;",
        "REVOKE ALL ON videos FROM PUBLIC;",
        "REVOKE GRANT OPTION FOR SELECT ON videos FROM viral_app;",
        "GRANT EXECUTE ON FUNCTION viral.tenant_id() TO viral_app;",
        "ALTER TABLE videos OWNER TO viral_owner;",
        "ALTER FUNCTION viral.tenant_id() OWNER TO viral_auth;",
        "SET LOCAL ROLE viral_auth;",
        "SELECT set_config('role', 'viral_owner', true);",
    ],
)
def test_a_named_privilege_and_an_owner_of_ours_are_clean(sql: str) -> None:
    assert [] == broken(sql)


def test_a_definer_function_with_a_fixed_path_that_everybody_lost_is_clean() -> None:
    assert [] == broken(FUNCTION + REVOKE)


@pytest.mark.parametrize(
    "revoke",
    [
        "REVOKE ALL ON FUNCTION viral.total FROM PUBLIC;",
        "REVOKE EXECUTE ON ROUTINE viral.total(uuid, int) FROM viral_app, PUBLIC;",
        "REVOKE ALL ON ALL FUNCTIONS IN SCHEMA viral FROM PUBLIC;",
    ],
)
def test_a_function_is_taken_from_everybody_in_several_ways(revoke: str) -> None:
    assert [] == broken(FUNCTION + revoke)


@pytest.mark.parametrize(
    "after",
    [
        "",
        "REVOKE ALL ON FUNCTION viral.total(uuid) FROM PUBLIC;",
        "REVOKE ALL ON FUNCTION public.total(uuid, int) FROM PUBLIC;",
        "REVOKE ALL ON FUNCTION viral.total(uuid, int) FROM viral_app;",
        "REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;",
        "REVOKE ALL ON ALL TABLES IN SCHEMA viral FROM PUBLIC;",
        f"\n-- step: later\n{REVOKE}",
    ],
)
def test_a_definer_function_that_everybody_may_call_is_refused(after: str) -> None:
    assert ["definer-for-everybody"] == broken(f"-- step: first\n{FUNCTION}{after}")


def test_a_function_that_becomes_a_definer_is_judged_as_well() -> None:
    sql = "ALTER FUNCTION viral.total(uuid, integer) SECURITY DEFINER SET search_path = '';"

    assert ["definer-for-everybody"] == broken(sql)
    assert [] == broken(sql + REVOKE)


def test_what_a_function_returns_is_no_part_of_its_signature() -> None:
    table = f"CREATE FUNCTION viral.few(a uuid, OUT b int) {FIXED} AS 'SELECT 1';"

    assert [] == broken(table + "REVOKE ALL ON FUNCTION viral.few(uuid) FROM PUBLIC;")


@pytest.mark.parametrize(
    "path",
    ["", "SET search_path = public", "SET search_path = viral, ''", "SET search_path FROM CURRENT"],
)
def test_a_definer_function_without_a_fixed_path_is_refused(path: str) -> None:
    sql = FUNCTION.replace("SET search_path = ''", path) + REVOKE

    assert ["definer-search-path"] == broken(sql)


@pytest.mark.parametrize("path", ["pg_catalog", "pg_catalog, pg_temp", "''"])
def test_a_path_that_nobody_can_write_to_is_fixed(path: str) -> None:
    sql = FUNCTION.replace("search_path = ''", f"search_path = {path}") + REVOKE

    assert [] == broken(sql)


@pytest.mark.parametrize("action", ["RESET search_path", "RESET ALL", "SET search_path = public"])
def test_a_function_does_not_lose_its_fixed_path(action: str) -> None:
    assert ["definer-search-path"] == broken(f"ALTER FUNCTION viral.tenant_id() {action};")


def test_a_function_that_acts_as_its_caller_needs_nothing() -> None:
    assert [] == broken("CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';")


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        (
            "CREATE TRIGGER t BEFORE INSERT ON videos FOR EACH ROW EXECUTE FUNCTION f();",
            "trigger",
        ),
        ("DO $$ BEGIN EXECUTE 'DROP TABLE videos'; END $$;", "code-block"),
        ("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON videos (tenant_id);", "if-not-exists"),
        ("CREATE EXTENSION dblink;", "unknown-statement"),
        ("CREATE RULE r AS ON INSERT TO videos DO INSTEAD NOTHING;", "unknown-statement"),
        ("CREATE SCHEMA more CREATE TABLE t (id uuid);", "unknown-statement"),
        ("SELECT id INTO copies FROM videos;", "unknown-statement"),
        ("COPY videos TO PROGRAM 'cat';", "unknown-statement"),
        ("LOCK TABLE videos;", "unknown-statement"),
        ("ALTER SYSTEM SET fsync = off;", "unknown-statement"),
        ("SECURITY LABEL ON TABLE videos IS 'open';", "unknown-statement"),
        ("EXPLAIN ANALYZE DELETE FROM videos;", "unknown-statement"),
    ],
)
def test_what_no_rule_can_judge_is_refused(sql: str, rule: str) -> None:
    assert rule in broken(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "COMMENT ON TABLE videos IS 'DROP TABLE videos; CREATE TRIGGER';",
        "SELECT viral.make_partitions();",
        "CREATE TYPE colour AS ENUM ('red', 'blue');",
        "CREATE STATISTICS s ON tenant_id, id FROM videos;",
        "-- DO $$ this is a comment $$\nSELECT $x$ DROP TABLE videos; $x$;",
    ],
)
def test_ordinary_statements_are_clean(sql: str) -> None:
    assert [] == broken(sql)
