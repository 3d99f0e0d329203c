"""Concepts as a job: asked for in a transaction, written by a worker, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from viral.database.engine import tenant_of
from viral.features.generations.concepts import check_count
from viral.features.jobs.queue import enqueue
from viral.features.jobs.types import GENERATION
from viral.schema.content import Concept, Generation

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.jobs.types import ConceptsOrder


async def order_concepts(session: AsyncSession, order: ConceptsOrder) -> UUID:
    """Have concepts written for the session's tenant; the quota is asked when a worker begins."""
    check_count(order.count)
    job_id = await enqueue(session, GENERATION, order, tenant_id=tenant_of(session))
    assert job_id is not None, "only a job with a key finds its twin waiting"
    return job_id


async def concepts_of_job(session: AsyncSession, job_id: UUID) -> list[UUID]:
    """Return the concepts that a former attempt of a job wrote; none where it did not get there."""
    return list(
        await session.scalars(
            select(Concept.id)
            .join(
                Generation,
                (Generation.tenant_id == Concept.tenant_id)
                & (Generation.id == Concept.generation_id),
            )
            .where(Generation.settings["job"].astext == str(job_id))
            .order_by(Concept.id)
        )
    )
