"""Slow work is put into the queue in the caller's transaction: it exists when that commits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from viral.database.engine import tenant_of
from viral.errors import NotFound
from viral.schema.base import uuid7
from viral.schema.operations import Job

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

REFLEXION = "reflexion"


async def enqueue(
    session: AsyncSession,
    job_type: str,
    *,
    tenant_id: UUID | None,
    payload: dict[str, object] | None = None,
    dedupe_key: str | None = None,
) -> UUID | None:
    """Put a job into the queue; None when one with the same key waits already.

    Without a tenant it is a system job, which only the system role may ask for.
    """
    return await session.scalar(
        insert(Job)
        .values(
            id=uuid7(),
            scope="system" if tenant_id is None else "tenant",
            tenant_id=tenant_id,
            job_type=job_type,
            payload=payload or {},
            dedupe_key=dedupe_key,
        )
        .on_conflict_do_nothing()
        .returning(Job.id)
    )


async def ask_for_reflexion(session: AsyncSession) -> UUID:
    """Have results learnt for the session's tenant; the job that waits already is as good."""
    made = await enqueue(session, REFLEXION, tenant_id=tenant_of(session), dedupe_key=REFLEXION)
    if made is not None:
        return made
    waiting = await session.scalar(
        select(Job.id).where(
            Job.tenant_id == tenant_of(session),
            Job.job_type == REFLEXION,
            Job.dedupe_key == REFLEXION,
            Job.status == "pending",
        )
    )
    # Claimed between the two statements: it may have begun before the newest results.
    return waiting if waiting is not None else await ask_for_reflexion(session)


async def find_job(session: AsyncSession, job_id: UUID) -> Job:
    """Find one job of the tenant."""
    job = await session.scalar(
        select(Job).where(Job.id == job_id, Job.tenant_id == tenant_of(session))
    )
    if job is None:
        raise NotFound(f"There is no job {job_id}.")
    return job
