"""How the archive is: how far it reaches, what waits, and what is wrong."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from viral.errors import BackupBroken
from viral.postgres.backup.catalogue import Catalogue, list_backups
from viral.postgres.backup.recovery import Archive, read_archive
from viral.postgres.backup.verify import Verified, read_verified
from viral.postgres.backup.wal import Archiver, Spool, read_archiver, read_spool
from viral.postgres.data_folder import system_of

if TYPE_CHECKING:
    from viral.database.encryption.keys import KeyRing
    from viral.postgres.backup.target import Target
    from viral.postgres.server import Server

# Of this age a segment should be in the target: a minute until it ends, and then seconds.
LATE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Chain:
    """Backups that build on one another, and the last verification of any of them."""

    full_id: str
    backups: int
    since: datetime
    until: datetime
    verified: Verified | None


@dataclass(frozen=True, slots=True)
class WalStatus:
    """What `viral wal status` shows and `viral doctor` judges."""

    is_on: bool
    archived_to: str | None
    archived_at: datetime | None
    segments: int
    stored_bytes: int
    spool: Spool
    archiver: Archiver | None
    chains: tuple[Chain, ...]
    now: datetime

    @property
    def lag_s(self) -> float | None:
        """How old the archive's end is, where something was written since; else 0."""
        if self.archived_at is None:
            return None
        if self.archiver is not None and not self._is_behind:
            return 0.0
        return (self.now - self.archived_at).total_seconds()

    @property
    def archiver_state(self) -> str:
        """Say in words how the server's archiving goes."""
        if self.archiver is None:
            return "the server does not run"
        if self.archiver.is_failing:
            return f"failing at {self.archiver.last_failed}, {self.archiver.failures} times so far"
        return "working"

    @property
    def problems(self) -> list[str]:
        """Say what is to be done, one sentence each."""
        found = []
        if not self.is_on:
            found.append("VIRAL_ARCHIVE is off: no moment between two backups can be restored.")
        if self.spool.gap is not None:
            found.append(
                f"The archive has a gap since {self.spool.gap}: make a backup now,"
                " `viral backup create --full`."
            )
        if self.archiver is not None and self.archiver.is_failing:
            found.append(
                f"The server cannot archive {self.archiver.last_failed}: see to the space and"
                " the permissions of its archive folder, and to `viral server logs`."
            )
        waits = self.spool.waiting > 0 and (self.lag_s or 0) > LATE.total_seconds()
        if waits:
            found.append(
                f"{self.spool.waiting} segments wait to be stored: see whether `viral up` runs."
            )
        return found

    @property
    def document(self) -> dict[str, object]:
        """Give all of it for JSON."""
        return {
            **{name: value for name, value in asdict(self).items() if name != "now"},
            "lag_s": self.lag_s,
            "problems": self.problems,
        }

    @property
    def chain_rows(self) -> list[tuple[object, ...]]:
        """Give the lines of the table of chains."""
        return [
            (
                each.full_id,
                each.backups,
                f"{each.since.astimezone():%Y-%m-%d %H:%M:%S}",
                f"{each.until.astimezone():%Y-%m-%d %H:%M:%S}",
                each.verified.summary if each.verified else "never",
            )
            for each in self.chains
        ]

    @property
    def _is_behind(self) -> bool:
        assert self.archiver is not None
        # An empty segment is at work right after a switch: nothing is in it.
        return self.spool.waiting > 0 or self.archiver.is_failing or self.archiver.has_unarchived


async def read_wal_status(
    server: Server, target: Target, ring: KeyRing, *, is_on: bool, now: datetime
) -> WalStatus:
    """Look at the server, the spool and the target; a server that does not run is no error."""
    installation = server.installation
    catalogue = await list_backups(target, installation.id, ring)
    system = system_of(installation.data_dir)
    if system is None and catalogue.physical:
        system = catalogue.physical[-1].system_identifier
    archive = Archive("", {})
    if system is not None:
        archive = await read_archive(target, installation.id, ring, system=system)
    newest = max(archive.segments.values(), key=lambda each: each.modified_at, default=None)
    return WalStatus(
        is_on=is_on,
        archived_to=max(archive.segments, key=lambda name: name[8:], default=None),
        archived_at=newest.modified_at if newest else None,
        segments=len(archive.segments),
        stored_bytes=sum(each.size_bytes for each in archive.segments.values()),
        spool=read_spool(installation),
        archiver=await read_archiver(server) if await server.is_answering() else None,
        chains=_chains(catalogue, await read_verified(target, installation.id)),
        now=now,
    )


def _chains(catalogue: Catalogue, verified: dict[str, Verified]) -> tuple[Chain, ...]:
    chains: dict[str, Chain] = {}
    for backup in catalogue.physical:
        try:
            full = catalogue.chain(backup)[0]
        except BackupBroken:
            continue
        before = chains.get(full.id)
        chains[full.id] = Chain(
            full.id,
            before.backups + 1 if before else 1,
            full.stopped_at,
            backup.stopped_at,
            verified.get(backup.id) or (before.verified if before else None),
        )
    return tuple(chains.values())
