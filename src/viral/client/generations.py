"""/api/v1/generations: requests for concepts, and all that was written for each.

Written by `make docs`; do not edit.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import msgspec

from viral.client.calls import Calls, read


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


class Generations(Calls):
    """Requests for concepts, and all that was written for each."""

    def list_generations(self, *, page_size: int = 20) -> Iterator[GenerationOut]:
        """List generations with their concepts, newest first, a page at a time."""
        for page in self._pages("/generations", GenerationsPage, {"limit": page_size}):
            yield from page.generations

    def get_generation(self, generation_id: UUID) -> GenerationOut:
        """Show one generation with its concepts."""
        return read(self._ask("GET", f"/generations/{generation_id}"), GenerationOut)
