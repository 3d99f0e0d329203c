"""A copy of a database in the same server: its files by FILE_COPY, or its schema alone.

A copy needs its source without sessions. They are ended and held off, which is written down before
it happens: whatever becomes of this process, the next command lets them in again.
"""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from viral.database.drift import BOOKKEEPING
from viral.database.driver import driver_connection
from viral.database.faults import connecting
from viral.database.foundation import quoted
from viral.errors import BranchRefused, ServerError
from viral.postgres.backup.physical import BACKING_UP, BRANCHING, ROLE
from viral.postgres.bootstrap import prepare_database
from viral.postgres.branches.space import refuse_without_space
from viral.postgres.branches.write_out import written_out

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from viral.database.urls import ServerUrl
    from viral.postgres.binaries import Binaries
    from viral.postgres.branches.registry import Held, Registry
    from viral.postgres.pooler import Pooler

_FIRST_WITH_CLONE = 18
_END_WAIT_MS = 10_000
# Where the file system knows no clone, PostgreSQL reports the system's own error under these.
_NO_CLONE = (asyncpg.InternalServerError, asyncpg.PostgresIOError, asyncpg.FeatureNotSupportedError)
_END_SESSIONS = """
SELECT pg_terminate_backend(pid, $2) FROM pg_stat_activity
WHERE datname = $1 AND pid <> pg_backend_pid()
"""
_END_LEFT_OVERS = """
SELECT pg_terminate_backend(pid, $2) FROM pg_stat_activity
WHERE application_name = $1 AND pid <> pg_backend_pid()
"""
# A restore could bring changes of the source into a copy of files made during a base backup
# (PostgreSQL manual, 25.3.7 Caveats); a logged copy is safe. A backup of ours can be seen before it
# begins, and begins when no session of this module's is there: neither passes over the other.
_STRATEGY = """
SELECT CASE WHEN EXISTS (SELECT FROM pg_stat_progress_basebackup)
              OR EXISTS (SELECT FROM pg_stat_activity
                         WHERE usename = $1 AND application_name = $2)
            THEN 'WAL_LOG' ELSE 'FILE_COPY' END
"""
_SIZE = """
SELECT pg_database_size(oid) AS size_bytes, current_setting('data_directory') AS data_dir
FROM pg_database WHERE datname = $1
"""
_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND n.nspname || '.' || c.relname <> ALL ($1)
"""


@asynccontextmanager
async def administering(url: ServerUrl) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Connect as the superuser, over the server's own socket."""
    named = replace(url, application_name=BRANCHING)
    with connecting(named):
        async with driver_connection(named) as connection:
            yield connection


async def clone_database(
    admin: ServerUrl, registry: Registry, pooler: Pooler | None, *, source: Held, target: str
) -> None:
    """Copy a database with all its rows; nobody is in the source meanwhile.

    Sessions in it end, and come back once the copy is made, also when it was not. Clients of the
    pooler before the server wait instead, unless a transaction of theirs does not end.
    """
    async with administering(admin) as server:
        await _refuse_without_space(server, source.database)
    async with _held_off(admin, registry, pooler, source), administering(admin) as server:
        await server.execute(_END_SESSIONS, source.database, _END_WAIT_MS)
        try:
            await _copy(server, source.database, target)
        except asyncpg.ObjectInUseError as error:
            raise BranchRefused(
                f"{source.database} cannot be copied: {error}.",
                hint="End what is at work in it, such as a dump or a migration; then try again.",
            ) from error
        except asyncpg.InvalidCatalogNameError as error:
            raise BranchRefused(
                f"There is no database {source.database} to copy.",
                hint="Run `viral up` once: it makes the database of main.",
            ) from error
        except asyncpg.DiskFullError as error:
            raise BranchRefused(
                f"{source.database} cannot be copied: {error}.",
                hint="Free some space: without reflinks a branch takes as much as its parent.",
            ) from error
    await furnish(admin, target)


async def copy_schema(admin: ServerUrl, binaries: Binaries, *, source: str, target: str) -> None:
    """Make a database with the schema of another and none of its rows; sessions go on."""
    async with administering(admin) as server:
        await server.execute(
            f"CREATE DATABASE {quoted(target)} OWNER viral_owner TEMPLATE template0"
        )
    async with administering(admin.for_database(source)) as database:
        filled = [name for (name,) in await database.fetch(_TABLES, list(BOOKKEEPING))]
    await _pump(
        [
            binaries.program("pg_dump"),
            "--format=custom",
            "--lock-wait-timeout=60s",
            *(f"--exclude-table-data={name}" for name in filled),
            *_connecting_to(admin, source),
        ],
        [
            binaries.program("pg_restore"),
            "--exit-on-error",
            "--single-transaction",
            *_connecting_to(admin, target),
        ],
        password=admin.password,
    )
    await furnish(admin, target)


