"""What a moment is restored from: which backup, along which timeline, with which WAL."""

from __future__ import annotations

from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from viral.errors import BackupBroken, RestoreRefused
from viral.postgres.backup.sealing import unseal
from viral.postgres.backup.wal import (
    HISTORY,
    SEGMENT,
    SEGMENT_BYTES,
    lsn_number,
    read_pieces,
    segment_name,
    segment_number,
    wal_folder,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from viral.database.encryption.keys import KeyRing
    from viral.postgres.backup.catalogue import Backup, Catalogue
    from viral.postgres.backup.target import Stored, Target

FIRST_TIMELINE = 1


@dataclass(frozen=True, slots=True)
class Timeline:
    """One line of history: it begins where a server was restored in place.

    `forks` are the timelines that it came from, oldest first, each with the LSN where it was left.
    """

    id: int
    began_at: datetime
    forks: tuple[tuple[int, int], ...]
    history: bytes

    def leaves(self, timeline: int) -> int | None:
        """Give the LSN where this line leaves another one that it came from."""
        return next((lsn for parent, lsn in self.forks if parent == timeline), None)


@dataclass(frozen=True, slots=True)
class Archive:
    """The WAL of a system in a target: the segments by name, and the timelines but the first."""

    system: str
    segments: dict[str, Stored]
    timelines: tuple[Timeline, ...] = ()

    def timeline(self, number: int) -> Timeline | None:
        """Find a timeline; the first has no history."""
        return next((each for each in self.timelines if each.id == number), None)

    def timeline_at(self, moment: datetime | None) -> int:
        """Say on which timeline the installation was at a moment; None is the present."""
        begun = [each for each in self.timelines if moment is None or each.began_at <= moment]
        # A promotion takes a number above all that there are.
        return max((each.id for each in begun), default=FIRST_TIMELINE)

    def names_from(self, lsn: str, timeline: int) -> Iterator[str]:
        """Name the segments that follow one another from an LSN on, along a timeline."""
        line = self.timeline(timeline)
        forks = line.forks if line else ()
        number = lsn_number(lsn) // SEGMENT_BYTES
        # A segment in which a timeline begins has the WAL before the fork, too.
        starts = [fork // SEGMENT_BYTES for _, fork in forks]
        ids = [parent for parent, _ in forks] + [timeline]
        while True:
            yield segment_name(ids[bisect_right(starts, number)], number)
            number += 1

    def last_on(self, timeline: int) -> int:
        """Give the number of the last segment of a timeline; -1 if it has none."""
        prefix = f"{timeline:08X}"
        numbers = (segment_number(name) for name in self.segments if name.startswith(prefix))
        return max(numbers, default=-1)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be unpacked, oldest first, and the timeline that is followed from there."""

    chain: tuple[Backup, ...]
    timeline: int

    @property
    def backup(self) -> Backup:
        """The backup that recovery begins from."""
        return self.chain[-1]


async def read_archive(
    target: Target, installation_id: str, ring: KeyRing, *, system: str
) -> Archive:
    """List the WAL of one system of an installation and read the histories of its timelines."""
    segments: dict[str, Stored] = {}
    timelines = []
    for stored in await target.list(wal_folder(installation_id, system)):
        file = stored.name.rpartition("/")[2].removesuffix(".sealed")
        if SEGMENT.fullmatch(file):
            segments[file] = stored
        elif HISTORY.fullmatch(file):
            name = stored.name
            history = b"".join([each async for each in unseal(target.read(name), ring, name=name)])
            forks = _forks(history, name)
            timelines.append(Timeline(int(file[:8], 16), stored.modified_at, forks, history))
    return Archive(system, segments, tuple(_begun_by(each, segments) for each in timelines))


def with_waiting(archive: Archive, *folders: Path) -> Archive:
    """Add the timelines whose histories lie on this machine, because nobody shipped them yet."""
    timelines = {each.id: each for each in archive.timelines}
    for folder in folders:
        for file in sorted(folder.glob("*.history")):
            number = int(file.name[:8], 16) if HISTORY.fullmatch(file.name) else None
            # It may be shipped meanwhile: it was listed before that.
            with suppress(FileNotFoundError):
                if number is not None and number not in timelines:
                    history = b"".join(read_pieces(file))
                    began_at = datetime.fromtimestamp(file.lstat().st_mtime, UTC)
                    forks = _forks(history, file.name)
                    timelines[number] = Timeline(number, began_at, forks, history)
    return replace(archive, timelines=tuple(timelines.values()))


def plan_backup(catalogue: Catalogue, backup_id: str) -> Plan:
    """Plan to restore a backup as it was at its end."""
    backup = catalogue.find(backup_id)
    if backup.kind == "logical":
        raise RestoreRefused(
            f"{backup_id} is a logical backup: it holds one database and no server.",
            hint=f"Restore it with `viral backup restore --logical {backup_id} --into DATABASE`.",
        )
    return Plan(catalogue.chain(backup), backup.timeline)


def plan_moment(catalogue: Catalogue, archive: Archive, moment: datetime | None) -> Plan:
    """Choose the newest backup that was whole before a moment, on the timeline of that moment.

    A backup serves no moment before its end: PostgreSQL would stop at the first commit after it,
    later than was asked for, and say nothing.
    """
    whole = [
        each for each in _before(catalogue, moment) if each.system_identifier == archive.system
    ]
    timeline = max([archive.timeline_at(moment), *(each.timeline for each in whole)])
    line = archive.timeline(timeline)
    candidates = []
    for backup in whole:
        end = line.leaves(backup.timeline) if line else None
        is_on_it = backup.timeline == timeline
        is_before_it = end is not None and lsn_number(backup.stop_lsn) <= end
        if is_on_it or is_before_it:
            candidates.append(backup)
    broken: BackupBroken | None = None
    for backup in reversed(candidates):
        try:
            return Plan(catalogue.chain(backup), timeline)
        except BackupBroken as error:
            # An older backup leads to the same moment, with more WAL.
            broken = broken or error
    raise broken or nothing_for(catalogue, moment)


def system_at(catalogue: Catalogue, moment: datetime | None, backup_id: str | None = None) -> str:
    """Say of which data folder a backup is, or the newest one before a moment.

    Only backups of one system lie on one line of time: an upgrade begins with timeline 1 again.
    """
    if backup_id is not None:
        return catalogue.find(backup_id).system_identifier
    before = _before(catalogue, moment)
    if not before:
        raise nothing_for(catalogue, moment)
    return before[-1].system_identifier


def _before(catalogue: Catalogue, moment: datetime | None) -> list[Backup]:
    return [each for each in catalogue.physical if moment is None or each.stopped_at <= moment]


def nothing_for(catalogue: Catalogue, moment: datetime | None) -> RestoreRefused:
    """Say why no backup serves a moment, and what does."""
    if not catalogue.physical:
        broken = f" {len(catalogue.broken)} are broken: `viral backup verify` names them."
        return RestoreRefused(
            "There is no whole backup of the server." + (broken if catalogue.broken else ""),
            hint="Make one: `viral backup create --full`.",
        )
    # A second that has begun when the backup ended does not serve.
    begun = catalogue.physical[0].stopped_at + timedelta(seconds=1)
    earliest = begun.isoformat(timespec="seconds")
    asked = moment.isoformat(timespec="seconds") if moment else "the present"
    return RestoreRefused(
        f"No backup reaches {asked}: the earliest moment there is, is {earliest}.",
        hint=f"Restore with --at {earliest} or later; `viral backup list` shows the backups.",
    )


def _begun_by(timeline: Timeline, segments: dict[str, Stored]) -> Timeline:
    """See whether a timeline has older segments than its history, which was stored again then."""
    prefix = f"{timeline.id:08X}"
    stored = [each.modified_at for name, each in segments.items() if name.startswith(prefix)]
    return replace(timeline, began_at=min([timeline.began_at, *stored]))


def _forks(history: bytes, name: str) -> tuple[tuple[int, int], ...]:
    """Read a history file: parent timeline, LSN and reason on each line (timeline.c)."""
    forks = []
    try:
        for line in history.decode("ascii").splitlines():
            if line.strip() and not line.startswith("#"):
                parent, lsn, *_ = line.split()
                forks.append((int(parent), lsn_number(lsn)))
    except ValueError as error:
        raise BackupBroken(f"{name} is no history of a timeline.") from error
    return tuple(forks)
