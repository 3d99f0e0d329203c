"""Which backup a moment is restored from, where several data folders followed one another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from viral.database.encryption.keys import KeyRing, new_key
from viral.errors import BackupBroken, RestoreRefused
from viral.postgres.backup.catalogue import Backup, Catalogue
from viral.postgres.backup.recovery import (
    Archive,
    Plan,
    Timeline,
    plan_moment,
    read_archive,
    system_at,
)
from viral.postgres.backup.sealing import seal
from viral.postgres.backup.target import LocalFolder, Stored, one_chunk
from viral.postgres.backup.wal import segment_name, wal_object

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    return BEGIN + timedelta(days=number)


def made(
    name: str,
    at: float,
    *,
    system: str,
    timeline: int = 1,
    lsn: str = "0/9000028",
    parent: str = "",
) -> Backup:
    return Backup(
        id=name,
        kind="incremental" if parent else "full",
        parent_id=parent or None,
        started_at=day(at),
        stopped_at=day(at) + timedelta(minutes=1),
        start_lsn=lsn,
        stop_lsn=lsn,
        timeline=timeline,
        server_version="18.6",
        system_identifier=system,
        database="viral",
        files={},
        plain_bytes=1,
        key_id="k",
    )


# Restored in place on the first day, which began timeline 2; upgraded on the third, which is 1.
OLD = made("old", 1, system="17", timeline=2)
UPGRADED = (made("new-a", 3, system="18"), made("new-b", 5, system="18"))
ARCHIVES = {
    "17": Archive("17", {}, (Timeline(2, day(0.5), ((1, 0x5000000),), b""),)),
    "18": Archive("18", {}),
}


def plan(catalogue: Catalogue, moment: datetime | None) -> Plan:
    return plan_moment(catalogue, ARCHIVES[system_at(catalogue, moment)], moment)


@pytest.mark.parametrize(
    ("moment", "backup_id", "timeline"),
    [(None, "new-b", 1), (day(6), "new-b", 1), (day(4), "new-a", 1), (day(2), "old", 2)],
)
def test_a_moment_is_restored_from_the_data_folder_of_its_time(
    moment: datetime | None, backup_id: str, timeline: int
) -> None:
    found = plan(Catalogue((OLD, *UPGRADED)), moment)

    assert (found.backup.id, found.timeline) == (backup_id, timeline)


def test_what_was_before_the_upgrade_is_never_taken_for_what_was_after_it() -> None:
    """The only backup after it cannot be used: that is said, and nothing older restored."""
    alone = made("new-inc", 3, system="18", parent="lost")

    with pytest.raises(BackupBroken, match="new-inc builds on lost, which is gone"):
        plan(Catalogue((OLD, alone)), None)
    with pytest.raises(RestoreRefused, match="the earliest moment there is"):
        plan(Catalogue((OLD, alone)), day(0.5))


async def test_a_history_that_was_stored_again_is_as_old_as_its_first_segment(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    target = LocalFolder(tmp_path_factory.mktemp("backups"))
    ring = KeyRing([new_key(BEGIN)])
    segment = wal_object("id", "17", segment_name(2, 5))
    await target.write(segment, one_chunk(b"sealed"))
    first = await stored_in(target, segment)
    for system in ("18", "17"):
        name = wal_object("id", system, "00000002.history")
        await target.write(
            name, seal(one_chunk(b"1\t0/5000000\tbefore\n"), ring.primary, name=name)
        )

    archive = await read_archive(target, "id", ring, system="17")

    assert list(archive.segments) == [segment_name(2, 5)]
    assert [(each.id, each.began_at) for each in archive.timelines] == [(2, first.modified_at)]
    assert (await read_archive(target, "id", ring, system="18")).segments == {}


async def stored_in(target: LocalFolder, name: str) -> Stored:
    return next(each for each in await target.list("") if each.name == name)
