"""`viral keys`: the keys of encrypted fields, the key of tenants' contexts, and their change."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from viral.cli.output import err, out, print_json, print_table, progress_bar
from viral.errors import BadInput
from viral.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from viral.database.context_keys import Change, ContextUse
    from viral.database.encryption.keys import FieldKey
    from viral.database.encryption.rotation import Rotated, Use
    from viral.database.secrets import ContextKeys
    from viral.runtime import Runtime

group = typer.Typer(
    no_args_is_help=True, help="Keys: of the encrypted fields, and of the tenants' contexts."
)
Context = Annotated[
    bool, typer.Option("--context", help="The context key, which tenants' tokens come from.")
]


class Status(NamedTuple):
    """All keys, and what is under them."""

    keys: tuple[FieldKey, ...]
    use: Counter[Use]
    context: ContextKeys
    context_use: ContextUse


@group.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the keys, and how much is under each. Example: viral keys status --json."""
    found = asyncio.run(_status())
    columns, rows = _field_rows(found)
    context_columns, context_rows = ("context_key", "state", "tenants"), _context_rows(found)
    step = _next_step(found)
    if as_json:
        print_json(
            {
                "field_keys": [dict(zip(columns, row, strict=True)) for row in rows],
                "context_keys": [
                    dict(zip(context_columns, row, strict=True)) for row in context_rows
                ],
                "tenants": found.context_use.tenants,
                "next": step,
            }
        )
        return
    print_table(columns, rows)
    out.print()
    print_table(context_columns, context_rows)
    if step is not None:
        out.print(step)


@group.command()
def rotate(
    is_context: Context = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a new primary key and re-encrypt everything. Example: viral keys rotate.

    A run that was stopped goes on with the key that it made. With --context every tenant gets
    another token, and the former one is valid until viral keys retire --context.
    """
    if is_context:
        _tell_context(asyncio.run(_rotate_context()), as_json=as_json)
        return
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
    key_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The key, of `viral keys status`.")
    ] = None,
    is_context: Context = False,
) -> None:
    """Remove a key that nothing is under any more. Example: viral keys retire 5f1c9a2e.

    With --context the tokens of the former context key end.
    """
    if (key_id is None) != is_context:
        raise BadInput(
            "Say which key: one of the encrypted fields, or the former context key.",
            hint="Give either its ID, of `viral keys status`, or --context.",
        )
    if key_id is None:
        change = asyncio.run(_retire_context())
        out.print(
            f"The context key is {change.current.id}; {change.removed:,} tokens of others ended."
        )
    elif asyncio.run(_retire(key_id)):
        out.print(f"The key {key_id} is gone.")
    else:
        out.print(f"Nothing is under {key_id}: take it out of VIRAL_FIELD_KEYS.")


def _field_rows(found: Status) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    keys, use = found.keys, found.use
    tables = sorted({each.table for each in use})
    rows: list[tuple[object, ...]] = []
    states = {key.id: "readable" for key in keys} | {keys[0].id: "primary"}
    made = {key.id: key.created_at for key in keys}
    for key_id in [*made, *sorted({each.key_id for each in use} - made.keys())]:
        counts = [sum(n for each, n in use.items() if each == (key_id, table)) for table in tables]
        rows.append((key_id, states.get(key_id, "missing"), made.get(key_id), *counts))
    return ("id", "state", "made", *tables), rows


def _context_rows(found: Status) -> list[tuple[object, ...]]:
    keys = found.context
    named = (("current", keys.current), ("coming", keys.coming), ("former", keys.former))
    states = {key.id: state for state, key in named if key is not None}
    by_key = found.context_use.by_key
    numbers = sorted(states.keys() | by_key.keys(), reverse=True)
    return [(number, states.get(number, "unknown"), by_key[number]) for number in numbers]


def _next_step(found: Status) -> str | None:
    """Say what is left to do about the context key."""
    keys, use = found.context, found.context_use
    if keys.coming is not None:
        return "The rotation is not finished: run `viral keys rotate --context`."
    if lacking := use.tenants - use.by_key[keys.current.id]:
        return (
            f"{lacking:,} tenants have no token of the key in force: run"
            " `viral keys retire --context`."
        )
    if keys.former is not None or use.by_key.keys() - {keys.current.id}:
        return (
            f"When every program that holds a copy has the key {keys.current.id}, run"
            " `viral keys retire --context`: it ends the tokens of the others."
        )
    return None


def _tell_context(change: Change, *, as_json: bool) -> None:
    former = None if change.former is None else change.former.id
    if as_json:
        print_json(
            {
                "current": change.current.id,
                "former": former,
                "tokens": change.stored,
                "is_continued": change.is_continued,
            }
        )
        return
    if change.is_continued:
        out.print("A rotation that was stopped is finished; no further key was made.")
    out.print(f"The context key is {change.current.id}; {change.stored:,} tokens were stored.")
    out.print(
        f"Those of key {former} are valid too. When every program that holds a copy of the key has"
        " the new one: viral keys retire --context"
    )


@asynccontextmanager
async def _opened() -> AsyncIterator[tuple[Runtime, list[UUID]]]:
    """Open the product, and list the tenants as the one role that sees them all."""
    from viral.features.tenants import list_tenants
    from viral.runtime import open_runtime

    async with open_runtime(load_settings()) as runtime:
        async with runtime.system.session_without_tenant() as session:
            tenant_ids = [tenant.id for tenant in await list_tenants(session)]
        yield runtime, tenant_ids


async def _status() -> Status:
    from viral.database.context_keys import context_use
    from viral.database.encryption.rotation import Use, key_use
    from viral.runtime import migrator_url

    async with _opened() as (runtime, tenant_ids):
        context = runtime.secrets.context
        tokens = await context_use(migrator_url(runtime.settings, runtime.secrets))
        # A tenant without a token cannot be opened: its values are not counted.
        can_open = tokens.by_key[context.current.id] == tokens.tenants
        use = await key_use(runtime.app, tenant_ids) if can_open else Counter[Use]()
        return Status(runtime.field_keys.keys, use, context, tokens)


async def _rotate_context() -> Change:
    from viral.database.context_keys import rotate_context
    from viral.runtime import migrator_url

    async with _opened() as (runtime, _):
        url = migrator_url(runtime.settings, runtime.secrets)
        with progress_bar("Storing tokens") as advance:
            return await rotate_context(url, runtime.secrets, advance=advance)


async def _retire_context() -> Change:
    from viral.database.context_keys import retire_context
    from viral.runtime import migrator_url

    async with _opened() as (runtime, _):
        url = migrator_url(runtime.settings, runtime.secrets)
        with progress_bar("Storing tokens") as advance:
            return await retire_context(url, runtime.secrets, advance=advance)


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
