"""Waivers: one rule, one statement, one reason; and what a broken rule looks like."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from viral.database.lint.findings import Finding
from viral.database.lint.linter import lint_revision, require_clean
from viral.database.lint.rules import HINTS
from viral.errors import BadScript, LintFailed

DROP = "DROP POLICY p ON videos;"
WAIVER = "-- lint: policy-dropped: nobody has used it\n"
DOCS = Path(__file__).parents[2] / "docs" / "migration-lint.md"


def found(sql: str) -> list[tuple[int, str, bool]]:
    return [(each.line, each.rule, each.is_waived) for each in lint_revision({"change.sql": sql})]


def test_a_waived_finding_is_kept_with_its_reason() -> None:
    assert [
        Finding(
            rule="policy-dropped",
            script="change.sql",
            line=2,
            message="videos loses a policy and its step makes no other.",
            hint="Create its successor in the same step.",
            is_waived=True,
            reason="nobody has used it",
        )
    ] == lint_revision({"change.sql": WAIVER + DROP})


def test_a_waiver_is_for_the_next_statement_only() -> None:
    assert [(2, "policy-dropped", True), (3, "policy-dropped", False)] == found(
        f"{WAIVER}{DROP}\n{DROP}"
    )


def test_a_waiver_is_for_its_own_rule_and_script_only() -> None:
    findings = lint_revision({"one.sql": f"{WAIVER}SELECT 1;", "two.sql": f"\n{DROP}"})

    assert [("one.sql", "unused-waiver"), ("two.sql", "policy-dropped")] == [
        (finding.script, finding.rule) for finding in findings
    ]
    assert not any(finding.is_waived for finding in findings)


def test_several_waivers_stand_above_one_statement() -> None:
    sql = f"{WAIVER}-- lint: drop-cascade: its views go too\n-- Because.\n{DROP[:-1]} CASCADE;"

    assert [(4, "policy-dropped", True), (4, "drop-cascade", True)] == found(sql)


def test_a_waiver_works_for_squawk_as_well() -> None:
    sql = "-- lint: renaming-table: nothing reads it yet\nALTER TABLE videos RENAME TO films;"

    assert [(2, "renaming-table", True)] == found(sql)


@pytest.mark.parametrize("reason", ["ok", "because so"])
def test_a_waiver_without_a_reason_waives_nothing(reason: str) -> None:
    assert [(1, "waiver-without-reason", False), (2, "policy-dropped", False)] == found(
        f"-- lint: policy-dropped: {reason}\n{DROP}"
    )


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        (f"{WAIVER}SELECT 1;", 1),
        (f"SELECT 1;\n{WAIVER}", 2),
        (f"-- step: one\nSELECT 1;\n{WAIVER}-- step: two\nSELECT 2;", 3),
        (f"-- step: one\n{WAIVER}-- step: two\nSELECT 2;", 2),
        (f"{WAIVER.replace('policy-dropped', 'no-such-rule')}SELECT 1;", 1),
    ],
)
def test_a_waiver_that_waives_nothing_is_a_finding(sql: str, line: int) -> None:
    assert [(line, "unused-waiver", False)] == found(sql)


def test_a_waiver_inside_a_statement_is_for_the_next_one() -> None:
    assert [(1, "policy-dropped", False), (2, "unused-waiver", False)] == found(
        f"DROP POLICY p\n{WAIVER}ON videos;"
    )


def test_a_revision_that_is_clean_or_waived_is_let_through() -> None:
    findings = lint_revision({"change.sql": f"{WAIVER}{DROP}", "other.sql": "SELECT 1;"})

    require_clean(findings)

    assert [True] == [each.is_waived for each in findings]


def test_a_broken_rule_is_refused_with_its_place_and_what_to_do() -> None:
    with pytest.raises(LintFailed) as caught:
        require_clean(lint_revision({"change.sql": f"\n{DROP}"}))

    assert (
        "change.sql, line 2: policy-dropped: videos loses a policy and its step makes no other."
        " Create its successor in the same step."
    ) == caught.value.message


@pytest.mark.parametrize(("count", "last"), [(5, "Create its"), (7, "... and 2 more.")])
def test_the_first_five_findings_are_named(count: int, last: str) -> None:
    with pytest.raises(LintFailed) as caught:
        require_clean(lint_revision({"change.sql": f"{DROP}\n" * count}))

    lines = caught.value.message.splitlines()
    assert min(count, 6) == len(lines)
    assert last in lines[-1]


def test_a_script_that_is_not_sql_is_refused_at_its_line() -> None:
    sql = "-- step: first\nSELECT 'ü';\n-- step: second\nSELECT 1;\nCREATE TABEL videos ();\n"

    with pytest.raises(
        BadScript, match=re.escape('change.sql, line 5: syntax error at or near "TABEL"')
    ):
        lint_revision({"change.sql": sql})


def test_what_runs_is_judged_where_a_line_break_is_not_a_line_feed() -> None:
    assert [(2, "policy-dropped", False)] == found(f"-- harmless\u2028{DROP}")


def test_a_revision_without_statements_is_clean() -> None:
    assert [] == lint_revision({"empty.sql": "", "comment.sql": "-- nothing\n"})


def test_every_rule_has_a_section_in_the_documentation() -> None:
    sections = re.findall(r"^### `([a-z-]+)`$", DOCS.read_text("utf-8"), re.MULTILINE)

    assert sorted(HINTS) == sorted(sections)
