"""`viral keys`: the keys of encrypted fields, and their change."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from viral.cli.output import err, out, print_json, print_table, progress_bar
from viral.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from viral.database.encryption.keys import FieldKey
    from viral.database.encryption.rotation import Rotated, Use
    from viral.runtime import Runtime

group = typer.Typer(no_args_is_help=True, help="Keys of the encrypted fields, such as tokens.")


@group.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the keys and how many values are under each. Example: viral keys status --json."""
    keys, use = asyncio.run(_status())
    tables = sorted({each.table for each in use})
    rows: list[tuple[object, ...]] = []
    states = {key.id: "readable" for key in keys} | {keys[0].id: "primary"}
    made = {key.id: key.created_at for key in keys}
    for key_id in [*made, *sorted({each.key_id for each in use} - made.keys())]:
        counts = [sum(n for each, n in use.items() if each == (key_id, table)) for table in tables]
        rows.append((key_id, states.get(key_id, "missing"), made.get(key_id), *counts))
    columns = ("id", "state", "made", *tables)
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, rows)


@group.command()
def rotate(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a new primary key and re-encrypt everything. Example: viral keys rotate.

    A run that was stopped goes on with the key that it made.
    """
    result, key_id = asyncio.run(_rotate())
    unreadable = [str(place) for place in result.unreadable]
    if as_json:
        print_json({"primary": key_id, "values": result.values, "unreadable": unreadable})
    else:
        if result.is_continued:
            out.print("A rotation that was stopped is finished; no further key was made.")
        out.print(f"{result.values:,} values were re-encrypted; the primary key is {key_id}.")
        for place in unreadable:
            err.print(f"cannot be opened: {place}", markup=False)
    if unreadable:
        raise typer.Exit(1)


@group.command()
def retire(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key, of `viral keys status`.")],
) -> None:
    """Remove a key that nothing is under any more. Example: viral keys retire 5f1c9a2e."""
    if asyncio.run(_retire(key_id)):
        out.print(f"The key {key_id} is gone.")
    else:
        out.print(f"Nothing is under {key_id}: take it out of VIRAL_FIELD_KEYS.")


@asynccontextmanager
async def _opened() -> AsyncIterator[tuple[Runtime, list[UUID]]]:
    """Open the product, and list the tenants as the one role that sees them all."""
    from viral.features.tenants import list_tenants
    from viral.runtime import open_runtime

    async with open_runtime(load_settings()) as runtime:
        async with runtime.system.session_without_tenant() as session:
            tenant_ids = [tenant.id for tenant in await list_tenants(session)]
        yield runtime, tenant_ids


async def _status() -> tuple[tuple[FieldKey, ...], Counter[Use]]:
    from viral.database.encryption.rotation import key_use

    async with _opened() as (runtime, tenant_ids):
        return runtime.field_keys.keys, await key_use(runtime.app, tenant_ids)


async def _rotate() -> tuple[Rotated, str]:
    from viral.database.encryption.rotation import rotate

    async with _opened() as (runtime, tenant_ids):
        with progress_bar("Re-encrypting") as advance:
            result = await rotate(
                runtime.app,
                tenant_ids,
                keys=runtime.field_keys,
                now=runtime.clock(),
                advance=advance,
            )
        return result, runtime.field_keys.primary.id


async def _retire(key_id: str) -> bool:
    """Retire a key; False where it is left to a person to take it out."""
    from viral.database.encryption.keys import KeyFile
    from viral.database.encryption.rotation import retire

    async with _opened() as (runtime, tenant_ids):
        await retire(runtime.app, tenant_ids, keys=runtime.field_keys, key_id=key_id)
        return isinstance(runtime.field_keys, KeyFile)