async def furnish(admin: ServerUrl, database: str) -> None:
    """Give a copy the privileges that belong to the database itself and are not copied."""
    async with administering(admin.for_database(database)) as connection:
        await prepare_database(connection, [])


async def drop_database(admin: ServerUrl, name: str) -> None:
    """Drop a database, and whatever is connected to it; nothing happens where there is none."""
    async with administering(admin) as server:
        await server.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")


async def end_left_overs(admin: ServerUrl) -> None:
    """End copies that go on in the server though the command that wanted them was killed."""
    async with administering(admin) as server:
        await server.execute(_END_LEFT_OVERS, BRANCHING, _END_WAIT_MS)


async def let_in(admin: ServerUrl, registry: Registry, pooler: Pooler | None, held: Held) -> None:
    """Let sessions into a database again, and forget that they were held off."""
    async with administering(admin) as server:
        with suppress(asyncpg.InvalidCatalogNameError):
            await server.execute(f"ALTER DATABASE {quoted(held.database)} ALLOW_CONNECTIONS true")
    if pooler is not None:
        await pooler.release()
    with registry.change() as contents:
        contents.held = [each for each in contents.held if each != held]


@asynccontextmanager
async def _held_off(
    admin: ServerUrl, registry: Registry, pooler: Pooler | None, held: Held
) -> AsyncIterator[None]:
    with registry.change() as contents:
        contents.held.append(held)
    try:
        if pooler is not None:
            with suppress(ServerError):
                await pooler.hold(held.database)
        async with administering(admin) as server:
            await server.execute(f"ALTER DATABASE {quoted(held.database)} ALLOW_CONNECTIONS false")
        yield
    finally:
        # On a connection of its own: that of the copy may be broken.
        await let_in(admin, registry, pooler, held)


async def _refuse_without_space(server: asyncpg.Connection[asyncpg.Record], source: str) -> None:
    if (row := await server.fetchrow(_SIZE, source)) is None:
        # It is missed later.
        return
    is_logged = await server.fetchval(_STRATEGY, ROLE, BACKING_UP) == "WAL_LOG"
    has_clone = server.get_server_version().major >= _FIRST_WITH_CLONE
    await asyncio.to_thread(
        refuse_without_space,
        Path(row["data_dir"]),
        source,
        row["size_bytes"],
        by_files=has_clone and not is_logged,
        is_logged=is_logged,
    )


async def _copy(server: asyncpg.Connection[asyncpg.Record], source: str, target: str) -> None:
    strategy = await server.fetchval(_STRATEGY, ROLE, BACKING_UP)
    statement = (
        f"CREATE DATABASE {quoted(target)} OWNER viral_owner"
        f" TEMPLATE {quoted(source)} STRATEGY {strategy}"
    )
    if server.get_server_version().major >= _FIRST_WITH_CLONE and await _clones(server):
        data_dir = Path(await server.fetchval("SHOW data_directory"))
        with suppress(*_NO_CLONE):
            async with written_out(data_dir):
                await server.execute(statement)
            return
        await server.execute("RESET file_copy_method")
    await server.execute(statement)


async def _clones(server: asyncpg.Connection[asyncpg.Record]) -> bool:
    """Ask for the clone method, which a server built for another system does not know."""
    with suppress(asyncpg.InvalidParameterValueError):
        await server.execute("SET file_copy_method = clone")
        return True
    return False


def _connecting_to(admin: ServerUrl, database: str) -> tuple[str, ...]:
    return (
        f"--host={admin.host}",
        f"--port={admin.port}",
        f"--username={admin.user}",
        f"--dbname={database}",
        "--no-password",
    )


async def _pump(source: list[str], target: list[str], *, password: str) -> None:
    """Run two programs, the second with the output of the first; the password is in no argv."""
    environment = {"LC_ALL": "C.UTF-8", "PGPASSWORD": password, "PGCONNECT_TIMEOUT": "10"}
    reading, writing = os.pipe()
    try:
        giver = await asyncio.create_subprocess_exec(
            *source, env=environment, stdin=DEVNULL, stdout=writing, stderr=PIPE
        )
        taker = await asyncio.create_subprocess_exec(
            *target, env=environment, stdin=reading, stdout=DEVNULL, stderr=PIPE
        )
    finally:
        os.close(reading)
        os.close(writing)
    processes = (giver, taker)
    try:
        said = await asyncio.gather(*(each.communicate() for each in processes))
    finally:
        for each in processes:
            if each.returncode is None:
                each.kill()
                await each.wait()
    for program, process, (_, errors) in zip(
        ("pg_dump", "pg_restore"), processes, said, strict=True
    ):
        if process.returncode:
            first = errors.decode(errors="replace").strip().partition("\n")[0]
            raise ServerError(f"The schema cannot be copied: {program} says {first!r}.")
