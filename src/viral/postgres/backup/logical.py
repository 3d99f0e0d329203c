"""Logical backups: what `pg_dump` makes of one database, sealed, and put into a new one."""

from __future__ import annotations

import asyncio
import re
import subprocess
import tempfile
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import asyncpg

from viral.database.foundation import quoted
from viral.errors import BadFile, BadInput, RestoreRefused, ServerError
from viral.postgres.backup.catalogue import (
    DUMP,
    Backup,
    backup_folder,
    list_backups,
    new_id,
    publish,
    sweep,
)
from viral.postgres.backup.claim import claimed
from viral.postgres.backup.physical import SealedFiles
from viral.postgres.backup.retired_keys import refuse_retired
from viral.postgres.backup.sealing import unseal
from viral.postgres.backup.target import LocalFolder
from viral.postgres.bootstrap import admin_connection, bootstrap
from viral.postgres.dump import client_environment, client_program, dumped

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from datetime import datetime
    from pathlib import Path
    from typing import IO

    from viral.database.encryption.keys import KeyRing
    from viral.database.secrets import Secrets
    from viral.database.urls import ServerUrl
    from viral.postgres.backup.target import Target

    Advance = Callable[[str, int, int | None], None]

NEXT_ID_POLL_S = 0.2
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_LONGEST_ERRORS = 64 << 10
_SAID = re.compile(r"pg_restore: error: .*?(?:ERROR|FATAL): +(.*)|pg_restore: error: (.*)")
_NOW = "SELECT clock_timestamp() AS now, current_setting('server_version') AS version"


