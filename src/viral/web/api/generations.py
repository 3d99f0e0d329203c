"""/api/v1/generations: requests for concepts, and all that was written for each."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, QueryParameter

from viral.features.generations.listing import (
    find_generation,
    list_generations,
    version_of_page,
)
from viral.runtime import Runtime
from viral.web.cursors import Place, cut_page, place_of
from viral.web.dependencies import Person, Wired
from viral.web.page_cache import PageCache
from viral.web.requests import WebRequest
from viral.web.site import Site

PURPOSE = "generations"
MOST_GENERATIONS = 100


class WrittenOut(msgspec.Struct, frozen=True):
    """A concept as it was written; `GET /concepts/{concept_id}` has its predictions."""

    id: UUID
    category: str
    title: str
    hook: str
    hook_type: str | None
    script: list[object]
    caption: str
    hashtags: list[str]
    duration_s: int | None
    post_at: datetime | None
    why_it_works: str
    prompts: dict[str, object]
    is_favorite: bool


class GenerationOut(msgspec.Struct, frozen=True):
    """What was asked for, the trends it was made from, and the concepts."""

    id: UUID
    date: datetime
    writer: str
    settings: dict[str, object]
    is_favorite: bool
    trends: list[object]
    concepts: list[WrittenOut]


class GenerationsPage(msgspec.Struct, frozen=True):
    """Generations, newest first; `next_cursor` leads to older ones and is null at the end."""

    generations: list[GenerationOut]
    next_cursor: str | None


class _RawPage(msgspec.Struct, frozen=True):
    """The same, of documents that the database wrote: they are not read here."""

    generations: list[msgspec.Raw]
    next_cursor: str | None


@get(
    "/generations",
    operation_id="list_generations",
    responses={200: ResponseSpec(GenerationsPage, generate_examples=False)},
)
async def get_generations(
    request: WebRequest,
    identity: Person,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST_GENERATIONS)] = 20,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """List generations with their concepts, newest first, a page at a time."""
    site: Site = request.app.state.site
    runtime: Runtime = request.app.state.runtime
    before = place_of(site, identity.tenant_id, cursor, purpose=PURPOSE)
    cache: PageCache = request.app.state.page_cache
    tenant_id, most = identity.tenant_id, limit + 1
    version = partial(version_of_page, runtime.app, tenant_id, limit=most, before=before)

    async def make() -> bytes:
        found = await list_generations(runtime.app, tenant_id, limit=most, before=before)
        rows, next_cursor = cut_page(
            site,
            tenant_id,
            found,
            limit,
            lambda last: Place(last["date"], last["id"]),
            purpose=PURPOSE,
        )
        page = _RawPage([msgspec.Raw(each["document"]) for each in rows], next_cursor)
        return msgspec.json.encode(page)

    body = await cache.get((PURPOSE, tenant_id, limit, before), version, make)
    return Response(body, media_type="application/json")


@get(
    "/generations/{generation_id:uuid}",
    operation_id="get_generation",
    responses={200: ResponseSpec(GenerationOut, generate_examples=False)},
)
async def get_generation(
    runtime: Wired, identity: Person, generation_id: FromPath[UUID]
) -> Response[bytes]:
    """Show one generation with its concepts."""
    found = await find_generation(runtime.app, identity.tenant_id, generation_id)
    return Response(found["document"].encode(), media_type="application/json")


ROUTES: Final = (get_generations, get_generation)
