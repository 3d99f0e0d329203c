"""The archive of WAL: from the server into the spool, from there sealed into the target."""

from __future__ import annotations

import asyncio
import os
import re
import struct
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from viral.errors import BackupError
from viral.postgres.backup.retired_keys import refuse_retired
from viral.postgres.backup.sealing import seal
from viral.postgres.backup.target import UNFINISHED
from viral.postgres.bootstrap import admin_connection
from viral.postgres.configuration import GAP
from viral.postgres.data_folder import system_of
from viral.postgres.installation import locked_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from viral.database.encryption.keys import KeyRing
    from viral.postgres.backup.target import Target
    from viral.postgres.installation import Installation
    from viral.postgres.server import Server

    Advance = Callable[[str, int, int | None], None]

# As initdb makes them; the name: timeline, high and low half of the number, 8 digits each.
SEGMENT_BYTES = 16 << 20
SEGMENTS_PER_LOG = (1 << 32) // SEGMENT_BYTES
SEGMENT = re.compile(r"[0-9A-F]{24}")
HISTORY = re.compile(r"[0-9A-F]{8}\.history")
CHUNK_BYTES = 1 << 20
SEGMENT_HEADER_BYTES = 40
LOCK_FILE = "archive.lock"
ARCHIVER_TIMEOUT_S = 60
POLL_S = 0.05

# PostgreSQL notes with each finished segment whether it still has to be archived.
_WAITING = """
SELECT count(*) FROM pg_ls_archive_statusdir()
WHERE name LIKE '%.ready' AND left(name, 24) <= $1 AND name !~ 'history'
"""
_ARCHIVER = """
SELECT last_archived_time, failed_count, last_failed_wal, last_failed_time,
       pg_walfile_name(pg_current_wal_lsn()) AS segment,
       -- The first page of a segment has a header of 40 bytes.
       (pg_current_wal_insert_lsn() - '0/0'::pg_lsn) % $1 > 40 AS has_unarchived
FROM pg_stat_archiver
"""


@dataclass(frozen=True, slots=True)
class Shipped:
    """What a run put into the target."""

    files: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Spool:
    """What waits on this machine; `gap` names the first segment dropped, `gap_at` the last time."""

    waiting: int
    waiting_bytes: int
    gap: str | None
    gap_at: datetime | None


@dataclass(frozen=True, slots=True)
class Archiver:
    """What the server tells of its archiving; times are of its clock."""

    segment: str
    last_archived_at: datetime | None
    failures: int
    last_failed: str | None
    last_failed_at: datetime | None
    # Whether something was written to the segment at work.
    has_unarchived: bool

    @property
    def is_failing(self) -> bool:
        """Whether the last attempt to archive a segment failed."""
        if self.last_failed_at is None:
            return False
        return self.last_archived_at is None or self.last_failed_at > self.last_archived_at


def wal_folder(installation_id: str, system: str = "") -> str:
    """Name the folder of the archive in a target, of one system or of all; with the last slash."""
    folder = f"{installation_id}/wal/"
    return f"{folder}{system}/" if system else folder


def wal_object(installation_id: str, system: str, file: str) -> str:
    """Name a segment, or a history file, in a target.

    Another data folder may name its segments alike: an upgraded one, or one begun anew. Its system
    identifier is another.
    """
    return f"{wal_folder(installation_id, system)}{file[:8]}/{file}.sealed"


def segment_name(timeline: int, number: int) -> str:
    """Name a segment by its timeline and number."""
    high, low = divmod(number, SEGMENTS_PER_LOG)
    return f"{timeline:08X}{high:08X}{low:08X}"


def segment_number(name: str) -> int:
    """Give the number of a segment, whatever its timeline is."""
    return int(name[8:16], 16) * SEGMENTS_PER_LOG + int(name[16:24], 16)


def lsn_number(lsn: str) -> int:
    """Read an LSN as PostgreSQL writes it."""
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


async def ship(
    server: Server, target: Target, ring: KeyRing, *, advance: Advance | None = None
) -> Shipped:
    """Store what waits in the spool, oldest first; each file leaves the spool once it is stored.

    The server need not run. A segment that a crash made it archive twice replaces its like. What
    nobody knows the system of waits. BackupError where the ring's primary key was retired.
    """
    installation = server.installation
    files = stored_bytes = 0
    if not installation.spool.is_dir():
        # It was not started on this machine yet.
        return Shipped(0, 0)
    # One process at a time: the worker, a backup, a restore.
    async with locked_file(installation.state / LOCK_FILE):
        refuse_retired(installation.home, ring.primary.id)
        waiting = await asyncio.to_thread(_waiting, installation.spool)
        for number, file in enumerate(waiting, 1):
            system = _system_in(installation.spool / file) or system_of(installation.data_dir)
            if system is None:
                continue
            name = wal_object(installation.id, system, file)
            chunks = read_file(installation.spool / file)
            stored_bytes += await target.write(name, seal(chunks, ring.primary, name=name))
            (installation.spool / file).unlink()
            files += 1
            if advance is not None:
                advance("Shipping WAL", number, len(waiting))
    return Shipped(files, stored_bytes)


