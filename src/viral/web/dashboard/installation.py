"""How the installation stands: requests of the last hour, workers, the queue, the last backup."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from viral.errors import ViralError
from viral.features.jobs.listing import queue_stats
from viral.features.usage.measurements import Step, database_size, measured
from viral.postgres.backup.verify import read_verified
from viral.postgres.installation import load_or_create_installation
from viral.runtime import Runtime
from viral.schema.tenants import Tenant
from viral.servers import backup_catalogue, backup_target
from viral.web.dashboard.views import Failure

# A target far away must not hold up the page.
BACKUPS_WITHIN_S: Final = 3.0
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
# Workers are counted once a minute; an older count says nothing about now.
_RECENT: Final = timedelta(minutes=3)


@dataclass(frozen=True, slots=True)
class LastBackup:
    """The newest backup; `verified_at` is None while nobody has checked it."""

    kind: str
    made_at: datetime
    stored_bytes: int
    verified_at: datetime | None
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What is true now; `hour` sums the last hour up, and is None where nothing was measured.

    `has_just_started` is before a worker can have been counted; `is_young` is an installation with
    less than a day of data, where no backup is missed yet.
    """

    hour: Step | None
    workers: int | None
    waiting: int
    running: int
    oldest_s: float | None
    database_bytes: int
    sizes: tuple[float, ...]
    backup: LastBackup | Failure | None
    has_just_started: bool
    is_young: bool


async def standing_of(
    runtime: Runtime, steps: Sequence[Step], *, started_at: datetime, now: datetime
) -> Standing:
    """Read how things stand, as the system; `steps` give the history of the database's size.

    `started_at` is when this process began to answer.
    """
    async with runtime.system.session_without_tenant() as session:
        hour = await measured(session, since=now - _HOUR, step=2 * _HOUR, until=now)
        minutes = await measured(session, since=now - _RECENT, step=2 * _RECENT, until=now)
        stats = await queue_stats(session)
        size = await database_size(session)
        first = await session.scalar(select(func.min(Tenant.created_at)))
    workers = minutes[0].workers if minutes else None
    return Standing(
        hour=hour[0] if hour else None,
        workers=None if workers is None else round(workers),
        waiting=sum(each.jobs for each in stats if each.status == "pending"),
        running=sum(each.jobs for each in stats if each.status == "running"),
        oldest_s=max((each.oldest_s for each in stats if each.oldest_s is not None), default=None),
        database_bytes=size,
        sizes=tuple(each.database_bytes for each in steps if each.database_bytes is not None),
        backup=await _last_backup(runtime),
        has_just_started=now - started_at < _RECENT,
        is_young=first is None or now - first < _DAY,
    )


async def _last_backup(runtime: Runtime) -> LastBackup | Failure | None:
    """Look into the target of backups; what goes wrong there is a part of the page that failed."""
    try:
        async with asyncio.timeout(BACKUPS_WITHIN_S):
            return await _newest(runtime)
    except TimeoutError:
        return Failure("The place of the backups did not answer.", "See `viral backup list`.")
    except (ViralError, OSError):
        # Its words name folders and hosts: the command line tells them.
        return Failure("The backups cannot be listed.", "See `viral backup list`.")


async def _newest(runtime: Runtime) -> LastBackup | None:
    catalogue = await backup_catalogue(runtime.settings)
    if not catalogue.backups:
        return None
    newest = catalogue.backups[-1]
    identity = load_or_create_installation(runtime.settings.home).id
    verified = await read_verified(backup_target(runtime.settings), identity)
    found = verified.get(newest.id)
    return LastBackup(
        kind=newest.kind,
        made_at=newest.stopped_at,
        stored_bytes=newest.stored_bytes,
        verified_at=found.verified_at if found else None,
        is_whole=found.is_whole if found else False,
    )
