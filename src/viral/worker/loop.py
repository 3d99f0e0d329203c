"""A worker: its lanes, its keeper, and the house that it keeps."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import func, select

from viral.errors import BadInput, ServerError
from viral.features.jobs.schedules import ship_schedules
from viral.runtime import settle_memory
from viral.schema.base import uuid7
from viral.servers import delete_expired_branches
from viral.worker.attempts import Exchange
from viral.worker.backups import keep_backups
from viral.worker.handlers import HANDLERS
from viral.worker.inngest.relay import Relay, take_back
from viral.worker.keeper import Keeper, pause
from viral.worker.lane import Lane
from viral.worker.processes import Processes
from viral.worker.samples import keep_samples, prune_samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viral.features.jobs.types import JobType
    from viral.runtime import Runtime
    from viral.worker.attempts import Claim
    from viral.worker.inngest.engine import Engine

log = structlog.get_logger(__name__)

CONCURRENCY = 4
# What runs when the end is asked for may finish; what does not, goes to another worker.
GRACE_S = 25.0
HOUSE_EVERY_S = 3600.0
KEPT = timedelta(days=7)
FAILED_KEPT = timedelta(days=30)
PRUNED_AT_ONCE = 5_000
RECONNECT_S = 1.0


class Worker:
    """One process's share of the queue: up to `concurrency` jobs at once of each of its queues."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        concurrency: int = CONCURRENCY,
        queues: Sequence[str] = (),
        has_watchdog: bool = False,
    ) -> None:
        self.id = uuid7()
        self._runtime = runtime
        self._has_watchdog = has_watchdog
        self._processes = Processes()
        limited = {
            handled.job_type.queue: handled.job_type
            for handled in HANDLERS.values()
            if handled.job_type.running_limit is not None or handled.job_type.rate is not None
        }
        known = sorted({handled.job_type.queue for handled in HANDLERS.values()} | {"default"})
        if unknown := sorted(set(queues) - set(known)):
            raise BadInput(
                f"There is no queue {unknown[0]!r}.", hint=f"There are: {', '.join(known)}."
            )
        self._engine: Engine | None = None
        if runtime.vendors.inngest is not None:
            from viral.worker.inngest.engine import Engine  # noqa: PLC0415 - its web server is large

            self._engine = Engine(
                runtime, runtime.vendors.inngest, self.id, concurrency=concurrency
            )
        suspects = asyncio.Lock()
        self.lanes = [
            Lane(
                runtime,
                queue,
                self._exchange(queue, limited.get(queue)),
                concurrency=concurrency,
                suspects=suspects,
                processes=self._processes,
            )
            for queue in dict.fromkeys(queues or known)
        ]
        self._keeper = Keeper(runtime, self.id, self.lanes)

    def _exchange(self, queue: str, limits: JobType | None) -> Exchange:
        if self._engine is not None:
            return self._engine.exchange(queue, limits)
        return Exchange(self._runtime.worker, self.id, queue, limits)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then end what runs, for 25 s at most; give the rest back."""
        ended = asyncio.Event()
        if self._engine is not None:
            self._engine.listen()
        settle_memory()
        log.info("worker.started", worker_id=str(self.id), jobs=self._runtime.settings.jobs)
        await self._register(stop)
        async with asyncio.TaskGroup() as tasks:
            keeping = [
                self._keeper.beat(ended, has_watchdog=self._has_watchdog),
                self._keeper.keep_time(stop),
                keep_house(self._runtime, stop),
                keep_samples(self._runtime, stop),
                _keep_backups(self._runtime, stop),
            ]
            if self._runtime.settings.jobs_listen:
                keeping.append(self._keeper.listen(ended))
            if self._engine is not None:
                keeping.append(self._engine.run(self.lanes, stop, ended))
            for work in keeping:
                tasks.create_task(work)
            lanes = [tasks.create_task(lane.run()) for lane in self.lanes]
            await stop.wait()
            await self._drain(lanes)
            ended.set()
        self._processes.close()
        log.info("worker.stopped", worker_id=str(self.id))

    async def _register(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._keeper.register()
            except ServerError as error:
                log.warning("worker.server_lost", reason=error.message)
                await pause(stop, RECONNECT_S)
            else:
                return

    async def _drain(self, lanes: Sequence[asyncio.Task[None]]) -> None:
        unbegun = [claim for lane in self.lanes for claim in lane.stop()]
        if self._engine is not None:
            unbegun += self._engine.stop()
        (_, late), _ = await asyncio.gather(
            asyncio.wait(lanes, timeout=GRACE_S), self._release(unbegun)
        )
        left = [claim for lane in self.lanes for claim in lane.interrupt_all()]
        if late:
            await asyncio.wait(late, timeout=RECONNECT_S)
            for task in late:
                task.cancel()
        await self._release(left)

    async def _release(self, claims: Sequence[Claim]) -> None:
        """Give jobs back that were not begun, or not ended in time: no fault of theirs."""
        if not claims:
            return
        try:
            await self._runtime.worker.call(
                Exchange.give_back if self._engine is None else Relay.give_back,
                self.id,
                [claim.id for claim in claims],
                [claim.attempt for claim in claims],
            )
        except ServerError as error:
            # Others take them back when this worker is missed.
            log.warning("worker.server_lost", reason=error.message)


async def keep_house(runtime: Runtime, stop: asyncio.Event) -> None:
    """Make partitions ahead; forget jobs, counts, sessions and branches that nobody needs."""
    while not stop.is_set():
        try:
            async with runtime.worker.session_without_tenant() as session:
                await session.execute(select(func.viral.make_partitions()))
                await session.execute(select(func.viral.prune_access()))
            async with runtime.system.session_without_tenant() as session:
                await ship_schedules(session)
            if runtime.settings.jobs == "local":
                # Nobody answers the engine any more.
                await take_back(runtime.worker)
            await prune_samples(runtime)
            while await prune_jobs(runtime) == PRUNED_AT_ONCE:
                await pause(stop, 0.1)
            await delete_expired_branches(runtime.settings)
        except ServerError:
            log.warning("worker.house_missed")
        except Exception:
            log.exception("worker.house_missed")
        await pause(stop, HOUSE_EVERY_S)


async def prune_jobs(runtime: Runtime) -> int:
    """Delete one batch of jobs that ended long ago; return how many."""
    rows = await runtime.worker.call(
        "SELECT viral.prune_jobs($1, $2, $3)", KEPT, FAILED_KEPT, PRUNED_AT_ONCE
    )
    return int(rows[0][0])


async def _keep_backups(runtime: Runtime, stop: asyncio.Event) -> None:
    """Archive and back up; what nobody expected must not end the jobs."""
    while not stop.is_set():
        try:
            await keep_backups(runtime.settings, stop)
        except Exception:
            log.exception("backup.crashed")
            await pause(stop, HOUSE_EVERY_S)
        else:
            return
