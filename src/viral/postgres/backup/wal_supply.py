"""The WAL of a restore: from the target and the source's own folder, no more than is needed."""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from viral.errors import RestoreRefused
from viral.postgres.account import run_program
from viral.postgres.backup.sealing import unseal
from viral.postgres.backup.wal import (
    CHUNK_BYTES,
    SEGMENT,
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
        if name in self.archive.segments:
            stored = wal_object(self.source.installation.id, name)
            pieces = unseal(self.target.read(stored), self.ring, name=stored)
            return await self._write_all(name, pieces)
        left = self.source.data_dir / "pg_wal" / name
        # Never archived: the server died before, or its archive takes nothing.
        with suppress(FileNotFoundError):
            return await self._write_all(name, _read(left))
        return None

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
        if self.archive.last_on(plan.timeline) <= number and not has_dropped:
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


async def _read(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield piece
