"""Trends: what people talk about, ranked, with who says so and how fast it rises."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.params import FromQuery
from markupsafe import Markup

from viral.errors import BadInput
from viral.features.tenants import own_tenant
from viral.features.trends import Position, Topic, list_topics, position_of, source_names
from viral.features.trends.history import history_of
from viral.features.trends.sources import list_sources
from viral.schema.vocabulary import CATEGORIES
from viral.web.dashboard.charts import sparkline
from viral.web.dashboard.rendering import render, sentence
from viral.web.dashboard.switcher import page_of, send_page
from viral.web.dashboard.trend_sources import SourcesCard, sources_card
from viral.web.dashboard.views import Choice
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.requests import WebRequest
from viral.web.site import Site

PAGE: Final = "/trends"
PURPOSE: Final = "trends page"
ROWS_SHOWN: Final = 25
HISTORY: Final = timedelta(days=7)
MOST_SPOTS: Final = 48
# A topic that names more sources tells the others by their number.
SOURCES_NAMED: Final = 3
# Points an hour; less is no movement that a person would act on.
_STEADY: Final = 0.05


class TrendPlace(msgspec.Struct, frozen=True, array_like=True):
    """The last topic of a page, and how many stand before the next one."""

    day: datetime
    score: float
    external_id: str
    source: str
    rank: int


@dataclass(frozen=True, slots=True)
class TrendRow:
    """A topic: text that strangers wrote. `velocity` is in points an hour, None where unknown."""

    id: str
    rank: int
    topic: str
    category: str
    score: float
    velocity: float | None
    direction: str
    history: Markup
    sources: tuple[str, ...]
    further_sources: int
    url: str | None
    is_sample: bool
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class TrendsPage:
    """A part of the list; `sources` is for operators, `has_source` for everybody."""

    rows: tuple[TrendRow, ...]
    category: str
    source: str
    categories: tuple[Choice, ...]
    named_sources: tuple[str, ...]
    has_source: bool
    is_first: bool
    older_url: str | None
    card: SourcesCard | None


@get(PAGE, include_in_schema=False)
async def show_trends(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    category: FromQuery[str] = "",
    source: FromQuery[str] = "",
    cursor: FromQuery[str | None] = None,
) -> Response[str]:
    """Show the topics of the newest days, strongest first, a page at a time."""
    now = runtime.clock()
    site: Site = request.app.state.site
    after, before = _position(site, identity.tenant_id, cursor)
    category = category if category in CATEGORIES else ""
    topics = await list_topics(
        session, limit=ROWS_SHOWN + 1, category=category or None, source=source or None, after=after
    )
    rest, topics = topics[ROWS_SHOWN:], topics[:ROWS_SHOWN]
    history = await history_of(session, [each.trend.id for each in topics], since=now - HISTORY)
    older_url = None
    if rest:
        older = _cursor(site, identity.tenant_id, topics[-1], rank=before + ROWS_SHOWN)
        query = {"category": category, "source": source, "cursor": older}
        older_url = f"{PAGE}?{urlencode({name: value for name, value in query.items() if value})}"
    sources = await list_sources(session)
    shown = TrendsPage(
        rows=tuple(
            _row(each, before + place, history.get(each.trend.id, []))
            for place, each in enumerate(topics, start=1)
        ),
        category=category,
        source=source,
        categories=tuple(Choice(each, sentence(each)) for each in CATEGORIES),
        named_sources=tuple(await source_names(session)),
        has_source=any(each.is_enabled for each in sources),
        is_first=cursor is None,
        older_url=older_url,
        card=sources_card(sources) if identity.is_operator else None,
    )
    tenant = await own_tenant(session)
    page = await page_of(request, identity, session, tenant, now=now)
    return send_page(request, render("trends.html", page=page, trends=shown))


def _row(topic: Topic, rank: int, history: list[float]) -> TrendRow:
    trend = topic.trend
    return TrendRow(
        id=str(trend.id),
        rank=rank,
        topic=trend.topic,
        category=trend.category,
        score=topic.score,
        velocity=trend.velocity,
        direction=_direction(trend.velocity),
        history=sparkline(_thinned(history)),
        sources=topic.sources[:SOURCES_NAMED],
        further_sources=max(0, len(topic.sources) - SOURCES_NAMED),
        url=trend.url,
        is_sample=trend.is_sample,
        seen_at=trend.observed_at,
    )


def _direction(velocity: float | None) -> str:
    if velocity is None:
        return "unknown"
    if abs(velocity) < _STEADY:
        return "steady"
    return "rising" if velocity > 0 else "falling"


def _thinned(scores: list[float]) -> list[float]:
    """Keep scores evenly spread, the newest among them: a small line shows no more."""
    if len(scores) <= MOST_SPOTS:
        return scores
    step = (len(scores) - 1) / (MOST_SPOTS - 1)
    return [scores[round(place * step)] for place in range(MOST_SPOTS)]


def _cursor(site: Site, tenant_id: UUID, last: Topic, *, rank: int) -> str:
    place = position_of(last)
    held = TrendPlace(place.day, place.score, place.external_id, place.source, rank)
    return site.seals.seal(PURPOSE, str(tenant_id), msgspec.json.encode(held))


def _position(site: Site, tenant_id: UUID, cursor: str | None) -> tuple[Position | None, int]:
    """Open a cursor; BadInput when it was made for another tenant, for another list, or by hand."""
    if cursor is None:
        return None, 0
    content = site.seals.open(PURPOSE, str(tenant_id), cursor)
    if content is None:
        raise BadInput("The cursor is not one of yours.", hint="Begin without a cursor.")
    place = msgspec.json.decode(content, type=TrendPlace)
    return Position(place.day, place.score, place.external_id, place.source), place.rank


ROUTES: Final = (show_trends,)
