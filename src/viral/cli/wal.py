"""`viral wal`: how far the archive of the embedded server reaches."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.output import err, out, print_facts, print_json, print_table, size
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.postgres.backup.wal_status import WalStatus

group = typer.Typer(no_args_is_help=True, help="The archive of the write-ahead log (WAL).")


@group.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show how far back and forth a restore can reach. Example: viral wal status --json."""
    found = asyncio.run(_read())
    if as_json:
        print_json(found.document)
    else:
        print_facts(
            {
                "archived up to": found.archived_to,
                "at": found.archived_at,
                "loss if this machine is lost": None
                if found.lag_s is None
                else f"the last {found.lag_s:,.0f} s",
                "in the archive": f"{found.segments:,} segments, {size(found.stored_bytes)}",
                "waiting here": f"{found.spool.waiting:,} segments,"
                f" {size(found.spool.waiting_bytes)}",
                "gap": found.spool.gap,
                "archiver": found.archiver_state,
            }
        )
        if found.chains:
            print_table(("chain", "backups", "from", "to", "verified"), found.chain_rows)
        else:
            out.print("There is no backup yet: viral backup create")
    for problem in found.problems:
        err.print(f"warning: {problem}", markup=False)
    if found.problems:
        raise typer.Exit(1)


async def _read() -> WalStatus:
    from viral.postgres.backup.wal_status import read_wal_status
    from viral.servers import backup_target, field_keys, main_server

    settings = load_settings()
    return await read_wal_status(
        main_server(settings),
        backup_target(settings),
        field_keys(settings),
        is_on=settings.archive,
        now=datetime.now(UTC),
    )
