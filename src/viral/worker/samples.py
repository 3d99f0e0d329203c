"""Each minute's measurements in `system_metrics`, made by one worker; and who holds back vacuum."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from viral.database.faults import DRIVER_ERRORS
from viral.errors import ViralError
from viral.features.jobs.listing import queue_stats
from viral.features.usage.measurements import DATABASE, WORKERS
from viral.postgres.doctor.check import looking_into
from viral.postgres.doctor.snapshots import old_snapshots
from viral.schema.base import uuid7
from viral.schema.operations import SystemMetric
from viral.servers import embedded_server, is_embedded, migrator_url
from viral.worker.keeper import SILENCE, pause
from viral.worker.machine import machine_shares

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from viral.database.urls import ServerUrl
    from viral.features.jobs.listing import QueueStats
    from viral.runtime import Runtime

log = structlog.get_logger(__name__)

EVERY_S = 60.0
KEPT = timedelta(days=90)
# The first row of each minute has this id, so that only one worker can write it.
_FIRST = UUID(int=0)
# What kind of backend another role's is, one does not see; those of a database are people's.
_SERVER = text("""
SELECT pg_database_size(current_database()) AS bytes,
       100.0 * (SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL)
         / current_setting('max_connections')::integer AS connections
""")
_ALIVE = "SELECT count(*) FROM public.job_workers WHERE heartbeat_at > now() - $1::interval"


async def keep_samples(runtime: Runtime, stop: asyncio.Event) -> None:
    """Take a sample each minute, unless another worker has; what fails is left out."""
    while True:
        # Minutes of the clock: all workers look at the same ones.
        await pause(stop, EVERY_S - time.time() % EVERY_S)
        if stop.is_set():
            return
        try:
            await take_sample(runtime)
        except ViralError as error:
            log.warning("metrics.missed", reason=error.message)
        except (*DRIVER_ERRORS, DBAPIError) as error:
            log.warning("metrics.missed", reason=type(error).__name__)


async def take_sample(runtime: Runtime) -> bool:
    """Write this minute's rows, warn of old snapshots; False when another worker did."""
    minute = func.date_trunc("minute", func.now())
    async with runtime.system.session_without_tenant() as session:
        if await session.scalar(
            select(SystemMetric.id).where(
                SystemMetric.metric_type == WORKERS, SystemMetric.recorded_at == minute
            )
        ):
            return False
    workers = await _look(runtime)
    first = {"id": _FIRST, "recorded_at": minute, "metric_type": WORKERS, "value": workers}
    async with runtime.system.session_without_tenant() as session:
        written = await session.scalar(
            insert(SystemMetric).values(first).on_conflict_do_nothing().returning(SystemMetric.id)
        )
        if written is None:
            return False
        (server,) = await session.execute(_SERVER)
        shares = machine_shares(runtime.settings.home)
        shares |= {"connections_pct": float(server.connections), DATABASE: server.bytes}
        rows = [
            {"id": uuid7(), "recorded_at": minute, "metric_type": name, "value": value}
            | {"labels": labels}
            for name, labels, value in [
                *summed(await queue_stats(session)),
                *((name, dict[str, str](), share) for name, share in shares.items()),
            ]
        ]
        await session.execute(insert(SystemMetric).values(rows))
    return True


async def prune_samples(runtime: Runtime) -> None:
    """Delete measurements older than 90 days."""
    async with runtime.system.session_without_tenant() as session:
        await session.execute(
            delete(SystemMetric).where(SystemMetric.recorded_at < func.now() - KEPT)
        )


def summed(stats: Iterable[QueueStats]) -> list[tuple[str, dict[str, str], float]]:
    """Sum the queue up by type over all tenants, whose number must not multiply what is kept.

    Counts are summed; of times the longest is told: that of the tenant who waits most.
    """
    rows: dict[tuple[str, str, str], float] = {}
    for each in stats:
        count = ("jobs", each.job_type, each.status)
        rows[count] = rows.get(count, 0) + each.jobs
        times = (
            ("job_oldest_s", "", each.oldest_s),
            ("job_run_p95_s", each.status, each.run_p95_s),
        )
        for name, status, seconds in times:
            if seconds is not None:
                longest = (name, each.job_type, status)
                rows[longest] = max(rows.get(longest, 0.0), seconds)
    return [
        (name, {"type": job_type} | ({"status": status} if status else {}), value)
        for (name, job_type, status), value in rows.items()
    ]


async def _look(runtime: Runtime) -> int:
    """Warn of who holds back vacuum; count the workers that were heard of."""
    async with looking_into(_eye(runtime)) as connection:
        for each in await old_snapshots(connection):
            log.warning(
                "queue.old_snapshot",
                kind=each.kind,
                name=each.name,
                role=each.role,
                application=each.application,
                age_s=round(each.age.total_seconds()),
                fix=each.fix,
            )
        async with connection.transaction(readonly=True):
            if not is_embedded(runtime.settings):
                # The rows are seen by the functions alone.
                await connection.execute("SET LOCAL ROLE viral_auth")
            return int(await connection.fetchval(_ALIVE, SILENCE))


def _eye(runtime: Runtime) -> ServerUrl:
    """Return the address that sees the most: the superuser's socket, else the migrator's."""
    if is_embedded(runtime.settings):
        server = embedded_server(runtime.settings)
        return server.socket_url("viral_admin", runtime.urls.direct.database)
    return migrator_url(runtime.settings, runtime.secrets)
