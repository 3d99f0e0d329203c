"""A CSV file, of this machine or of the web, in the form of `viral trends import`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from viral.adapters.trends.desk import Desk, ask, not_taken, taken
from viral.errors import BadFile
from viral.features.trends.fetching import Asked, Reading
from viral.features.trends.files import parse_trends, read_bounded

if TYPE_CHECKING:
    from viral.features.trends.files import TrendsFile


async def read(asked: Asked, desk: Desk) -> Reading:
    """Read the file if it changed; a category that the file names counts as the source's own."""
    if asked.url.startswith("/"):
        return await asyncio.to_thread(_read_here, asked, desk)
    answer = await ask(asked, desk)
    refusal = not_taken(answer, asked, desk.kind)
    if refusal is not None:
        return refusal
    found = await asyncio.to_thread(_parsed, answer.body, asked)
    reading = taken(answer, found.rows, desk.kind)
    return replace(reading, left_out=reading.left_out + len(found.rejects))


def _read_here(asked: Asked, desk: Desk) -> Reading:
    path = Path(asked.url)
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no file's name"
        raise BadFile(f"{path} cannot be read: {reason}.") from error
    version = f"{status.st_mtime_ns}-{status.st_size}"
    if version == asked.etag:
        return Reading()
    found = _parsed(read_bounded(path), asked)
    rows = tuple(found.rows[: desk.kind.most_items])
    return Reading(rows=rows, left_out=len(found.rejects), etag=version)


def _parsed(content: bytes, asked: Asked) -> TrendsFile:
    return parse_trends(content, name=asked.url, source=asked.name, category=asked.category)
