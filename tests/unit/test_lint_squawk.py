"""squawk's findings: at the right place, about rows that exist, and beyond a script's own say."""

from __future__ import annotations

from pathlib import Path

import pytest

from viral.database.lint import squawk
from viral.database.lint.linter import lint_revision
from viral.errors import LintFailed

RENAME = "ALTER TABLE videos RENAME COLUMN title TO name;"


def found(**scripts: str) -> list[tuple[str, int, str]]:
    findings = lint_revision(scripts)
    return [(finding.script, finding.line, finding.rule) for finding in findings]


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        (RENAME, "renaming-column"),
        ("ALTER TABLE videos RENAME TO films;", "renaming-table"),
        ("CREATE INDEX i ON videos (tenant_id);", "require-concurrent-index-creation"),
        ("DROP INDEX i;", "require-concurrent-index-deletion"),
        ("REINDEX TABLE videos;", "require-concurrent-reindex"),
        ("ALTER TABLE videos ADD CONSTRAINT c CHECK (a > 0);", "constraint-missing-not-valid"),
        (
            "ALTER TABLE videos ADD CONSTRAINT u UNIQUE (tenant_id, title);",
            "disallowed-unique-constraint",
        ),
        ("ALTER TABLE videos ALTER COLUMN title SET NOT NULL;", "adding-not-nullable-field"),
        ("ALTER TABLE videos ADD COLUMN a text NOT NULL;", "adding-required-field"),
        ("ALTER TABLE videos ADD COLUMN a uuid DEFAULT uuidv7();", "adding-field-with-default"),
        ("ALTER TABLE videos ADD COLUMN a timestamp;", "prefer-timestamp-tz"),
        ("ALTER TABLE videos ADD COLUMN a varchar(10);", "prefer-text-field"),
        ("ALTER TABLE videos DETACH PARTITION v;", "require-concurrent-partition-detach"),
        ("DROP FUNCTION viral.tenant_id();", "ban-drop-function"),
    ],
)
def test_what_holds_up_or_breaks_a_running_product_is_found(sql: str, rule: str) -> None:
    assert [("change", 1, rule)] == found(change=sql)


def test_a_reference_on_a_filled_table_is_added_unvalidated() -> None:
    reference = "ADD CONSTRAINT f FOREIGN KEY (tenant_id) REFERENCES tenants"
    sql = f"-- in sight: videos, tenants\nALTER TABLE videos {reference}"

    assert [("change", 2, "adding-foreign-key-constraint")] == found(change=f"{sql};")
    assert [] == found(change=f"{sql} NOT VALID;")


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE videos ADD COLUMN a int;",
        "ALTER TABLE videos ADD COLUMN a smallint NOT NULL DEFAULT 0;",
        "ALTER TABLE videos ALTER COLUMN title DROP NOT NULL;",
        "ALTER TABLE videos DROP CONSTRAINT ck_videos_status;",
        "-- step: one, outside a transaction\nCREATE INDEX CONCURRENTLY i ON videos (tenant_id);",
    ],
)
def test_what_our_steps_make_safe_is_clean(sql: str) -> None:
    assert [] == found(change=sql)


def test_a_finding_names_its_script_its_line_and_its_own_step() -> None:
    script = (
        "-- Colours, in two steps (größer).\n"
        "-- step: first\n"
        "COMMENT ON TABLE videos IS 'Bücher';   SELECT 1;\n"
        "\n"
        "-- step: second\n"
        "-- lint: renaming-table: another step and another rule\n"
        f"COMMENT ON TABLE videos IS 'ü'; {RENAME} SELECT 2;\n"
        "ALTER TABLE concepts\n"
        "  ADD COLUMN a int,\n"
        "  ADD COLUMN b char(3);\n"
    )

    assert [
        ("one", 1, "renaming-column"),
        ("two", 6, "unused-waiver"),
        ("two", 7, "renaming-column"),
        ("two", 8, "two-tables-locked"),
        ("two", 10, "ban-char-field"),
    ] == found(one=RENAME.removesuffix(";"), two=script)


def test_a_table_of_the_same_revision_may_be_changed_freely() -> None:
    one = (
        "CREATE TABLE clips (tenant_id uuid, id uuid, a text, PRIMARY KEY (tenant_id, id));"
        "ALTER TABLE clips ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
        "CREATE POLICY p ON clips TO viral_system USING (true);"
    )
    two = (
        "CREATE INDEX i ON clips (tenant_id, a);"
        "ALTER TABLE clips ADD CONSTRAINT c CHECK (a <> ''), ALTER COLUMN a SET NOT NULL;"
        "ALTER TABLE clips ADD COLUMN b char(3);"
    )

    assert [("two", 1, "ban-char-field")] == found(one=one, two=two)


def test_not_null_is_clean_after_its_check_was_validated_in_an_earlier_script() -> None:
    condition = "CHECK (title IS NOT NULL)"

    assert [] == found(
        one=f"ALTER TABLE videos ADD CONSTRAINT c {condition} NOT VALID;",
        two="ALTER TABLE videos VALIDATE CONSTRAINT c;",
        three="ALTER TABLE videos ALTER COLUMN title SET NOT NULL, DROP CONSTRAINT c;",
    )


@pytest.mark.parametrize("comment", ["squawk-ignore renaming-column", "squawk-ignore-file"])
def test_a_script_waives_in_our_words_alone(comment: str) -> None:
    assert [("change", 2, "renaming-column")] == found(change=f"-- {comment}\n{RENAME}")


def test_a_configuration_in_the_working_folder_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".squawk.toml").write_text('excluded_rules = ["renaming-column"]\n')
    monkeypatch.chdir(tmp_path)

    assert [("change", 1, "renaming-column")] == found(change=RENAME)


def test_the_general_rule_is_silent_beside_a_special_one() -> None:
    sql = "ALTER TABLE videos ADD CONSTRAINT u UNIQUE (tenant_id, title), ADD CHECK (true);"

    assert [("change", 1, "disallowed-unique-constraint")] == found(change=sql)


def test_a_squawk_that_stops_is_said_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squawk, "_OFF", {"no-such-rule": "a later squawk might not know one"})

    with pytest.raises(LintFailed, match=r"squawk stopped: .*invalid rule name no-such-rule"):
        lint_revision({"change.sql": RENAME})
