"""/api/v1/concepts: ideas for videos, with predictions and their reasons; found, kept, taken."""

from __future__ import annotations

from datetime import datetime
from random import Random
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from viral.features.generations import exports
from viral.features.generations.concepts import find_concept, generate_concepts
from viral.features.generations.history import (
    ConceptFilter,
    keep_concept,
    search_concepts,
)
from viral.features.generations.orders import order_concepts
from viral.features.jobs.types import ConceptsOrder
from viral.features.scoring.predictions import reasons_of
from viral.schema.content import Concept, Prediction
from viral.schema.vocabulary import Platform, category_of
from viral.web.cursors import cut_page, place_of, when_made
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.requests import WebRequest
from viral.web.site import Site

PURPOSE = "concepts"
MOST_CONCEPTS = 100
MOST_EXPORTED = 10_000
Search = Annotated[str, QueryParameter(max_length=500)]


class ConceptsWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many concepts, and of what; the same seed and history give the same."""

    count: int
    category: str | None = None
    platform: Platform | None = None
    seed: int | None = None


class ReasonOut(msgspec.Struct, frozen=True):
    """A signed share of a score, in points."""

    family: str
    key: str
    label: str
    points: float


class PredictionOut(msgspec.Struct, frozen=True):
    """A score from 0 to 100 with its 80 % interval; the reasons add up to the score."""

    platform: str
    score: float
    low: float
    high: float
    reasons: list[ReasonOut]


class ConceptOut(msgspec.Struct, frozen=True):
    """A concept with its predictions."""

    id: UUID
    created_at: datetime
    title: str
    hook: str
    hook_type: str | None
    category: str
    script: list[object]
    caption: str
    hashtags: list[str]
    duration_s: int | None
    post_at: datetime | None
    why_it_works: str
    prompts: dict[str, object]
    trend: dict[str, object] | None
    is_favorite: bool
    is_exploration: bool
    propensity: float | None
    predictions: list[PredictionOut]


class ConceptsPage(msgspec.Struct, frozen=True):
    """Concepts, newest first; `next_cursor` leads to older ones and is null at the end."""

    concepts: list[ConceptOut]
    next_cursor: str | None


class ConceptsOrdered(msgspec.Struct, frozen=True):
    """The job that writes them; `GET /jobs/{job_id}` tells how far it is."""

    job_id: UUID


@post("/concepts", operation_id="generate_concepts")
async def add_concepts(
    runtime: Wired, identity: Person, data: JSONBody[ConceptsWanted]
) -> list[ConceptOut]:
    """Write concepts from current trends and predict them; counted against the month's quota."""
    concepts = await generate_concepts(
        runtime.app,
        identity.tenant_id,
        count=data.count,
        writer=runtime.writer,
        rng=Random(data.seed),  # noqa: S311 - a choice of words, no secret
        now=runtime.clock(),
        hashed=runtime.hashed,
        category=None if data.category is None else category_of(data.category),
        platform=data.platform,
        user_id=identity.user_id,
        budget=runtime.budget,
    )
    return [_concept(each) for each in concepts]


@get("/concepts", operation_id="list_concepts")
async def get_concepts(
    request: WebRequest,
    identity: Person,
    session: Transaction,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST_CONCEPTS)] = 20,
    cursor: FromQuery[str | None] = None,
    search: Search = "",
    category: FromQuery[str | None] = None,
    *,
    favorite: FromQuery[bool] = False,
) -> ConceptsPage:
    """List generated concepts, newest first, a page at a time.

    `search` is for words that each begin one in title, hook, caption or script.
    """
    site: Site = request.app.state.site
    before = place_of(site, identity.tenant_id, cursor, purpose=PURPOSE)
    wanted = _filter(search, category, only_favorites=favorite)
    found = await search_concepts(session, wanted, limit=limit + 1, before=before)
    rows, next_cursor = cut_page(site, identity.tenant_id, found, limit, when_made, purpose=PURPOSE)
    return ConceptsPage([_concept(each) for each in rows], next_cursor)


@post("/concepts/orders", operation_id="order_concepts", status_code=202)
async def order(
    session: Transaction, identity: Person, data: JSONBody[ConceptsWanted]
) -> ConceptsOrdered:
    """Have a worker write concepts; how far it is stands at /jobs."""
    wanted = ConceptsOrder(
        count=data.count,
        category=None if data.category is None else category_of(data.category),
        platform=data.platform,
        seed=data.seed,
        user_id=identity.user_id,
    )
    return ConceptsOrdered(await order_concepts(session, wanted))


@get("/concepts/export", operation_id="export_concepts")
async def export_concepts(
    session: Transaction,
    format: Annotated[Literal["csv", "json"], QueryParameter()] = "csv",  # noqa: A002 - its name
    search: Search = "",
    category: FromQuery[str | None] = None,
    *,
    favorite: FromQuery[bool] = False,
) -> Response[str]:
    """Give the newest 10,000 concepts as CSV, or as JSON, one object a line.

    Each comes with the variant that is to be posted, where it has variants.
    """
    wanted = _filter(search, category, only_favorites=favorite)
    parts = exports.export_concepts(session, wanted, form=format, most=MOST_EXPORTED)
    return Response(
        "".join([text async for text, _ in parts]),
        media_type="text/csv" if format == "csv" else "application/x-ndjson",
        headers={"Content-Disposition": f'attachment; filename="concepts.{format}"'},
    )


@put("/concepts/{concept_id:uuid}/favorite", operation_id="mark_favorite")
async def keep(session: Transaction, concept_id: FromPath[UUID]) -> ConceptOut:
    """Make a concept a favourite."""
    return _concept(await keep_concept(session, concept_id, is_favorite=True))


@delete("/concepts/{concept_id:uuid}/favorite", operation_id="unmark_favorite", status_code=200)
async def let_go(session: Transaction, concept_id: FromPath[UUID]) -> ConceptOut:
    """Let a concept be no favourite."""
    return _concept(await keep_concept(session, concept_id, is_favorite=False))


@get("/concepts/{concept_id:uuid}", operation_id="get_concept")
async def get_concept(session: Transaction, concept_id: FromPath[UUID]) -> ConceptOut:
    """Show one concept."""
    return _concept(await find_concept(session, concept_id))


def _filter(search: str, category: str | None, *, only_favorites: bool) -> ConceptFilter:
    return ConceptFilter(
        search, None if category is None else category_of(category), only_favorites
    )


def _concept(concept: Concept) -> ConceptOut:
    return ConceptOut(
        id=concept.id,
        created_at=concept.created_at,
        title=concept.title,
        hook=concept.hook,
        hook_type=concept.hook_type,
        category=concept.category,
        script=concept.script,
        caption=concept.caption,
        hashtags=concept.hashtags,
        duration_s=concept.duration_s,
        post_at=concept.post_at,
        why_it_works=concept.why_it_works,
        prompts=concept.prompts,
        trend=concept.trend,
        is_favorite=concept.is_favorite,
        is_exploration=concept.is_exploration,
        propensity=concept.propensity,
        predictions=[
            _prediction(each)
            for each in sorted(concept.predictions, key=lambda each: each.platform)
        ],
    )


def _prediction(prediction: Prediction) -> PredictionOut:
    return PredictionOut(
        platform=prediction.platform,
        score=prediction.score,
        low=prediction.low,
        high=prediction.high,
        reasons=[
            ReasonOut(each.family, each.key, each.label, each.points)
            for each in reasons_of(prediction.reasons)
        ],
    )


ROUTES: Final = (add_concepts, get_concepts, order, export_concepts, keep, let_go, get_concept)
