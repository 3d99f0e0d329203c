"""/api/v1/trends: what people talk about, the same for all tenants."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import JSONBody, QueryParameter

from viral.errors import BadFile
from viral.features.trends import TrendsFile, import_trends, list_trends, read_trends
from viral.web.dependencies import Transaction, Wired
from viral.web.door import operators_only

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
    """A topic as it is kept."""

    topic: str
    category: str
    score: float
    source: str
    keywords: list[str]
    url: str | None
    is_sample: bool
    observed_at: datetime


class LeftOut(msgspec.Struct, frozen=True):
    """An entry that cannot be used, by its place from 1."""

    number: int
    reason: str


class TrendsStored(msgspec.Struct, frozen=True):
    """What became of the entries."""

    stored: int
    rejects: list[LeftOut]


@get("/trends")
async def get_trends(
    session: Transaction, limit: Annotated[int, QueryParameter(ge=1, le=MOST_TRENDS)] = 50
) -> list[TrendOut]:
    """List the newest trends, strongest first."""
    return [
        TrendOut(
            topic=each.topic,
            category=each.category,
            score=each.score,
            source=each.source,
            keywords=each.keywords,
            url=each.url,
            is_sample=each.is_sample,
            observed_at=each.observed_at,
        )
        for each in await list_trends(session, limit=limit)
    ]


@post("/trends", guards=[operators_only])
async def add_trends(runtime: Wired, data: JSONBody[list[TrendIn]]) -> TrendsStored:
    """Store trends for all tenants; one that its source named before is refreshed.

    Operators only. Entries that cannot be used are listed, the others are stored.
    """
    found = await asyncio.to_thread(_read, data)
    async with runtime.system.session_without_tenant() as session:
        stored = await import_trends(session, found.rows, now=runtime.clock())
    return TrendsStored(stored, [LeftOut(each.number, each.reason) for each in found.rejects])


def _read(entries: list[TrendIn]) -> TrendsFile:
    """Have the entries checked by the reader of files; its name is the source of those without."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "api.json"
        path.write_bytes(msgspec.json.encode(entries))
        try:
            return read_trends(path)
        except BadFile as error:
            # Where we keep it for a moment says nothing to the sender.
            message = error.message.replace(str(path), "The list")
            raise BadFile(message, hint=error.hint) from error
