"""One queue's way through the engine: its jobs go out as events, and calls bring them back."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from viral.adapters.inngest import JobEvent
from viral.database.faults import DRIVER_ERRORS
from viral.errors import JobEnded, RateLimited, ServerError, VendorError, VendorRefused, ViralError
from viral.worker.attempts import Answer, Exchange
from viral.worker.keeper import pause_for_any
from viral.worker.lane import ANSWER_S, PAGE_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viral.adapters.inngest import Inngest
    from viral.database.engine import Database
    from viral.features.jobs.types import JobType
    from viral.worker.attempts import Claim, Ending

log = structlog.get_logger(__name__)

# The worker that handed-over jobs belong to: it has no lease that could end.
ENGINE = UUID(int=0)
# Claimed and handed over in one transaction: whoever dies here leaves jobs that are sent again.
_CLAIM = (
    "SELECT id, attempt, place,"
    " CASE WHEN id IS NOT NULL THEN viral.hand_over_jobs($1, ARRAY[id], ARRAY[attempt]) END"
    " FROM viral.claim_jobs($1, $2, $3, $4, $5, $6, $7, true)"
)
_LOST = "SELECT * FROM viral.lost_jobs($1, $2, $3)"
POLL_S = 1.0
# How long to wait for Inngest where it does not say it.
AWAY_S = 5.0
# Somebody has to change a key or a setting first.
REFUSED_S = 60.0
# How soon Inngest is to call again for what did not end here.
CALL_AGAIN_S = 1.0


def wait_s(error: RateLimited | VendorError) -> float:
    """Return how long to wait before Inngest is asked again."""
    if isinstance(error, RateLimited):
        return error.retry_after_s
    return REFUSED_S if isinstance(error, VendorRefused) else AWAY_S


def call_again() -> ViralError:
    """Make the error with which Inngest calls again, and finds what became of the job."""
    return RateLimited(retry_after_s=CALL_AGAIN_S)


async def take_back(worker: Database) -> None:
    """Put jobs that the engine holds, and that nobody called for, back into the queue."""
    await worker.call(
        "SELECT viral.release_jobs($1, array_agg(id), array_agg(attempt))"
        " FROM viral.handed_over_jobs('0 s', 100000) HAVING count(*) > 0",
        ENGINE,
    )


@dataclass(slots=True)
class _Call:
    attempt: int
    answered: asyncio.Future[None]
    fault: ViralError | None = field(default_factory=call_again)


class Relay(Exchange):
    """What a lane has for its exchange where Inngest calls: it gives out what was called for.

    Claims are made as ever, so shares, limits, priorities and moments stay the queue's. They go to
    the engine at once.
    """

    give_back = "SELECT viral.hand_over_jobs($1, $2, $3)"

    def __init__(
        self,
        worker: Database,
        worker_id: UUID,
        queue: str,
        limits: JobType | None,
        *,
        inngest: Inngest,
    ) -> None:
        """Begin with nothing outside."""
        super().__init__(worker, worker_id, queue, limits)
        self._inngest = inngest
        self._wake = asyncio.Event()
        self._unsent: list[JobEvent] = []
        self._send_at = 0.0
        self._outside: dict[UUID, int] = {}
        self._called: deque[Claim] = deque()
        self._calls: dict[UUID, _Call] = {}
        # A job may have been taken whose row was lost on its way: the lane is to look for it.
        self.doubt: ServerError | None = None

    @property
    def may_reserve(self) -> bool:
        """Nothing is reserved: what was called for is marked as running."""
        return False

    async def __call__(
        self, endings: Sequence[Ending], wanted: int, *, may_suspect: bool = True
    ) -> Answer:
        """Hand in what ended, which answers its calls, and give out what was called for."""
        if self.doubt is not None:
            doubt, self.doubt = self.doubt, None
            raise doubt
        refused: list[UUID] = []
        if endings:
            for ending in endings:
                if (call := self._call_of(ending.claim)) is not None:
                    # The queue makes the next attempt, with an event of its own.
                    call.fault = None if ending.failure is None else JobEnded("It failed.")
            handed_in = await super().__call__(endings, 0, may_suspect=may_suspect)
            refused = handed_in.refused
            for ending in endings:
                if self._call_of(ending.claim) is not None:
                    self._drop(ending.claim.id)
        claims = [self._called.popleft() for _ in range(min(wanted, len(self._called)))]
        # There is room, or the lane was told of new jobs.
        self._wake.set()
        return Answer(claims, refused, has_more=bool(self._called))

    def kept(self) -> list[Claim]:
        """Return what was called for and is not given out."""
        return list(self._called)

    def accept(self, claim: Claim) -> asyncio.Future[None]:
        """Take in a job that was called for; when the future ends, the call is to be answered."""
        # An attempt that lost the job may be at work still.
        self._drop(claim.id)
        self._outside.pop(claim.id, None)
        call = _Call(claim.attempt, asyncio.get_running_loop().create_future())
        self._calls[claim.id] = call
        self._called.append(claim)
        return call.answered

    async def drain(self, stop: asyncio.Event, ended: asyncio.Event, *, limit: int) -> None:
        """Send jobs out until `stop`, and answer calls for what was lost until `ended`.

        No more than `limit` jobs that were claimed or called for here are outside or at work at
        once: what is outside cannot be overtaken by what is urgent, or another tenant's.
        """
        while not ended.is_set():
            try:
                async with asyncio.timeout(ANSWER_S):
                    await self._forget()
                    if not stop.is_set() and not self._unsent:
                        await self._claim(limit - len(self._outside) - len(self._calls))
            except (ServerError, *DRIVER_ERRORS) as error:
                log.warning("worker.server_lost", reason=type(error).__name__)
            await self._send()
            await pause_for_any(POLL_S, self._wake, ended)
            self._wake.clear()
        for job_id in list(self._calls):
            self._drop(job_id)

    async def _forget(self) -> None:
        """Let go of what others called for, and of what was canceled or taken from this worker."""
        if self._outside:
            rows = await self._worker.call(
                _LOST, ENGINE, list(self._outside), list(self._outside.values())
            )
            for (job_id,) in rows:
                self._outside.pop(job_id, None)
        if self._calls:
            attempts = {job_id: call.attempt for job_id, call in self._calls.items()}
            rows = await self._worker.call(
                _LOST, self.worker_id, list(attempts), list(attempts.values())
            )
            for (job_id,) in rows:
                if (call := self._calls.get(job_id)) and call.attempt == attempts[job_id]:
                    self._drop(job_id)

    async def _claim(self, wanted: int) -> None:
        if wanted < 1:
            return
        rows = await self._worker.call(
            _CLAIM, self.worker_id, self._queue, wanted, self._after, *self._limits
        )
        for job_id, attempt, place, _ in rows:
            if place is None:
                self._outside[job_id] = attempt
                self._unsent.append(JobEvent(job_id, attempt))
                continue
            self._after = place
            if attempt == 1:
                await asyncio.sleep(0 if self._unsent else PAGE_S)
                self._wake.set()

    async def _send(self) -> None:
        if not self._unsent or monotonic() < self._send_at:
            return
        try:
            await self._inngest.send(self._unsent)
        except (RateLimited, VendorError) as error:
            self._send_at = monotonic() + wait_s(error)
            log.warning(
                "inngest.not_sent", jobs=len(self._unsent), code=error.code, reason=error.message
            )
        else:
            self._unsent.clear()

    def _call_of(self, claim: Claim) -> _Call | None:
        call = self._calls.get(claim.id)
        return call if call is not None and call.attempt == claim.attempt else None

    def _drop(self, job_id: UUID) -> None:
        """Answer the call for a job, if there is one, and do not begin it any more."""
        call = self._calls.pop(job_id, None)
        if call is None:
            return
        self._called = deque(claim for claim in self._called if claim.id != job_id)
        if call.answered.done():
            return
        if call.fault is None:
            call.answered.set_result(None)
        else:
            call.answered.set_exception(call.fault)
