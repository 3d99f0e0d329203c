"""`viral backup`: sealed backups of the embedded server."""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli import logical
from viral.cli.guard import require_name
from viral.cli.output import err, out, print_json, print_table, progress_bar, size
from viral.errors import BadInput
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.postgres.backup.catalogue import Backup, Catalogue, Kind
    from viral.postgres.backup.retention import Pruning
    from viral.postgres.backup.verify import Verified
    from viral.settings import Settings

_DAYS = re.compile(r"([1-9][0-9]{0,3})d")

group = typer.Typer(
    no_args_is_help=True, help="Backups: made, listed, verified, restored and pruned."
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@group.command()
def create(
    is_full: Annotated[bool, typer.Option("--full", help="All of the server.")] = False,
    is_incremental: Annotated[
        bool, typer.Option("--incremental", help="What changed since the newest backup.")
    ] = False,
    is_logical: Annotated[
        bool, typer.Option("--logical", help="The database in use, by pg_dump; of any server.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Back the server up, encrypted. Example: viral backup create.

    Without an option it is incremental, or full once a week. The keys are those of the encrypted
    fields: without field_keys.json, which is not in it, nobody opens a backup.
    """
    if is_full + is_incremental + is_logical > 1:
        raise BadInput(
            "--full, --incremental and --logical exclude each other.", hint="Choose one of them."
        )
    kind: Kind | None = "full" if is_full else "incremental" if is_incremental else None
    backup, location = asyncio.run(logical.create() if is_logical else _create(kind))
    if as_json:
        print_json(fields_of(backup))
        return
    taken = (backup.stopped_at - backup.started_at).total_seconds()
    out.print(
        f"{backup.id}: {size(backup.plain_bytes)} in {taken:.1f} s, stored as"
        f" {size(backup.stored_bytes)} in {location}."
    )


@group.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the backups, the oldest first. Example: viral backup list --json."""
    catalogue, verified = asyncio.run(_listed(load_settings()))
    if as_json:
        print_json(
            {
                "backups": [
                    fields_of(backup)
                    | {"verified": asdict(verified[backup.id]) if backup.id in verified else None}
                    for backup in catalogue.backups
                ],
                "broken": {name: error.message for name, error in catalogue.broken.items()},
            }
        )
    elif catalogue.backups:
        titles = ("id", "kind", "until", "size", "stored", "builds on", "verified")
        print_table(titles, _rows(catalogue, verified))
    elif not catalogue.broken:
        out.print("There is no backup yet: viral backup create")
    for error in catalogue.broken.values():
        err.print(f"broken: {error.message}", markup=False)
    if catalogue.broken:
        raise typer.Exit(1)


@group.command()
def prune(
    keep: Annotated[
        str | None, typer.Option("--keep", help="Days to reach back, such as 7d or 30d.")
    ] = None,
    is_dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and delete nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete what is older than needed. Example: viral backup prune --keep 30d --dry-run.

    Kept is all that `viral backup restore --at` needs for every moment of these days, so also the
    newest backup before them. Without --keep it is VIRAL_BACKUP_KEEP.
    """
    settings = load_settings()
    pruning = asyncio.run(
        _prune(settings, _days(keep or settings.backup_keep), is_dry_run=is_dry_run)
    )
    if as_json:
        print_json(
            {
                "backups": [backup.id for backup in pruning.backups],
                "wal_segments": len(pruning.wal),
                "freed_bytes": pruning.freed_bytes,
                "is_dry_run": is_dry_run,
            }
        )
        return
    verb = "would go" if is_dry_run else "deleted"
    for backup in pruning.backups:
        out.print(f"{verb}: {backup.id}")
    out.print(
        f"{verb}: {len(pruning.backups)} backups and {len(pruning.wal)} segments of WAL,"
        f" {size(pruning.freed_bytes)}"
    )


@group.command()
def delete(
    backup_id: Annotated[str, typer.Argument(metavar="ID", help="Of `viral backup list`.")],
    confirm: Annotated[
        str | None, typer.Option("--confirm", help="The id again, where nobody can type it.")
    ] = None,
) -> None:
    """Delete one backup, a broken one too. Example: viral backup delete 20261123T031500Z-full.

    It is refused while another backup builds on it. What is too old goes by viral backup prune.
    """
    settings = load_settings()
    require_name(
        settings,
        backup_id,
        confirm,
        what="Deleting a backup",
        thing="backup",
        loss="what only it reaches cannot be restored any more",
    )
    freed_bytes = asyncio.run(_delete(settings, backup_id))
    out.print(f"deleted: {backup_id}, {size(freed_bytes)}", markup=False)


def fields_of(backup: Backup) -> dict[str, object]:
    """Give a backup as JSON shows it."""
    return {
        **asdict(backup),
        "started_at": backup.started_at.isoformat(),
        "stopped_at": backup.stopped_at.isoformat(),
        "stored_bytes": backup.stored_bytes,
    }


async def _listed(settings: Settings) -> tuple[Catalogue, dict[str, Verified]]:
    from viral.postgres.backup.verify import read_verified
    from viral.postgres.installation import load_or_create_installation
    from viral.servers import backup_catalogue, backup_target

    installation = load_or_create_installation(settings.home)
    verified = await read_verified(backup_target(settings), installation.id)
    return await backup_catalogue(settings), verified


def _standing(verified: Verified | None) -> str:
    """Say what the last verification of a backup found."""
    if verified is None:
        return "never"
    when = f"{verified.verified_at.astimezone():%Y-%m-%d %H:%M}"
    if not verified.is_whole:
        return f"{when}: BROKEN"
    depth = "" if verified.recovery_s is None else f", restored in {verified.recovery_s:.1f} s"
    return f"{when}{depth}"


def _rows(catalogue: Catalogue, verified: dict[str, Verified]) -> list[tuple[object, ...]]:
    return [
        (
            backup.id,
            backup.kind,
            f"{backup.stopped_at.astimezone():%Y-%m-%d %H:%M:%S}",
            size(backup.plain_bytes),
            size(backup.stored_bytes),
            backup.parent_id,
            _standing(verified.get(backup.id)),
        )
        for backup in catalogue.backups
    ]


def _days(text: str) -> timedelta:
    found = _DAYS.fullmatch(text)
    if found is None:
        raise BadInput(f"{text!r} is no number of days.", hint="Write it as 7d or 30d.")
    return timedelta(days=int(found[1]))


async def _create(kind: Kind | None) -> tuple[Backup, str]:
    from viral.postgres.backup.physical import create_backup
    from viral.servers import backup_target, field_keys, running_main_server

    settings = load_settings()
    target = backup_target(settings)
    async with running_main_server(settings) as server:
        with progress_bar("Backing up", is_bytes=True) as advance:
            backup = await create_backup(
                server, target, field_keys(settings), kind=kind, advance=advance
            )
    return backup, target.location


async def _prune(settings: Settings, keep: timedelta, *, is_dry_run: bool) -> Pruning:
    from viral.postgres.backup.retention import prune as prune_backups
    from viral.postgres.installation import load_or_create_installation
    from viral.servers import backup_target, field_keys

    installation = load_or_create_installation(settings.home)
    with progress_bar("Pruning") as advance:
        return await prune_backups(
            installation.home,
            installation.id,
            backup_target(settings),
            field_keys(settings),
            keep=keep,
            now=datetime.now(UTC),
            is_dry_run=is_dry_run,
            advance=advance,
        )


async def _delete(settings: Settings, backup_id: str) -> int:
    from viral.postgres.backup.retention import delete_one
    from viral.postgres.installation import load_or_create_installation
    from viral.servers import backup_target, field_keys

    installation = load_or_create_installation(settings.home)
    return await delete_one(
        installation.home,
        installation.id,
        backup_target(settings),
        field_keys(settings),
        backup_id,
    )
