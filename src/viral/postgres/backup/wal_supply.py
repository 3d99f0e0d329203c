"""The WAL of a restore: from the target and the source's own folder, no more than is needed."""

from __future__ import annotations

import asyncio
import os
import re
import struct
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from viral.errors import RestoreRefused
from viral.postgres.account import run_program
from viral.postgres.backup.sealing import unseal
from viral.postgres.backup.wal import (
    SEGMENT,
    SEGMENT_BYTES,
    SEGMENT_HEADER_BYTES,
    lsn_number,
    read_file,
    read_pieces,
    read_spool,
    segment_number,
    wal_object,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from viral.database.encryption.keys import KeyRing
    from viral.postgres.account import Account
    from viral.postgres.backup.recovery import Archive, Plan
    from viral.postgres.backup.target import Target
    from viral.postgres.binaries import Binaries
    from viral.postgres.server import Server

    Advance = Callable[[str, int, int | None], None]

WALDUMP_TIMEOUT_S = 600
# `desc: COMMIT 2026-11-23 03:19:00.123456 UTC` (xactdesc.c).
_ENDED = re.compile(r"desc: (?:COMMIT|ABORT)\S* (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) UTC")
# Where the first page of a segment begins, and the system it is of (xlog_internal.h).
_FIRST_PAGE = struct.Struct("=8xQ8xQ")


@dataclass(frozen=True, slots=True)
class WalSupply:
    """Puts WAL into the folder that the copy's restore_command reads."""

    source: Server
    target: Target
    ring: KeyRing
    archive: Archive
    folder: Path
    account: Account
    binaries: Binaries

    def give_histories(self) -> None:
        """Put every timeline's history there: a promotion takes a number that none of them has."""
        for timeline in self.archive.timelines:
            self._write(f"{timeline.id:08X}.history", timeline.history)

    async def gather(
        self, plan: Plan, data_dir: Path, *, until: datetime | None, advance: Advance
    ) -> None:
        """Fetch the segments from the backup on, to the first one with a commit after `until`.

        RestoreRefused names a segment that is missing before it.
        """
        last_commit: datetime | None = None
        names = self.archive.names_from(plan.backup.start_lsn, plan.timeline)
        for number, name in enumerate(names, 1):
            path = await self._fetch(name)
            if path is None and (data_dir / "pg_wal" / name).exists():
                # The backup brings the WAL that makes it whole.
                path = data_dir / "pg_wal" / name
            if path is None:
                self._refuse_hole(name, plan, last_commit)
                return
            advance("Fetching WAL", number, None)
            if until is not None:
                last_commit = await self._last_commit(path) or last_commit
                if last_commit is not None and last_commit > until:
                    return

    async def _fetch(self, name: str) -> Path | None:
        if (stored := self.archive.segments.get(name)) is not None:
            return await self._unsealed(name, stored.name)
        for folder in self._folders:
            # Nobody shipped it, or the target takes nothing; or it was never archived.
            with suppress(FileNotFoundError):
                if self._holds(folder / name):
                    return await self._write_all(name, read_file(folder / name))
        shipped = wal_object(self.source.installation.id, self.archive.system, name)
        if any(each.name == shipped for each in await self.target.list(shipped)):
            # It left the spool after the target was listed.
            return await self._unsealed(name, shipped)
        return None

    async def _unsealed(self, name: str, stored: str) -> Path:
        return await self._write_all(name, unseal(self.target.read(stored), self.ring, name=stored))

    @property
    def _folders(self) -> tuple[Path, Path]:
        """Where WAL lies on this machine."""
        return self.source.installation.spool, self.source.data_dir / "pg_wal"

    def _holds(self, file: Path) -> bool:
        """See that a segment is what its name says: the server keeps used files for later ones."""
        head = next(read_pieces(file), b"")
        if len(head) < SEGMENT_HEADER_BYTES:
            return False
        address, system = _FIRST_PAGE.unpack_from(head)
        begin = segment_number(file.name) * SEGMENT_BYTES
        return (address, str(system)) == (begin, self.archive.system)

    def _last_known(self, timeline: int) -> int:
        """Give the number of the last segment of a timeline, wherever it lies; -1 for none."""
        numbers = [self.archive.last_on(timeline)]
        for folder in self._folders:
            for file in folder.glob(f"{timeline:08X}" + "?" * 16):
                with suppress(FileNotFoundError):
                    if SEGMENT.fullmatch(file.name) and self._holds(file):
                        numbers.append(segment_number(file.name))
        return max(numbers)

    async def _last_commit(self, segment: Path) -> datetime | None:
        """Read when the last transaction in a segment ended; an unfinished segment is no error."""
        said = await run_program(
            self.account,
            "env",
            "TZ=UTC",
            self.binaries.program("pg_waldump"),
            "--rmgr=Transaction",
            str(segment),
            timeout_s=WALDUMP_TIMEOUT_S,
        )
        moments = [found[1] for found in _ENDED.finditer(said.output)]
        return datetime.fromisoformat(max(moments)).replace(tzinfo=UTC) if moments else None

    def _refuse_hole(self, missing: str, plan: Plan, last_commit: datetime | None) -> None:
        """Tell the end of the WAL, which is no error, from a hole in it."""
        number = segment_number(missing)
        dropped = read_spool(self.source.installation).gap
        has_dropped = dropped is not None and (
            not SEGMENT.fullmatch(dropped) or segment_number(dropped) >= number
        )
        if self._last_known(plan.timeline) < number and not has_dropped:
            return
        hint = "Restore with an --at after the end of a later backup: `viral backup list`."
        if last_commit is not None:
            hint = f"The last moment before it is {last_commit.isoformat()}: use it with --at."
        raise RestoreRefused(
            f"The WAL segment {missing} is missing: nothing after {plan.backup.id} can be restored"
            " past it.",
            hint=hint,
        )

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        # The folder is the server's: what somebody put there is not followed.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchown(file.fileno(), self.account.uid, self.account.gid)
            file.write(content)
        return path

    async def _write_all(self, name: str, pieces: AsyncIterator[bytes]) -> Path:
        content = bytearray()
        async for piece in pieces:
            content += piece
        return await asyncio.to_thread(self._write, name, bytes(content))


def wal_bytes(plan: Plan, archive: Archive, *, until: datetime | None) -> int:
    """Give what the WAL of a restore takes, as far as it is known to be needed: all to `until`."""
    line = archive.timeline(plan.timeline)
    ids = {plan.timeline, *(parent for parent, _ in (line.forks if line else ()))}
    first = lsn_number(plan.backup.start_lsn) // SEGMENT_BYTES
    needed = [
        name
        for name, stored in archive.segments.items()
        if int(name[:8], 16) in ids
        and segment_number(name) >= first
        and (until is None or stored.modified_at <= until)
    ]
    return len(needed) * SEGMENT_BYTES
