"""`viral performance`: results of videos."""

from __future__ import annotations

import asyncio
import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.output import err, out, print_json, progress_bar
from viral.errors import BadFile, BadInput
from viral.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from viral.features.performance.files import Reject, ResultRow
    from viral.features.performance.imports import ImportReport
    from viral.runtime import Runtime

group = typer.Typer(no_args_is_help=True, help="Performance: what posts brought.")

REJECTS_SHOWN = 10


@group.callback()
def _group() -> None:
    """Import what posts brought."""


@group.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV, JSON or JSON Lines.")],
    tenant: Annotated[str | None, typer.Option("--tenant", help="The tenant of all rows.")] = None,
    tenant_column: Annotated[
        str | None,
        typer.Option("--tenant-column", help="The column with each row's tenant; made if new."),
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option("--rejects", help="Where bad rows are listed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Import results; a second run changes nothing. Bad rows are listed, the others are in.

    Example: viral performance import results.csv --tenant demo
    """
    from viral.features.performance.files import read_results

    if (tenant is None) == (tenant_column is None):
        raise BadInput(
            "Say whose results these are.", hint="Give either --tenant T or --tenant-column COL."
        )
    with progress_bar("Reading") as advance:
        found = read_results(
            file,
            today=datetime.now(UTC).date(),
            tenant_column=tenant_column or "tenant",
            progress=lambda done, total: advance("Reading", done, total),
        )
        report = asyncio.run(_import(found.rows, tenant, advance))
    report.rejects[:0] = found.rejects
    report.rejects.sort(key=lambda each: each.line)
    listed = _list_rejects(rejects or file.with_suffix(".rejects.csv"), report.rejects)
    _tell(report, listed, as_json=as_json)
    if report.rejects:
        raise typer.Exit(1)


async def _import(
    rows: Sequence[ResultRow], tenant: str | None, advance: Callable[[str, int, int | None], None]
) -> ImportReport:
    from viral.features.jobs import queue as jobs
    from viral.features.performance.imports import ImportReport, import_results, rows_by_tenant
    from viral.features.tenants import find_tenant
    from viral.runtime import open_runtime

    report = ImportReport()
    async with open_runtime(load_settings()) as runtime:
        if tenant is not None:
            async with runtime.system.session_without_tenant() as session:
                groups = {(await find_tenant(session, tenant)).id: list(rows)}
        else:
            by_slug, report.rejects = rows_by_tenant(rows)
            ids = await _ensure_tenants(runtime, list(by_slug))
            groups = {ids[slug]: group for slug, group in by_slug.items()}
        done = 0
        for tenant_id, group in groups.items():
            async with runtime.app.tenant_session(tenant_id) as session:
                part = await import_results(session, group)
            report.stored += part.stored
            report.known += part.known
            report.early += part.early
            report.rejects += part.rejects
            done += len(group)
            advance("Importing", done, len(rows))
        if report.stored:
            async with runtime.system.session_without_tenant() as session:
                await jobs.ask_for_all(session)
    return report


async def _ensure_tenants(runtime: Runtime, slugs: Sequence[str]) -> dict[str, UUID]:
    from viral.features.tenants import create_tenant, list_tenants
    from viral.features.users.members import add_member, ensure_operator

    async with runtime.system.session_without_tenant() as session:
        known = {tenant.slug: tenant.id for tenant in await list_tenants(session)}
        operator = await ensure_operator(session)
        for slug in slugs:
            if slug not in known:
                known[slug] = await create_tenant(session, slug=slug, secrets=runtime.secrets)
                await add_member(session, tenant_id=known[slug], user_id=operator.id, role="ADMIN")
    return known


def _list_rejects(path: Path, rejects: Sequence[Reject]) -> Path | None:
    if not rejects:
        return None
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("line", "column", "value", "reason"))
            writer.writerows((each.line, each.column, each.value, each.reason) for each in rejects)
    except OSError as error:
        raise BadFile(
            f"The good rows are in, but {len(rejects):,} bad ones cannot be listed in {path}:"
            f" {error.strerror}.",
            hint="Import again with --rejects FILE; what is in is left as it is.",
        ) from error
    return path


def _tell(report: ImportReport, listed: Path | None, *, as_json: bool) -> None:
    if as_json:
        rejects = [
            {"line": r.line, "column": r.column, "value": r.value, "reason": r.reason}
            for r in report.rejects
        ]
        print_json(
            {
                "stored": report.stored,
                "known": report.known,
                "early": report.early,
                "rejects": rejects,
            }
        )
        return
    out.print(f"{report.stored:,} results are in, {report.known:,} were known before.")
    if report.early:
        out.print(
            f"{report.early:,} of them were read within two days of publication. Import them again"
            " later: only then they are learnt from."
        )
    for reject in report.rejects[:REJECTS_SHOWN]:
        where = f"line {reject.line}, {reject.column}"
        err.print(f"{where}: {reject.value!r}: {reject.reason}", markup=False)
    if listed is not None:
        err.print(f"{len(report.rejects):,} rows are left out; all are listed in {listed}.")
