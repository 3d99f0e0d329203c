"""`viral trends`: what concepts are made from."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.output import err, out, print_json
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.features.trends import TrendsFile

group = typer.Typer(no_args_is_help=True, help="Trends: what people talk about.")


@group.callback()
def _group() -> None:
    """Trends: what people talk about."""


@group.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV, JSON, or an RSS or Atom feed.")],
    category: Annotated[
        str | None, typer.Option("--category", help="For entries that name none.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Import trends from a file; one that its source named before is refreshed.

    Example: viral trends import trends.csv
    """
    found, stored = asyncio.run(_import(file, category))
    if as_json:
        rejects = [{"number": each.number, "reason": each.reason} for each in found.rejects]
        print_json({"stored": stored, "rejects": rejects})
    else:
        out.print(f"{stored:,} trends are in.")
        for reject in found.rejects[:20]:
            err.print(f"entry {reject.number} is left out: {reject.reason}", markup=False)
    if found.rejects:
        raise typer.Exit(1)


async def _import(file: Path, category: str | None) -> tuple[TrendsFile, int]:
    from viral.features.trends import import_trends, read_trends
    from viral.runtime import open_runtime

    found = read_trends(file, category=category)
    async with (
        open_runtime(load_settings()) as runtime,
        runtime.system.session_without_tenant() as session,
    ):
        return found, await import_trends(session, found.rows, now=runtime.clock())
