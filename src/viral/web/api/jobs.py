"""/api/v1/jobs: how slow work goes."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import get
from litestar.params import FromPath

from viral.features.jobs import find_job
from viral.web.dependencies import Transaction


class JobOut(msgspec.Struct, frozen=True):
    """A piece of slow work. Its result stays inside: a run learns from all tenants at once."""

    id: UUID
    job_type: str
    status: str
    attempts: int
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


@get("/jobs/{job_id:uuid}")
async def get_job(session: Transaction, job_id: FromPath[UUID]) -> JobOut:
    """Show how a job goes."""
    job = await find_job(session, job_id)
    return JobOut(
        id=job.id,
        job_type=job.job_type,
        status=job.status,
        attempts=job.attempts,
        created_at=job.created_at,
        started_at=job.started_at,
        completed_at=job.completed_at,
    )
