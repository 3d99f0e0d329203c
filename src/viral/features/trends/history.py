"""How trends moved: what was seen of them, how fast they rise, and what is old enough to go."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ARRAY, Text, bindparam, delete, select, text, update

from viral.schema.content import Trend, TrendObservation, TrendSource

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

# The span over which a speed is measured, and the least of it that must be covered.
SPAN = timedelta(hours=24)
LEAST_SPAN = timedelta(minutes=30)
KEPT_OBSERVATIONS = timedelta(days=30)
KEPT_TRENDS = timedelta(days=90)

_NOTE = text(
    """
    INSERT INTO trend_observations (trend_id, observed_at, score, engagement_count)
    SELECT id, observed_at, score, engagement_count FROM trends
    JOIN unnest(:sources, :external_ids) AS named (source, external_id)
      USING (source, external_id)
    ON CONFLICT DO NOTHING
    """
).bindparams(bindparam("sources", type_=ARRAY(Text)), bindparam("external_ids", type_=ARRAY(Text)))
# Hours count from now: numbers of the size of an epoch would cost digits.
_FIT = text(
    """
    UPDATE trends SET velocity = fitted.slope
    FROM (
      SELECT trends.id,
        CASE WHEN max(seen.observed_at) - min(seen.observed_at) >= :least
          THEN regr_slope(seen.score, extract(epoch FROM seen.observed_at - :now) / 3600)
        END AS slope
      FROM trends LEFT JOIN trend_observations AS seen
        ON seen.trend_id = trends.id AND seen.observed_at > :since AND seen.observed_at <= :now
      WHERE trends.source = ANY (:sources)
        AND (trends.observed_at > :since OR trends.velocity IS NOT NULL)
      GROUP BY trends.id
    ) AS fitted
    WHERE trends.id = fitted.id AND trends.velocity IS DISTINCT FROM fitted.slope
    """
).bindparams(bindparam("sources", type_=ARRAY(Text)))


async def take_turn(session: AsyncSession) -> None:
    """Wait until nobody else changes trends; two who refresh each other's rows would lock up."""
    await session.execute(text("LOCK TABLE trends IN SHARE ROW EXCLUSIVE MODE"))


async def note_observations(session: AsyncSession, named: Iterable[tuple[str, str]]) -> None:
    """Add what stands of trends, by source and id there, to their history, once a moment."""
    sources, external_ids = zip(*named, strict=True)
    await session.execute(_NOTE, {"sources": sources, "external_ids": external_ids})


async def refresh_velocities(
    session: AsyncSession, sources: Collection[str], *, now: datetime
) -> None:
    """Measure how many points of score an hour the trends of sources gain.

    It is the slope of the least-squares line through the scores of the last 24 hours; unknown
    (NULL) with less than two observations half an hour apart.
    """
    values = {"sources": sorted(sources), "now": now, "since": now - SPAN, "least": LEAST_SPAN}
    await session.execute(_FIT, values)


async def history_of(
    session: AsyncSession, trend_ids: Collection[UUID], *, since: datetime
) -> Mapping[UUID, list[float]]:
    """Return the scores of trends since a moment, oldest first."""
    seen = (
        select(TrendObservation.trend_id, TrendObservation.score)
        .where(TrendObservation.trend_id.in_(trend_ids), TrendObservation.observed_at >= since)
        .order_by(TrendObservation.observed_at)
    )
    scores: dict[UUID, list[float]] = {}
    for trend_id, score in await session.execute(seen):
        scores.setdefault(trend_id, []).append(score)
    return scores


async def let_go(session: AsyncSession, *, now: datetime) -> None:
    """Forget speeds that are over, old observations, and what sources named long ago.

    What was imported by hand stays: nobody would bring it again.
    """
    await take_turn(session)
    await session.execute(
        update(Trend)
        .where(Trend.velocity.is_not(None), Trend.observed_at <= now - SPAN)
        .values(velocity=None)
    )
    await session.execute(
        delete(TrendObservation).where(TrendObservation.observed_at < now - KEPT_OBSERVATIONS)
    )
    fetched = select(TrendSource.name)
    await session.execute(
        delete(Trend).where(Trend.source.in_(fetched), Trend.observed_at < now - KEPT_TRENDS)
    )
