"""`viral db import-prisma`: bring an existing database of the former schema in."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.output import err, out, print_json, print_table, progress_bar
from viral.errors import BadFile, NotConfirmed
from viral.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from viral.features.prisma_import.report import Report

REASONS_SHOWN = 20


def import_prisma(
    source_url: Annotated[
        str, typer.Argument(help="The database that Prisma made; it is only read.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count and check everything, write nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Import without asking.")] = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Folder for the report; by default import-prisma-<date>."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Import a database of the former Prisma schema; a second run changes nothing.

    Example: viral db import-prisma postgresql://user:password@host/viral_dashboard --dry-run
    """
    if not (dry_run or yes) and (as_json or not sys.stdin.isatty()):
        raise NotConfirmed(
            "Nobody is here to confirm the import.",
            hint="Look at the counts with --dry-run, then add --yes.",
        )
    folder = report or Path(f"import-prisma-{datetime.now(UTC):%Y-%m-%d}")
    result = asyncio.run(_import(source_url, folder, dry_run=dry_run, yes=yes, as_json=as_json))
    if as_json:
        rejects = [reject._asdict() for reject in result.rejects]
        print_json({**result.document, "rejects": rejects})
    if result.rejects:
        raise typer.Exit(1)


async def _import(
    source_url: str, folder: Path, *, dry_run: bool, yes: bool, as_json: bool
) -> Report:
    """Count first; import when there is something to import and somebody wants it."""
    from viral.features.prisma_import.run import import_prisma, learn_later
    from viral.features.prisma_import.target import open_target
    from viral.runtime import open_runtime
    from viral.servers import migrator_url

    settings = load_settings()
    async with (
        open_runtime(settings) as runtime,
        open_target(
            app=runtime.app,
            system=runtime.system,
            migrator=migrator_url(settings, runtime.secrets),
            secrets=runtime.secrets,
        ) as target,
    ):

        async def run(into: Path | None, label: str) -> Report:
            with progress_bar(label) as advance:
                return await import_prisma(
                    source_url,
                    target,
                    pepper=runtime.secrets.pepper,
                    now=runtime.clock(),
                    folder=into,
                    progress=_labelled(advance, label),
                )

        result = await run(None, "Counting")
        if not as_json:
            _tell(result)
        if dry_run or not result.rows or not (yes or typer.confirm("Import these rows?")):
            return result
        _make_folder(folder)
        result = await run(folder, "Importing")
        result.write(folder)
        await learn_later(runtime.system, result)
    if not as_json:
        rate = result.rows / max(result.seconds, 0.001)
        out.print(f"{result.rows:,} rows are in, {rate:,.0f} a second. The report: {folder}")
        if result.rejects:
            err.print(f"{len(result.rejects):,} are left out: see {folder / 'rejects.jsonl'}")
    return result


def _labelled(
    advance: Callable[[str, int, int | None], None], label: str
) -> Callable[[str, int, int | None], None]:
    return lambda step, done, total: advance(f"{label} {step}", done, total)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadFile(
            f"{folder} cannot be used for the report: {error.strerror}.",
            hint="Name another with --report FOLDER.",
        ) from error


def _tell(report: Report) -> None:
    print_table(
        ("table", "source", "to import", "already there", "rejected"),
        [
            (name, counts.source, counts.imported, counts.already_there, counts.rejected)
            for name, counts in report.tables.items()
        ],
    )
    for what, names in (("tables", report.extra_tables), ("columns", report.extra_columns)):
        if names:
            out.print(f"Not imported, for it is not of the schema: {what} {', '.join(names)}")
    for value, count in report.mended.most_common():
        out.print(f"{count:,} x {value}", markup=False)
    _tell_rejects(report)
    if not report.rows:
        out.print("There is nothing to import: what can be is here already.")


def _tell_rejects(report: Report) -> None:
    if not report.rejects:
        return
    examples = {(each.table, each.column, each.reason): each.id for each in report.rejects}
    counts = Counter((each.table, each.column, each.reason) for each in report.rejects)
    err.print(f"{len(report.rejects):,} rows are left out:")
    for (table, column, reason), count in counts.most_common(REASONS_SHOWN):
        example = examples[table, column, reason]
        err.print(f"{count:,} x {table}.{column} {reason}, such as {example}", markup=False)
    if len(counts) > REASONS_SHOWN:
        err.print(f"and {len(counts) - REASONS_SHOWN} more reasons: see --json.")
