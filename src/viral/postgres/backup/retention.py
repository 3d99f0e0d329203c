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
            hint="What it needs is not known. Put it right, or `viral backup delete` it.",
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
    needed = [each for each in catalogue.physical if each.id in kept]
    return Pruning(gone, tuple(each for each in wal if _is_before(each, needed)))


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


async def delete_one(
    home: Path, installation_id: str, target: Target, ring: KeyRing, backup_id: str
) -> int:
    """Delete a backup, also a broken one; its bytes. BackupError while another builds on it."""
    with claimed(home, "viral backup delete"):
        catalogue = await list_backups(target, installation_id, ring)
        if backup_id not in catalogue:
            catalogue.find(backup_id)
        above = [each.id for each in catalogue.backups if each.parent_id == backup_id]
        if above:
            raise BackupError(
                f"{above[0]} builds on {backup_id}: nothing was deleted.",
                hint=f"Delete {above[0]} first: `viral backup delete {above[0]}`.",
            )
        freed_bytes = await delete_backup(target, installation_id, backup_id)
        await target.delete(verified_name(installation_id, backup_id))
        return freed_bytes


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


def _is_before(stored: Stored, needed: list[Backup]) -> bool:
    """Tell whether a segment is of no use to any kept backup; histories are always kept.

    Of a system without a kept backup they are all gone, or the first is to come: what is older than
    the oldest of the others serves none. Without any, nothing says from where on WAL is of use.
    """
    system, _, file = stored.name.removesuffix(".sealed").split("/")[-3:]
    if not needed or SEGMENT.fullmatch(file) is None:
        return False
    starts = [each.start_lsn for each in needed if each.system_identifier == system]
    if starts:
        return segment_number(file) < min(map(lsn_number, starts)) // SEGMENT_BYTES
    return stored.modified_at + TOLERANCE < min(each.started_at for each in needed)
