"""`viral keys`: the keys of fields and of tenants' contexts, the roles' passwords; their change."""

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
    from collections.abc import AsyncIterator, Callable
    from uuid import UUID

    from viral.database.context_keys import Change, ContextUse
    from viral.database.encryption.keys import FieldKey
    from viral.database.encryption.rotation import Rotated, Use
    from viral.database.secrets import ContextKeys, Secrets
    from viral.database.urls import ServerUrl
    from viral.postgres.role_passwords import RolesRotated
    from viral.runtime import Runtime
    from viral.settings import Settings

group = typer.Typer(
    no_args_is_help=True,
    help="Keys: of the encrypted fields, of the tenants' contexts; the passwords of the roles.",
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
    of_roles: Annotated[
        bool, typer.Option("--roles", help="The passwords of the database's roles.")
    ] = False,
    admin_url: Annotated[
        str | None,
        typer.Option("--admin-url", help="With --roles, on a server of yours: who may."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a new primary key and re-encrypt everything. Example: viral keys rotate.

    A run that was stopped goes on with the key that it made. With --context every tenant gets
    another token, and the former one is valid until viral keys retire --context. With --roles
    every role of the database gets another password, while programs go on working.
    """
    if is_context and of_roles:
        raise BadInput("--context and --roles are two changes.", hint="Make one after the other.")
    if of_roles:
        _tell_roles(*asyncio.run(_rotate_roles(admin_url)), as_json=as_json)
        return
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


def _tell_roles(result: RolesRotated, lines: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "roles": result.roles,
                "servers": result.servers,
                "is_continued": result.is_continued,
                "to_replace": [line.partition("=")[0] for line in lines],
            }
        )
    elif result.is_continued:
        out.print("A rotation that was stopped is finished; no further passwords were made.")
    else:
        out.print(f"{len(result.roles)} roles have new passwords; programs that run know them.")
    if lines:
        # They hold passwords: not a part of the document, which may go to a log.
        to_person = err if as_json else out
        to_person.print("Replace these lines in .env.local (they hold passwords):")
        for line in lines:
            to_person.print(line, markup=False)


async def _rotate_roles(admin_url: str | None) -> tuple[RolesRotated, list[str]]:
    """Change the passwords; return what was done, and the lines of .env.local that go with it."""
    from datetime import UTC, datetime

    from viral.database.secrets import Secrets
    from viral.database.urls import parse_url
    from viral.postgres.role_passwords import rotate_role_passwords
    from viral.servers import is_embedded, running_server

    settings = load_settings()
    secrets = Secrets.load_or_create(settings.home)
    if is_embedded(settings):
        if admin_url is not None:
            raise BadInput("The embedded server needs no --admin-url.", hint="Leave it out.")
        async with running_server(settings):
            admins = await _own_servers(settings, secrets)
            result = await rotate_role_passwords(
                admins, secrets, now=datetime.now(UTC), then=lambda: _tell_others(settings)
            )
            return result, _lines_of_ours(settings, secrets)()
    if admin_url is None:
        raise BadInput(
            "That server is not ours: who may change the passwords of its roles?",
            hint="Add --admin-url postgresql://admin:password@host/postgres",
        )
    admin = parse_url(admin_url, name="--admin-url")
    _refuse_another(admin, settings)
    lines_of = _lines_of_ours(settings, secrets)
    result = await rotate_role_passwords([admin], secrets, now=datetime.now(UTC))
    return result, lines_of()


async def _tell_others(settings: Settings) -> None:
    """Have the pooler and the replica, which keep passwords of their own, take over the new."""
    from viral.postgres.replica import start_replica
    from viral.servers import local_replica, main_server, pooler_of

    await pooler_of(settings).refresh_users()
    replica = local_replica(settings)
    if await replica.is_answering():
        await start_replica(main_server(settings), replica)


async def _own_servers(settings: Settings, secrets: Secrets) -> list[ServerUrl]:
    """Find all servers of the installation that run; others learn the passwords at their start."""
    from viral.postgres.branches.registry import Registry
    from viral.postgres.server import Server

    homes = [branch.home for branch in Registry(settings.home).read().all if branch.home]
    servers = [Server(home=home, secrets=secrets) for home in (settings.home, *homes)]
    return [each.socket_url("viral_admin") for each in servers if await each.is_answering()]


def _refuse_another(admin: ServerUrl, settings: Settings) -> None:
    """Raise BadInput where the passwords would be those of a server that nobody here uses."""
    from viral.servers import urls_of

    urls = urls_of(settings)
    hosts = {url.host.replace("-pooler.", ".") for url in (urls.app, urls.direct)}
    if admin.host not in hosts:
        raise BadInput(
            f"--admin-url is on {admin.host}, but the product uses {' and '.join(sorted(hosts))}.",
            hint="Write the host as in DIRECT_URL.",
        )


def _lines_of_ours(settings: Settings, secrets: Secrets) -> Callable[[], list[str]]:
    """Find the URLs that hold a password of this installation; they are written by the function."""
    from sqlalchemy import make_url

    from viral.database.urls import parse_url

    given = {
        "DATABASE_URL": settings.database_url,
        "DIRECT_URL": settings.direct_url,
        "REPLICA_URL": settings.replica_url,
    }
    urls = {name: parse_url(text, name=name) for name, text in given.items() if text}
    ours = {name: url for name, url in urls.items() if secrets.login(url.user, url.password)}

    def lines() -> list[str]:
        # The text as it was, with its options.
        changed = {
            name: make_url(given[name] or "").set(password=secrets.password(url.user))
            for name, url in ours.items()
        }
        return [
            f"{name}={url.render_as_string(hide_password=False)}" for name, url in changed.items()
        ]

    return lines


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
    from viral.servers import migrator_url

    async with _opened() as (runtime, tenant_ids):
        context = runtime.secrets.context
        tokens = await context_use(migrator_url(runtime.settings, runtime.secrets))
        # A tenant without a token cannot be opened: its values are not counted.
        can_open = tokens.by_key[context.current.id] == tokens.tenants
        use = await key_use(runtime.app, tenant_ids) if can_open else Counter[Use]()
        return Status(runtime.field_keys.keys, use, context, tokens)


async def _rotate_context() -> Change:
    from viral.database.context_keys import rotate_context
    from viral.servers import migrator_url

    async with _opened() as (runtime, _):
        url = migrator_url(runtime.settings, runtime.secrets)
        with progress_bar("Storing tokens") as advance:
            return await rotate_context(url, runtime.secrets, advance=advance)


async def _retire_context() -> Change:
    from viral.database.context_keys import retire_context
    from viral.servers import migrator_url

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
    from viral.database.encryption.keys import KeyFile, retirable
    from viral.database.encryption.rotation import retire
    from viral.postgres.backup.claim import claimed
    from viral.postgres.backup.wal_keys import release_key
    from viral.postgres.installation import load_or_create_installation
    from viral.servers import backup_catalogue, backup_target

    async with _opened() as (runtime, tenant_ids):
        settings, ring = runtime.settings, runtime.field_keys
        # A backup under way may be under the key.
        with claimed(settings.home, "viral keys retire"):
            (await backup_catalogue(settings)).refuse_retirement(key_id)
            retirable(ring, key_id)
            target = backup_target(settings)
            installation = load_or_create_installation(settings.home)
            with progress_bar("Looking at WAL") as advance:
                await release_key(target, installation, ring, key_id, advance=advance)
            await retire(runtime.app, tenant_ids, keys=ring, key_id=key_id)
        return isinstance(runtime.field_keys, KeyFile)
