"""What pruning keeps: every moment of the window, what others build on, and all when in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from viral.database.encryption.keys import KeyRing, new_key
from viral.errors import BackupBroken, BackupError
from viral.postgres.backup.catalogue import (
    Backup,
    Catalogue,
    Kind,
    backup_folder,
    list_backups,
    publish,
    verified_name,
)
from viral.postgres.backup.claim import claimed
from viral.postgres.backup.retention import plan_pruning, prune
from viral.postgres.backup.target import LocalFolder, Stored, one_chunk
from viral.postgres.backup.wal import wal_object

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
KEY = new_key(NOW)
RING = KeyRing([KEY])
ID = "0123456789ab"


def made(name: str, age_days: float, parent: str | None = None, kind: Kind | None = None) -> Backup:
    """Describe a backup; its WAL begins at the segment whose number is its day of 2026."""
    moment = NOW - timedelta(days=age_days)
    return Backup(
        id=name,
        kind=kind or ("incremental" if parent else "full"),
        parent_id=parent,
        started_at=moment - timedelta(minutes=1),
        stopped_at=moment,
        start_lsn=f"{int(100 - age_days) >> 8:X}/{int(100 - age_days) << 24:08X}",
        stop_lsn="0/0",
        timeline=1,
        server_version="18.6",
        system_identifier="1",
        database="viral",
        files={},
        plain_bytes=0,
        key_id=KEY.id,
    )


# Two chains, an old one too, and what was made by day: full on days 21, 14, 7 and 0.
MONTH = (
    made("full-21", 21),
    made("inc-18", 18, "full-21"),
    made("full-14", 14),
    made("inc-13", 13, "full-14"),
    made("inc-10", 10, "inc-13"),
    made("inc-8", 8, "inc-10"),
    made("full-6", 6),
    made("inc-3", 3, "full-6"),
    made("full-0", 0),
)


def gone(backups: Sequence[Backup], *, keep: timedelta = WEEK, now: datetime = NOW) -> set[str]:
    plan = plan_pruning(Catalogue(tuple(backups)), [], keep=keep, now=now)
    return {backup.id for backup in plan.backups}


def segment(number: int, *, timeline: int = 1, system: str = "1", at: datetime = NOW) -> Stored:
    return Stored(wal_object(ID, system, f"{timeline:08X}00000000{number:08X}"), 100, at)


def test_the_newest_backup_before_the_window_stays_with_what_it_builds_on() -> None:
    assert gone(MONTH) == {"full-21", "inc-18"}


def test_a_longer_window_keeps_more() -> None:
    assert gone(MONTH, keep=timedelta(days=30)) == set()
    assert gone(MONTH, keep=timedelta(days=2)) == {backup.id for backup in MONTH[:6]}


def test_a_backup_of_the_moment_the_window_begins_serves_it() -> None:
    backups = [made("a", 8), made("b", 7), made("c", 0)]

    assert gone(backups) == {"a"}


def test_nothing_grows_old_where_backups_have_stopped() -> None:
    year_later = NOW + timedelta(days=365)

    assert gone(MONTH, now=year_later) == gone(MONTH)


def test_a_backup_of_the_future_keeps_everything() -> None:
    with pytest.raises(BackupError, match="full-0 is of 2026-11-23"):
        gone(MONTH, now=NOW - timedelta(days=1))


def test_one_backup_alone_is_never_pruned() -> None:
    assert gone([made("only", 400)]) == set()


def test_a_damaged_manifest_keeps_everything() -> None:
    catalogue = Catalogue(MONTH, {"x": BackupBroken("x/manifest.json is damaged.")})

    with pytest.raises(BackupBroken, match=r"Nothing was pruned: x/manifest\.json is damaged"):
        plan_pruning(catalogue, [], keep=WEEK, now=NOW)


def test_a_chain_with_a_hole_keeps_everything() -> None:
    with pytest.raises(BackupBroken, match="inc-8 builds on inc-10, which is gone"):
        gone([backup for backup in MONTH if backup.id != "inc-10"])


def test_logical_backups_are_kept_by_themselves() -> None:
    logical = [made(f"logical-{age}", age, kind="logical") for age in (30, 20, 9, 2)]

    assert gone([*logical, made("full-1", 1)]) == {"logical-30", "logical-20"}


def test_wal_goes_up_to_the_start_of_the_oldest_kept_backup() -> None:
    # full-14 begins in segment 86.
    wal = [segment(number) for number in (70, 85, 86, 87)]
    wal += [segment(85, timeline=2), segment(86, timeline=2)]
    history = Stored(wal_object(ID, "1", "00000002.history"), 100, NOW)

    plan = plan_pruning(Catalogue(MONTH), [*wal, history], keep=WEEK, now=NOW)

    assert plan.wal == (wal[0], wal[1], wal[4])


def test_wal_of_a_data_folder_goes_with_its_own_backups_and_waits_for_the_first() -> None:
    upgraded = replace(made("full-2", 2), system_identifier="2", start_lsn="0/5000028")
    before, after = NOW - timedelta(days=20), NOW - timedelta(days=1)
    wal = [segment(4, system="2"), segment(5, system="2"), segment(85), segment(86)]
    wal += [segment(9, system="0", at=before), segment(9, system="3", at=after)]

    plan = plan_pruning(Catalogue((*MONTH[:8], upgraded)), wal, keep=WEEK, now=NOW)
    assert plan.wal == (wal[0], wal[2], wal[4])

    # When the last backup of a data folder is gone, its WAL is, too.
    plan = plan_pruning(Catalogue((upgraded,)), [segment(90, at=before)], keep=WEEK, now=NOW)
    assert len(plan.wal) == 1


def test_without_a_physical_backup_all_wal_stays() -> None:
    logical = (made("logical", 1, kind="logical"),)

    assert plan_pruning(Catalogue(logical), [segment(1)], keep=WEEK, now=NOW).wal == ()


@pytest.fixture
async def target(tmp_path: Path) -> LocalFolder:
    target = LocalFolder(tmp_path / "backups")
    for backup in MONTH:
        await publish(target, ID, backup, RING)
    await target.write(wal_object(ID, "1", "000000010000000000000001"), one_chunk(b"wal"))
    await target.write(verified_name(ID, "inc-18"), one_chunk(b"{}"))
    return target


async def test_pruning_deletes_what_is_planned_and_nothing_in_a_dry_run(
    target: LocalFolder, tmp_path: Path
) -> None:
    before = await target.list("")

    await prune(tmp_path, ID, target, RING, keep=WEEK, now=NOW, is_dry_run=True)
    assert await target.list("") == before

    pruning = await prune(tmp_path, ID, target, RING, keep=WEEK, now=NOW)
    assert [backup.id for backup in pruning.backups] == ["full-21", "inc-18"]
    left = await list_backups(target, ID, RING)
    assert left.backups == MONTH[2:]
    assert {stored.name for stored in await target.list("")} == {
        f"{backup_folder(ID, backup.id)}manifest.json" for backup in MONTH[2:]
    }


async def test_pruning_waits_for_no_other_work_and_names_it(
    target: LocalFolder, tmp_path: Path
) -> None:
    before = await target.list("")

    with (
        claimed(tmp_path, "viral backup create"),
        pytest.raises(BackupError, match=r"in use: viral backup create, process \d+, since 20"),
    ):
        await prune(tmp_path, ID, target, RING, keep=WEEK, now=NOW)

    assert await target.list("") == before


async def test_a_manifest_that_was_changed_is_told_and_not_listed(target: LocalFolder) -> None:
    path = Path(target.location, backup_folder(ID, "full-6"), "manifest.json")
    path.write_text(path.read_text().replace("2026", "2025"))

    catalogue = await list_backups(target, ID, RING)

    assert "full-6" not in {backup.id for backup in catalogue.backups}
    assert "was changed" in catalogue.broken["full-6"].message


async def test_a_manifest_put_in_the_place_of_another_is_told(target: LocalFolder) -> None:
    folder = Path(target.location, backup_folder(ID))
    (folder / "full-6/manifest.json").write_bytes((folder / "full-0/manifest.json").read_bytes())

    catalogue = await list_backups(target, ID, RING)

    assert "is the manifest of full-0" in catalogue.broken["full-6"].message


async def test_a_manifest_of_another_installation_is_told(target: LocalFolder) -> None:
    Path(target.location, ID).rename(Path(target.location, "other"))

    catalogue = await list_backups(target, "other", RING)

    assert catalogue.backups == ()
    assert len(catalogue.broken) == len(MONTH)


async def test_a_manifest_under_a_key_that_is_not_here_is_told(target: LocalFolder) -> None:
    other = new_key(NOW)
    await publish(target, ID, replace(made("new", 0), key_id=other.id), KeyRing([other, KEY]))

    catalogue = await list_backups(target, ID, RING)

    assert f"no field key {other.id}" in catalogue.broken["new"].message
    assert len(catalogue.backups) == len(MONTH)
