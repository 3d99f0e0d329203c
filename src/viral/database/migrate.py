"""Bring a database to the schema of the models, revision by revision."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command, op
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from viral.database.faults import connecting
from viral.errors import LockNotObtained, MigrationFailed, ServerRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Connection

    from viral.database.urls import ServerUrl

VERSION_TABLE = "alembic_version"
MIGRATIONS = Path(__file__).parents[1] / "migrations"
# Any number that is ours: the first eight bytes of SHA-256("viral migrate"), signed.
_LOCK = 2903415108317251643
_LOCK_WAIT_S = 60
_HOLDER = """
SELECT a.application_name FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted
  AND (l.classid::bigint << 32 | l.objid::bigint) = :lock
"""


@dataclass(frozen=True, slots=True)
class Status:
    """Where a database stands in the history of the schema."""

    current: str | None
    applied: list[str]
    pending: list[str]


async def deploy(url: ServerUrl, *, wait_s: float = _LOCK_WAIT_S) -> list[str]:
    """Apply what is pending and return its revisions; one deploy at a time."""
    async with _connection(url, lock_wait_s=wait_s) as connection:
        before = await connection.run_sync(_status)
        if not await connection.scalar(text("SELECT to_regnamespace('viral') IS NOT NULL")):
            raise ServerRefused(
                f"The database {url.database} is not prepared: it has no schema viral.",
                hint="Set it up with `viral server bootstrap --admin-url URL`.",
            )
        await connection.commit()
        try:
            await connection.run_sync(_run, command.upgrade, "head")
        except DBAPIError as error:
            raise MigrationFailed(
                f"A migration stopped: {error.orig}. The database is as it was before it.",
                hint="Correct the cause and run `viral migrate deploy` again.",
            ) from error
        return before.pending


async def downgrade(url: ServerUrl, revision: str) -> None:
    """Go back to a revision; `base` is the empty database."""
    async with _connection(url, lock_wait_s=_LOCK_WAIT_S) as connection:
        await connection.run_sync(_run, command.downgrade, revision)


async def status(url: ServerUrl) -> Status:
    """Compare the database's revision with the history."""
    async with _connection(url) as connection:
        return await connection.run_sync(_status)


def run_script(path: Path) -> None:
    """Run a file of SQL statements in the transaction of the current revision."""
    script = path.read_text("utf-8")
    connection = op.get_bind()
    # Opens the transaction: the driver's own call below would not.
    connection.execute(text("SELECT 1"))
    adapted = connection.connection.dbapi_connection
    assert adapted is not None
    adapted.run_async(lambda driver: driver.execute(script))


def _configuration(connection: Connection | None = None) -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS))
    configuration.set_main_option("path_separator", "os")
    configuration.attributes["connection"] = connection
    return configuration


def _run(connection: Connection, verb: object, revision: str) -> None:
    assert callable(verb)
    verb(_configuration(connection), revision)


def _status(connection: Connection) -> Status:
    script = ScriptDirectory.from_config(_configuration())
    context = MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE, "version_table_schema": "viral"}
    )
    current = context.get_current_revision()
    history = [revision.revision for revision in script.walk_revisions()][::-1]
    done = history.index(current) + 1 if current in history else 0
    connection.commit()
    return Status(current=current, applied=history[:done], pending=history[done:])


@asynccontextmanager
async def _connection(
    url: ServerUrl, *, lock_wait_s: float | None = None
) -> AsyncIterator[AsyncConnection]:
    # A deploy that waits finds the holder of the lock by this name.
    name = f"viral migrate ({socket.gethostname()}, pid {os.getpid()})"
    arguments = {**url.connect_args, "server_settings": {"application_name": name[:63]}}
    engine = create_async_engine(url.sqlalchemy, connect_args=arguments, poolclass=NullPool)
    try:
        async with AsyncExitStack() as stack:
            with connecting(url):
                connection = await stack.enter_async_context(engine.connect())
                if lock_wait_s is not None:
                    await _lock(connection, lock_wait_s)
                await connection.run_sync(_prepare)
            yield connection
    finally:
        await engine.dispose()


def _prepare(connection: Connection) -> None:
    """Act as the owner, never wait long for a lock, and see that a backfill misses no row.

    The owner is under row security like everybody: with `row_security` off a statement that would
    pass over rows raises instead.
    """
    for statement in (
        "SET ROLE viral_owner",
        "SET lock_timeout = '5s'",
        "SET statement_timeout = '15min'",
        "SET row_security = off",
    ):
        connection.execute(text(statement))
    connection.commit()


async def _lock(connection: AsyncConnection, wait_s: float) -> None:
    """Take the session's lock; it is freed when the connection closes, however that happens."""
    deadline = asyncio.get_running_loop().time() + wait_s
    while not await connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK}):
        if asyncio.get_running_loop().time() > deadline:
            holder = await connection.scalar(text(_HOLDER), {"lock": _LOCK})
            raise LockNotObtained(
                f"Another deploy is at work: {holder or 'unknown'}.", hint="Wait until it ends."
            )
        await connection.rollback()
        await asyncio.sleep(0.5)
    await connection.commit()
