"""Whether a backup is what was stored, its WAL is whole, and a server comes of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime  # noqa: TC003 - msgspec reads annotations at run time
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from viral.errors import BackupBroken, BackupError, ServerError
from viral.postgres.backup.catalogue import backup_folder, list_backups, verified_name
from viral.postgres.backup.look import compare_sights, look_at_copy, look_at_source
from viral.postgres.backup.recovery import read_archive
from viral.postgres.backup.restore import open_file, remove_server, restore_cluster
from viral.postgres.backup.sealing import unseal
from viral.postgres.backup.target import one_chunk, read_small
from viral.postgres.backup.wal import SEGMENT_BYTES, lsn_number, segment_number, wal_object

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from viral.database.encryption.keys import KeyRing
    from viral.postgres.backup.catalogue import Backup
    from viral.postgres.backup.look import Sight
    from viral.postgres.backup.recovery import Archive
    from viral.postgres.backup.target import Target
    from viral.postgres.server import Server

    Advance = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification found; the figures of a restore only where one was tried.

    `recovery_s` is how long a restore took, `recovery_point_s` how old the archive's end was: what
    the loss of this machine would have cost. `compared` says whether the rows of the copy were
    compared with those of the running server at the same moment.
    """

    backup_id: str
    verified_at: datetime
    is_deep: bool
    files: int
    segments: int
    archived_to: str | None
    problems: tuple[str, ...]
    recovery_s: float | None = None
    recovery_point_s: float | None = None
    recovered_to: datetime | None = None
    rows: int | None = None
    tables: int | None = None
    compared: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether nothing was found."""
        return not self.problems

    @property
    def summary(self) -> str:
        """Say in a line what was found, for lists."""
        day = f"{self.verified_at.astimezone():%Y-%m-%d}"
        if self.problems:
            return f"{day}: broken"
        if self.recovery_s is None:
            return f"{day}: whole"
        return f"{day}: restored in {self.recovery_s:.0f} s, {self.rows or 0:,} rows"


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies the backups of one server."""

    server: Server
    target: Target
    ring: KeyRing
    clock: Callable[[], datetime]
    advance: Advance

    @property
    def _identity(self) -> str:
        return self.server.installation.id

    async def verify(self, backup_id: str | None, *, scratch: Path | None = None) -> Verified:
        """Verify a backup, or the newest; with a folder for it, restore it there as well.

        What was found is kept in the target. Only what cannot be looked at raises BackupError.
        """
        catalogue = await list_backups(self.target, self._identity, self.ring)
        problems = [error.message for error in catalogue.broken.values()]
        if backup_id is None and not catalogue.backups:
            if problems:
                raise BackupBroken(" ".join(problems))
            raise BackupError("There is no backup yet.", hint="Make one: `viral backup create`.")
        backup = catalogue.find(backup_id) if backup_id else catalogue.backups[-1]
        chain = catalogue.chain(backup)
        files = 0
        for link in chain:
            for file in link.files:
                name = backup_folder(self._identity, link.id) + file
                problems += await self._read_through(
                    name, open_file(self.target, self.ring, self._identity, link, file)
                )
                files += 1
        archive = await self._archive(backup, problems)
        segments, archived_to = await self._verify_wal(chain, archive, problems)
        verified = Verified(
            backup_id=backup.id,
            verified_at=self.clock(),
            is_deep=scratch is not None,
            files=files,
            segments=segments,
            archived_to=archived_to,
            problems=tuple(problems),
        )
        if scratch is not None and verified.is_whole and backup.kind != "logical":
            is_newest = backup.id == catalogue.physical[-1].id
            verified = await self._restore(verified, archive, scratch, is_newest=is_newest)
        await self._keep(verified)
        return verified

    async def _read_through(self, name: str, pieces: AsyncIterator[bytes]) -> list[str]:
        """Read and open all of a file; say what is wrong with it."""
        done = 0
        try:
            async for piece in pieces:
                done += len(piece)
                self.advance(f"Reading {name.rpartition('/')[2]}", done, None)
        except BackupBroken as error:
            return [error.message]
        return []

    async def _archive(self, backup: Backup, problems: list[str]) -> Archive | None:
        if backup.kind == "logical":
            return None
        try:
            return await read_archive(
                self.target, self._identity, self.ring, system=backup.system_identifier
            )
        except BackupBroken as error:
            problems.append(error.message)
            return None

    async def _verify_wal(
        self, chain: tuple[Backup, ...], archive: Archive | None, problems: list[str]
    ) -> tuple[int, str | None]:
        """Open every segment from a chain's start to the archive's end; a missing one is named."""
        if archive is None:
            return 0, None
        timeline = chain[-1].timeline
        last = archive.last_on(timeline)
        verified, newest = 0, None
        for name in archive.names_from(chain[0].start_lsn, timeline):
            number = segment_number(name)
            if number > last:
                break
            stored = wal_object(self._identity, archive.system, name)
            if name in archive.segments:
                pieces = unseal(self.target.read(stored), self.ring, name=stored)
                problems += await self._read_through(stored, pieces)
                verified, newest = verified + 1, name
            elif not any(_brings(backup, number) for backup in chain):
                problems.append(f"{stored} is missing: no moment after it can be restored.")
        return verified, newest

    async def _restore(
        self, verified: Verified, archive: Archive | None, scratch: Path, *, is_newest: bool
    ) -> Verified:
        """Restore into a folder, look, and remove it again."""
        stored = [each.modified_at for each in archive.segments.values()] if archive else []
        before = self.clock()
        source: Sight | None = None
        copy: Sight | None = None
        if is_newest and await self.server.is_answering():
            source = await look_at_source(self.server, advance=self.advance)

        async def look(server: Server) -> None:
            nonlocal copy
            copy = await look_at_copy(server, advance=self.advance)

        try:
            restored = await restore_cluster(
                self.server,
                self.target,
                self.ring,
                home=scratch,
                lsn=source.lsn if source else None,
                backup_id=None if is_newest else verified.backup_id,
                prepare=look,
                advance=self.advance,
            )
        except (BackupError, ServerError, asyncpg.PostgresError) as error:
            return replace(verified, problems=(f"It cannot be restored: {error}",))
        await remove_server(restored.server)
        assert copy is not None
        return replace(
            verified,
            problems=tuple(compare_sights(source, copy)) if source else (),
            recovery_s=restored.duration_s,
            recovery_point_s=(before - max(stored)).total_seconds() if stored else None,
            recovered_to=restored.recovered_to,
            rows=sum(copy.rows.values()),
            tables=len(copy.rows),
            compared=source is not None,
        )

    async def _keep(self, verified: Verified) -> None:
        content = msgspec.json.format(msgspec.json.encode(asdict(verified)), indent=2)
        name = verified_name(self._identity, verified.backup_id)
        await self.target.write(name, one_chunk(content + b"\n"))


async def read_verified(target: Target, installation_id: str) -> dict[str, Verified]:
    """Read what was found last of each backup; a file that cannot be read is passed over."""
    folder = verified_name(installation_id, "").removesuffix(".json")
    found = {}
    for stored in await target.list(folder):
        with suppress(msgspec.DecodeError, BackupBroken):
            verified = msgspec.json.decode(await read_small(target, stored.name), type=Verified)
            found[verified.backup_id] = verified
    return found


def _brings(backup: Backup, number: int) -> bool:
    """Say whether a backup holds a segment itself."""
    first, last = (lsn_number(lsn) // SEGMENT_BYTES for lsn in (backup.start_lsn, backup.stop_lsn))
    return first <= number <= last
