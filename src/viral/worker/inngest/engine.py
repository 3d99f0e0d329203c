"""Inngest's part in a worker: it is told of the function, sent what it lost, and its calls run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog

from viral.adapters.inngest import JobEvent
from viral.database.faults import DRIVER_ERRORS
from viral.errors import RateLimited, ServerError, VendorError
from viral.worker.attempts import Claim
from viral.worker.inngest.relay import Relay, call_again, wait_s
from viral.worker.inngest.serving import listen, serve
from viral.worker.keeper import pause

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from viral.adapters.inngest import Answer, Inngest
    from viral.features.jobs.types import JobType
    from viral.runtime import Runtime
    from viral.worker.lane import Lane

log = structlog.get_logger(__name__)

# So many times its concurrency a worker has outside or at work, of each queue.
OUTSTANDING = 4
SEND_AGAIN_EVERY_S = 60.0
# What was not called for after so long may never have arrived.
SILENCE = timedelta(minutes=5)
# By then Inngest's next call may be hours away, or its run given up; it drops an id for a day.
GIVEN_UP = timedelta(minutes=30)
MOST_AT_ONCE = 1_000
_TAKE = (
    "SELECT queue, id, tenant_id, job_type, $3::integer, crashes, has_payload"
    " FROM viral.take_job($1, $2, $3)"
)
_HANDED_OVER = "SELECT id, attempt FROM viral.handed_over_jobs($1, $2)"


@dataclass(frozen=True, slots=True)
class _Reminder(JobEvent):
    """An event that asks anew for an attempt; a call for one that began already runs nothing."""

    number: int

    def document(self) -> dict[str, object]:
        document = JobEvent.document(self)
        return {**document, "id": f"{document['id']}-{self.number}"}


class Engine:
    """Inngest for one worker: a relay for each of its queues, and the server that it calls."""

    def __init__(
        self, runtime: Runtime, inngest: Inngest, worker_id: UUID, *, concurrency: int
    ) -> None:
        self._runtime = runtime
        self._inngest = inngest
        self._worker_id = worker_id
        self._limit = OUTSTANDING * concurrency
        self._relays: dict[str, Relay] = {}
        self._lanes: dict[str, Lane] = {}
        self._is_stopping = False

    def exchange(self, queue: str, limits: JobType | None) -> Relay:
        """Make what the lane of a queue has for its exchange."""
        made = Relay(self._runtime.worker, self._worker_id, queue, limits, inngest=self._inngest)
        self._relays[queue] = made
        return made

    def listen(self) -> None:
        """Take the port of the calls before anything runs; raise PortInUse."""
        self._listener = listen(self._runtime.settings.inngest_port)

    async def run(self, lanes: Sequence[Lane], stop: asyncio.Event, ended: asyncio.Event) -> None:
        """Send jobs and serve calls until `stop`; `ended` says that no job is at work any more."""
        self._lanes = {lane.queue: lane for lane in lanes}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve(self._listener, self._answer, stop))
            # An event of an app that Inngest does not know starts nothing.
            first_wait_s = await self._register()
            tasks.create_task(self._keep_registering(first_wait_s, stop))
            tasks.create_task(self._send_again(stop))
            for relay in self._relays.values():
                tasks.create_task(relay.drain(stop, ended, limit=self._limit))

    def stop(self) -> list[Claim]:
        """Begin nothing any more; return what was called for and is not begun."""
        self._is_stopping = True
        return [claim for relay in self._relays.values() for claim in relay.kept()]

    async def _answer(
        self, method: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> Answer:
        return await self._inngest.answer(method, query, headers, body, self._run_called)

    async def _run_called(self, job_id: UUID, attempt: int) -> None:
        """Run the attempt that Inngest calls for, and return when its end is handed in.

        When somebody has it, or it is over, or was canceled, nothing runs.
        """
        worker = self._runtime.worker
        try:
            rows = await worker.call(_TAKE, self._worker_id, job_id, attempt)
        except ServerError as error:
            for each in self._relays.values():
                each.doubt = error
            raise
        if not rows:
            return
        queue, *claimed = rows[0]
        relay = self._relays.get(queue)
        if relay is None or self._is_stopping:
            # Another worker has this queue, or this one ends.
            await worker.call(Relay.give_back, self._worker_id, [job_id], [attempt])
            raise call_again()
        answered = relay.accept(Claim(*claimed))
        self._lanes[queue].wake()
        await answered

    async def _register(self) -> float:
        """Tell Inngest where the function is; return the wait before another try, 0 for none."""
        try:
            is_changed = await self._inngest.register()
        except (RateLimited, VendorError) as error:
            log.warning("inngest.not_registered", code=error.code, reason=error.message)
            return wait_s(error)
        log.info("inngest.registered", is_changed=is_changed)
        return 0

    async def _keep_registering(self, first_wait_s: float, stop: asyncio.Event) -> None:
        left_s = first_wait_s
        while left_s and not stop.is_set():
            await pause(stop, left_s)
            left_s = await self._register()

    async def _send_again(self, stop: asyncio.Event) -> None:
        """Send again what was not called for, whoever handed it over.

        At first with its own id, which Inngest drops when it knows it. Later, when Inngest may
        have dropped the run, with another one: of each half an hour, whichever worker it is.
        """
        while not stop.is_set():
            number = int(self._runtime.clock().timestamp() // GIVEN_UP.total_seconds())
            try:
                await self._send_silent(SILENCE, JobEvent)
                await self._send_silent(GIVEN_UP, partial(_Reminder, number=number))
            except (ServerError, VendorError, RateLimited, *DRIVER_ERRORS) as error:
                log.warning("inngest.not_sent_again", reason=type(error).__name__)
            await pause(stop, SEND_AGAIN_EVERY_S)

    async def _send_silent(
        self, silence: timedelta, event: Callable[[UUID, int], JobEvent]
    ) -> None:
        rows = await self._runtime.worker.call(_HANDED_OVER, silence, MOST_AT_ONCE)
        if rows:
            await self._inngest.send([event(*row) for row in rows])
            log.info("inngest.sent_again", jobs=len(rows), silent_s=silence.total_seconds())
