"""What squawk, the linter of PostgreSQL migrations, says about a revision."""

from __future__ import annotations

import json
import os
import subprocess
from bisect import bisect_right
from importlib.metadata import PackageNotFoundError, distribution
from itertools import accumulate
from typing import TYPE_CHECKING, TypedDict

from viral.database.lint.revision import Breach, Revision, touched_tables
from viral.database.lint.statements import lines_of
from viral.errors import LintFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from viral.database.lint.statements import Statement

_TIMEOUT_S = 30
_FOUND_NOTHING, _FOUND_SOMETHING = 0, 1
_OFF = {
    "prefer-bigint-over-int": "ids are UUIDs; the integers are counts",
    "prefer-bigint-over-smallint": "the same",
    "prefer-identity": "neither serial nor identity: rule sequence",
    "prefer-robust-stmts": "a step is recorded, and runs once; rule if-not-exists",
    "require-lock-timeout": "set for every step by the deploy",
    "require-statement-timeout": "the same",
    "transaction-nesting": "rule transaction-control",
    "ban-uncommitted-transaction": "the same",
    "ban-concurrent-index-creation-in-transaction": "rule needs-no-transaction",
    "ban-truncate-cascade": "rule drop-cascade",
    "ban-drop-constraint": "the safe way to NOT NULL ends with it",
    "ban-drop-not-null": "it widens what a column takes; the judge compares it with the models",
}
# Of one statement these say more than the general rule, which squawk reports beside them.
_GENERAL = "constraint-missing-not-valid"
_SPECIAL = {
    "adding-foreign-key-constraint",
    "adding-serial-primary-key-field",
    "disallowed-unique-constraint",
}
# About a column or a name wherever it stands; the others are about rows and those who read them.
_ON_EMPTY_TABLES = {
    "ban-char-field",
    "ban-create-domain-with-constraint",
    "identifier-too-long",
    "prefer-text-field",
    "prefer-timestamp-tz",
}


class _Report(TypedDict):
    """A line of squawk's JSON: lines count from 0, columns in bytes."""

    rule_name: str
    line: int
    column: int
    message: str
    help: str | None


def check(scripts: Mapping[str, str], revision: Revision) -> Iterator[Breach]:
    """Run squawk once over all scripts, so that it sees what earlier ones made."""
    # An empty statement ends what the last one of a script leaves open.
    parts = [[*lines_of(text), ";"] for text in scripts.values()]
    starts = list(accumulate([0, *map(len, parts)]))
    found: dict[Statement, dict[str, Breach]] = {}
    for report in _run("\n".join(line for part in parts for line in part)):
        part = bisect_right(starts, report["line"]) - 1
        line = report["line"] - starts[part] + 1
        statement = _statement_at(revision, list(scripts)[part], (line, report["column"]))
        breach = _breach(statement, line, report)
        found.setdefault(statement, {}).setdefault(breach.rule, breach)
    for statement, by_rule in found.items():
        yield from _relevant(statement, by_rule, revision)


def _run(sql: str) -> list[_Report]:
    # squawk obeys comments of its own and a file in the working folder: waivers are said our way.
    asked = sql.replace("squawk-ignore", "squawk ignore")
    exclude = [f"--exclude={rule}" for rule in _OFF]
    done = subprocess.run(
        [_program(), "--reporter=json", "--pg-version=18.0", f"--config={os.devnull}", *exclude],
        input=asked,
        capture_output=True,
        encoding="utf-8",
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode not in {_FOUND_NOTHING, _FOUND_SOMETHING}:
        raise LintFailed(
            f"squawk stopped: {done.stderr.strip()}", hint="Run `pip install squawk-cli` again."
        )
    reports: list[_Report] = json.loads(done.stdout or "[]")
    return reports


def _program() -> str:
    try:
        files = distribution("squawk-cli").files or []
    except PackageNotFoundError as error:
        raise LintFailed(
            "The package squawk-cli is not installed.", hint="Run `pip install squawk-cli`."
        ) from error
    return next(str(file.locate()) for file in files if file.stem == "squawk")


def _statement_at(revision: Revision, script: str, place: tuple[int, int]) -> Statement:
    """Find the last statement of a script that begins at a place or before it."""
    return max(
        (each for each in revision.statements if each.script == script and _start(each) <= place),
        key=_start,
    )


def _start(statement: Statement) -> tuple[int, int]:
    return statement.line, statement.column


def _breach(statement: Statement, line: int, report: _Report) -> Breach:
    rule = report["rule_name"]
    hint = report["help"] or f"See https://squawkhq.com/docs/{rule}."
    return Breach(rule, statement, report["message"], hint, line)


def _relevant(
    statement: Statement, by_rule: Mapping[str, Breach], revision: Revision
) -> Iterator[Breach]:
    tables = touched_tables(statement.node)
    is_empty = bool(tables) and not any(revision.is_filled(each, statement) for each in tables)
    for rule, breach in by_rule.items():
        if is_empty and rule not in _ON_EMPTY_TABLES:
            continue
        if rule == _GENERAL and _SPECIAL & by_rule.keys():
            continue
        yield breach
