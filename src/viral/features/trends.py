"""Trends in: read from files, kept once per source, handed to writers."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from viral.database.bulk import as_arrays, bulk_insert
from viral.errors import BadFile
from viral.schema.base import uuid7_run
from viral.schema.content import Trend

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncSession

LONGEST_TOPIC = 500
LONGEST_URL = 2000
# A list of trends is small; a feed of this size is parsed in seconds.
LARGEST_FILE_BYTES = 5_000_000
MIDDLE_SCORE = 50.0
MOST_BRIEFS = 60
# What PostgreSQL cannot store: NUL, and halves of characters that JSON can spell.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_COLUMNS = (
    "id",
    "source",
    "external_id",
    "topic",
    "category",
    "score",
    "keywords",
    "url",
    "is_sample",
    "observed_at",
)


@dataclass(frozen=True, slots=True)
class TrendBrief:
    """A trend as a writer sees it; the scores run 0..100."""

    topic: str
    category: str
    source: str
    score: float
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrendRow:
    """One trend as found; the score runs 0..100."""

    topic: str
    category: str
    score: float
    source: str
    external_id: str
    keywords: tuple[str, ...] = ()
    url: str | None = None
    is_sample: bool = False


@dataclass(frozen=True, slots=True)
class TrendReject:
    """An entry that cannot be used, by its place in the file."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class TrendsFile:
    """The usable entries of a file and the others."""

    rows: list[TrendRow]
    rejects: list[TrendReject]


def read_trends(path: Path, *, category: str | None = None) -> TrendsFile:
    """Read CSV, JSON or RSS/Atom; `category` is for entries that name none."""
    content = _content(path)
    text = content.decode("utf-8-sig", errors="replace")
    start = text.lstrip()[:1]
    if start == "<":
        entries = _feed_entries(content)
    elif start in {"[", "{"}:
        entries = _json_entries(path, text)
    else:
        entries = _csv_entries(path, text)
    rows: list[TrendRow] = []
    rejects: list[TrendReject] = []
    for number, entry in enumerate(entries, start=1):
        try:
            rows.append(_trend(entry, source=path.stem, category=category))
        except ValueError as error:
            rejects.append(TrendReject(number, str(error)))
    if not rows:
        raise BadFile(
            f"{path} has no usable trend.",
            hint=rejects[0].reason if rejects else "Each entry needs at least a topic.",
        )
    return TrendsFile(rows, rejects)


async def import_trends(session: AsyncSession, rows: Iterable[TrendRow], *, now: datetime) -> int:
    """Store trends as the system role; one that its source named before is refreshed."""
    unique = {(row.source, row.external_id): row for row in rows}
    ids = uuid7_run(len(unique))
    statement = bulk_insert(Trend, _COLUMNS)
    statement = statement.on_conflict_do_update(
        index_elements=["source", "external_id"],
        set_={
            name: statement.excluded[name]
            for name in ("topic", "category", "score", "keywords", "url", "observed_at")
        },
    )
    arrays = as_arrays(
        (
            (
                row_id,
                row.source,
                row.external_id,
                row.topic,
                row.category,
                row.score,
                list(row.keywords),
                row.url,
                row.is_sample,
                now,
            )
            for row_id, row in zip(ids, unique.values(), strict=True)
        ),
        _COLUMNS,
    )
    await session.execute(statement, arrays)
    return len(unique)


async def current_trends(
    session: AsyncSession, *, category: str | None = None
) -> tuple[TrendBrief, ...]:
    """Return the newest and strongest trends, of the category where it has any."""
    newest_first = func.date_trunc("day", Trend.observed_at).desc()
    ranked = select(Trend).order_by(newest_first, Trend.score.desc(), Trend.external_id)
    found = []
    if category is not None:
        found = list(
            await session.scalars(ranked.where(Trend.category == category).limit(MOST_BRIEFS))
        )
    if not found:
        found = list(await session.scalars(ranked.limit(MOST_BRIEFS)))
    return tuple(
        TrendBrief(trend.topic, trend.category, trend.source, trend.score, tuple(trend.keywords))
        for trend in found
    )


async def list_trends(session: AsyncSession, *, limit: int) -> list[Trend]:
    """List the newest trends, strongest first."""
    newest_first = func.date_trunc("day", Trend.observed_at).desc()
    ranked = select(Trend).order_by(newest_first, Trend.score.desc(), Trend.external_id)
    return list(await session.scalars(ranked.limit(limit)))


