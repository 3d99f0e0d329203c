"""Calls to the outside that happen at most once, however often their job is tried.

An effect is written down before it is tried (a transactional outbox): an attempt that finds one
begun but not done asks the other side what became of it, and acts only where nothing did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from viral.schema.base import uuid7
from viral.schema.operations import JobEffect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from viral.database.engine import Database


async def once(
    database: Database,
    tenant_id: UUID,
    *,
    job_id: UUID,
    key: str,
    act: Callable[[str], Awaitable[dict[str, object]]],
    look_up: Callable[[str], Awaitable[dict[str, object] | None]],
) -> dict[str, object]:
    """Return the result of the effect with this key, which is had now unless it was before."""
    async with database.tenant_session(tenant_id) as session:
        is_new = await session.scalar(
            insert(JobEffect)
            .values(id=uuid7(), tenant_id=tenant_id, key=key, job_id=job_id)
            .on_conflict_do_nothing()
            .returning(JobEffect.id)
        )
        known = await session.scalar(select(JobEffect).where(JobEffect.key == key))
    if known is not None and known.done_at is not None:
        return known.result or {}
    result = None if is_new else await look_up(key)
    if result is None:
        result = await act(key)
    async with database.tenant_session(tenant_id) as session:
        await session.execute(
            update(JobEffect).where(JobEffect.key == key).values(result=result, done_at=func.now())
        )
    return result
