"""RSS and Atom as entries; feedparser reads bytes alone and fetches nothing."""

from __future__ import annotations

import re
from calendar import timegm
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING

from viral.errors import BadFile

if TYPE_CHECKING:
    from collections.abc import Mapping

# What it raises, instead of marking the feed as broken, by its own issues 378, 468 and 599.
_BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    re.error,
)


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One entry as the feed has it: text of strangers, not cleaned."""

    title: str
    id: str
    url: str
    publisher: str
    tags: tuple[str, ...]
    published: datetime | None
    # "50K+", as Google Trends writes it.
    traffic: str


def feed_entries(content: bytes, *, name: str) -> list[FeedEntry]:
    """Read the entries of a feed in their order; BadFile when nothing can be made of it."""
    import feedparser  # noqa: PLC0415 - half the start-up time of a command that reads no feed

    try:
        # A stream: bytes could be taken for a file's name.
        entries = feedparser.parse(BytesIO(content)).entries
        # Plain ones: its own look up names of old versions, and warn of it.
        return [_entry(dict(each)) for each in entries]
    except _BROKEN as error:
        raise BadFile(f"{name} is no feed that can be read.") from error


def _entry(entry: Mapping[str, object]) -> FeedEntry:
    source = entry.get("source")
    tags = entry.get("tags")
    publisher = source.get("title") if isinstance(source, dict) else ""
    terms = (
        [tag.get("term") for tag in tags if isinstance(tag, dict)] if isinstance(tags, list) else []
    )
    link = _text(entry.get("link"))
    return FeedEntry(
        title=_text(entry.get("title")),
        id=_text(entry.get("id")) or link,
        url=link,
        publisher=_text(publisher),
        tags=tuple(term for term in terms if isinstance(term, str)),
        published=_moment(entry.get("published_parsed") or entry.get("updated_parsed")),
        traffic=_text(entry.get("ht_approx_traffic")),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _moment(parsed: object) -> datetime | None:
    # feedparser gives a struct_time in UTC, which is a tuple.
    if not isinstance(parsed, tuple):
        return None
    try:
        return datetime.fromtimestamp(timegm(parsed), UTC)
    except (OverflowError, OSError, ValueError):
        return None
