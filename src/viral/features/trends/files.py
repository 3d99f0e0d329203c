"""Trends in files: CSV, JSON, RSS and Atom, of any origin."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from viral.errors import BadFile
from viral.features.trends import TrendRow
from viral.features.trends.categories import category_named, guess_category
from viral.features.trends.feeds import feed_entries
from viral.features.trends.scores import ranked_score
from viral.features.trends.topics import clean_text, clean_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LONGEST_TOPIC = 500
LONGEST_URL = 2000
# A list of trends is small; a feed of this size is parsed in seconds.
LARGEST_FILE_BYTES = 5_000_000
MIDDLE_SCORE = 50.0
_LONGEST_ID = 300
_LONGEST_NAME = 100
_LONGEST_CATEGORY = 50
_MOST_KEYWORDS = 20
_MOST_ENGAGEMENT = 2**31 - 1


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
    return parse_trends(read_bounded(path), name=str(path), source=path.stem, category=category)


def parse_trends(
    content: bytes, *, name: str, source: str, category: str | None = None
) -> TrendsFile:
    """Read the content of a file; `source` is for entries that name none, as is `category`.

    Without either, an entry's category is guessed from its words. BadFile, with the file's
    `name`, when no entry can be used.
    """
    text = content.decode("utf-8-sig", errors="replace")
    start = text.lstrip()[:1]
    if start == "<":
        entries = _feed_entries(content, name)
    elif start in {"[", "{"}:
        entries = _json_entries(name, text)
    else:
        entries = _csv_entries(name, text)
    rows: list[TrendRow] = []
    rejects: list[TrendReject] = []
    for number, entry in enumerate(entries, start=1):
        try:
            rows.append(_trend(entry, source=source, category=category))
        except ValueError as error:
            rejects.append(TrendReject(number, str(error)))
    if not rows:
        raise BadFile(
            f"{name} has no usable trend.",
            hint=rejects[0].reason if rejects else "Each entry needs at least a topic.",
        )
    return TrendsFile(rows, rejects)


def read_bounded(path: Path) -> bytes:
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
    keywords = _keywords(entry.get("keywords"))
    named = _text(entry.get("category") or category).lower()[:_LONGEST_CATEGORY]
    external_id = _text(entry.get("id") or entry.get("external_id") or topic.casefold())
    return TrendRow(
        topic=topic,
        # A name that is none of ours stays: an importer may sort by words of their own.
        category=category_named(named) or named or guess_category(topic, keywords).category,
        score=_score(entry.get("score")),
        source=_text(entry.get("source") or source)[:_LONGEST_NAME],
        external_id=external_id[:_LONGEST_ID],
        keywords=keywords,
        url=clean_url(url, limit=LONGEST_URL),
        engagement_count=_engagement(entry.get("engagement_count")),
    )


def _text(value: object) -> str:
    """Give a value as one line that can be stored and shown, of any length."""
    return clean_text(value or "", limit=LARGEST_FILE_BYTES)


def _keywords(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.replace(";", "|").replace(",", "|").split("|")
    if isinstance(value, list):
        words = (_text(each).lower()[:_LONGEST_NAME] for each in value)
        return tuple(word for word in words if word)[:_MOST_KEYWORDS]
    if value is None:
        return ()
    raise ValueError(f"its keywords {str(value)[:30]!r} are no list")


def _engagement(value: object) -> int | None:
    """Read how many people took part; what is no such number is as good as none."""
    try:
        count = int(str(value))
    except ValueError:
        return None
    return count if 0 <= count <= _MOST_ENGAGEMENT else None


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


def _csv_entries(name: str, text: str) -> Iterator[Mapping[str, object]]:
    lines = text.splitlines()
    try:
        dialect = csv.Sniffer().sniff(lines[0] if lines else "", delimiters=",;\t")
    except csv.Error:
        dialect = csv.excel
    reader = csv.DictReader(lines, dialect=dialect)
    names = [each.strip().lower() for each in reader.fieldnames or ()]
    if not {"topic", "title"} & set(names):
        raise BadFile(
            f"{name} has no column `topic`; it has {', '.join(names) or 'none'}.",
            hint="Name one column topic; category, score, source, url, keywords are optional.",
        )
    reader.fieldnames = names
    try:
        for row in reader:
            yield {column: value for column, value in row.items() if column in names}
    except csv.Error as error:
        raise BadFile(f"{name} is no CSV in line {reader.line_num + 1}: {error}.") from error


def _json_entries(name: str, text: str) -> Iterator[Mapping[str, object]]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{name} is not valid JSON: {error}.") from error
    if isinstance(document, dict):
        document = document.get("trends", [document])
    if not isinstance(document, list):
        raise BadFile(f"{name} holds no list of trends.", hint='Write [{"topic": "..."}, ...].')
    for entry in document:
        yield entry if isinstance(entry, dict) else {"topic": entry}


def _feed_entries(content: bytes, name: str) -> Iterator[Mapping[str, object]]:
    entries = feed_entries(content, name=name)
    for place, entry in enumerate(entries):
        yield {
            "topic": entry.title,
            "id": entry.id,
            "url": entry.url,
            "category": next(iter(entry.tags), None),
            "score": ranked_score(place, len(entries)),
        }
