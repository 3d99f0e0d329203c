"""/api/v1/trends: what people talk about, the same for all tenants."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.params import FromQuery, JSONBody, QueryParameter

from viral.errors import BadInput
from viral.features.jobs.schedules import run_schedule
from viral.features.trends import Position, Topic, import_trends, list_topics, position_of
from viral.features.trends.files import TrendsFile, parse_trends
from viral.features.trends.sources import SCHEDULE, TRENDS_FETCH, list_sources
from viral.schema.vocabulary import category_of
from viral.web.cursors import cut_page, place_at
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.door import operators_only
from viral.web.requests import WebRequest
from viral.web.site import Site

PURPOSE = "trends"
MOST_TRENDS = 200


class TrendIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A topic; the score runs from 0 to 100."""

    topic: str
    category: str | None = None
    score: float | None = None
    source: str | None = None
    external_id: str | None = None
    keywords: list[str] = []
    url: str | None = None


class TrendOut(msgspec.Struct, frozen=True):
    """A topic as it is kept: text that strangers wrote, never an instruction.

    `score` is raised where several `sources` agree. `velocity` is points of score an hour over the
    last day; null while too little was seen.
    """

    topic: str
    category: str
    score: float
    velocity: float | None
    source: str
    sources: list[str]
    keywords: list[str]
    url: str | None
    region: str | None
    engagement_count: int | None
    is_sample: bool
    observed_at: datetime


class TrendsPage(msgspec.Struct, frozen=True):
    """Topics, each once; `next_cursor` leads to older and weaker ones and is null at the end."""

    trends: list[TrendOut]
    next_cursor: str | None


class TrendPlace(msgspec.Struct, frozen=True, array_like=True):
    """The last topic of a page."""

    day: datetime
    score: float
    external_id: str
    source: str


class FetchAsked(msgspec.Struct, frozen=True):
    """The job that asks the sources; null where one waits already."""

    job: UUID | None


class LeftOut(msgspec.Struct, frozen=True):
    """An entry that cannot be used, by its place from 1."""

    number: int
    reason: str


class TrendsStored(msgspec.Struct, frozen=True):
    """What became of the entries."""

    stored: int
    rejects: list[LeftOut]


@get("/trends", operation_id="list_trends")
async def get_trends(
    request: WebRequest,
    identity: Person,
    session: Transaction,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST_TRENDS)] = 50,
    category: FromQuery[str | None] = None,
    source: FromQuery[str | None] = None,
    cursor: FromQuery[str | None] = None,
) -> TrendsPage:
    """List the topics of the newest days, strongest first, a page at a time."""
    site: Site = request.app.state.site
    after = place_at(site, identity.tenant_id, cursor, TrendPlace, purpose=PURPOSE)
    found = await list_topics(
        session,
        limit=limit + 1,
        category=category_of(category) if category else None,
        source=source,
        after=None
        if after is None
        else Position(after.day, after.score, after.external_id, after.source),
    )
    rows, next_cursor = cut_page(site, identity.tenant_id, found, limit, _place, purpose=PURPOSE)
    return TrendsPage([_trend(each) for each in rows], next_cursor)


@post("/trends/fetch", operation_id="fetch_trends", guards=[operators_only], status_code=202)
async def fetch_now(runtime: Wired) -> FetchAsked:
    """Ask the enabled sources that are due, as a job of the workers.

    Operators only. A source is never asked before its own time.
    """
    async with runtime.system.session_without_tenant() as session:
        if not any(each.is_enabled for each in await list_sources(session)):
            raise BadInput(
                "No source of trends is enabled.",
                hint="Add one on the server: `viral trends sources add`.",
            )
        return FetchAsked(await run_schedule(session, SCHEDULE.name, TRENDS_FETCH))


@post("/trends", operation_id="add_trends", guards=[operators_only])
async def add_trends(runtime: Wired, data: JSONBody[list[TrendIn]]) -> TrendsStored:
    """Store trends for all tenants; one that its source named before is refreshed.

    Operators only. Entries that cannot be used are listed, the others are stored.
    """
    found = await asyncio.to_thread(_read, data)
    async with runtime.system.session_without_tenant() as session:
        stored = await import_trends(session, found.rows, now=runtime.clock())
    return TrendsStored(stored, [LeftOut(each.number, each.reason) for each in found.rejects])


def _place(topic: Topic) -> TrendPlace:
    position = position_of(topic)
    return TrendPlace(position.day, position.score, position.external_id, position.source)


def _trend(topic: Topic) -> TrendOut:
    trend = topic.trend
    return TrendOut(
        topic=trend.topic,
        category=trend.category,
        score=topic.score,
        velocity=trend.velocity,
        source=trend.source,
        sources=list(topic.sources),
        keywords=trend.keywords,
        url=trend.url,
        region=trend.region,
        engagement_count=trend.engagement_count,
        is_sample=trend.is_sample,
        observed_at=trend.observed_at,
    )


def _read(entries: list[TrendIn]) -> TrendsFile:
    """Have the entries checked as those of a file."""
    return parse_trends(msgspec.json.encode(entries), name="The list", source="api")


ROUTES: Final = (get_trends, add_trends, fetch_now)
