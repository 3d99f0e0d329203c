"""`viral db pull`: an existing database becomes model files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.output import out, print_json
from viral.settings import load_settings

if TYPE_CHECKING:
    from viral.database.pull.files import Pulled


def pull(
    url: Annotated[
        str | None, typer.Option("--url", help="The database; without it, the product's own.")
    ] = None,
    folder: Annotated[
        Path, typer.Option("--out", help="The folder to write; it becomes a Python package.")
    ] = Path("pulled"),
    force: Annotated[
        bool, typer.Option("--force", help="Write into a folder that is not empty.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a database's schema as models. Example: viral db pull --out shop --url postgres://...

    The database is only read.
    """
    pulled = asyncio.run(_pull(url, folder, force=force))
    if as_json:
        print_json(
            {
                "folder": folder,
                "files": pulled.files,
                "tables": pulled.tables,
                "notes": pulled.notes,
            }
        )
        return
    out.print(f"Wrote {len(pulled.files)} files with {len(pulled.tables)} tables to {folder}.")
    for note in pulled.notes:
        out.print(f"Note: {note}.", markup=False)
    out.print(
        f"Next: read {folder / 'models'}, then load it: from {folder.name} import SCHEMA."
        " SCHEMA.statements() builds the same schema in an empty database, in one transaction.",
        markup=False,
    )


async def _pull(url: str | None, folder: Path, *, force: bool) -> Pulled:
    from viral.database.pull import files
    from viral.database.secrets import Secrets
    from viral.database.urls import parse_url
    from viral.servers import migrator_url, running_server

    if url is not None:
        return await files.pull(parse_url(url, name="--url"), folder, force=force)
    settings = load_settings()
    async with running_server(settings):
        secrets = Secrets.load_or_create(settings.home)
        return await files.pull(migrator_url(settings, secrets), folder, force=force)
