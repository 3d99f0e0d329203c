"""Concepts as a job: asked for in a transaction, written by a worker, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from viral.database.engine import tenant_of
from viral.errors import NotFound
from viral.features.generations.concepts import check_count
from viral.features.generations.picks import candidates_for
from viral.features.jobs.queue import enqueue, find_job
from viral.features.jobs.types import GENERATION, ConceptsOrder
from viral.schema.content import Concept, Generation

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.schema.operations import Job

# So much of an order's progress, in per cent, is writing; the rest is scoring and picking.
WRITING_SHARE = 90


@dataclass(frozen=True, slots=True)
class Order:
    """How an order stands: its job, what was asked for, and the concepts once there are any."""

    job: Job
    wanted: ConceptsOrder
    concepts: tuple[UUID, ...]

    @classmethod
    def of(cls, job: Job) -> Order:
        """Read an order from its job."""
        wanted = msgspec.convert(job.payload, ConceptsOrder)
        ids = (job.result or {}).get("concepts", [])
        return cls(job, wanted, msgspec.convert(ids, tuple[UUID, ...]))

    @property
    def candidates(self) -> int:
        """How many are written, of which the best are picked."""
        return candidates_for(self.wanted.count)

    @property
    def written(self) -> int:
        """How many candidates there are so far, as the progress in per cent tells."""
        done = -(-self.job.progress * self.candidates // WRITING_SHARE)
        return min(self.candidates, done)


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


async def find_order(session: AsyncSession, job_id: UUID) -> Order:
    """Find an order of the session's tenant; raises NotFound, for jobs of other types as well."""
    job = await find_job(session, job_id)
    if job.job_type != GENERATION.name:
        raise NotFound(f"There is no order {job_id}.")
    return Order.of(job)


async def concepts_of_order(
    session: AsyncSession, order: Order
) -> tuple[list[Concept], Generation | None]:
    """Return what an order brought, the most promising first, and who wrote it for how much."""
    if not order.concepts:
        return [], None
    found = await session.scalars(
        select(Concept)
        .where(Concept.id.in_(order.concepts))
        .options(selectinload(Concept.predictions))
    )
    places = {concept_id: place for place, concept_id in enumerate(order.concepts)}
    concepts = sorted(found, key=lambda each: places[each.id])
    return concepts, await find_generation(session, concepts[0]) if concepts else None


async def find_generation(session: AsyncSession, concept: Concept) -> Generation | None:
    """Find the request that a concept comes from; imported ones have none."""
    if concept.generation_id is None:
        return None
    return await session.scalar(select(Generation).where(Generation.id == concept.generation_id))
