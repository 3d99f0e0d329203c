"""Generations of the past with their concepts, as the JSON that PostgreSQL makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import TIMESTAMP

from viral.errors import NotFound

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

# The documents only pass through: neither the driver nor Python reads them. A page is read before
# its concepts are looked up, which then are found by their key.
_PAGE = """
SELECT g.date, g.id, json_build_object(
  'id', g.id, 'date', g.date, 'writer', g.writer, 'settings', g.settings,
  'is_favorite', g.is_favorite, 'trends', g.trends,
  'concepts', coalesce((
    SELECT json_agg(json_build_object(
      'id', c.id, 'category', c.category, 'title', c.title, 'hook', c.hook,
      'hook_type', c.hook_type, 'script', c.script, 'caption', c.caption,
      'hashtags', c.hashtags, 'duration_s', c.duration_s, 'post_at', c.post_at,
      'why_it_works', c.why_it_works, 'prompts', c.prompts, 'is_favorite', c.is_favorite
    ) ORDER BY c.id)
    FROM concepts AS c
    WHERE c.generation_id = g.id
  ), '[]')
)::text AS document
FROM (
  SELECT * FROM generations {after} ORDER BY date DESC, id DESC LIMIT :limit
) AS g
ORDER BY g.date DESC, g.id DESC
"""
_ONE = text(_PAGE.format(after="WHERE id = :id")).bindparams(bindparam("id", type_=Uuid()))
_NEWEST = text(_PAGE.format(after=""))
_OLDER = text(_PAGE.format(after="WHERE (date, id) < (:date, :id)")).bindparams(
    bindparam("date", type_=TIMESTAMP(timezone=True)), bindparam("id", type_=Uuid())
)


@dataclass(frozen=True, slots=True)
class GenerationDocument:
    """A generation: its place in the list, and its JSON."""

    date: datetime
    id: UUID
    json: str


async def list_generations(
    session: AsyncSession, *, limit: int, before: tuple[datetime, UUID] | None = None
) -> list[GenerationDocument]:
    """List a page of generations, newest first; `before` is where the last page ended."""
    if before is None:
        rows = await session.execute(_NEWEST, {"limit": limit})
    else:
        rows = await session.execute(_OLDER, {"limit": limit, "date": before[0], "id": before[1]})
    return [GenerationDocument(*row) for row in rows]


async def find_generation(session: AsyncSession, generation_id: UUID) -> GenerationDocument:
    """Find one generation of the tenant; NotFound when it is not there."""
    rows = await session.execute(_ONE, {"id": generation_id, "limit": 1})
    row = rows.one_or_none()
    if row is None:
        raise NotFound(f"There is no generation {generation_id}.")
    return GenerationDocument(*row)
