"""Generations of the past with their concepts, as the JSON that PostgreSQL makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.errors import NotFound

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from asyncpg import Record

    from viral.database.engine import Database

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
    FROM public.concepts AS c
    WHERE c.generation_id = g.id
  ), '[]')
)::text AS document
FROM (
  SELECT * FROM public.generations {after} ORDER BY date DESC, id DESC LIMIT $1
) AS g
ORDER BY g.date DESC, g.id DESC
"""
NEWEST = _PAGE.format(after="")
_ONE = _PAGE.format(after="WHERE id = $2")
_BEFORE = "WHERE (date, id) < ($2, $3)"
_OLDER = _PAGE.format(after=_BEFORE)
# A row that is written anew has another transaction in `xmin`; one comes again after four billion
# others. A server that was put back to an earlier moment, and counts anew, was started since.
_VERSION = """
SELECT sha256(convert_to(
  concat_ws(' ', pg_postmaster_start_time(), string_agg(
    concat_ws(' ', g.id, g.xmin, (
      SELECT array_agg(c.xmin ORDER BY c.id) FROM public.concepts AS c WHERE c.generation_id = g.id
    )), ' ' ORDER BY g.date DESC, g.id DESC)), 'UTF8')) AS version
FROM (
  SELECT id, date, xmin FROM public.generations {after} ORDER BY date DESC, id DESC LIMIT $1
) AS g
"""
_VERSION_OF_NEWEST = _VERSION.format(after="")
_VERSION_OF_OLDER = _VERSION.format(after=_BEFORE)


async def list_generations(
    database: Database,
    tenant_id: UUID,
    *,
    limit: int,
    before: tuple[datetime, UUID] | None = None,
) -> list[Record]:
    """List a page of generations, newest first: each one's date, id and JSON as `document`.

    `before` is where the last page ended.
    """
    if before is None:
        return await database.read_for(tenant_id, NEWEST, limit)
    return await database.read_for(tenant_id, _OLDER, limit, *before)


async def version_of_page(
    database: Database,
    tenant_id: UUID,
    *,
    limit: int,
    before: tuple[datetime, UUID] | None = None,
) -> bytes:
    """Return what changes when a page of `list_generations` does, in a fifth of its time."""
    if before is None:
        rows = await database.read_for(tenant_id, _VERSION_OF_NEWEST, limit)
    else:
        rows = await database.read_for(tenant_id, _VERSION_OF_OLDER, limit, *before)
    version: bytes = rows[0]["version"]
    return version


async def find_generation(database: Database, tenant_id: UUID, generation_id: UUID) -> Record:
    """Find one generation of the tenant; NotFound when it is not there."""
    for row in await database.read_for(tenant_id, _ONE, 1, generation_id):
        return row
    raise NotFound(f"There is no generation {generation_id}.")