async def create_logical(
    url: ServerUrl,
    target: Target,
    ring: KeyRing,
    *,
    home: Path,
    installation_id: str,
    bindir: Path | None,
    advance: Advance,
) -> Backup:
    """Copy one database of any server, as a role that passes row security; sealed on its way.

    It is listed once all of it is stored; what a stopped run left is swept first. Positions in the
    WAL are empty: nothing builds on it.
    """
    with claimed(home, "viral backup create --logical"):
        refuse_retired(home, ring.primary.id)
        await sweep(target, installation_id)
        catalogue = await list_backups(target, installation_id, ring)
        started_at, version = await _clock(url)
        while (backup_id := new_id(started_at, "logical")) in catalogue:
            await asyncio.sleep(NEXT_ID_POLL_S)
            started_at, version = await _clock(url)
        sealed = SealedFiles(target, installation_id, backup_id, ring.primary, home)
        plain_bytes = 0

        async def watched(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            nonlocal plain_bytes
            async for chunk in chunks:
                plain_bytes += len(chunk)
                advance("Copying", plain_bytes, None)
                yield chunk

        async with dumped(url, bindir=bindir) as chunks:
            await sealed.store(DUMP, watched(chunks))
        stopped_at, _ = await _clock(url)
        backup = Backup(
            id=backup_id,
            kind="logical",
            parent_id=None,
            started_at=started_at,
            stopped_at=stopped_at,
            start_lsn="",
            stop_lsn="",
            timeline=0,
            server_version=version,
            system_identifier="",
            database=url.database,
            files=sealed.files,
            plain_bytes=plain_bytes,
            key_id=sealed.key.id,
        )
        await publish(target, installation_id, backup, ring)
        return backup


async def stored_dump(
    target: Target, installation_id: str, ring: KeyRing, backup_id: str
) -> AsyncIterator[bytes]:
    """Open the copy of a logical backup."""
    backup = (await list_backups(target, installation_id, ring)).find(backup_id)
    if backup.kind != "logical":
        raise RestoreRefused(
            f"{backup_id} is a copy of the whole server, not of one database.",
            hint=f"Restore the server from it: `viral backup restore --at {backup_id}`.",
        )
    name = backup_folder(installation_id, backup_id) + DUMP
    async for chunk in unseal(target.read(name), ring, name=name):
        yield chunk


async def dump_file(path: Path, ring: KeyRing) -> AsyncIterator[bytes]:
    """Open a restore point: a file that `viral migrate` sealed under its name."""
    if not await asyncio.to_thread(path.is_file):
        raise BadFile(f"There is no file {path}.", hint="Name a restore point, or a backup's id.")
    async for chunk in unseal(LocalFolder(path.parent).read(path.name), ring, name=path.name):
        yield chunk


async def restore_logical(
    chunks: AsyncIterator[bytes],
    admin: ServerUrl,
    secrets: Secrets,
    *,
    database: str,
    bindir: Path | None,
    advance: Advance,
) -> list[str]:
    """Put a copy into a database that is made for it; whole, or the database is gone again.

    `admin` is a superuser, or a role that may make databases and give things to the product's
    roles. Returns what could not be prepared.
    """
    if not _NAME.fullmatch(database):
        raise BadInput(
            f"{database!r} is no name for the database.",
            hint="Use lower-case letters, digits and _, at most 63.",
        )
    async with admin_connection(admin) as server:
        if await server.fetchval("SELECT true FROM pg_database WHERE datname = $1", database):
            raise RestoreRefused(
                f"There is a database {database} already: a copy goes into a new one.",
                hint="Choose another name with --into.",
            )
        await _make_database(server, database)
    url = admin.for_database(database)
    try:
        async with aclosing(_watched(chunks, advance)) as watched:
            await _pg_restore(watched, url, bindir)
        # What belongs to a database as a whole, a copy does not hold.
        return (await bootstrap(url, secrets))[1]
    except BaseException:
        async with admin_connection(admin) as server:
            await server.execute(f"DROP DATABASE IF EXISTS {quoted(database)} WITH (FORCE)")
        raise


async def _make_database(server: asyncpg.Connection[asyncpg.Record], name: str) -> None:
    try:
        await server.execute(f"CREATE DATABASE {quoted(name)} TEMPLATE template0 OWNER viral_owner")
    except asyncpg.UndefinedObjectError as error:
        raise RestoreRefused(
            f"The server is not prepared: {error}.",
            hint="Make the roles first: `viral server bootstrap --admin-url URL`.",
        ) from error


async def _watched(chunks: AsyncIterator[bytes], advance: Advance) -> AsyncGenerator[bytes, None]:
    done = 0
    async for chunk in chunks:
        yield chunk
        done += len(chunk)
        advance("Restoring", done, None)


async def _pg_restore(chunks: AsyncIterator[bytes], url: ServerUrl, bindir: Path | None) -> None:
    """Feed a copy to `pg_restore`: all of it is stored, or nothing."""
    command = [
        client_program("pg_restore", url, bindir),
        "--single-transaction",
        "--no-password",
        f"--dbname={url.database}",
    ]
    with tempfile.TemporaryFile() as errors:
        process = _start(command, url, errors)
        assert process.stdin is not None
        try:
            # It ended before its input: its own words say why.
            with suppress(BrokenPipeError):
                async for chunk in chunks:
                    await asyncio.to_thread(process.stdin.write, chunk)
                await asyncio.to_thread(process.stdin.close)
            code = await asyncio.to_thread(process.wait)
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)
            with suppress(BrokenPipeError):
                process.stdin.close()
        if code:
            errors.seek(0)
            raise _refusal(url, errors.read(_LONGEST_ERRORS).decode(errors="replace"))


def _start(command: list[str], url: ServerUrl, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=client_environment(url),
        start_new_session=True,
        stderr=errors,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )


def _refusal(url: ServerUrl, errors: str) -> ServerError:
    found = _SAID.search(errors)
    reason = (found[1] or found[2]) if found else errors.strip().partition("\n")[0]
    return ServerError(
        f"Nothing was restored into {url}: {reason.rstrip('.') or 'pg_restore was stopped'}.",
        hint="Correct the cause and try again. A server elsewhere needs its superuser's address.",
    )


async def _clock(url: ServerUrl) -> tuple[datetime, str]:
    """Ask for the server's time and version."""
    async with admin_connection(url) as connection:
        row = await connection.fetchrow(_NOW)
    assert row is not None
    return row["now"], row["version"].split()[0]
