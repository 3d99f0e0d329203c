"""The loop that claims jobs and runs their handlers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import structlog
from sqlalchemy import func, select, text

from viral.errors import ServerError, ViralError
from viral.features.audit import note
from viral.features.jobs import find_job
from viral.schema.base import uuid7
from viral.servers import delete_expired_branches
from viral.worker.backups import keep_backups
from viral.worker.handlers import HANDLERS

if TYPE_CHECKING:
    from uuid import UUID

    from viral.runtime import Runtime

log = structlog.get_logger(__name__)

POLL_S = 1.0
HEARTBEAT_S = 3.0
# A worker not heard of for this long has died; its jobs go to others.
SILENCE = timedelta(seconds=12)
HOUSE_EVERY_S = 3600.0
FIRST_RETRY_S = 5
RECONNECT_S = 1.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this worker holds; `attempt` fences its completion."""

    id: UUID
    scope: str
    tenant_id: UUID | None
    job_type: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Ending:
    """How one attempt ended: with an outcome, or with a failure."""

    outcome: dict[str, object] | None = None
    failure: str | None = None
    may_retry: bool = True


async def run_worker(runtime: Runtime, stop: asyncio.Event) -> None:
    """Work until `stop` is set; a lost server is waited for."""
    worker_id = uuid7()
    log.info("worker.started", worker_id=str(worker_id))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_beat(runtime, worker_id, stop))
        tasks.create_task(_keep_house(runtime, stop))
        tasks.create_task(_keep_backups(runtime, stop))
        while not stop.is_set():
            try:
                claims = await claim_jobs(runtime, worker_id, wanted=1)
            except ServerError as error:
                log.warning("worker.server_lost", reason=error.message)
                await _pause(stop, RECONNECT_S)
                continue
            for claim in claims:
                await run_job(runtime, worker_id, claim, stop=stop)
            if not claims:
                await _pause(stop, POLL_S)
    log.info("worker.stopped", worker_id=str(worker_id))


async def claim_jobs(runtime: Runtime, worker_id: UUID, *, wanted: int) -> list[Claim]:
    """Claim waiting jobs, after taking back what dead workers left."""
    async with runtime.worker.session_without_tenant() as session:
        await session.execute(select(func.viral.heartbeat(worker_id)))
        await session.execute(select(func.viral.reap_jobs(SILENCE)))
        rows = await session.execute(
            text("SELECT id, scope, tenant_id, job_type, attempt FROM viral.claim_jobs(:w, :n)"),
            {"w": worker_id, "n": wanted},
        )
        return [Claim(*row) for row in rows]


async def run_job(runtime: Runtime, worker_id: UUID, claim: Claim, *, stop: asyncio.Event) -> None:
    """Run one job and note how it ended; a failure is retried with growing delay.

    While the server is lost the note waits: as long as this worker beats, nobody takes the job.
    """
    log.info("job.started", job_id=str(claim.id), job_type=claim.job_type)
    ending = await _run_handler(runtime, claim)
    while True:
        try:
            is_ours = await finish_job(runtime, worker_id, claim, ending)
        except ServerError as error:
            log.warning("worker.server_lost", reason=error.message)
            if stop.is_set():
                return
            await _pause(stop, RECONNECT_S)
        else:
            break
    log.info("job.ended", job_id=str(claim.id), failure=ending.failure, is_ours=is_ours)


async def _run_handler(runtime: Runtime, claim: Claim) -> Ending:
    handler = HANDLERS.get(claim.job_type)
    if handler is None:
        # Another attempt would find no handler either.
        return Ending(failure=f"no handler for {claim.job_type}", may_retry=False)
    try:
        if not await _has_fair_payload(runtime, claim):
            return Ending(failure="the payload is not one of this job", may_retry=False)
        return Ending(outcome=await handler(runtime, claim.tenant_id))
    except ViralError as error:
        return Ending(failure=f"{error.code}: {error.message}")
    except Exception as error:
        log.exception("job.crashed", job_id=str(claim.id), job_type=claim.job_type)
        return Ending(failure=type(error).__name__)


async def _has_fair_payload(runtime: Runtime, claim: Claim) -> bool:
    """Tell whether a job asks for nothing but what its type does; else it is noted, not run.

    A tenant is the claim's own, never one that a payload names.
    """
    if claim.tenant_id is None:
        return True
    async with runtime.app.tenant_session(claim.tenant_id) as session:
        job = await find_job(session, claim.id)
        if not job.payload:
            return True
        await note(session, "refused job", claim.job_type, job_id=str(claim.id))
    return False


async def finish_job(runtime: Runtime, worker_id: UUID, claim: Claim, ending: Ending) -> bool:
    """Note how an attempt ended; False when the job is another worker's or attempt's by now."""
    retry_at = None
    if ending.may_retry:
        retry_at = runtime.clock() + timedelta(seconds=FIRST_RETRY_S * 2**claim.attempt)
    async with runtime.worker.session_without_tenant() as session:
        return bool(
            await session.scalar(
                text(
                    "SELECT viral.finish_job(:job, :worker, :attempt, cast(:outcome AS jsonb),"
                    " :failure, :retry_at)"
                ),
                {
                    "job": claim.id,
                    "worker": worker_id,
                    "attempt": claim.attempt,
                    "outcome": None if ending.outcome is None else _encoded(ending.outcome),
                    "failure": ending.failure,
                    "retry_at": retry_at,
                },
            )
        )


async def _beat(runtime: Runtime, worker_id: UUID, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            async with runtime.worker.session_without_tenant() as session:
                await session.execute(select(func.viral.heartbeat(worker_id)))
        except ServerError:
            log.warning("worker.heartbeat_missed")
        except Exception:
            # A connection that is cut in mid-statement fails in many ways; the work goes on.
            log.exception("worker.heartbeat_missed")
        await _pause(stop, HEARTBEAT_S)


async def _keep_house(runtime: Runtime, stop: asyncio.Event) -> None:
    """Make partitions ahead; forget counts, sessions and branches that nobody needs."""
    while not stop.is_set():
        try:
            async with runtime.worker.session_without_tenant() as session:
                await session.execute(select(func.viral.make_partitions()))
                await session.execute(select(func.viral.prune_access()))
            await delete_expired_branches(runtime.settings)
        except ServerError:
            log.warning("worker.house_missed")
        except Exception:
            log.exception("worker.house_missed")
        await _pause(stop, HOUSE_EVERY_S)


async def _keep_backups(runtime: Runtime, stop: asyncio.Event) -> None:
    """Archive and back up; what nobody expected must not end the jobs."""
    while not stop.is_set():
        try:
            await keep_backups(runtime.settings, stop)
        except Exception:
            log.exception("backup.crashed")
            await _pause(stop, HOUSE_EVERY_S)
        else:
            return


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


def _encoded(outcome: dict[str, object]) -> str:
    return msgspec.json.encode(outcome).decode()
