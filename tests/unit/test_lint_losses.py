"""The rules of data: losses are counted, and rows are worked on where they are seen."""

from __future__ import annotations

import pytest

from viral.database.lint.linter import lint_revision
from viral.database.lint.rules import HINTS

COUNT = "-- at risk: values: SELECT count(*) FROM videos WHERE model IS NOT NULL\n"
SIGHT = "-- in sight: public.videos, concepts\n"


def broken(*scripts: str) -> list[str]:
    findings = lint_revision({f"{at}.sql": sql for at, sql in enumerate(scripts)})
    return [finding.rule for finding in findings if finding.rule in HINTS]


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE videos;",
        "DROP TABLE IF EXISTS public.videos;",
        "TRUNCATE videos;",
        "ALTER TABLE videos ADD COLUMN a text, DROP COLUMN model;",
        "ALTER TABLE videos ALTER COLUMN model TYPE int USING model::int;",
        "DROP TYPE colour;",
        "DROP SCHEMA viral;",
        "DROP DOMAIN url;",
    ],
)
def test_a_loss_is_counted_first(sql: str) -> None:
    assert ["loss-not-counted"] == broken(sql)
    assert [] == broken(COUNT + sql)


@pytest.mark.parametrize("sql", ["DELETE FROM videos;", "UPDATE videos SET model = NULL;"])
def test_a_change_of_every_row_is_counted_first(sql: str) -> None:
    assert ["loss-not-counted"] == broken(SIGHT + sql)
    assert [] == broken(SIGHT + COUNT + sql)
    assert [] == broken(f"{SIGHT}{sql[:-1]} WHERE model = 'old';")


def test_a_loss_is_counted_in_its_own_table_and_step() -> None:
    other = COUNT.replace("videos", "concepts")

    assert ["loss-not-counted"] == broken(f"{other}TRUNCATE videos;")
    assert ["loss-not-counted"] == broken(
        f"-- step: one\n{COUNT}SELECT 1;\n-- step: two\nTRUNCATE videos;"
    )


def test_a_table_of_the_same_revision_has_nothing_to_lose() -> None:
    assert [] == broken("CREATE TABLE clips (a int);", "DROP TABLE clips;")
    assert "loss-not-counted" in broken("DROP TABLE clips; CREATE TABLE clips (a int);")


@pytest.mark.parametrize(
    "query", ["SELECT 1; DROP TABLE videos", "SELECT FROM FROM", "SELECT 1; SELECT 2"]
)
def test_what_counts_a_loss_is_one_query(query: str) -> None:
    assert ["risk-not-a-query"] == broken(f"-- at risk: all: {query}\nDROP TYPE colour; SELECT 1;")


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE videos CASCADE;",
        "TRUNCATE videos CASCADE;",
        "ALTER TABLE videos DROP COLUMN model CASCADE;",
        "DROP FUNCTION viral.tenant_id() CASCADE;",
    ],
)
def test_a_drop_names_all_that_it_drops(sql: str) -> None:
    assert ["drop-cascade"] == broken(COUNT + sql)
    assert [] == broken(COUNT + sql.replace(" CASCADE", " RESTRICT"))


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE videos SET model = 'a' WHERE model IS NULL;",
        "DELETE FROM public.videos WHERE model = 'a';",
        "INSERT INTO videos (tenant_id) VALUES (NULL);",
        "WITH gone AS (DELETE FROM videos WHERE true RETURNING id) SELECT count(*) FROM gone;",
        "MERGE INTO videos AS v USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE;",
        "SELECT count(*) FROM videos;",
        "ALTER TABLE videos VALIDATE CONSTRAINT fk_videos_concept;",
        "ALTER TABLE videos ADD COLUMN concept_id uuid REFERENCES videos;",
    ],
)
def test_work_on_rows_names_its_table(sql: str) -> None:
    assert "rows-out-of-sight" in broken(sql)
    assert "rows-out-of-sight" not in broken(SIGHT + sql)


def test_a_reference_is_validated_with_both_its_tables_in_sight() -> None:
    key = "FOREIGN KEY (tenant_id, concept_id) REFERENCES concepts (tenant_id, id)"
    add = f"-- step: add\nALTER TABLE videos ADD CONSTRAINT c {key} NOT VALID;\n"
    validate = "ALTER TABLE videos VALIDATE CONSTRAINT c;"

    assert ["rows-out-of-sight"] * 2 == broken(f"{add}-- step: validate\n{validate}")
    assert ["rows-out-of-sight"] == broken(
        f"{add}-- step: validate\n-- in sight: videos\n{validate}"
    )
    assert [] == broken(f"{add}-- step: validate\n{SIGHT}{validate}")


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE videos VALIDATE CONSTRAINT ck_videos_status;",
        "SELECT count(*) FROM pg_class, information_schema.tables;",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC DELETE FROM videos; END;",
        "CREATE VIEW v WITH (security_invoker) AS SELECT id FROM videos;",
    ],
)
def test_what_reads_no_hidden_rows_is_clean(sql: str) -> None:
    assert [] == broken(sql)


def test_a_table_of_the_same_revision_hides_nothing() -> None:
    sql = "CREATE TABLE clips (a int); INSERT INTO clips VALUES (1); SELECT a FROM clips;"

    assert ["row-security-missing"] == broken(sql)


def test_a_reference_added_after_its_table_was_made_reads_the_other_table() -> None:
    key = "FOREIGN KEY (tenant_id, video_id) REFERENCES videos (tenant_id, id)"
    made = f"CREATE TABLE clips (tenant_id uuid, video_id uuid, {key});"
    sql = made.replace(f", {key}", "") + f"ALTER TABLE clips ADD {key};"

    assert ["row-security-missing", "rows-out-of-sight"] == broken(sql)
    assert ["row-security-missing"] == broken(made)