def _content(path: Path) -> bytes:
    """Read a file, but no device without an end."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no file's name"
        raise BadFile(
            f"{path} cannot be read: {reason}.", hint="Name a CSV, JSON or RSS file."
        ) from error
    if len(content) > LARGEST_FILE_BYTES:
        raise BadFile(
            f"{path} has more than {LARGEST_FILE_BYTES // 1_000_000} MB.",
            hint="Split it, or leave the older trends out.",
        )
    return content


def _trend(entry: Mapping[str, object], *, source: str, category: str | None) -> TrendRow:
    topic = _text(entry.get("topic") or entry.get("title"))
    if not topic:
        raise ValueError("it has no topic")
    if len(topic) > LONGEST_TOPIC:
        raise ValueError(f"its topic has {len(topic)} characters, {LONGEST_TOPIC} at most")
    url = _text(entry.get("url"))
    if len(url) > LONGEST_URL:
        raise ValueError(f"its url has {len(url)} characters, {LONGEST_URL} at most")
    return TrendRow(
        topic=topic,
        category=_text(entry.get("category") or category or "other").lower()[:50],
        score=_score(entry.get("score")),
        source=_text(entry.get("source") or source)[:100],
        external_id=_text(entry.get("id") or entry.get("external_id") or topic.casefold())[:300],
        keywords=_keywords(entry.get("keywords")),
        url=url or None,
    )


def _text(value: object) -> str:
    """Give a value as one line that can be stored."""
    return " ".join(_UNSTORABLE.sub("", str(value or "")).split())


def _keywords(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.replace(";", "|").replace(",", "|").split("|")
    if isinstance(value, list):
        return tuple(word for each in value if (word := _text(each).lower()[:100]))[:20]
    if value is None:
        return ()
    raise ValueError(f"its keywords {str(value)[:30]!r} are no list")


def _score(value: object) -> float:
    if value is None or value == "":
        return MIDDLE_SCORE
    try:
        score = float(str(value))
    except ValueError:
        raise ValueError(f"its score {str(value)[:30]!r} is not a number") from None
    if not 0 <= score <= 100:  # noqa: PLR2004 - the ends of the scale
        raise ValueError(f"its score {score:g} is not within 0 and 100")
    return score


def _csv_entries(path: Path, text: str) -> Iterator[Mapping[str, object]]:
    lines = text.splitlines()
    try:
        dialect = csv.Sniffer().sniff(lines[0] if lines else "", delimiters=",;\t")
    except csv.Error:
        dialect = csv.excel
    reader = csv.DictReader(lines, dialect=dialect)
    names = [name.strip().lower() for name in reader.fieldnames or ()]
    if not {"topic", "title"} & set(names):
        raise BadFile(
            f"{path} has no column `topic`; it has {', '.join(names) or 'none'}.",
            hint="Name one column topic; category, score, source, url, keywords are optional.",
        )
    reader.fieldnames = names
    try:
        for row in reader:
            yield {name: value for name, value in row.items() if name in names}
    except csv.Error as error:
        raise BadFile(f"{path} is no CSV in line {reader.line_num + 1}: {error}.") from error


def _json_entries(path: Path, text: str) -> Iterator[Mapping[str, object]]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{path} is not valid JSON: {error}.") from error
    if isinstance(document, dict):
        document = document.get("trends", [document])
    if not isinstance(document, list):
        raise BadFile(f"{path} holds no list of trends.", hint='Write [{"topic": "..."}, ...].')
    for entry in document:
        yield entry if isinstance(entry, dict) else {"topic": entry}


def _feed_entries(content: bytes) -> Iterator[Mapping[str, object]]:
    import feedparser  # noqa: PLC0415 - half the start-up time of a command that reads no feed

    # A stream: bytes could be taken for a file's name.
    entries = feedparser.parse(BytesIO(content)).entries
    for place, entry in enumerate(entries):
        yield {
            "topic": entry.get("title", ""),
            "id": entry.get("id") or entry.get("link"),
            "url": entry.get("link"),
            "category": next((tag.get("term") for tag in entry.get("tags") or ()), None),
            # A feed tells the order, not the strength.
            "score": 100 - 50 * place / max(1, len(entries)),
        }
