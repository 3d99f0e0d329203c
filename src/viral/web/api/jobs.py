"""/api/v1/jobs: how slow work goes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from viral.errors import JobEnded
from viral.features.jobs.queue import cancel_jobs, find_job, newest_jobs, retry_jobs
from viral.schema.operations import Job
from viral.schema.vocabulary import JobStatus
from viral.web.cursors import cut_page, place_of, when_made
from viral.web.dependencies import Person, Transaction
from viral.web.requests import WebRequest
from viral.web.site import Site

PURPOSE = "jobs"
MOST_JOBS = 100


class JobOut(msgspec.Struct, frozen=True):
    """A piece of slow work. Its result stays inside: a run learns from all tenants at once."""

    id: UUID
    job_type: str
    status: str
    progress: int
    attempts: int
    max_attempts: int
    created_at: datetime
    scheduled_for: datetime
    started_at: datetime | None
    completed_at: datetime | None


class JobsPage(msgspec.Struct, frozen=True):
    """Jobs, newest first; `next_cursor` leads to older ones and is null at the end."""

    jobs: list[JobOut]
    next_cursor: str | None


@get("/jobs", operation_id="list_jobs")
async def get_jobs(
    request: WebRequest,
    identity: Person,
    session: Transaction,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST_JOBS)] = 20,
    cursor: FromQuery[str | None] = None,
    status: FromQuery[JobStatus | None] = None,
    job_type: FromQuery[str | None] = None,
) -> JobsPage:
    """List jobs, newest first, a page at a time."""
    site: Site = request.app.state.site
    before = place_of(site, identity.tenant_id, cursor, purpose=PURPOSE)
    found = await newest_jobs(
        session,
        limit=limit + 1,
        before=None if before is None else before[1],
        status=status,
        job_type=job_type,
    )
    rows, next_cursor = cut_page(site, identity.tenant_id, found, limit, when_made, purpose=PURPOSE)
    return JobsPage([_job(each) for each in rows], next_cursor)


@get("/jobs/{job_id:uuid}", operation_id="get_job")
async def get_job(session: Transaction, job_id: FromPath[UUID]) -> JobOut:
    """Show how a job goes."""
    return _job(await find_job(session, job_id))


@post("/jobs/{job_id:uuid}/cancel", operation_id="cancel_job", status_code=200)
async def cancel(session: Transaction, job_id: FromPath[UUID]) -> JobOut:
    """Cancel a job that has not ended; one that runs is interrupted within seconds."""
    if not await cancel_jobs(session, [job_id]):
        ended = await find_job(session, job_id)
        raise JobEnded(f"The job is {ended.status}.")
    return _job(await find_job(session, job_id))


@post("/jobs/{job_id:uuid}/retry", operation_id="retry_job", status_code=200)
async def retry(session: Transaction, job_id: FromPath[UUID]) -> JobOut:
    """Put a failed or canceled job back into the queue."""
    if not await retry_jobs(session, [job_id]):
        other = await find_job(session, job_id)
        raise JobEnded(f"The job is {other.status}: only failed and canceled jobs are retried.")
    return _job(await find_job(session, job_id))


def _job(job: Job) -> JobOut:
    return JobOut(
        id=job.id,
        job_type=job.job_type,
        status=job.status,
        progress=job.progress,
        attempts=job.attempts,
        max_attempts=job.max_attempts,
        created_at=job.created_at,
        scheduled_for=job.scheduled_for,
        started_at=job.started_at,
        completed_at=job.completed_at,
    )


ROUTES: Final = (get_jobs, get_job, cancel, retry)
