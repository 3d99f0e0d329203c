"""`viral server`: the embedded PostgreSQL alone, and servers that are not ours."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from viral.cli.output import err, out, print_facts, print_json
from viral.settings import load_settings

group = typer.Typer(no_args_is_help=True, help="The embedded PostgreSQL, or a server of yours.")


@group.command()
def start() -> None:
    """Start the embedded server, with its roles and database. Example: viral server start."""
    from viral.runtime import prepare_server, urls_of

    settings = load_settings()
    _refuse_foreign()
    for warning in asyncio.run(prepare_server(settings)):
        err.print(f"warning: {warning}")
    out.print(f"PostgreSQL runs at {urls_of(settings).direct}")


@group.command()
def stop() -> None:
    """Stop the embedded server. Example: viral server stop."""
    from viral.runtime import embedded_server

    _refuse_foreign()
    asyncio.run(embedded_server(load_settings()).stop())
    out.print("PostgreSQL is stopped.")


@group.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show whether the embedded server runs, and where. Example: viral server status --json."""
    from viral.runtime import embedded_server

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
    from viral.runtime import embedded_server

    _refuse_foreign()
    log = embedded_server(load_settings()).log_file
    if not log.is_file():
        raise NotFound("There is no log yet.", hint="Start the server: `viral server start`.")
    for line in log.read_text("utf-8", errors="replace").splitlines()[-lines:]:
        out.print(line, markup=False)


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


def _refuse_foreign() -> None:
    from viral.errors import BadSetting
    from viral.runtime import is_embedded

    if not is_embedded(load_settings()):
        raise BadSetting(
            "DATABASE_URL is set: that server is not ours to start, stop or read.",
            hint="Unset it to use the embedded server.",
        )
