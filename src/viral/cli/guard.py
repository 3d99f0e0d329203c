"""What stands before a change of the schema: others at work, a copy, a name typed by a person."""

from __future__ import annotations

import ipaddress
import sys
from typing import TYPE_CHECKING

import typer

from viral.cli.output import err
from viral.errors import NotConfirmed

if TYPE_CHECKING:
    from viral.database.data_loss import RestorePoint
    from viral.database.urls import ServerUrl
    from viral.settings import Settings


def refuse_production(settings: Settings, url: ServerUrl, *, what: str) -> None:
    """Raise NotConfirmed where VIRAL_ENVIRONMENT, or a server elsewhere, says production."""
    if settings.environment == "production":
        raise NotConfirmed(
            f"VIRAL_ENVIRONMENT is production: {what} does not run here.",
            hint="Write a migration elsewhere, and apply it here: `viral migrate deploy`.",
        )
    if settings.environment is None and not _is_local(url.host):
        raise NotConfirmed(
            f"{url.host} is another machine and counts as production: {what} does not run there.",
            hint="For a server of development set VIRAL_ENVIRONMENT=development.",
        )


def require_name(
    settings: Settings,
    name: str,
    typed: str | None,
    *,
    what: str,
    thing: str = "database",
    loss: str | None = None,
) -> None:
    """Have the name of the thing typed: by a person at a terminal, or in --confirm."""
    if typed is None:
        if settings.is_ci or not sys.stdin.isatty():
            raise NotConfirmed(
                f"{what} needs the name of the {thing}, and nobody is there to type it.",
                hint=f"If you mean it: --confirm {name}",
            )
        loss = loss or f"everything in the {thing} {name} will be gone"
        err.print(f"{what}: {loss}.", style="bold red", markup=False)
        typed = typer.prompt("Type its name to go on", err=True)
    if typed != name:
        raise NotConfirmed(f"{typed!r} is not the name of the {thing}: nothing was changed.")


def restore_point(settings: Settings, url: ServerUrl, *, is_wanted: bool) -> RestorePoint | None:
    """Return what makes a copy of the database and says where it is; None where none is wanted."""
    if not is_wanted:
        return None

    async def make(name: str) -> str:
        from viral.postgres.dump import dump
        from viral.servers import field_keys

        err.print("Making a copy of the database first ...")
        folder = settings.home / "backups"
        key = field_keys(settings).primary
        path = await dump(url, folder, name=name, key=key, bindir=settings.pg_bindir)
        err.print(f"The copy is {path}. To look into it or to go back:", markup=False, emoji=False)
        err.print(f"  viral backup restore --logical {path} --into NAME", markup=False, emoji=False)
        return str(path)

    return make


def tell_holder(holder: str) -> None:
    """Say for whom a command waits."""
    err.print(f"Waiting for another deploy: {holder} ...", markup=False, emoji=False)


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
