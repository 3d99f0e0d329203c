"""What posts reach from week to week, by platform and by category."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date  # noqa: TC003 - the API describes the dataclass at run time
from typing import TYPE_CHECKING, Literal

from sqlalchemy import Date, Float, cast, func, literal_column, select, tuple_, type_coerce

from viral.schema.results import PerformanceFeedback

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Subquery
    from sqlalchemy.ext.asyncio import AsyncSession

Grouping = Literal["platform", "category"]


@dataclass(frozen=True, slots=True)
class WeekOfPosts:
    """Posts of one week (its Monday, UTC) and one platform or category.

    `views` is the median, `score` the mean of those that were learnt from (0..100).
    """

    grouping: Grouping
    name: str
    monday: date
    posts: int
    views: float
    score: float | None


async def posts_by_week(
    session: AsyncSession,
    *,
    since: datetime,
    platform: str | None = None,
    category: str | None = None,
) -> list[WeekOfPosts]:
    """Count each post once, by its highest reading, in the week in which it was published."""
    post = _posts(since=since, platform=platform, category=category)
    sets = func.grouping_sets(
        tuple_(literal_column("monday"), post.c.platform),
        tuple_(literal_column("monday"), post.c.category),
    )
    rows = await session.execute(
        select(
            post.c.platform,
            post.c.category,
            post.c.monday,
            func.count(),
            func.percentile_cont(0.5).within_group(post.c.views),
            func.avg(post.c.score),
        )
        .group_by(sets)
        .order_by(post.c.monday, post.c.platform, post.c.category)
    )
    return [
        WeekOfPosts(
            "category" if platform is None else "platform",
            category if platform is None else platform,
            monday,
            posts,
            views,
            score,
        )
        for platform, category, monday, posts, views, score in rows
    ]


def _posts(*, since: datetime, platform: str | None, category: str | None) -> Subquery:
    """Put the readings of each post together."""
    conditions = [PerformanceFeedback.published_at >= since]
    if platform is not None:
        conditions.append(PerformanceFeedback.platform == platform)
    if category is not None:
        conditions.append(PerformanceFeedback.category == category)
    published_at = func.timezone("UTC", func.min(PerformanceFeedback.published_at))
    score = (PerformanceFeedback.engagement_score + PerformanceFeedback.reach_score) / 2
    return (
        select(
            PerformanceFeedback.platform,
            func.min(PerformanceFeedback.category).label("category"),
            cast(func.date_trunc("week", published_at), Date).label("monday"),
            func.max(PerformanceFeedback.views).label("views"),
            func.max(type_coerce(score, Float())).label("score"),
        )
        .where(*conditions)
        .group_by(PerformanceFeedback.platform, PerformanceFeedback.external_id)
        .subquery("post")
    )
