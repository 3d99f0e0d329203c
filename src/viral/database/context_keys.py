"""The change of the context key: two tokens of each tenant are valid until the former is retired.

The file names the coming key before a token's hash is stored, and puts it in force only when no
tenant lacks one. So a run that is killed anywhere leaves every tenant with a token that works, and
the next run goes on from the file and the rows.
"""

from __future__ import annotations

import asyncio
import secrets as random
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import delete, exists, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from viral.database.bulk import as_arrays, bulk_insert
from viral.database.faults import connecting, sqlstate_of
from viral.database.lock_patience import LOCK_TIMEOUT, patiently
from viral.database.secrets import KEY_BYTES, ContextKey, ContextKeys
from viral.database.tenancy import context_token, token_hash
from viral.errors import LockNotObtained, NotAllowed
from viral.schema.security import APP, AUTH, READONLY
from viral.schema.tenants import Tenant, TenantContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from uuid import UUID

    from sqlalchemy import Select
    from sqlalchemy.ext.asyncio import AsyncConnection

    from viral.database.secrets import Secrets
    from viral.database.urls import ServerUrl

    Advance = Callable[[str, int, int | None], None]

BATCH = 1_000
WAIT_S = 30
_NAMES = ("token_sha256", "tenant_id", "key_id")
_LOCK_TIMED_OUT = "55P03"
# Whoever makes or erases a tenant holds ROW EXCLUSIVE to the end of the transaction: it is waited
# for, and nobody else begins. Whoever only looks a token up is not kept waiting.
_LOCK = "LOCK TABLE viral.tenant_contexts IN SHARE ROW EXCLUSIVE MODE"
_HAS_TENANTS = "SELECT to_regclass('viral.tenant_contexts')"
# A transaction that has looked a token up holds ACCESS SHARE to its end.
_AT_WORK = text("""
SELECT l.virtualtransaction FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE l.relation = 'viral.tenant_contexts'::regclass AND a.datname = current_database()
  AND a.usename IN (:app, :readonly)
""").bindparams(app=APP, readonly=READONLY)


@dataclass(frozen=True, slots=True)
class Change:
    """What a run did: the key in force, one that was before it, tokens stored and removed."""

    current: ContextKey
    former: ContextKey | None
    stored: int
    removed: int = 0
    is_continued: bool = False


@dataclass(frozen=True, slots=True)
class ContextUse:
    """How many tenants there are, and how many have a token under each key's number."""

    tenants: int
    by_key: Counter[int]


async def context_use(url: ServerUrl) -> ContextUse:
    """Count tokens by key, as the migrator."""
    async with _connected(url) as connection:
        return await _use(connection)


async def rotate_context(url: ServerUrl, secrets: Secrets, *, advance: Advance) -> Change:
    """Make another context key, store each tenant's token under it, and put it in force.

    Every process of this installation takes it at its next transaction. NotAllowed while the
    tokens of a former key are valid. `url` is the migrator's.
    """
    is_continued = secrets.context.coming is not None
    async with _connected(url) as connection:
        use = await _use(connection)
        keys = secrets.change_context(partial(_with_coming, known=max(use.by_key, default=0)))
        coming = keys.coming
        assert coming is not None

        async def put_in_force() -> None:
            secrets.change_context(partial(_in_force, coming=coming))

        stored = await _when_no_tenant_lacks(connection, coming, put_in_force, advance=advance)
    return Change(coming, keys.current, stored, is_continued=is_continued)


async def retire_context(url: ServerUrl, secrets: Secrets, *, advance: Advance) -> Change:
    """Let the tokens of every key but the one in force end, and forget the former key.

    A tenant that was made meanwhile with a former key gets its token first, and transactions that
    began with one are waited for. NotAllowed while a rotation is unfinished.
    """
    keys = secrets.context
    current = keys.current
    removed = 0

    async with _connected(url) as connection:

        async def remove_others() -> None:
            nonlocal removed
            # Under the lock nobody puts another key in force.
            if (_retirable(secrets.context)).current != current:
                raise LockNotObtained(
                    "Another command changes the context key.", hint="See `viral keys status`."
                )
            others = delete(TenantContext).where(TenantContext.key_id != current.id)
            removed = (await connection.execute(others)).rowcount

        _retirable(keys)
        if (await _use(connection)).by_key.keys() - {current.id}:
            await _outlast(connection)
        stored = await _when_no_tenant_lacks(connection, current, remove_others, advance=advance)
    secrets.change_context(partial(_without_former, current=current))
    return Change(current, keys.former, stored, removed=removed)


async def renew_tokens(url: ServerUrl, secrets: Secrets) -> int | None:
    """Give each tenant of a restored database its token of today, and end those of other keys.

    `url` is the migrator's. Returns how many it stored; None where there is no table of tenants.
    """
    keys = secrets.context
    valid = [key.id for key in (keys.current, keys.coming, keys.former) if key is not None]
    async with _connected(url) as connection:
        async with _as_auth(connection):
            if await connection.scalar(text(_HAS_TENANTS)) is None:
                return None
        stored = await _store_tokens(connection, keys.current, lambda *_: None)
        async with _as_auth(connection):
            await connection.execute(
                delete(TenantContext).where(TenantContext.key_id.not_in(valid))
            )
    return stored


