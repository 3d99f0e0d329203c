"""The jobs of all tenants as their operator sees them: routing columns, never a payload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import load_only
from sqlalchemy.types import Uuid

from viral.database.engine import tenant_of, wake_after_commit
from viral.errors import NotFound
from viral.features.jobs.queue import CHANNEL, STATUS_NOW, jobs_as_they_are
from viral.schema.operations import Job

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncSession

_LARGEST_ID = (1 << 128) - 1
# How system jobs are named where others have their tenant's slug; no slug has brackets.
SYSTEM_NAME = "(system)"

# All but what the jobs are about.
_ROUTING = (
    Job.id,
    Job.tenant_id,
    Job.queue,
    Job.job_type,
    Job.status,
    Job.priority,
    Job.attempts,
    Job.max_attempts,
    Job.progress,
    Job.error_message,
    Job.created_at,
    Job.scheduled_for,
    Job.started_at,
    Job.completed_at,
)

_OF_ALL = text("""
SELECT j.*, t.slug FROM viral.jobs_of_all(:of_status, :of_type, CAST(:before AS uuid), :at_most)
  AS j LEFT JOIN tenants AS t ON t.id = j.tenant_id
ORDER BY j.id DESC
""")
# Each one is the newest that is older than the id after it: the key finds it.
_BY_ID = text("""
SELECT j.*, t.slug FROM unnest(:ids, :following) AS given (id, following)
CROSS JOIN LATERAL viral.jobs_of_all(NULL, NULL, given.following, 1) AS j
LEFT JOIN tenants AS t ON t.id = j.tenant_id
WHERE j.id = given.id
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)), bindparam("following", type_=ARRAY(Uuid)))
_STATS = text("""
SELECT s.*, t.slug FROM viral.job_stats() AS s LEFT JOIN tenants AS t ON t.id = s.tenant_id
ORDER BY s.tenant_id IS NOT NULL, t.slug, s.job_type, s.status
""")


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job as a list shows it; `failure` is the name of its last failure, without its words."""

    id: UUID
    tenant_id: UUID | None
    tenant: str
    queue: str
    job_type: str
    status: str
    priority: int
    attempts: int
    max_attempts: int
    progress: int
    failure: str | None
    created_at: datetime
    scheduled_for: datetime
    started_at: datetime | None
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class QueueStats:
    """How many jobs of a tenant, type and status there are; of ended ones, of the last hour.

    `oldest_s` is how long the oldest one waits that could run; the run times are a median and a
    95th percentile; all in seconds.
    """

    tenant: str
    queue: str
    job_type: str
    status: str
    jobs: int
    oldest_s: float | None
    run_p50_s: float | None
    run_p95_s: float | None


async def list_jobs(
    session: AsyncSession,
    *,
    status: str | None = None,
    job_type: str | None = None,
    before: UUID | None = None,
    limit: int,
) -> list[JobLine]:
    """List jobs of all tenants as the system, newest first, up to the one `before`."""
    asked = {"of_status": status, "of_type": job_type, "before": before, "at_most": limit}
    return [_line(row, row.slug) for row in await session.execute(_OF_ALL, asked)]


async def list_jobs_of(
    session: AsyncSession,
    slug: str,
    *,
    status: str | None = None,
    job_type: str | None = None,
    before: UUID | None = None,
    limit: int,
) -> list[JobLine]:
    """List jobs of the session's tenant, which has this slug, newest first, up to `before`."""
    wanted = select(Job).options(load_only(*_ROUTING)).order_by(Job.id.desc()).limit(limit)
    if status is not None:
        wanted = wanted.where(STATUS_NOW.is_not_distinct_from(status))
    if job_type is not None:
        wanted = wanted.where(Job.job_type == job_type)
    if before is not None:
        wanted = wanted.where(Job.id < before)
    return [_line(job, slug) for job in await jobs_as_they_are(session, wanted)]


