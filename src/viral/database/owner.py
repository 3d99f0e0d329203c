"""A connection that acts as the owner of the tables, and the lock that one deploy holds."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from viral.database.faults import connecting
from viral.database.lock_patience import LOCK_TIMEOUT
from viral.errors import LockNotObtained, ServerRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from viral.database.urls import ServerUrl

LOCK_WAIT_S = 60
# Any number that is ours: the first eight bytes of SHA-256("viral migrate"), signed.
_LOCK = 2903415108317251643
_HOLDER = """
SELECT a.application_name FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32 | l.objid::bigint) = :lock
"""
# The owner itself may not take locks of this kind.
_AS_MIGRATOR = "SET LOCAL ROLE NONE"
# The owner is under row security like everybody: with `row_security` off a statement that would
# pass over rows raises instead. The last line lets the server notice a client that was killed, so
# that its statement and its lock do not outlive it; some systems cannot.
_SETTINGS = f"""
RESET ALL;
SET ROLE viral_owner;
SET lock_timeout = '{LOCK_TIMEOUT}';
SET statement_timeout = '15min';
SET row_security = off;
DO $$ BEGIN
  PERFORM set_config('client_connection_check_interval', '1s', false);
EXCEPTION WHEN OTHERS THEN NULL;
END $$;
"""


@asynccontextmanager
async def owner_connection(url: ServerUrl) -> AsyncIterator[AsyncConnection]:
    """Connect as the migrator and act as viral_owner; a deploy that waits sees who this is."""
    name = f"viral migrate ({socket.gethostname()}, pid {os.getpid()})"
    arguments = {**url.connect_args, "server_settings": {"application_name": name[:63]}}
    engine = create_async_engine(url.sqlalchemy, connect_args=arguments, poolclass=NullPool)
    try:
        with connecting(url):
            connection = await engine.connect()
        try:
            with connecting(url):
                await act_as_owner(connection)
            yield connection
        finally:
            await connection.close()
    finally:
        await engine.dispose()


async def act_as_owner(connection: AsyncConnection) -> None:
    """Set the session up, whatever ran in it before."""
    await send(connection, _SETTINGS)


async def send(connection: AsyncConnection, script: str) -> None:
    """Send a script as it stands: in the current transaction, or outside of any."""
    await (await _driver(connection)).execute(script)


async def is_lost(connection: AsyncConnection) -> bool:
    """Tell whether the session ended, and its lock with it.

    SQLAlchemy would connect anew for the next statement, without the lock.
    """
    return connection.invalidated or (await _driver(connection)).is_closed()


async def _driver(connection: AsyncConnection) -> asyncpg.Connection[asyncpg.Record]:
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, asyncpg.Connection)
    return driver


@asynccontextmanager
async def deploy_lock(
    connection: AsyncConnection,
    *,
    wait_s: float = LOCK_WAIT_S,
    on_wait: Callable[[str], None] | None = None,
) -> AsyncIterator[None]:
    """Hold the lock of this database; `on_wait` hears once for whom it waits.

    The server frees it when the connection ends, however that happens. Within one connection it
    can be taken again.
    """
    await _obtain(connection, wait_s, on_wait)
    yield
    # Not after an error: the connection may be gone, or be about to close.
    async with connection.begin():
        await connection.execute(text(_AS_MIGRATOR))
        await connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})


async def _obtain(
    connection: AsyncConnection, wait_s: float, on_wait: Callable[[str], None] | None
) -> None:
    deadline = asyncio.get_running_loop().time() + wait_s
    while (holder := await _try_lock(connection)) is not None:
        if on_wait is not None:
            on_wait(holder)
            on_wait = None
        if asyncio.get_running_loop().time() > deadline:
            raise LockNotObtained(
                f"Another deploy is at work: {holder}.",
                hint="Wait until it ends and try again.",
            )
        await asyncio.sleep(0.5)


async def _try_lock(connection: AsyncConnection) -> str | None:
    """Take the lock and return None, or return who holds it."""
    async with connection.begin():
        await connection.execute(text(_AS_MIGRATOR))
        if await connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK}):
            return None
        return str(await connection.scalar(text(_HOLDER), {"lock": _LOCK}) or "unknown")


def person() -> str:
    """Name who is at work: the account and the machine."""
    try:
        account = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # A container may run as a number without a name.
        account = str(os.getuid())
    return f"{account}@{socket.gethostname()}"


def refuse_pooler(url: ServerUrl) -> None:
    """Raise ServerRefused where statements of one session may reach different servers."""
    if url.is_pooled:
        raise ServerRefused(
            f"{url} goes through a pooler, which does not keep the lock of a deploy.",
            hint="Set DIRECT_URL to the address of the server itself.",
        )
