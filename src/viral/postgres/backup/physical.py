"""Physical backups: full and incremental, sealed on their way and never plain on a disk."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import IO, TYPE_CHECKING

from viral.database.driver import driver_connection
from viral.database.faults import DRIVER_ERRORS, connection_fault
from viral.errors import BackupBroken, BackupError
from viral.postgres.backup.base_backup import base_backup, failed
from viral.postgres.backup.catalogue import (
    BASE,
    SERVER_MANIFEST,
    Backup,
    StoredFile,
    backup_folder,
    list_backups,
    new_id,
    publish,
    sweep,
)
from viral.postgres.backup.claim import claimed
from viral.postgres.backup.retired_keys import refuse_retired
from viral.postgres.backup.sealing import seal, unseal
from viral.postgres.backup.tar_member import TarMember
from viral.postgres.backup.target import one_chunk
from viral.postgres.backup.wal import close_gap, sweep_wal
from viral.postgres.backup.wal_kept import wal_kept
from viral.postgres.binaries import find_binaries
from viral.postgres.bootstrap import DATABASE
from viral.postgres.disk import leaving_space

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from datetime import datetime
    from pathlib import Path

    import asyncpg

    from viral.database.encryption.keys import FieldKey, KeyRing
    from viral.database.urls import ServerUrl
    from viral.postgres.backup.catalogue import Catalogue, Kind
    from viral.postgres.backup.target import Target
    from viral.postgres.server import Server

    # (what is done, bytes done, bytes in all if known), as the progress bar takes it.
    Advance = Callable[[str, int, int | None], None]

FIRST_WITH_INCREMENTAL = 17
# The server forgets its summaries of WAL after ten days (`wal_summary_keep_time`).
LONGEST_CHAIN = timedelta(days=7)
ROLE = "viral_backup"
BACKING_UP = "viral backup"
# The name of sessions that make branches; a killed command leaves one at work in the server.
BRANCHING = "viral branch"
COPY_TIMEOUT_S = 900
COPY_POLL_S = 0.2
NEXT_ID_POLL_S = 0.2

_FACTS = """
SELECT clock_timestamp() AS now, current_setting('server_version') AS version,
  (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
  (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline,
  (SELECT coalesce(sum(pg_database_size(oid)), 0)::bigint FROM pg_database
   WHERE has_database_privilege(oid, 'CONNECT')) AS size_bytes
"""
_BRANCHING = """
SELECT EXISTS (SELECT FROM pg_stat_activity
               WHERE usename = 'viral_admin' AND application_name = $1)
"""
# It keeps the WAL of the backup until the server has sent it, and ends with the session.
_SLOT = "SELECT pg_create_physical_replication_slot($1, true, true)"


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the server says of itself at a moment of its clock."""

    now: datetime
    version: str
    system_identifier: str
    timeline: int
    size_bytes: int


@dataclass(slots=True)
class SealedFiles:
    """Stores the files of one backup, and notes what is stored.

    It gives up before the disk of `beside` is full.
    """

    target: Target
    installation_id: str
    backup_id: str
    key: FieldKey
    beside: Path
    files: dict[str, StoredFile] = field(default_factory=dict)

    async def store(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """Seal a stream and store it whole."""
        digest = hashlib.sha256()
        full_name = backup_folder(self.installation_id, self.backup_id) + name

        async def hashed() -> AsyncGenerator[bytes, None]:
            fitting = leaving_space(chunks, self.beside)
            async with aclosing(seal(fitting, self.key, name=full_name)) as sealed:
                async for chunk in sealed:
                    digest.update(chunk)
                    yield chunk

        async with aclosing(hashed()) as stream:
            size_bytes = await self.target.write(full_name, stream)
        self.files[name] = StoredFile(size_bytes, digest.hexdigest())


async def create_backup(
    server: Server, target: Target, ring: KeyRing, *, kind: Kind | None = None, advance: Advance
) -> Backup:
    """Back the server up: full, incremental on the newest chain, or whichever fits (None).

    A backup holds the WAL from its start to its stop: it is restorable alone. It is listed once
    all of it is stored; what a stopped run left is swept first. Raises BackupError.
    """
    installation, url = server.installation, server.socket_url(ROLE)
    with claimed(installation.home, "viral backup create"):
        refuse_retired(installation.home, ring.primary.id)
        await sweep(target, installation.id)
        await sweep_wal(installation, target)
        catalogue = await list_backups(target, installation.id, ring)
        async with _session(url) as connection, wal_kept(server):
            facts = await _facts(connection)
            parent = _parent(catalogue, facts, kind)
            made: Kind = "incremental" if parent else "full"
            backup_id, facts = await _named(connection, catalogue, made)
            await connection.execute(_SLOT, f"viral_backup_{backup_id[:8]}_{backup_id[9:15]}")
            sealed = SealedFiles(target, installation.id, backup_id, ring.primary, server.data_dir)
            scan = _Scan(advance, total_bytes=None if parent else facts.size_bytes)
            async with (
                _manifest_of(parent, target, installation.id, ring) as parent_manifest,
                base_backup(
                    find_binaries(server.bindir).program("pg_basebackup"),
                    url,
                    label=backup_id,
                    parent_manifest=parent_manifest,
                ) as archive,
            ):
                await sealed.store(BASE, scan.watched(archive))
            await sealed.store(SERVER_MANIFEST, one_chunk(scan.manifest.content))
            stopped_at = (await _facts(connection)).now
        timeline, start_lsn, stop_lsn = _wal_range(scan.manifest.content)
        backup = Backup(
            id=backup_id,
            kind=made,
            parent_id=parent.id if parent else None,
            started_at=facts.now,
            stopped_at=stopped_at,
            start_lsn=start_lsn,
            stop_lsn=stop_lsn,
            timeline=timeline,
            server_version=facts.version,
            system_identifier=facts.system_identifier,
            database=DATABASE,
            files=sealed.files,
            plain_bytes=scan.done_bytes,
            key_id=sealed.key.id,
        )
        await publish(target, installation.id, backup, ring)
        if made == "full":
            close_gap(installation, before=backup.started_at)
        return backup


class _Scan:
    """Watches an archive go by: how much of it, and the server's manifest in it."""

    def __init__(self, advance: Advance, *, total_bytes: int | None) -> None:
        self.manifest = TarMember("backup_manifest")
        self.done_bytes = 0
        self._advance = advance
        self._total_bytes = total_bytes

    async def watched(self, archive: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in archive:
            self.manifest.feed(chunk)
            self.done_bytes += len(chunk)
            total = self._total_bytes
            # WAL and what other databases hold come on top of the estimate.
            self._advance("Backing up", self.done_bytes, total and max(total, self.done_bytes))
            yield chunk


def _parent(catalogue: Catalogue, facts: _Facts, kind: Kind | None) -> Backup | None:
    """Choose what to build on; None for a full backup."""
    if kind == "full":
        return None
    reason = _why_no_chain(catalogue, facts)
    if reason is None:
        return catalogue.physical[-1]
    if kind == "incremental":
        raise BackupError(
            f"No incremental backup can be made: {reason}.",
            hint="Make a full one: `viral backup create --full`.",
        )
    return None


def _why_no_chain(catalogue: Catalogue, facts: _Facts) -> str | None:
    """Say why nothing can be built on the newest backup."""
    major = int(facts.version.split(".")[0])
    if major < FIRST_WITH_INCREMENTAL:
        return f"PostgreSQL {major} has none; they came with {FIRST_WITH_INCREMENTAL}"
    if not catalogue.physical:
        return "there is no full one to build on"
    newest = catalogue.physical[-1]
    try:
        full = catalogue.chain(newest)[0]
    except BackupBroken as error:
        return error.message.rstrip(".")
    if not timedelta() <= facts.now - full.started_at < LONGEST_CHAIN:
        return f"the full one, {full.id}, is not of the last {LONGEST_CHAIN.days} days"
    if (newest.system_identifier, newest.timeline) != (facts.system_identifier, facts.timeline):
        return f"{newest.id} is of the server as it was before it was restored or replaced"
    return None


@asynccontextmanager
async def _session(url: ServerUrl) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Be connected beside the backup: for the server's clock, and for the slot."""
    try:
        async with beside_branches(url) as connection:
            yield connection
    except DRIVER_ERRORS as error:
        fault = connection_fault(error, url)
        raise failed(fault.message if fault else str(error)) from error


@asynccontextmanager
async def beside_branches(url: ServerUrl) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Have no branch made by its files within the block, in which the server's are copied.

    One that is being made is waited for; BackupError when that takes too long.
    """
    # Not in the database itself: who makes a branch of it ends all sessions there.
    async with driver_connection(replace(url, application_name=BACKING_UP)) as connection:
        await _no_copy_is_made(connection)
        yield connection


async def _no_copy_is_made(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Wait for a branch that is being made; who makes one from here on sees this session."""
    try:
        async with asyncio.timeout(COPY_TIMEOUT_S):
            while True:
                if not await connection.fetchval(_BRANCHING, BRANCHING):
                    return
                await asyncio.sleep(COPY_POLL_S)
    except TimeoutError as error:
        raise BackupError(
            f"A branch is being made for {COPY_TIMEOUT_S // 60} minutes; its files cannot be"
            " copied yet.",
            hint="See `viral branch list`, then try again.",
        ) from error


async def _facts(connection: asyncpg.Connection[asyncpg.Record]) -> _Facts:
    row = await connection.fetchrow(_FACTS)
    assert row is not None
    return _Facts(
        row["now"],
        row["version"].split()[0],
        row["system_identifier"],
        row["timeline"],
        row["size_bytes"],
    )


async def _named(
    connection: asyncpg.Connection[asyncpg.Record], catalogue: Catalogue, kind: Kind
) -> tuple[str, _Facts]:
    """Name a backup by the server's clock, in a second that no other has its name of."""
    while True:
        facts = await _facts(connection)
        backup_id = new_id(facts.now, kind)
        if backup_id not in catalogue:
            return backup_id, facts
        await asyncio.sleep(NEXT_ID_POLL_S)


@asynccontextmanager
async def _manifest_of(
    backup: Backup | None, target: Target, installation_id: str, ring: KeyRing
) -> AsyncIterator[IO[bytes] | None]:
    """Give the server's manifest of a backup in a file without a name, for `pg_basebackup`."""
    if backup is None:
        yield None
        return
    name = backup_folder(installation_id, backup.id) + SERVER_MANIFEST
    with tempfile.TemporaryFile() as file:
        async for chunk in unseal(target.read(name), ring, name=name):
            file.write(chunk)
        file.flush()
        # Where /dev/fd shares the offset, reading begins here.
        file.seek(0)
        yield file


def _wal_range(manifest: bytes) -> tuple[int, str, str]:
    """Read from the server's manifest on which timeline, from where and to where WAL is needed."""
    ranges = json.loads(manifest)["WAL-Ranges"]
    last = ranges[-1]
    return last["Timeline"], ranges[0]["Start-LSN"], last["End-LSN"]
