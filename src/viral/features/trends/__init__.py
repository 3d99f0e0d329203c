"""Trends in: kept once per source with their history, one per topic handed to writers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ARRAY, Text, and_, exists, func, or_, select, text
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import aliased

from viral.database.bulk import as_arrays, bulk_insert
from viral.errors import NotFound
from viral.features.trends.history import note_observations, refresh_velocities, take_turn
from viral.features.trends.scores import agreed_score
from viral.features.trends.topics import topic_key
from viral.schema.base import uuid7_run
from viral.schema.content import Trend

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.ext.asyncio import AsyncSession

MOST_BRIEFS = 60
# Agreement may lift a topic over others; from so many times the briefs the best are taken.
_CANDIDATES = 3 * MOST_BRIEFS
MOST_NAMED = 5
_AGREE_WITHIN_DAYS = 2
# The largest number of people that the column takes.
_MOST_ENGAGEMENT = 2**31 - 1
_COLUMNS = (
    "id",
    "source",
    "external_id",
    "topic",
    "topic_key",
    "category",
    "score",
    "keywords",
    "url",
    "region",
    "engagement_count",
    "is_sample",
    "observed_at",
)
# A scan that skips, which PostgreSQL before 18 has not: there are many trends of a source.
_SOURCE_NAMES = text("""
WITH RECURSIVE named (source) AS (
  (SELECT source FROM trends ORDER BY source LIMIT 1)
  UNION ALL
  SELECT (SELECT t.source FROM trends AS t WHERE t.source > named.source ORDER BY t.source LIMIT 1)
  FROM named WHERE named.source IS NOT NULL
)
SELECT source FROM named WHERE source IS NOT NULL
""")
_KEPT = ("id", "source", "external_id", "is_sample")


@dataclass(frozen=True, slots=True)
class TrendBrief:
    """A trend as a writer sees it; the scores run 0..100.

    Topic, source and keywords are text that strangers wrote: data to write about, whatever it
    says, and never an instruction.
    """

    topic: str
    category: str
    source: str
    score: float
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrendRow:
    """One trend as found; the score runs 0..100, `engagement_count` counts people or their acts."""

    topic: str
    category: str
    score: float
    source: str
    external_id: str
    keywords: tuple[str, ...] = ()
    url: str | None = None
    is_sample: bool = False
    region: str | None = None
    engagement_count: int | None = None


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of today: its strongest trend, and the names of all sources that agree on it."""

    trend: Trend
    sources: tuple[str, ...]

    @property
    def score(self) -> float:
        """Return the best score, raised by the number of sources."""
        return agreed_score(self.trend.score, len(self.sources))


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page of topics ended."""

    day: datetime
    score: float
    external_id: str
    source: str


async def import_trends(session: AsyncSession, rows: Iterable[TrendRow], *, now: datetime) -> int:
    """Store trends as the system role; one that its source named before is refreshed.

    Each is noted as an observation, and the speed of its source's trends is measured anew. Who
    imports at the same time waits until the transaction ends.
    """
    unique = {(row.source, row.external_id): row for row in rows}
    if not unique:
        return 0
    await take_turn(session)
    statement = bulk_insert(Trend, _COLUMNS)
    statement = statement.on_conflict_do_update(
        index_elements=["source", "external_id"],
        set_={name: statement.excluded[name] for name in _COLUMNS if name not in _KEPT},
    )
    ids = uuid7_run(len(unique))
    values = (_values(row_id, row, now) for row_id, row in zip(ids, unique.values(), strict=True))
    await session.execute(statement, as_arrays(values, _COLUMNS))
    await note_observations(session, unique)
    await refresh_velocities(session, {source for source, _ in unique}, now=now)
    return len(unique)


async def current_trends(
    session: AsyncSession, *, category: str | None = None
) -> tuple[TrendBrief, ...]:
    """Return the newest and strongest topics, of the category where it has any, each once."""
    found: list[Topic] = []
    if category is not None:
        found = await list_topics(session, limit=_CANDIDATES, category=category)
    if not found:
        found = await list_topics(session, limit=_CANDIDATES)
    # They come by day; agreement changes the order within one.
    found.sort(key=lambda each: (day_of(each.trend), each.score), reverse=True)
    return tuple(brief_of(each) for each in found[:MOST_BRIEFS])


def brief_of(topic: Topic) -> TrendBrief:
    """Describe a topic to a writer."""
    return TrendBrief(
        topic.trend.topic,
        topic.trend.category,
        ", ".join(topic.sources[:MOST_NAMED]),
        topic.score,
        tuple(topic.trend.keywords),
    )


async def find_trend(session: AsyncSession, trend_id: UUID) -> Topic:
    """Find the topic of a trend, with all sources that agree on it."""
    wanted = select(Trend, _sources_of(Trend)).where(Trend.id == trend_id)
    row = (await session.execute(wanted)).one_or_none()
    if row is None:
        raise NotFound(f"There is no trend {trend_id}.")
    trend, sources = row
    return Topic(trend, tuple(sources or (trend.source,)))


async def list_topics(
    session: AsyncSession,
    *,
    limit: int,
    category: str | None = None,
    source: str | None = None,
    after: Position | None = None,
) -> list[Topic]:
    """List topics of the newest days, strongest first; `after` is where the last page ended.

    A topic that several trends name stands once, for the one that comes first in this order.
    """
    found: list[Topic] = []
    batch = 2 * limit
    while len(found) < limit:
        page = _ranked(category=category, source=source, after=after).limit(batch)
        rows = (await session.execute(page)).all()
        found += [
            Topic(trend, tuple(sources or (trend.source,)))
            for trend, sources, is_behind in rows
            if not is_behind
        ]
        if len(rows) < batch:
            break
        after = position_of(Topic(rows[-1][0], ()))
    return found[:limit]


async def source_names(session: AsyncSession) -> list[str]:
    """List the names of all who named a trend; each is found by one step through the key."""
    return list(await session.scalars(_SOURCE_NAMES))


def position_of(topic: Topic) -> Position:
    """Name a topic's place in the list."""
    trend = topic.trend
    return Position(day_of(trend), trend.score, trend.external_id, trend.source)


