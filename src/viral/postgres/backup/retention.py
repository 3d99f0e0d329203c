"""How long backups and WAL are kept: no moment of the window is lost, and nothing by mistake."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from viral.errors import BackupBroken, BackupError
from viral.postgres.backup.catalogue import delete_backup, list_backups, sweep, verified_name
from viral.postgres.backup.claim import claimed
from viral.postgres.backup.wal import (
    SEGMENT,
    SEGMENT_BYTES,
    lsn_number,
    segment_number,
    wal_folder,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from pathlib import Path

    from viral.database.encryption.keys import KeyRing
    from viral.postgres.backup.catalogue import Backup, Catalogue
    from viral.postgres.backup.target import Stored, Target

# Two clocks may differ by so much and be right.
TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Pruning:
    """What is not needed for the window any more."""

    backups: tuple[Backup, ...]
    wal: tuple[Stored, ...]

    @property
    def freed_bytes(self) -> int:
        """What its deletion gives back."""
        backups = sum(backup.stored_bytes for backup in self.backups)
        return backups + sum(stored.size_bytes for stored in self.wal)


def plan_pruning(
    catalogue: Catalogue, wal: Iterable[Stored], *, keep: timedelta, now: datetime
) -> Pruning:
    """Choose what may go. Kept are all backups of the window, the newest one before it, and theirs.

    The window ends at the newest backup: where none was made for long, or the clock went forward,
    nothing grows old. Raises BackupError where a backup is of the future, BackupBroken where it is
    not known what another one needs.
    """
    for error in catalogue.broken.values():
        raise BackupBroken(
            f"Nothing was pruned: {error.message}",
            hint="What it needs is not known. Put it right, or delete its folder by hand.",
        )
    for backup in catalogue.backups:
        if max(backup.started_at, backup.stopped_at) > now + TOLERANCE:
            raise BackupError(
                f"Nothing was pruned: {backup.id} is of {backup.stopped_at:%Y-%m-%d %H:%M} UTC, and"
                f" the clock of this machine says {now:%Y-%m-%d %H:%M}.",
                hint="Correct the clock.",
            )
    kept = _kept(catalogue, keep=keep, now=now)
    gone = tuple(backup for backup in catalogue.backups if backup.id not in kept)
    starts = [
        lsn_number(each.start_lsn) // SEGMENT_BYTES
        for each in catalogue.physical
        if each.id in kept
    ]
    # Without a backup that is kept nothing says from where on WAL is of use.
    old = [each for each in wal if starts and _is_before(each, min(starts))]
    return Pruning(gone, tuple(old))


async def prune(
    home: Path,
    installation_id: str,
    target: Target,
    ring: KeyRing,
    *,
    keep: timedelta,
    now: datetime,
    is_dry_run: bool = False,
    advance: Callable[[str, int, int | None], None] | None = None,
) -> Pruning:
    """Delete what the window of `keep` does not need, or only say what; see `plan_pruning`.

    It can be stopped anywhere: what builds on a backup goes before it, and WAL last.
    """
    with claimed(home, "viral backup prune"):
        catalogue = await list_backups(target, installation_id, ring)
        wal = await target.list(wal_folder(installation_id))
        pruning = plan_pruning(catalogue, wal, keep=keep, now=now)
        if is_dry_run:
            return pruning
        await sweep(target, installation_id)
        total = len(pruning.backups) + len(pruning.wal)
        for number, backup in enumerate(reversed(pruning.backups), 1):
            await delete_backup(target, installation_id, backup.id)
            await target.delete(verified_name(installation_id, backup.id))
            if advance is not None:
                advance("Pruning", number, total)
        for number, stored in enumerate(pruning.wal, len(pruning.backups) + 1):
            await target.delete(stored.name)
            if advance is not None:
                advance("Pruning", number, total)
        return pruning


def _kept(catalogue: Catalogue, *, keep: timedelta, now: datetime) -> set[str]:
    kept: set[str] = set()
    logical = tuple(each for each in catalogue.backups if each.kind == "logical")
    for backups in (catalogue.physical, logical):
        if not backups:
            continue
        begin = min(now, backups[-1].stopped_at) - keep
        before = [each for each in backups if each.stopped_at <= begin]
        needed = before[-1:] + [each for each in backups if each.stopped_at > begin]
        for backup in needed:
            kept.update(link.id for link in catalogue.chain(backup))
    return kept


def _is_before(stored: Stored, first: int) -> bool:
    """Tell whether a segment of whatever timeline ends before one; histories are always kept."""
    file = stored.name.rpartition("/")[2].removesuffix(".sealed")
    return SEGMENT.fullmatch(file) is not None and segment_number(file) < first
