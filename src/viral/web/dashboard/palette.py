"""GET /palette: concepts that the palette of the keyboard finds while somebody types."""

from __future__ import annotations

from typing import Final

import msgspec
from litestar import get
from litestar.params import FromQuery

from viral.features.generations.history import ConceptFilter, search_concepts
from viral.web.dashboard.rendering import sentence
from viral.web.dependencies import Transaction

FOUND_AT_ONCE = 8


class Found(msgspec.Struct, frozen=True):
    """A concept, and where it is shown."""

    title: str
    category: str
    href: str


@get("/palette", include_in_schema=False)
async def find(session: Transaction, q: FromQuery[str] = "") -> list[Found]:
    """Find the newest concepts that hold all words; none without a word."""
    if not q.strip():
        return []
    concepts = await search_concepts(session, ConceptFilter(search=q), limit=FOUND_AT_ONCE)
    return [Found(each.title, sentence(each.category), f"/concepts/{each.id}") for each in concepts]


ROUTES: Final = (find,)
