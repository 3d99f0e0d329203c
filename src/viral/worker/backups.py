"""Backups by themselves: WAL every few seconds, a backup every few hours, and no more than kept."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog

from viral.errors import ViralError
from viral.postgres.backup.catalogue import list_backups
from viral.postgres.backup.physical import create_backup
from viral.postgres.backup.retention import prune
from viral.postgres.backup.wal import read_spool, ship
from viral.postgres.data_folder import system_of
from viral.servers import backup_target, field_keys, is_embedded, main_server

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from viral.postgres.backup.catalogue import Backup
    from viral.postgres.backup.wal import Spool
    from viral.settings import Settings

log = structlog.get_logger(__name__)

SHIP_EVERY_S = 5.0
LOOK_EVERY_S = 60.0
# A start is not the moment for a backup: people wait for their first page.
FIRST_AFTER_S = 180.0
INCREMENTAL_EVERY = timedelta(hours=6)
FULL_EVERY = timedelta(hours=24)
LARGE_BYTES = 10 << 30
LARGE_FULL_EVERY = timedelta(days=7)


def is_backed_up(settings: Settings) -> bool:
    """Whether this installation's server is ours to archive and back up."""
    return is_embedded(settings) and settings.archive


def is_due(backups: Sequence[Backup], spool: Spool, *, now: datetime) -> bool:
    """Say whether a full backup is due: there is none, it is old, or WAL was dropped after it."""
    full = next((each for each in reversed(backups) if each.kind == "full"), None)
    if full is None:
        return True
    every = LARGE_FULL_EVERY if full.plain_bytes > LARGE_BYTES else FULL_EVERY
    has_gap = spool.gap_at is not None and spool.gap_at >= full.started_at
    return has_gap or now - full.started_at >= every


def is_incremental_due(backups: Sequence[Backup], *, now: datetime) -> bool:
    """Say whether the newest backup is old enough for another."""
    return not backups or now - backups[-1].started_at >= INCREMENTAL_EVERY


async def keep_backups(settings: Settings, stop: asyncio.Event) -> None:
    """Ship WAL and make backups until `stop` is set; what fails is told and tried again."""
    if not is_backed_up(settings):
        return
    # A backup may take hours: WAL that nobody ships meanwhile would be dropped.
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_repeat(stop, partial(_ship, settings), every_s=SHIP_EVERY_S))
        if not await _is_set(stop, within_s=FIRST_AFTER_S):
            await _repeat(stop, partial(_until, stop, settings), every_s=LOOK_EVERY_S)


async def _repeat(
    stop: asyncio.Event, work: Callable[[], Coroutine[None, None, None]], *, every_s: float
) -> None:
    while not stop.is_set():
        try:
            await work()
        except ViralError as error:
            log.warning("backup.failed", code=error.code, reason=error.message)
        except OSError as error:
            log.warning("backup.failed", reason=error.strerror, file=error.filename)
        await _is_set(stop, within_s=every_s)


async def _is_set(stop: asyncio.Event, *, within_s: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await stop.wait()
    return stop.is_set()


async def _ship(settings: Settings) -> None:
    await ship(main_server(settings), backup_target(settings), field_keys(settings))


async def _back_up(settings: Settings) -> None:
    """Make the backup that is due, if one is, and delete what is no longer needed."""
    server, target, ring = main_server(settings), backup_target(settings), field_keys(settings)
    installation = server.installation
    now = datetime.now(UTC)
    catalogue = await list_backups(target, installation.id, ring)
    # An upgraded server is another system: no former backup reaches its moments.
    system = system_of(installation.data_dir)
    backups = [each for each in catalogue.physical if each.system_identifier == system]
    is_full = is_due(backups, read_spool(installation), now=now)
    if not is_full and not is_incremental_due(backups, now=now):
        return
    # Where the server has no incremental ones, or the chain is broken, a full one is made.
    made = await create_backup(
        server, target, ring, kind="full" if is_full else None, advance=lambda *_: None
    )
    log.info("backup.made", backup_id=made.id, stored_bytes=made.stored_bytes)
    await prune(
        installation.home,
        installation.id,
        target,
        ring,
        keep=timedelta(days=int(settings.backup_keep.removesuffix("d"))),
        now=datetime.now(UTC),
        is_dry_run=False,
        advance=lambda *_: None,
    )


async def _until(stop: asyncio.Event, settings: Settings) -> None:
    """Back up, and break it off when the worker ends: what it left is swept later."""
    task = asyncio.create_task(_back_up(settings))
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not task.done():
        task.cancel()
    with suppress(asyncio.CancelledError):
        await task
