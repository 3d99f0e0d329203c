"""The rules of steps, settings and locks, each with what breaks it and what keeps it."""

from __future__ import annotations

import pytest

from viral.database.lint.linter import lint_revision
from viral.database.lint.rules import HINTS

ADD = "ALTER TABLE videos ADD COLUMN colour text;"
OUTSIDE = "-- step: index, outside a transaction\n"
CHECKED = "ALTER TABLE videos ADD CONSTRAINT c CHECK (true) NOT VALID;"
VALIDATE = "ALTER TABLE videos VALIDATE CONSTRAINT c;"


def broken(*scripts: str) -> list[str]:
    findings = lint_revision({f"{at}.sql": sql for at, sql in enumerate(scripts)})
    return [finding.rule for finding in findings if finding.rule in HINTS]


@pytest.mark.parametrize(
    "verb", ["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT s", "START TRANSACTION"]
)
def test_a_script_does_not_control_its_transaction(verb: str) -> None:
    assert ["transaction-control"] == broken(f"{ADD} {verb};")


def test_a_step_outside_a_transaction_has_one_statement() -> None:
    one = "CREATE INDEX CONCURRENTLY i ON videos (tenant_id);"

    assert ["one-statement-outside"] == broken(OUTSIDE + one + one.replace(" i ", " j "))


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX CONCURRENTLY i ON videos (tenant_id);",
        "DROP INDEX CONCURRENTLY i;",
        "REINDEX TABLE CONCURRENTLY videos;",
        "REINDEX (CONCURRENTLY) TABLE videos;",
        "VACUUM (ANALYZE) videos;",
        "ALTER TABLE videos DETACH PARTITION v CONCURRENTLY;",
    ],
)
def test_what_refuses_a_transaction_stands_outside_of_one(sql: str) -> None:
    assert ["needs-no-transaction"] == broken(sql)
    assert [] == broken(OUTSIDE + sql)


@pytest.mark.parametrize(
    "sql", ["ANALYZE videos;", "REINDEX INDEX i;", "CREATE INDEX i ON videos (id);"]
)
def test_what_runs_in_a_transaction_may_stay_in_one(sql: str) -> None:
    assert [] == broken(sql)


def test_a_value_of_an_enum_is_added_in_a_step_of_its_own() -> None:
    value = "ALTER TYPE colour ADD VALUE 'red' BEFORE 'blue';"

    assert [] == broken(value)
    assert ["needs-own-step"] == broken(value + ADD)
    assert ["needs-own-step"] == broken(ADD + value)
    assert [] == broken(f"-- step: one\n{value}\n-- step: two\n{ADD}")


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("SET search_path = public;", "session-setting"),
        ("RESET search_path;", "session-setting"),
        ("RESET ALL;", "session-setting"),
        ("SET lock_timeout = '10s';", "session-setting"),
        ("SELECT set_config('search_path', 'public', false);", "session-setting"),
        ("SET LOCAL lock_timeout = 0;", "timeout-lifted"),
        ("SET lock_timeout = '0s';", "timeout-lifted"),
        ("SET LOCAL statement_timeout TO DEFAULT;", "timeout-lifted"),
        ("RESET statement_timeout;", "timeout-lifted"),
        ("SET row_security = on;", "row-security-setting"),
        ("SET LOCAL row_security = off;", "row-security-setting"),
        ("SELECT pg_catalog.set_config('row_security', 'on', true);", "row-security-setting"),
    ],
)
def test_a_setting_neither_outlives_its_step_nor_lifts_a_limit(sql: str, rule: str) -> None:
    assert [rule] == broken(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SET LOCAL check_function_bodies = off;",
        "SET LOCAL lock_timeout = '500ms';",
        "SET LOCAL statement_timeout = '30min';",
        "SELECT set_config('search_path', 'public', true);",
    ],
)
def test_a_local_setting_is_clean(sql: str) -> None:
    assert [] == broken(sql)


def test_a_constraint_is_validated_in_a_later_step() -> None:
    assert ["validated-at-once"] == broken(CHECKED + VALIDATE)
    assert ["validated-at-once"] == broken(f"{CHECKED[:-1]}, VALIDATE CONSTRAINT c;")
    assert [] == broken(f"-- step: add\n{CHECKED}\n-- step: validate\n{VALIDATE}")
    assert [] == broken(CHECKED, VALIDATE)
    assert [] == broken(CHECKED + VALIDATE.replace(" c;", " d;"))


def test_a_column_comes_to_a_filled_table_without_a_check() -> None:
    sql = "ALTER TABLE clips ADD COLUMN a int CHECK (a > 0);"

    assert ["column-with-check"] == broken(sql)
    assert ["row-security-missing"] == broken(f"CREATE TABLE clips (id uuid); {sql}")


@pytest.mark.parametrize(
    "sql",
    [
        "CLUSTER videos USING i;",
        "ALTER TABLE videos SET UNLOGGED;",
        "ALTER TABLE videos SET TABLESPACE fast;",
        f"{OUTSIDE}VACUUM FULL videos;",
    ],
)
def test_a_table_is_not_copied_under_a_lock(sql: str) -> None:
    assert ["table-rewritten"] == broken(sql)


@pytest.mark.parametrize(
    "second",
    [
        "ALTER TABLE concepts ADD COLUMN colour text;",
        "ALTER TABLE concepts RENAME COLUMN a TO b;",
        "ALTER TABLE concepts ADD CONSTRAINT c CHECK (true) NOT VALID;",
        "CREATE POLICY p ON concepts TO viral_system USING (true);",
    ],
)
def test_a_step_locks_one_filled_table_at_most(second: str) -> None:
    assert ["two-tables-locked"] == broken(ADD + ADD.replace("colour", "shade") + second)
    assert [] == broken(f"-- step: one\n{ADD}\n-- step: two\n{second}")
    assert [] == broken(ADD, second)


def test_one_statement_that_locks_two_tables_is_found() -> None:
    counts = "-- at risk: all: SELECT count(*) FROM videos, concepts\n"

    assert ["two-tables-locked"] == broken(f"{counts}DROP TABLE videos, concepts;")


@pytest.mark.parametrize(
    "second",
    [
        "ALTER TABLE concepts VALIDATE CONSTRAINT ck_concepts_title;",
        "ALTER TABLE concepts ADD FOREIGN KEY (tenant_id) REFERENCES tenants NOT VALID;",
        "ALTER TABLE concepts ALTER COLUMN title SET STATISTICS 500;",
        "ALTER TABLE concepts SET (fillfactor = 90);",
        "ALTER TABLE concepts RESET (fillfactor);",
        "ALTER TABLE concepts ATTACH PARTITION c DEFAULT;",
        "GRANT SELECT ON concepts TO viral_system;",
        "COMMENT ON TABLE concepts IS 'ideas';",
    ],
)
def test_gentle_locks_do_not_count(second: str) -> None:
    assert [] == broken(ADD + second)


def test_an_empty_table_may_be_locked_beside_a_filled_one() -> None:
    made = "CREATE TABLE clips (id uuid); ALTER TABLE clips ADD COLUMN a text;"

    assert ["row-security-missing"] == broken(ADD + made)