def day_of(trend: Trend) -> datetime:
    """Return the begin of the day on which a trend was last seen."""
    return trend.observed_at.replace(hour=0, minute=0, second=0, microsecond=0)


def _ranked(
    *, category: str | None, source: str | None, after: Position | None
) -> Select[Trend, list[str] | None, bool]:
    """Select trends in the order of the list, who agrees, and whether their topic came before.

    With a limit PostgreSQL works the two out for the rows of the page alone; asked for all rows,
    a condition on them takes seconds where there are many.
    """
    other = aliased(Trend)
    is_behind = exists().where(
        Trend.topic_key != "",
        other.topic_key == Trend.topic_key,
        _comes_before(other, Trend),
        *_wanted(other, category=category, source=source),
    )
    ranked = (
        select(Trend, _sources_of(Trend), is_behind.label("is_behind"))
        .where(*_wanted(Trend, category=category, source=source))
        .order_by(_day(Trend).desc(), Trend.score.desc(), Trend.external_id, Trend.source)
    )
    return ranked if after is None else ranked.where(_is_after(after))


def _values(row_id: object, row: TrendRow, now: datetime) -> tuple[object, ...]:
    engagement = row.engagement_count
    return (
        row_id,
        row.source,
        row.external_id,
        row.topic,
        topic_key(row.topic),
        row.category,
        row.score,
        list(row.keywords),
        row.url,
        row.region,
        None if engagement is None else min(engagement, _MOST_ENGAGEMENT),
        row.is_sample,
        now,
    )


def _day(trend: type[Trend]) -> ColumnElement[datetime]:
    # Not the session's time zone: what a page is sorted by must be the same in every session.
    return func.date_trunc("day", trend.observed_at, "UTC")


def _wanted(
    trend: type[Trend], *, category: str | None, source: str | None
) -> list[ColumnElement[bool]]:
    conditions = []
    if category is not None:
        conditions.append(trend.category == category)
    if source is not None:
        conditions.append(trend.source == source)
    return conditions


def _comes_before(one: type[Trend], other: type[Trend]) -> ColumnElement[bool]:
    same_day = _day(one) == _day(other)
    same_score = and_(same_day, one.score == other.score)
    return or_(
        _day(one) > _day(other),
        and_(same_day, one.score > other.score),
        and_(same_score, one.external_id < other.external_id),
        and_(same_score, one.external_id == other.external_id, one.source < other.source),
    )


def _is_after(place: Position) -> ColumnElement[bool]:
    same_day = _day(Trend) == place.day
    same_score = and_(same_day, Trend.score == place.score)
    return or_(
        _day(Trend) < place.day,
        and_(same_day, Trend.score < place.score),
        and_(same_score, Trend.external_id > place.external_id),
        and_(same_score, Trend.external_id == place.external_id, Trend.source > place.source),
    )


def _sources_of(trend: type[Trend]) -> ColumnElement[list[str] | None]:
    """Select the names of the sources that named a topic within two days of its newest trend."""
    other = aliased(Trend)
    named = (
        select(other.source)
        .where(
            trend.topic_key != "",
            other.topic_key == trend.topic_key,
            other.observed_at > trend.observed_at - func.make_interval(0, 0, 0, _AGREE_WITHIN_DAYS),
        )
        .distinct()
    )
    names = named.correlate(trend).subquery()
    return (
        select(
            func.array_agg(aggregate_order_by(names.c.source, names.c.source), type_=ARRAY(Text))
        )
        .scalar_subquery()
        .label("sources")
    )
