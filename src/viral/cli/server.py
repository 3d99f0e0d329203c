"""`viral server`: the embedded PostgreSQL alone, and servers that are not ours."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.output import err, out, print_facts, print_json, progress_bar
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.postgres.upgrade import Move, Moved

group = typer.Typer(no_args_is_help=True, help="The embedded PostgreSQL, or a server of yours.")


@group.command()
def start() -> None:
    """Start the embedded server, with its roles and database. Example: viral server start."""
    from viral.servers import prepare_server, urls_of

    settings = load_settings()
    _refuse_foreign()
    for warning in asyncio.run(prepare_server(settings)):
        err.print(f"warning: {warning}")
    out.print(f"PostgreSQL runs at {urls_of(settings).direct}")


@group.command()
def stop() -> None:
    """Stop the embedded server. Example: viral server stop."""
    from viral.servers import embedded_server

    _refuse_foreign()
    asyncio.run(embedded_server(load_settings()).stop())
    out.print("PostgreSQL is stopped.")


@group.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show whether the embedded server runs, and where. Example: viral server status --json."""
    from viral.servers import embedded_server

    _refuse_foreign()
    state = asyncio.run(embedded_server(load_settings()).status())
    address = f"{state.address.host}:{state.address.port}" if state.address else None
    facts = {
        "running": state.is_running,
        "address": address,
        "version": state.version,
        "binaries": state.source,
        "data": state.data_dir,
        "log": state.log_file,
        "pid": state.pid,
        "since": state.since,
    }
    if as_json:
        print_json(facts)
    else:
        print_facts(facts)


@group.command()
def logs(
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many lines.")] = 50,
) -> None:
    """Show the end of the server's log. Example: viral server logs -n 100."""
    from viral.errors import NotFound
    from viral.servers import embedded_server

    _refuse_foreign()
    log = embedded_server(load_settings()).log_file
    if not log.is_file():
        raise NotFound("There is no log yet.", hint="Start the server: `viral server start`.")
    for line in log.read_text("utf-8", errors="replace").splitlines()[-lines:]:
        out.print(line, markup=False)


@group.command()
def upgrade(
    bindir: Annotated[
        Path | None,
        typer.Option("--bindir", help="Programs of the version that made the data folder."),
    ] = None,
    confirm: Annotated[
        str | None, typer.Option("--confirm", help="The new major version, instead of typing it.")
    ] = None,
) -> None:
    """Move the data folder to the major version of the programs. Example: viral server upgrade.

    The server is stopped. The old folder is kept; rows and schema are compared before it leaves.
    """
    from viral.cli.guard import require_name
    from viral.database.secrets import Secrets
    from viral.postgres import upgrade as moves

    settings = load_settings()
    _refuse_foreign()
    move = moves.find_move(settings.home, bindir=settings.pg_bindir, old_bindir=bindir)
    if move is None:
        out.print(
            "There is nothing to move: the data are of the programs' major version, and a minor"
            " one needs no more than a restart (`viral server stop`, `viral server start`)."
        )
        return
    require_name(
        settings,
        str(move.new.major),
        confirm,
        what=f"Moving {move.size_bytes / 1e9:.1f} GB from PostgreSQL {move.old.major} to"
        f" {move.new.major}",
        thing="new version",
        loss="the server is stopped meanwhile; the old folder is kept",
    )
    secrets = Secrets.load(settings.home)
    with progress_bar("Moving") as advance:
        moved = asyncio.run(moves.upgrade(move, secrets, advance=advance))
    _tell_moved(move, moved, is_named=settings.pg_bindir == move.old.folder)


@group.command()
def bootstrap(
    admin_url: Annotated[
        str, typer.Option("--admin-url", help="A role with CREATEROLE and CREATEDB, or more.")
    ],
) -> None:
    """Prepare a server that is not ours: roles, database, privileges.

    Example: viral server bootstrap --admin-url postgresql://admin:secret@host/postgres
    """
    from viral.database.secrets import Secrets
    from viral.database.urls import parse_url
    from viral.postgres.bootstrap import bootstrap as prepare

    settings = load_settings()
    secrets = Secrets.load_or_create(settings.home)
    admin = parse_url(admin_url, name="--admin-url")
    name, warnings = asyncio.run(prepare(admin, secrets))
    for warning in warnings:
        err.print(f"warning: {warning}")
    database = admin.for_database(name)
    out.print("The server is ready. Put these lines into .env.local (they hold passwords):")
    for variable, role in (("DATABASE_URL", "viral_app"), ("DIRECT_URL", "viral_migrator")):
        url = database.for_role(role, secrets.password(role)).libpq(password=True)
        out.print(f"{variable}={url}", markup=False)
    out.print("Then: viral migrate deploy")


def _tell_moved(move: Move, moved: Moved, *, is_named: bool) -> None:
    new = move.new.major
    data, kept = shlex.quote(str(moved.data_dir)), shlex.quote(str(moved.kept))
    away = shlex.quote(f"{moved.data_dir}.{new}")
    out.print(
        f"The data are of PostgreSQL {new}: {moved.rows:,} rows in {moved.tables:,} tables, the"
        f" same as before, by {moved.method}.",
        markup=False,
    )
    if is_named:
        out.print("Take VIRAL_PG_BINDIR out of your settings: it names the old programs.")
    out.print("Then: viral up, viral doctor, viral backup create --full")
    out.print(f"To go back (what is written from now on stays behind): set VIRAL_PG_BINDIR to"
        f" {move.old.folder}, then", markup=False)  # fmt: skip
    out.print(f"  viral server stop; mv {data} {away} && mv {kept} {data}", markup=False)
    out.print(f"When PostgreSQL {new} has proved itself: rm -r {kept}", markup=False)


def _refuse_foreign() -> None:
    from viral.errors import BadSetting
    from viral.servers import is_embedded

    if not is_embedded(load_settings()):
        raise BadSetting(
            "DATABASE_URL is set: that server is not ours to start, stop or read.",
            hint="Unset it to use the embedded server.",
        )