def _with_coming(keys: ContextKeys, *, known: int) -> ContextKeys:
    """Name a coming key, with a number that no token has; one that is named stays."""
    if keys.coming is not None:
        return keys
    if keys.former is not None:
        raise NotAllowed(
            f"The context key {keys.current.id} is in force, and the tokens of the former key"
            f" {keys.former.id} are still valid.",
            hint="End them first: `viral keys retire --context`.",
        )
    number = max(known, keys.current.id) + 1
    return ContextKeys(keys.current, coming=ContextKey(number, random.token_bytes(KEY_BYTES)))


def _in_force(keys: ContextKeys, *, coming: ContextKey) -> ContextKeys:
    # Where another run was faster there is nothing left to do.
    return ContextKeys(coming, former=keys.current) if keys.coming == coming else keys


def _without_former(keys: ContextKeys, *, current: ContextKey) -> ContextKeys:
    return ContextKeys(current) if keys.current == current and keys.coming is None else keys


def _retirable(keys: ContextKeys) -> ContextKeys:
    if keys.coming is not None:
        raise NotAllowed(
            f"The rotation to the context key {keys.coming.id} is not finished.",
            hint="Finish it first: `viral keys rotate --context`.",
        )
    return keys


async def _when_no_tenant_lacks(
    connection: AsyncConnection,
    key: ContextKey,
    act: Callable[[], Awaitable[None]],
    *,
    advance: Advance,
) -> int:
    """Store the tokens under a key; then act, while no tenant is made. Returns how many it stored.

    What is stored is committed before: if the action's transaction is lost, no token is.
    """
    stored = 0
    is_done = False

    async def attempt() -> None:
        nonlocal is_done
        async with _as_auth(connection):
            await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
            await connection.execute(text(_LOCK))
            if await connection.scalar(_lacking(key).limit(1)) is None:
                await act()
                is_done = True

    while not is_done:
        stored += await _store_tokens(connection, key, advance)
        try:
            await patiently(attempt)
        except DBAPIError as error:
            if sqlstate_of(error) != _LOCK_TIMED_OUT:
                raise
            raise LockNotObtained(
                "A transaction that makes or erases a tenant does not end.",
                hint="Run this again when it has ended.",
            ) from error
    return stored


async def _store_tokens(connection: AsyncConnection, key: ContextKey, advance: Advance) -> int:
    """Store the hash of the token of each tenant that lacks it, a batch a transaction."""
    async with _as_auth(connection):
        total = await connection.scalar(select(func.count()).select_from(_lacking(key).subquery()))
    # Another run's row is as good. No index is named: of two runs at once, either of the table's
    # unique indexes may be the first to see the other's row.
    insert = bulk_insert(TenantContext, _NAMES).on_conflict_do_nothing()
    stored = 0
    batch = _lacking(key).order_by(Tenant.id).limit(BATCH)
    while True:
        async with _as_auth(connection):
            # A tenant that is erased meanwhile is waited for, and left out.
            locked = batch.with_for_update(read=True, key_share=True)
            ids = (await connection.scalars(locked)).all()
            if not ids:
                return stored
            rows = [(_hash(key, tenant_id), tenant_id, key.id) for tenant_id in ids]
            await connection.execute(insert, as_arrays(rows, _NAMES))
        stored += len(ids)
        batch = _lacking(key).where(Tenant.id > ids[-1]).order_by(Tenant.id).limit(BATCH)
        advance("Storing tokens", stored, total)


def _hash(key: ContextKey, tenant_id: UUID) -> bytes:
    return token_hash(context_token(key.material, tenant_id))


def _lacking(key: ContextKey) -> Select[UUID]:
    has_one = exists().where(TenantContext.tenant_id == Tenant.id, TenantContext.key_id == key.id)
    return select(Tenant.id).where(~has_one)


async def _use(connection: AsyncConnection) -> ContextUse:
    async with _as_auth(connection):
        found = await connection.execute(
            select(TenantContext.key_id, func.count().label("tokens")).group_by(
                TenantContext.key_id
            )
        )
        by_key = Counter({use.key_id: use.tokens for use in found})
        tenants = await connection.scalar(select(func.count()).select_from(Tenant)) or 0
    return ContextUse(tenants, by_key)


async def _outlast(connection: AsyncConnection) -> None:
    """Wait for the transactions that are open at this moment: a former token may be theirs."""
    deadline = asyncio.get_running_loop().time() + WAIT_S
    begun = await _at_work(connection)
    while begun:
        if asyncio.get_running_loop().time() > deadline:
            raise LockNotObtained(
                f"{len(begun)} transactions that began before do not end: they may be working with"
                " a former token.",
                hint="Run `viral keys retire --context` again when they have ended.",
            )
        await asyncio.sleep(0.05)
        begun &= await _at_work(connection)


async def _at_work(connection: AsyncConnection) -> set[str]:
    async with connection.begin():
        return set(await connection.scalars(_AT_WORK))


@asynccontextmanager
async def _as_auth(connection: AsyncConnection) -> AsyncIterator[None]:
    """Open a transaction as the role that tokens belong to."""
    async with connection.begin():
        await connection.execute(text(f"SET LOCAL ROLE {AUTH}"))
        yield


@asynccontextmanager
async def _connected(url: ServerUrl) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(
        url.sqlalchemy,
        connect_args=url.connect_args,
        poolclass=NullPool,
        hide_parameters=True,
    )
    try:
        with connecting(url):
            connection = await engine.connect()
        try:
            yield connection
        finally:
            await connection.close()
    finally:
        await engine.dispose()
