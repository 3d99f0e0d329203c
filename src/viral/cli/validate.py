"""`viral validate` and `viral format`: the rules of the schema, and the form of its files."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.installation import installation
from viral.cli.output import err, out, print_json, print_table

if TYPE_CHECKING:
    from pathlib import Path

    from viral.database.format.files import Outcome
    from viral.database.validate.findings import Finding

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def validate(
    in_database: Annotated[
        bool, typer.Option("--db", help="Also check the catalogue of the live database.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check the rules of the models: policies, keys, references, types, names; exit code 1 if not.

    Example: viral validate --db
    """
    findings = _in_models()
    if in_database:
        findings += asyncio.run(_in_database())
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    elif findings:
        _print(findings)
    else:
        out.print(f"The models{' and the database' if in_database else ''} keep all rules.")
    if findings:
        raise typer.Exit(1)


def format_(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 if a file is not in form.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put the files of the schema into their one form. Example: viral format --check."""
    from viral.database.format.files import checkout_of, format_schema

    root = checkout_of()
    outcome = format_schema(root, write=not check)
    if as_json:
        print_json(_document(outcome, root))
    else:
        _report(outcome, root, check=check)
    if outcome.problems or (check and outcome.changed):
        raise typer.Exit(1)


def _in_models() -> list[Finding]:
    from viral.database.validate.loading import load_models

    if mistakes := load_models():
        return mistakes
    from viral.database.validate.models import validate_models

    return validate_models()


async def _in_database() -> list[Finding]:
    from viral.database.validate.live import validate_database

    async with installation() as place:
        return await validate_database(place.url)


def _print(findings: list[Finding]) -> None:
    """Write what breaks a rule, then once per rule what to do."""
    print_table(
        ("rule", "object", "what is wrong"),
        [(finding.rule, finding.object, finding.message) for finding in findings],
    )
    hints = {finding.hint: finding.rule for finding in findings}
    out.print()
    print_table(("rule", "fix"), [(rule, hint) for hint, rule in hints.items()])


def _document(outcome: Outcome, root: Path) -> dict[str, object]:
    return {
        "files": outcome.count,
        "changed": [str(path.relative_to(root)) for path in outcome.changed],
        "problems": [
            {
                "file": str(problem.file.relative_to(root)),
                "line": problem.line,
                "message": problem.message,
            }
            for problem in outcome.problems
        ],
    }


def _report(outcome: Outcome, root: Path, *, check: bool) -> None:
    for path in outcome.changed:
        out.print(f"{'not in form' if check else 'rewritten'}: {path.relative_to(root)}")
    for problem in outcome.problems:
        line = "" if problem.line is None else f":{problem.line}"
        err.print(f"cannot be read: {problem.file.relative_to(root)}{line}: {problem.message}")
    in_form = outcome.count - len(outcome.changed) - len(outcome.problems)
    out.print(f"{in_form} of {outcome.count} files were in form.")
    if check and outcome.changed:
        out.print("Put them into form with `viral format`.")
