"""What was counted of posts, newest reading first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on

from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession


async def latest_readings(session: AsyncSession, concept_id: UUID) -> list[PerformanceFeedback]:
    """Return the newest reading of each post of a concept, by platform."""
    post = PerformanceFeedback.platform, PerformanceFeedback.external_id
    return list(
        await session.scalars(
            select(PerformanceFeedback)
            .ext(distinct_on(*post))
            .where(PerformanceFeedback.concept_id == concept_id)
            .order_by(*post, PerformanceFeedback.observed_on.desc())
        )
    )


async def list_readings(
    session: AsyncSession,
    *,
    limit: int,
    before: tuple[datetime, UUID] | None = None,
    platform: str | None = None,
    concept_id: UUID | None = None,
) -> list[PerformanceFeedback]:
    """List readings by when they came in, newest first; `before` is where the last page ended."""
    place = PerformanceFeedback.reported_at, PerformanceFeedback.id
    wanted = select(PerformanceFeedback).order_by(*(each.desc() for each in place)).limit(limit)
    if before is not None:
        wanted = wanted.where(tuple_(*place) < before)
    if platform is not None:
        wanted = wanted.where(PerformanceFeedback.platform == platform)
    if concept_id is not None:
        wanted = wanted.where(PerformanceFeedback.concept_id == concept_id)
    return list(await session.scalars(wanted))


async def views_since(session: AsyncSession, since: datetime) -> tuple[int, int]:
    """Add up the views of posts that were published since a moment, and count the posts.

    Views are counted from a post's first day: of several readings the highest stands for it.
    """
    posts = (
        select(func.max(PerformanceFeedback.views).label("views"))
        .where(
            PerformanceFeedback.published_at >= since,
            # Nothing is read before it is published; there is an index by this moment.
            PerformanceFeedback.reported_at >= since,
        )
        .group_by(PerformanceFeedback.platform, PerformanceFeedback.external_id)
        .subquery()
    )
    total = func.coalesce(func.sum(posts.c.views), 0)
    views, count = (await session.execute(select(total, func.count()).select_from(posts))).one()
    return int(views), count