async def sweep_wal(installation: Installation, target: Target) -> None:
    """Delete what killed runs of `ship` left unfinished in the target."""
    async with locked_file(installation.state / LOCK_FILE):
        for stored in await target.list(wal_folder(installation.id)):
            if stored.name.endswith(UNFINISHED):
                await target.delete(stored.name)


async def switch(server: Server, *, timeout_s: float = ARCHIVER_TIMEOUT_S) -> str:
    """End the segment at work, so that it is archived, and wait for that; return its name.

    All that was committed before is then in the spool or in the target, unless there is a gap.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout_s
    async with admin_connection(server.socket_url("viral_admin")) as connection:
        name = str(await connection.fetchval("SELECT pg_walfile_name(pg_switch_wal())"))
        while waiting := await connection.fetchval(_WAITING, name):
            if clock() > deadline:
                raise BackupError(
                    f"{waiting} segments of WAL wait to be archived, and no end is in sight.",
                    hint=f"See {server.log_file} for why, and `viral wal status`.",
                )
            await asyncio.sleep(POLL_S)
    return name


def read_spool(installation: Installation) -> Spool:
    """Look at what waits to be shipped."""
    files = _waiting(installation.spool)
    gap_at = gap = None
    with suppress(FileNotFoundError):
        marker = installation.spool / GAP
        gap_at = datetime.fromtimestamp(marker.lstat().st_mtime, UTC)
        # On a full disk the marker has no words.
        gap = (b"".join(read_pieces(marker)).decode("ascii", "replace").strip()) or "a segment"
    return Spool(len(files), _size_of(installation.spool, files), gap, gap_at)


def close_gap(installation: Installation, *, before: datetime) -> None:
    """Forget a gap: a backup that was begun later does not need what was dropped."""
    spool = read_spool(installation)
    if spool.gap_at is not None and spool.gap_at < before:
        (installation.spool / GAP).unlink(missing_ok=True)


async def read_archiver(server: Server) -> Archiver:
    """Ask the server how its archiving goes."""
    async with admin_connection(server.socket_url("viral_admin")) as connection:
        row = await connection.fetchrow(_ARCHIVER, SEGMENT_BYTES)
    assert row is not None
    return Archiver(
        segment=row["segment"],
        last_archived_at=row["last_archived_time"],
        failures=row["failed_count"],
        last_failed=row["last_failed_wal"],
        last_failed_at=row["last_failed_time"],
        has_unarchived=row["has_unarchived"],
    )


def _waiting(spool: Path) -> list[str]:
    """List the files of the spool in the order of their making; forks of timelines come first.

    What else PostgreSQL archives is of no use to a restore: labels of backups, and the halves of
    segments that a new timeline left behind.
    """
    names = [entry.name for entry in os.scandir(spool)] if spool.is_dir() else []
    for name in names:
        if name.endswith((".backup", ".partial")) and not name.startswith("."):
            (spool / name).unlink(missing_ok=True)
    histories = sorted(name for name in names if HISTORY.fullmatch(name))
    return histories + sorted(name for name in names if SEGMENT.fullmatch(name))


def _system_in(file: Path) -> str | None:
    """Read the system identifier in a segment's first page (xlog_internal.h); a history has none.

    Before it stand 20 bytes, and 4 that align it.
    """
    if not SEGMENT.fullmatch(file.name):
        return None
    head = next(read_pieces(file), b"")
    identifier = struct.unpack_from("=Q", head, 24)[0] if len(head) >= SEGMENT_HEADER_BYTES else 0
    return str(identifier) if identifier else None


def _size_of(spool: Path, files: list[str]) -> int:
    size_bytes = 0
    for file in files:
        # It may be shipped meanwhile.
        with suppress(FileNotFoundError):
            size_bytes += (spool / file).lstat().st_size
    return size_bytes


async def read_file(path: Path) -> AsyncIterator[bytes]:
    """Read a file of the spool, or of the server, in chunks."""
    pieces = read_pieces(path)
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


def read_pieces(path: Path) -> Iterator[bytes]:
    """Read a file of the server in chunks, in the thread at work."""
    # The folder is the server's: a link put there is not followed with our rights.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        while piece := file.read(CHUNK_BYTES):
            yield piece