async def count_jobs_of(session: AsyncSession, *, newest: int) -> dict[tuple[str, str], int]:
    """Count the session's tenant's newest jobs by type and status."""
    kept = (
        select(Job.job_type, STATUS_NOW)
        .where(Job.tenant_id == tenant_of(session))
        .order_by(Job.id.desc())
        .limit(newest)
        .subquery()
    )
    counted = select(kept.c.job_type, kept.c.status_now, func.count()).group_by(
        kept.c.job_type, kept.c.status_now
    )
    return {(row[0], row[1]): row[2] for row in await session.execute(counted)}


async def find_jobs(session: AsyncSession, job_ids: Sequence[UUID]) -> list[JobLine]:
    """Find jobs of any tenant by their ids, as the system; raise NotFound for the first unknown."""
    ids = list(dict.fromkeys(job_ids))
    following = [UUID(int=min(each.int + 1, _LARGEST_ID)) for each in ids]
    asked = {"ids": ids, "following": following}
    found = {row.id: _line(row, row.slug) for row in await session.execute(_BY_ID, asked)}
    for each in ids:
        if each not in found:
            raise NotFound(f"There is no job {each}.", hint="See `viral jobs list`.")
    return [found[each] for each in ids]


async def find_system_job(session: AsyncSession, job_id: UUID) -> Job:
    """Find one job that is no tenant's."""
    job = await session.scalar(select(Job).where(Job.id == job_id, Job.scope == "system"))
    if job is None:
        raise NotFound(f"There is no system job {job_id}.", hint="See `viral jobs list`.")
    return job


async def cancel_system_jobs(session: AsyncSession, job_ids: Sequence[UUID]) -> list[UUID]:
    """Cancel system jobs that have not ended; return those that were canceled."""
    return list(
        await session.scalars(
            update(Job)
            .where(
                Job.id.in_(job_ids),
                Job.scope == "system",
                Job.status.in_(("pending", "blocked", "running")),
            )
            .values(status="canceled", worker_id=None, completed_at=func.now())
            .returning(Job.id)
        )
    )


async def retry_system_jobs(session: AsyncSession, job_ids: Sequence[UUID]) -> list[UUID]:
    """Put failed and canceled system jobs back into the queue; return those that were."""
    wake_after_commit(session, CHANNEL)
    return list(
        await session.scalars(
            update(Job)
            .where(
                Job.id.in_(job_ids),
                Job.scope == "system",
                Job.status.in_(("failed", "canceled")),
            )
            .values(
                status="pending",
                is_due=True,
                # What an attempt of before this moment hands in is refused.
                scheduled_for=func.clock_timestamp(),
                attempts=0,
                crashes=0,
                progress=0,
                result=None,
                error_message=None,
                completed_at=None,
                # A twin may wait by now: asked for by hand, this one runs too.
                dedupe_key=None,
            )
            .returning(Job.id)
        )
    )


async def queue_stats(session: AsyncSession) -> list[QueueStats]:
    """Count what waits, runs and ended within the hour, as the system: system jobs first."""
    return [
        QueueStats(
            _owner(row.tenant_id, row.slug),
            row.queue,
            row.job_type,
            row.status,
            row.jobs,
            row.oldest_s,
            row.run_p50_s,
            row.run_p95_s,
        )
        for row in await session.execute(_STATS)
    ]


def _owner(tenant_id: UUID | None, slug: str | None) -> str:
    return SYSTEM_NAME if tenant_id is None else slug or str(tenant_id)


def _line(row: Row[tuple[object, ...]] | Job, slug: str | None) -> JobLine:
    message = row.error_message
    return JobLine(
        id=row.id,
        tenant_id=row.tenant_id,
        tenant=_owner(row.tenant_id, slug),
        queue=row.queue,
        job_type=row.job_type,
        status=row.status,
        priority=row.priority,
        attempts=row.attempts,
        max_attempts=row.max_attempts,
        progress=row.progress,
        # The words after the name may quote what the job is about.
        failure=None if message is None else message.partition(": ")[0],
        created_at=row.created_at,
        scheduled_for=row.scheduled_for,
        started_at=row.started_at,
        completed_at=row.completed_at,
    )
