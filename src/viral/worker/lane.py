"""One queue of one worker: claims its jobs, runs them side by side, hands in how they ended."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from viral.database.faults import DRIVER_ERRORS, sqlstate_of
from viral.database.tenancy import set_tenant_context
from viral.errors import BadInput, NotFound, ServerError, ViralError
from viral.features.audit import note
from viral.worker.attempts import Answer, Claim, Ending, encoded
from viral.worker.failures import ANSWERS, failed, words_of
from viral.worker.handling import HANDLERS, AtWork, Handled, JobLost, decoded

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from viral.runtime import Runtime
    from viral.worker.attempts import Exchange
    from viral.worker.processes import Processes

log = structlog.get_logger(__name__)

POLL_S = 1.0
RECONNECT_S = 1.0
LARGEST_BATCH = 1000
# Jobs are claimed ahead for so long: enough to keep busy, too short for anybody to wait for.
AHEAD_S = 0.02
# Where many jobs as short as that wait, they are reserved: marking them would take as long.
SHORT_S = 0.005
# A job that was reserved is marked as running when it has been held for so long.
UNMARKED_S = 1.0
# With more endings than these nothing is claimed: the server looks past each of them.
MOST_UNTOLD = LARGEST_BATCH
# Endings wait so long for others while there is work: a commit costs as much for one as for many.
GATHER_S = 0.005
# Between two pages of the ring on which everybody is at a limit.
PAGE_S = 0.05
# To look for a suspect takes a fifth of a claim; where none was, none is looked for so long.
SUSPECTS_S = 0.25
# Longer than the server lets the worker's statements run (bootstrap.sql): the answer is lost.
ANSWER_S = 35.0
# The statement that was refused held a value that cannot be stored (PostgreSQL manual, appendix A).
_BAD_VALUES = ("22", "54")
_PAYLOADS = "SELECT id, payload FROM viral.payloads_of($1, $2)"
_STRAYS = "SELECT id, attempt FROM viral.stray_jobs($1, $2, $3)"
_SYSTEM_PAYLOADS = "SELECT id, payload::text FROM public.job_queue WHERE id = ANY ($1)"


@dataclass(eq=False, slots=True)
class _Running:
    claim: Claim
    handled: Handled | None
    began: float = 0.0
    ends_at: float = inf
    task: asyncio.Task[None] | None = None
    is_begun: bool = False
    reason: str | None = None

    @property
    def limit_s(self) -> float:
        return 600.0 if self.handled is None else self.handled.job_type.time_limit_s

    def begin(self) -> None:
        self.began = monotonic()
        self.ends_at = self.began + self.limit_s

    def interrupt(self, reason: str) -> None:
        if self.reason is None:
            self.reason = reason
            # A task that is canceled before its first step would not say that it ended.
            if self.task is not None and self.is_begun:
                self.task.cancel()


class Lane:
    """The jobs of one queue in one worker; `suspects` is a lock that its worker's lanes share."""

    def __init__(
        self,
        runtime: Runtime,
        queue: str,
        exchange: Exchange,
        *,
        concurrency: int,
        suspects: asyncio.Lock,
        processes: Processes,
    ) -> None:
        self.queue = queue
        self._runtime = runtime
        self._exchange = exchange
        self._concurrency = concurrency
        self._suspects = suspects
        self._processes = processes
        self._arriving: list[Claim] = []
        self._ahead: deque[Claim] = deque()
        # One job may stand here twice: an attempt that lost it, and is ending, and the next one.
        self._running: set[_Running] = set()
        self._endings: list[Ending] = []
        # What is on its way to the server while others are claimed.
        self._handed: list[Ending] = []
        self._handing: asyncio.Task[None] | None = None
        # What PostgreSQL did not take, as another transaction holds the job; and when to try again.
        self._stuck: list[Ending] = []
        self._stuck_until = 0.0
        # When to look for claims whose answer was lost.
        self._doubts: list[float] = []
        # When to mark what was reserved; whether the last exchange found a backlog.
        self._mark_at = inf
        self._reserved_at = 0.0
        self._is_behind = False
        self._suspects_at = 0.0
        self._wake = asyncio.Event()
        self._may_have_more = True
        self._is_stopping = False
        self._mean_s: float | None = None
        # With no more than these ahead, others are claimed.
        self._low = 0

    def wake(self, *, for_suspects: bool = False) -> None:
        """Look for jobs now; for those of a dead process too where there may be any."""
        if for_suspects:
            self._suspects_at = 0.0
        self._may_have_more = True
        self._wake.set()

    def held(self) -> list[Claim]:
        """Return all claims of this lane that have not ended."""
        at_work = [each.claim for each in self._running if each.reason != "lost"]
        return [*at_work, *self._ahead, *self._arriving]

    def stop(self) -> list[Claim]:
        """Claim and begin no more; return what was claimed and is not begun, for others to take."""
        self._is_stopping = True
        self._wake.set()
        return self._unbegun()

    def lose(self, job_ids: Iterable[UUID]) -> None:
        """Interrupt attempts at jobs that are no longer this worker's."""
        lost = set(job_ids)
        if not lost:
            return
        self._ahead = deque(each for each in self._ahead if each.id not in lost)
        for running in self._running:
            if running.claim.id in lost:
                running.interrupt("lost")

    def interrupt_overdue(self) -> None:
        """Interrupt attempts that took longer than their type allows."""
        now = monotonic()
        for running in self._running:
            if now > running.ends_at:
                running.interrupt(f"took longer than {running.limit_s:g} s")

    def interrupt_all(self) -> list[Claim]:
        """Interrupt what still runs; return it and what came late, for others to take."""
        claims = [each.claim for each in self._running if each.reason is None]
        self.lose([claim.id for claim in claims])
        return claims + self._unbegun()

    async def run(self) -> None:
        """Work until `stop`, and until what was begun has ended; a lost server is waited for."""
        try:
            while True:
                self._begin()
                await self._mind()
                if self._is_stopping and not self._is_at_work():
                    return
                wanted = 0 if self._is_stopping else self._wanted()
                if self._endings or (wanted and self._may_have_more):
                    await self._turn(wanted)
                else:
                    await self._pause(POLL_S)
        finally:
            if self._handing is not None:
                self._handing.cancel()

    def _is_at_work(self) -> bool:
        return bool(self._running or self._endings or self._stuck or self._handing)

    async def _mind(self) -> None:
        """Do what is due beside the jobs."""
        if self._handing is not None and self._handing.done():
            self._handing.result()
            self._handing = None
        if self._stuck and monotonic() >= self._stuck_until:
            await self._hand_in_each()
        if self._doubts and monotonic() >= self._doubts[0]:
            await self._give_back_strays()
        if monotonic() >= self._mark_at:
            await self._mark_reserved()

    async def _turn(self, wanted: int) -> None:
        if self._reserves():
            if self._endings and self._handing is None:
                # Taken now: what is counted below is what waits for the next time.
                self._handed, self._endings = self._endings, []
                self._handing = asyncio.create_task(self._hand_in())
            if wanted and self._may_have_more and len(self._endings) <= MOST_UNTOLD:
                self._reserved_at = monotonic()
                self._mark_at = min(self._mark_at, self._reserved_at + UNMARKED_S)
                await self._ask([], wanted, is_short=True)
            else:
                await self._pause(POLL_S)
            return
        if self._ahead and not wanted:
            await asyncio.sleep(GATHER_S)
        endings, self._endings = self._endings, []
        await self._ask(endings, wanted)

    def _reserves(self) -> bool:
        """Tell whether so many short jobs wait that marking them would take as long as doing them.

        What ended is then handed in while others are claimed: neither waits for a commit of the
        other.
        """
        is_short = self._mean_s is not None and self._mean_s < SHORT_S
        return self._is_behind and is_short and self._exchange.may_reserve

    async def _hand_in(self) -> None:
        try:
            await self._ask(self._handed, 0)
        finally:
            self._handed = []
            self._wake.set()

    async def _ask(self, endings: list[Ending], wanted: int, *, is_short: bool = False) -> None:
        """Hand in and claim; what the server did not take is tried again."""
        may_suspect = bool(wanted) and self._may_suspect()
        try:
            async with asyncio.timeout(ANSWER_S):
                if is_short:
                    answer = await self._exchange.reserve(wanted, may_suspect=may_suspect)
                else:
                    answer = await self._exchange(endings, wanted, may_suspect=may_suspect)
        except (ServerError, TimeoutError) as error:
            self._endings = endings + self._endings
            log.warning("worker.server_lost", reason=words_of(error))
            await asyncio.sleep(RECONNECT_S)
            # The server may have heard, and may still be at it for as long as it is allowed.
            self._doubts = [monotonic(), monotonic() + ANSWER_S]
            return
        except DRIVER_ERRORS as error:
            log.warning("worker.exchange_refused", reason=words_of(error))
            if endings:
                self._stuck += endings
                self._stuck_until = 0.0
            else:
                await asyncio.sleep(RECONNECT_S)
            return
        self._announce([each.claim for each in endings] + answer.claims)
        for job_id in answer.refused:
            log.warning("job.refused", job_id=str(job_id))
        if not wanted:
            return
        if any(claim.crashes for claim in answer.claims):
            self._suspects_at = 0.0
        self._is_behind = len(answer.claims) > self._concurrency
        self._may_have_more = answer.has_more or len(answer.claims) >= wanted
        if answer.has_more and not answer.claims:
            await asyncio.sleep(PAGE_S)
        await self._take(answer)

    async def _take(self, answer: Answer) -> None:
        self._arriving = answer.claims
        ids = {claim.id for claim in answer.claims}
        # What comes again was lost before: the attempt of then ends here, and so does its result.
        self.lose(ids)
        self._endings = [each for each in self._endings if each.claim.id not in ids]
        ready = await self._with_payloads(answer)
        self._ahead.extend(ready)
        self._arriving = []

    async def _give_back_strays(self) -> None:
        """Give back what was claimed for this lane in an exchange whose answer was lost."""
        known = [claim.id for claim in self._known()]
        worker_id = self._exchange.worker_id
        try:
            strays = await self._runtime.worker.call(_STRAYS, worker_id, self.queue, known)
            if strays:
                await self._runtime.worker.call(
                    self._exchange.give_back,
                    worker_id,
                    [row["id"] for row in strays],
                    [row["attempt"] for row in strays],
                )
                log.warning("job.strays_given_back", jobs=len(strays))
        except (ServerError, *DRIVER_ERRORS) as error:
            log.warning("worker.server_lost", reason=words_of(error))
            await asyncio.sleep(RECONNECT_S)
        else:
            self._doubts.pop(0)
            self._may_have_more = True

    async def _mark_reserved(self) -> None:
        """Mark as running what was reserved and takes longer than expected."""
        is_last = monotonic() - self._reserved_at > 2 * UNMARKED_S
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._exchange.begin(self._known(), after_s=UNMARKED_S)
        except (ServerError, *DRIVER_ERRORS) as error:
            is_last = False
            log.warning("worker.mark_missed", reason=words_of(error))
        self._mark_at = inf if is_last else monotonic() + UNMARKED_S

    def _known(self) -> list[Claim]:
        """Return all claims of this worker in this lane: what ended and is not handed in, too."""
        ended = [each.claim for each in self._endings + self._handed + self._stuck]
        return [*self.held(), *self._exchange.kept(), *ended]

    async def _hand_in_each(self) -> None:
        """Hand in one by one what PostgreSQL refused together; a value that it refuses, fails."""
        kept = []
        for ending in self._stuck:
            try:
                async with asyncio.timeout(ANSWER_S):
                    await self._exchange([ending], 0)
            except (ServerError, *DRIVER_ERRORS) as error:
                if (sqlstate_of(error) or "").startswith(_BAD_VALUES):
                    kept.append(failed(ending.claim, "its result cannot be stored"))
                else:
                    kept.append(ending)
        self._stuck, self._stuck_until = kept, monotonic() + RECONNECT_S

    async def _with_payloads(self, answer: Answer) -> list[Claim]:
        """Read the payloads that did not come along, a tenant at a time.

        What cannot be read is given back.
        """
        by_tenant: dict[UUID | None, list[UUID]] = defaultdict(list)
        for claim in answer.claims:
            if claim.has_payload and claim.payload is None:
                by_tenant[claim.tenant_id].append(claim.id)
        if not by_tenant:
            return answer.claims
        payloads: dict[UUID, str] = {}
        unread: dict[UUID | None, str] = {}
        for tenant_id, ids in by_tenant.items():
            try:
                rows = await (
                    self._runtime.system.call(_SYSTEM_PAYLOADS, ids)
                    if tenant_id is None
                    else self._runtime.app.call_for(tenant_id, _PAYLOADS, ids)
                )
            except (ViralError, *DRIVER_ERRORS) as error:
                # Claimed already: to be given back like any attempt that failed.
                unread[tenant_id] = words_of(error)
            else:
                payloads.update((row[0], row[1]) for row in rows)
        ready = []
        for claim in answer.claims:
            if claim.id in payloads:
                ready.append(claim._replace(payload=payloads[claim.id]))
            elif claim.has_payload and claim.payload is None and claim.tenant_id in unread:
                self._endings.append(failed(claim, unread[claim.tenant_id]))
            else:
                ready.append(claim)
        return ready

    def _wanted(self) -> int:
        """Return how many jobs to claim: free places, and some ahead where jobs are short."""
        ahead = 0
        if self._mean_s is not None:
            ahead = int(self._concurrency * AHEAD_S / max(self._mean_s, 1e-6))
            ahead = min(ahead, 2 * LARGEST_BATCH)
        room = self._concurrency + ahead - len(self._running) - len(self._ahead)
        self._low = ahead // 2
        if self._ahead and room < (self._concurrency + ahead) // 2:
            return 0
        return min(room, LARGEST_BATCH)

    def _begin(self) -> None:
        while self._ahead and len(self._running) < self._concurrency and not self._is_stopping:
            claim = self._ahead.popleft()
            running = _Running(claim, HANDLERS.get(claim.job_type), monotonic())
            running.task = asyncio.create_task(self._attempt(running))
            self._running.add(running)

    def _may_suspect(self) -> bool:
        if monotonic() < self._suspects_at:
            return False
        # One of another lane of this worker, or of this one, perhaps not begun, is enough.
        if self._suspects.locked() or any(claim.crashes for claim in self.held()):
            return False
        self._suspects_at = monotonic() + SUSPECTS_S
        return True

    def _unbegun(self) -> list[Claim]:
        left = list(self._ahead)
        self._ahead.clear()
        return left

    async def _attempt(self, running: _Running) -> None:
        running.is_begun = True
        try:
            ending = await self._ended(running) if running.reason is None else None
            # What was lost may be at work again: its end is not for this attempt to say.
            if ending is not None and running.reason != "lost":
                self._endings.append(ending)
        finally:
            self._running.discard(running)
            took = monotonic() - running.began
            self._learn_pace(took)
            self._begin()
            is_low = self._may_have_more and len(self._ahead) <= self._low
            if is_low or not self._ahead or len(self._endings) == 1:
                self._wake.set()

    def _learn_pace(self, took: float) -> None:
        if self._mean_s is None:
            self._mean_s = took
        # A moment in which the machine did something else says little of many short jobs.
        self._mean_s += 0.1 * (min(took, 4 * self._mean_s) - self._mean_s)

    async def _ended(self, running: _Running) -> Ending | None:
        claim = running.claim
        try:
            if running.handled is None:
                return failed(claim, f"no handler for {claim.job_type}", may_retry=False)
            outcome = await self._handle(running, running.handled)
            return Ending(claim, outcome=encoded(outcome))
        except (asyncio.CancelledError, JobLost) as error:
            if running.reason == "lost" or isinstance(error, JobLost):
                log.info("job.lost", job_id=str(claim.id), job_type=claim.job_type)
                return None
            # Without a reason it is the handler's own, which must not leave the job at work.
            return failed(claim, running.reason or "CancelledError")
        except ViralError as error:
            if isinstance(error, BadInput | NotFound):
                await self._note_refusal(claim)
            return failed(claim, words_of(error), may_retry=not isinstance(error, ANSWERS))
        except Exception as error:
            log.exception("job.crashed", job_id=str(claim.id), job_type=claim.job_type)
            return failed(claim, words_of(error))

    async def _handle(self, running: _Running, handled: Handled) -> object:
        if not running.claim.crashes:
            running.begin()
            return await self._call(running.claim, handled)
        # It may be what ended its process: no second suspect is to go down with it.
        async with self._suspects:
            running.begin()
            return await self._call(running.claim, handled)

    async def _call(self, claim: Claim, handled: Handled) -> object:
        request = decoded(handled, claim)
        if handled.job_type.is_cpu_bound:
            return await self._processes.run(handled.function, *request)
        if claim.tenant_id is not None:
            set_tenant_context(claim.tenant_id)
        at_work = AtWork(
            claim.id,
            claim.tenant_id,
            claim.attempt,
            self._runtime,
            lambda percent: self._report(claim, percent),
        )
        return await handled.function(at_work, *request)  # type: ignore[misc]  # an async function: see @job

    async def _report(self, claim: Claim, percent: int) -> None:
        rows = await self._runtime.worker.call(
            "SELECT viral.report_progress($1, $2, $3, $4)",
            self._exchange.worker_id,
            claim.id,
            claim.attempt,
            percent,
        )
        if not rows[0][0]:
            raise JobLost
        self._announce([claim])

    def _announce(self, claims: Iterable[Claim]) -> None:
        """Tell the pages of those tenants whose jobs began, went on or ended."""
        for tenant_id in {claim.tenant_id for claim in claims} - {None}:
            self._runtime.worker.announce(tenant_id, "jobs")

    async def _note_refusal(self, claim: Claim) -> None:
        """Note a job that asks for what its tenant does not have."""
        if claim.tenant_id is None:
            return
        with suppress(ViralError):
            async with self._runtime.app.tenant_session(claim.tenant_id) as session:
                await note(session, "refused job", claim.job_type, job_id=str(claim.id))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()
        self._may_have_more = True
