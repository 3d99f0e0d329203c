"""Whether there is room, and copies are made: disk, archive, backups, replica."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from viral.database.urls import parse_url
from viral.postgres.backup.catalogue import backup_folder, list_backups
from viral.postgres.backup.verify import read_verified
from viral.postgres.backup.wal import read_archiver, read_spool
from viral.postgres.doctor.check import Check, Finding, error, looking_into, ok, warning
from viral.postgres.installation import load_installation
from viral.postgres.replica import replica_status

if TYPE_CHECKING:
    from viral.postgres.backup.verify import Verified
    from viral.postgres.doctor.check import Embedded, Patient

SHORT_BYTES = 2_000_000_000
SHORT_SHARE = 0.1
OUT_BYTES = 300_000_000
# A backup a day and a verification a week are the schedule; a day of grace each.
OLD_BACKUP = timedelta(days=2)
OLD_VERIFY = timedelta(days=8)
BEHIND_S = 60.0
BEHIND_BYTES = 64 << 20
_SPOOL_IS_LONG = 16


async def look_at_disk(patient: Patient) -> list[Finding]:
    """See how much room is left where things are written."""
    assert patient.settings is not None
    places = {"VIRAL_HOME": patient.settings.home}
    if patient.embedded is not None:
        installation = load_installation(patient.embedded.main.home)
        if installation is not None:
            places["the data"] = installation.data_dir
    if patient.target is not None:
        places["the backups"] = Path(patient.target().location)
    found: list[Finding] = []
    said = []
    seen = set()
    for name, folder in places.items():
        if not folder.is_absolute():
            continue
        there = next(each for each in (folder, *folder.parents) if each.exists())
        if (device := there.stat().st_dev) in seen:
            continue
        seen.add(device)
        room = shutil.disk_usage(there)
        free = f"{room.free / 1e9:,.1f} GB free for {name}"
        fix = f"Free some of {there}: `viral backup prune`, or a larger disk."
        if room.free < OUT_BYTES:
            found += error("disk", f"{free}: PostgreSQL stops when nothing is left.", fix)
        elif room.free < min(SHORT_BYTES, room.total * SHORT_SHARE):
            found += warning("disk", f"{free}.", fix)
        said.append(free)
    return found or ok("disk", f"{', '.join(said)}.")


async def look_at_archive(patient: Patient) -> list[Finding]:
    """See that WAL goes to the target, and that nothing of it was dropped."""
    server = _embedded(patient).main
    assert patient.settings is not None
    if not patient.settings.archive:
        return warning(
            "archive",
            "VIRAL_ARCHIVE is off: nothing that happened after the last backup can come back.",
            "Unset VIRAL_ARCHIVE, then `viral server stop` and `viral up`.",
        )
    spool = read_spool(server.installation)
    if spool.gap is not None:
        return error(
            "archive",
            f"WAL was dropped from {spool.gap} on, because it waited too long: no restore passes"
            " that point.",
            "viral backup create --full",
        )
    archiver = await read_archiver(server)
    if archiver.is_failing:
        return error(
            "archive",
            f"PostgreSQL cannot archive {archiver.last_failed} ({archiver.failures:,} failures).",
            f"See {server.log_file}, and the disk it is on.",
        )
    if spool.waiting >= _SPOOL_IS_LONG:
        return warning(
            "archive",
            f"{spool.waiting} segments wait to be shipped.",
            "viral up: its worker ships them; see `viral wal status`.",
        )
    return ok("archive", f"{spool.waiting} segments wait to be shipped; no gap.")


async def look_at_backups(patient: Patient) -> list[Finding]:
    """See when the last good backup was made, and when one was verified."""
    assert patient.target is not None
    assert patient.keys is not None
    identity = _embedded(patient).main.installation.id
    target = patient.target()
    if not await target.list(backup_folder(identity)):
        return warning(
            "backups", f"There is none in {target.location}.", "viral backup create --full"
        )
    catalogue = await list_backups(target, identity, patient.keys())
    if catalogue.broken:
        name, broken = next(iter(catalogue.broken.items()))
        return error("backups", f"{name}: {broken.message}", "viral backup create --full")
    if not catalogue.backups:
        return warning("backups", "There is none that is whole.", "viral backup create --full")
    last = catalogue.backups[-1]
    age = patient.clock() - last.stopped_at
    if age > OLD_BACKUP:
        return warning(
            "backups",
            f"The last one, {last.id}, is {age.days} days old; the worker makes one a day.",
            "viral backup create",
        )
    verified = await read_verified(target, identity)
    return _judge_verified(patient, last.id, list(verified.values()))


def _judge_verified(patient: Patient, last: str, verified: list[Verified]) -> list[Finding]:
    if bad := [each for each in verified if not each.is_whole]:
        return error(
            "backups", f"{bad[-1].backup_id}: {bad[-1].problems[0]}", "viral backup create --full"
        )
    newest = max((each.verified_at for each in verified), default=None)
    if newest is None or patient.clock() - newest > OLD_VERIFY:
        when = (
            "None was ever verified" if newest is None else f"The last was verified on {newest:%F}"
        )
        return warning("backups", f"{when}; the last backup is {last}.", "viral backup verify")
    return ok("backups", f"The last is {last}; verified on {newest:%F}.")


async def look_at_replica(patient: Patient) -> list[Finding]:
    """See that a replica follows, where there is one."""
    assert patient.settings is not None
    if patient.settings.replica_url is not None:
        return await _look_at_named_replica(patient, patient.settings.replica_url)
    if patient.embedded is None:
        return ok("replica", "REPLICA_URL is not set: all reads go to the primary.")
    status = await replica_status(patient.embedded.main, patient.embedded.replica)
    if not status.is_made:
        return ok("replica", "There is none: all reads go to the primary.")
    if status.slot == "lost":
        return error(
            "replica", "It fell too far behind and cannot catch up.", "viral replica start --again"
        )
    if not status.is_running or not status.is_streaming:
        return warning("replica", "It does not follow the primary.", "viral replica start")
    return _judged(status.lag_bytes or 0, status.lag_s or 0.0)


async def _look_at_named_replica(patient: Patient, url: str) -> list[Finding]:
    async with looking_into(parse_url(url, name="REPLICA_URL")) as connection:
        follows = await connection.fetchval("SELECT pg_is_in_recovery()")
        if not follows:
            return warning(
                "replica",
                "REPLICA_URL names a server that follows nobody.",
                "Correct REPLICA_URL, or unset it.",
            )
        async with looking_into(patient.eye) as primary:
            here = await primary.fetchval("SELECT pg_current_wal_flush_lsn()::text")
        behind = int(
            await connection.fetchval(
                "SELECT greatest(0, pg_wal_lsn_diff($1::text::pg_lsn, pg_last_wal_replay_lsn()))",
                here,
            )
        )
        age_s = await connection.fetchval(
            "SELECT extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8"
        )
    return _judged(behind, (age_s or 0.0) if behind else 0.0)


def _judged(lag_bytes: int, lag_s: float) -> list[Finding]:
    if lag_bytes > BEHIND_BYTES or (lag_bytes and lag_s > BEHIND_S):
        return warning(
            "replica",
            f"It is {lag_bytes / 1e6:,.1f} MB, {lag_s:,.0f} s behind; reads go to the primary"
            " meanwhile.",
            "Look for long reads on the replica, and for its disk and network.",
        )
    return ok("replica", f"It follows, {lag_bytes:,} bytes behind.")


def _embedded(patient: Patient) -> Embedded:
    assert patient.embedded is not None
    return patient.embedded


CHECKS = (
    Check("disk", look_at_disk, ("settings",)),
    Check("archive", look_at_archive, ("settings", "embedded", "server")),
    Check("backups", look_at_backups, ("embedded", "secrets")),
    Check("replica", look_at_replica, ("settings", "server")),
)
