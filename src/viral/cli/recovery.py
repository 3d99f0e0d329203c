"""`viral backup restore` and `viral backup verify`."""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli import logical
from viral.cli.guard import require_name
from viral.cli.moments import past
from viral.cli.output import err, out, print_facts, print_json, progress_bar
from viral.errors import BackupBroken, BadInput
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.postgres.backup.verify import Verified
    from viral.settings import Settings

_BACKUP_ID = re.compile(r"\d{8}T\d{6}Z-\w+")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def restore(
    at: Annotated[
        str | None,
        typer.Option("--at", help="2026-11-23T14:05, `2h` ago, or the id of a backup."),
    ] = None,
    to_branch: Annotated[
        str | None, typer.Option("--to-branch", help="The name of the branch to be made.")
    ] = None,
    is_in_place: Annotated[
        bool, typer.Option("--in-place", help="Set the server itself back, not a copy.")
    ] = False,
    confirm: Annotated[
        str | None, typer.Option("--confirm", help="The name, where nobody can type it.")
    ] = None,
    logical_source: Annotated[
        str | None,
        typer.Option("--logical", help="A logical backup's id, or the file of a restore point."),
    ] = None,
    into: Annotated[
        str | None, typer.Option("--into", help="With --logical: the name of the new database.")
    ] = None,
    admin_url: Annotated[
        str | None,
        typer.Option("--admin-url", help="With --logical: who makes it on a server elsewhere."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Restore the server as it was into a branch. Example: viral backup restore --at 2h.

    Without --at it is as it was a moment ago. The server itself is only changed by --in-place; its
    data are kept beside it then. --logical fills a new database from a logical backup.
    """
    if logical_source is not None:
        _logical(logical_source, into, admin_url, as_json=as_json)
        return
    if is_in_place and to_branch is not None:
        raise BadInput("--in-place and --to-branch exclude each other.", hint="Choose one of them.")
    settings = load_settings()
    now = datetime.now(UTC)
    backup_id = at if at is not None and _BACKUP_ID.fullmatch(at) else None
    moment = past(at, now) if at is not None and backup_id is None else None
    if is_in_place:
        document = asyncio.run(_in_place(settings, moment, backup_id, confirm))
    else:
        name = to_branch or f"restore-{(moment or now):%Y%m%dT%H%M%S}"
        document = asyncio.run(_to_branch(settings, name, moment, backup_id))
    if as_json:
        print_json(document)
        return
    print_facts(document)
    if not is_in_place:
        out.print(f"Work on it: viral branch checkout {document['branch']}", markup=False)


def verify(
    backup_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="A backup; without it the newest.")
    ] = None,
    is_deep: Annotated[
        bool, typer.Option("--deep", help="Restore it as well, and count and compare the rows.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check every bit of a backup and its WAL. Example: viral backup verify --deep."""
    verified = asyncio.run(_verify(load_settings(), backup_id, is_deep=is_deep))
    if as_json:
        print_json(asdict(verified) | {"is_whole": verified.is_whole})
    else:
        print_facts(_facts(verified))
    if verified.problems:
        for problem in verified.problems:
            err.print(f"broken: {problem}", markup=False)
        raise BackupBroken(f"{verified.backup_id} is not whole: {verified.problems[0]}")


def _logical(source: str, into: str | None, admin_url: str | None, *, as_json: bool) -> None:
    if into is None:
        raise BadInput("--logical needs the name of a new database.", hint="Add --into NAME.")
    name = asyncio.run(logical.restore(source, into, admin_url))
    if as_json:
        print_json({"database": name})
    else:
        out.print(f"Restored into {name}.", markup=False)


def _facts(verified: Verified) -> dict[str, object]:
    facts: dict[str, object] = {
        "backup": verified.backup_id,
        "files": f"{verified.files} opened to the last byte",
        "WAL": f"{verified.segments} segments opened, to {verified.archived_to}"
        if verified.segments
        else "none in the archive since",
    }
    if verified.recovery_s is not None:
        rows = f"{verified.rows or 0:,} in {verified.tables} tables"
        compared = ", as in the server at that moment" if verified.compared else ""
        facts |= {
            "restored in": f"{verified.recovery_s:.1f} s",
            "loss, had this machine been lost": "unknown"
            if verified.recovery_point_s is None
            else f"the last {verified.recovery_point_s:,.0f} s",
            "rows": rows + compared,
        }
    return facts


async def _to_branch(
    settings: Settings, name: str, moment: datetime | None, backup_id: str | None
) -> dict[str, object]:
    from viral.servers import local_branches

    with progress_bar("Restoring") as advance:
        restored = await local_branches(settings).bring_back(
            name, at=moment, backup_id=backup_id, advance=advance
        )
    return {
        "branch": name,
        "from": restored.backup.id,
        "last commit": restored.recovered_to,
        "seconds": round(restored.duration_s, 1),
    }


async def _in_place(
    settings: Settings, moment: datetime | None, backup_id: str | None, confirm: str | None
) -> dict[str, object]:
    from viral.servers import main_server, restore_in_place

    name = main_server(settings).installation.id
    when = backup_id or (moment.isoformat(timespec="seconds") if moment else "now")
    require_name(
        settings,
        name,
        confirm,
        what=f"Setting the server back to {when}",
        thing="installation",
        loss=f"what came later leaves the server {name}; its data are kept beside it",
    )
    with progress_bar("Restoring") as advance:
        done = await restore_in_place(settings, at=moment, backup_id=backup_id, advance=advance)
    if done.backup is None:
        err.print(
            f"The restore is done; only the backup after it was not made: {done.problem}\n"
            "Make it now: viral backup create --full",
            markup=False,
        )
    return {
        "former data": str(done.kept) if done.kept else "none: they were lost",
        "backup": done.backup.id if done.backup else "to be made",
    }


async def _verify(settings: Settings, backup_id: str | None, *, is_deep: bool) -> Verified:
    from viral.postgres.backup.claim import claimed
    from viral.postgres.backup.verify import Verifier
    from viral.postgres.branches.servers import Servers
    from viral.servers import backup_target, field_keys, main_server

    server = main_server(settings)
    with progress_bar("Verifying") as advance:
        verifier = Verifier(
            server,
            backup_target(settings),
            field_keys(settings),
            clock=lambda: datetime.now(UTC),
            advance=advance,
        )
        if not is_deep:
            return await verifier.verify(backup_id)
        with claimed(settings.home, "verify --deep", file_name="verifying.lock"):
            scratch = settings.home / "verifying"
            # One that was stopped half-way left it, and maybe a server that runs.
            await Servers(server).remove(scratch)
            return await verifier.verify(backup_id, scratch=scratch)
