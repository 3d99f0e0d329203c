"""What a worker does beside its jobs: says that it lives, and minds what time brings.

Its lease is a session lock on a connection of its own, which the server frees the moment the
process is gone; the heartbeat is what remains where that connection is lost, or must not be.
"""

from __future__ import annotations

import asyncio
import faulthandler
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from viral.database.driver import driver_connection
from viral.database.faults import DRIVER_ERRORS
from viral.errors import ServerError
from viral.features.jobs.queue import CHANNEL
from viral.worker.schedules import fire_due

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from viral.runtime import Runtime
    from viral.worker.lane import Lane

log = structlog.get_logger(__name__)

HEARTBEAT_S = 2.0
# A worker not heard of for this long has died, or may as well have.
SILENCE = timedelta(seconds=10)
TICK_S = 1.0
RECONNECT_S = 1.0
# Who hears of a job begins it first, and looks at the clock afterwards.
CLOCK_AFTER_S = 0.02
# A handler that blocks the loop for so long is ended with the process; its jobs go on elsewhere.
STALL_S = 60.0


class Keeper:
    """The heartbeat, the lease, the wake-up calls and the clock of one worker."""

    def __init__(self, runtime: Runtime, worker_id: UUID, lanes: Sequence[Lane]) -> None:
        self._runtime = runtime
        self._worker_id = worker_id
        self._lanes = lanes
        self._clock_wake = asyncio.Event()

    async def register(self) -> None:
        """Enter the list of workers, before the first claim."""
        await self._runtime.worker.call("SELECT viral.heartbeat($1)", self._worker_id)

    async def beat(self, stop: asyncio.Event, *, has_watchdog: bool) -> None:
        """Say every 2 s that this worker lives, and drop the jobs that are no longer its own."""
        while not stop.is_set():
            if has_watchdog:
                faulthandler.dump_traceback_later(STALL_S, exit=True)
            for lane in self._lanes:
                lane.interrupt_overdue()
            with _told("worker.heartbeat_missed"):
                # Without an answer it must not look as if a handler had stopped the clock.
                async with asyncio.timeout(SILENCE.total_seconds()):
                    await self.register()
                    await self._drop_lost()
            await pause(stop, HEARTBEAT_S)
        if has_watchdog:
            faulthandler.cancel_dump_traceback_later()

    async def listen(self, stop: asyncio.Event) -> None:
        """Hold the lease and hear of new jobs, on a direct connection; made anew when it breaks."""
        url = self._runtime.urls.for_role("viral_worker", self._runtime.secrets)
        while not stop.is_set():
            with _told("worker.lease_lost"):
                async with driver_connection(url) as connection:
                    await connection.add_listener(CHANNEL, self._hear)
                    await connection.execute("SELECT viral.lease_worker($1)", self._worker_id)
                    self._wake_lanes()
                    broken = asyncio.Event()
                    connection.add_termination_listener(partial(_set, broken))
                    await _first(stop, broken)
            await pause(stop, RECONNECT_S if not stop.is_set() else 0)

    async def keep_time(self, stop: asyncio.Event) -> None:
        """Make due what waited for its moment, take back what the dead left, fire schedules."""
        while not stop.is_set():
            self._clock_wake.clear()
            wait_s = TICK_S
            with _told("worker.tick_missed"):
                wait_s = await self._tick()
            await pause_for_any(wait_s, stop, self._clock_wake)
            if self._clock_wake.is_set():
                await pause(stop, CLOCK_AFTER_S)

    async def _tick(self) -> float:
        worker, began = self._runtime.worker, monotonic()
        reaped = await worker.call("SELECT viral.reap_jobs($1, $2)", self._worker_id, SILENCE)
        ((promoted, next_in_s),) = await worker.call("SELECT * FROM viral.promote_jobs()")
        fired = await fire_due(worker)
        if reaped[0][0]:
            log.warning("job.taken_back", jobs=reaped[0][0])
        if reaped[0][0] or fired or promoted:
            self._wake_lanes(for_suspects=True)
        left_s = TICK_S - (monotonic() - began)
        return max(0.0, min(left_s, TICK_S if next_in_s is None else next_in_s))

    async def _drop_lost(self) -> None:
        for lane in self._lanes:
            held = lane.held()
            if not held:
                continue
            rows = await self._runtime.worker.call(
                "SELECT * FROM viral.lost_jobs($1, $2, $3)",
                self._worker_id,
                [claim.id for claim in held],
                [claim.attempt for claim in held],
            )
            lane.lose(row[0] for row in rows)

    def _hear(self, *_message: object) -> None:
        # What was sent is not looked at: the table says what there is.
        self._wake_lanes()
        self._clock_wake.set()

    def _wake_lanes(self, *, for_suspects: bool = False) -> None:
        for lane in self._lanes:
            lane.wake(for_suspects=for_suspects)


@contextmanager
def _told(event: str) -> Iterator[None]:
    """Tell of a server that is lost, and go on."""
    try:
        yield
    except ServerError as error:
        log.warning(event, reason=error.message)
    except DRIVER_ERRORS as error:
        log.warning(event, reason=type(error).__name__)


def _set(event: asyncio.Event, _connection: object) -> None:
    event.set()


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait for `seconds`, or until `stop` is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def pause_for_any(seconds: float, *events: asyncio.Event) -> None:
    """Wait for `seconds`, or until one of the events is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await _first(*events)


async def _first(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
