"""`viral migrate`: bring a database to the schema of this version."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.output import out, print_json, print_table
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.database.migrate import Status

group = typer.Typer(no_args_is_help=True, help="Migrations of the schema.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@group.command()
def deploy(as_json: AsJson = False) -> None:
    """Apply what is pending. Example: viral migrate deploy."""
    applied = asyncio.run(_deploy())
    if as_json:
        print_json({"applied": applied})
    elif applied:
        out.print(f"Applied {', '.join(applied)}.")
    else:
        out.print("Nothing is pending.")


@group.command()
def status(as_json: AsJson = False) -> None:
    """Show what is applied and what is pending; exit code 2 when something is.

    Example: viral migrate status --json
    """
    state = asyncio.run(_status())
    if as_json:
        print_json({"current": state.current, "applied": state.applied, "pending": state.pending})
    else:
        rows = [(each, "applied") for each in state.applied]
        rows += [(each, "pending") for each in state.pending]
        print_table(("revision", "state"), rows)
    if state.pending:
        raise typer.Exit(2)


async def _deploy() -> list[str]:
    from viral.database import migrate
    from viral.database.secrets import Secrets
    from viral.runtime import migrator_url, running_server

    settings = load_settings()
    async with running_server(settings):
        secrets = Secrets.load_or_create(settings.home)
        return await migrate.deploy(migrator_url(settings, secrets))


async def _status() -> Status:
    from viral.database import migrate
    from viral.database.secrets import Secrets
    from viral.runtime import migrator_url, running_server

    settings = load_settings()
    async with running_server(settings):
        secrets = Secrets.load_or_create(settings.home)
        return await migrate.status(migrator_url(settings, secrets))
