"""Reads files of results (CSV, JSON, JSON Lines): good rows, and a reason for each bad one."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

from viral.errors import BadFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

REQUIRED = ("id", "platform", "published_at", "views")
ALIASES = {"external_id": "id"}
DELIMITERS = ",;\t"

# Names that exports use: the platform and, where it says so, the format.
PLATFORMS: dict[str, tuple[str, str | None]] = {
    "tiktok": ("tiktok", None),
    "tik-tok": ("tiktok", None),
    "youtube": ("youtube", None),
    "yt": ("youtube", None),
    "youtube-short": ("youtube", "shorts"),
    "youtube-shorts": ("youtube", "shorts"),
    "yt-shorts": ("youtube", "shorts"),
    "shorts": ("youtube", "shorts"),
    "instagram": ("instagram", None),
    "ig": ("instagram", None),
    "instagram-reel": ("instagram", "reels"),
    "instagram-reels": ("instagram", "reels"),
    "ig-reels": ("instagram", "reels"),
    "reels": ("instagram", "reels"),
}

LARGEST_COUNT = 2**63 - 1  # bigint
LARGEST_DURATION_S = 2**31 - 1  # integer
FIRST_YEAR = 2005  # the first video on any of these platforms
LONGEST = {
    "id": 200,
    "tenant": 200,
    "category": 50,
    "title": 5000,
    "tags": 5000,
    "sound": 200,
    "hook_type": 100,
}
COUNTS = ("duration_s", "views", "likes", "comments", "shares", "followers")
COLUMNS = frozenset({*REQUIRED, *LONGEST, *COUNTS, "observed_on", "concept_id"})
# A quoted field may hold line breaks; an open quote must not swallow the rest of the file.
LONGEST_RECORD_LINES = 100
PROGRESS_EVERY = 500
LONGEST_SHOWN_VALUE = 60
COUNT = re.compile(r"([0-9]+)(\.0*)?")
FRACTION = re.compile(r"[0-9]*\.[0-9]+")
SHORTENED = re.compile(r"[0-9.,]+ ?([kmb]|e\+?[0-9]+)", re.IGNORECASE)
SEPARATED = re.compile(r"[0-9]{1,3}([,. '_\u00a0\u202f][0-9]{3})+")
UNREADABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ResultRow:
    """What became of one published video by one day; None is "not available", never zero."""

    external_id: str
    platform: str
    format: str | None
    tenant: str | None
    concept_id: UUID | None
    published_at: datetime
    observed_on: date
    category: str
    title: str
    tags: tuple[str, ...]
    duration_s: int | None
    views: int
    likes: int | None
    comments: int | None
    shares: int | None
    followers: int | None
    sound: str | None
    hook_type: str | None
    line: int


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that cannot be used, where, and what to do about it."""

    line: int
    column: str
    value: str
    reason: str


@dataclass(slots=True)
class ResultsFile:
    """The usable rows of a file and the others."""

    rows: list[ResultRow] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Record:
    """One row as text, before its values are checked."""

    line: int
    values: Mapping[str, str]


class _BadValue(Exception):
    """A value cannot be used; becomes a reject."""

    def __init__(self, column: str, value: str, reason: str) -> None:
        super().__init__(reason)
        self.column, self.value, self.reason = column, value, reason


def read_results(
    path: Path,
    *,
    today: date | None = None,
    tenant_column: str = "tenant",
    progress: Callable[[int, int], None] | None = None,
) -> ResultsFile:
    """Read a whole file; raises BadFile when no row of it could be read.

    `today` (UTC) is the day of counts without `observed_on`, and what is "in the future".
    `progress` gets the done and the whole number of lines.
    """
    today = today or datetime.now(UTC).date()
    results = ResultsFile()
    seen: dict[tuple[str, str, date], int] = {}
    for record in _records(path, progress):
        if isinstance(record, Reject):
            results.rejects.append(record)
            continue
        try:
            row = _row(_with_tenant(record, path, _column(tenant_column)), today)
            _refuse_twin(row, seen)
        except _BadValue as bad:
            shown = UNREADABLE.sub("?", bad.value)[:LONGEST_SHOWN_VALUE]
            results.rejects.append(Reject(record.line, bad.column, shown, bad.reason))
        else:
            results.rows.append(row)
    return results


def _records(path: Path, progress: Callable[[int, int], None] | None) -> Iterator[_Record | Reject]:
    content = _content(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        records = _json_records(path, content)
    elif suffix in {".jsonl", ".ndjson"}:
        records = _json_lines(path, content)
    else:
        records = _csv_records(path, content)
    total = content.count(b"\n") + 1
    for count, record in enumerate(records):
        if progress is not None and count % PROGRESS_EVERY == 0:
            progress(min(count, total), total)
        yield record
    if progress is not None:
        progress(total, total)


def _content(path: Path) -> bytes:
    """Read the bytes, without the mark that Excel puts before UTF-8."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise BadFile(f"There is no file {path}. Check the path.") from error
    except IsADirectoryError as error:
        raise BadFile(f"{path} is a folder. Name a file in it.") from error
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}.") from error
    content = content.removeprefix(b"\xef\xbb\xbf")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadFile(f"{path} is UTF-16. Save it as UTF-8.")
    if not content.strip():
        raise BadFile(f"{path} is empty. Export it again, with its header line.")
    return content


# CSV


def _csv_records(path: Path, content: bytes) -> Iterator[_Record | Reject]:
    lines = [_decoded(line) for line in content.splitlines(keepends=True)]
    header, delimiter = _header(path, lines[0])
    position = 1
    while position < len(lines):
        if not lines[position].strip():
            position += 1
            continue
        record, used = _csv_record(lines, position, header, delimiter)
        position += used
        yield record


def _decoded(line: bytes) -> str:
    """Decode a line; bytes that are no UTF-8 stay visible as surrogates and are refused later."""
    return line.decode("utf-8", "surrogateescape")


def _header(path: Path, line: str) -> tuple[list[str], str]:
    delimiter = max(DELIMITERS, key=line.count)
    names = next(csv.reader([line], delimiter=delimiter), [])
    header = [_column(name) for name in names]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise BadFile(f"{path} has the column {', '.join(twice)} twice. Rename or remove one.")
    _require_columns(path, header)
    return header, delimiter


def _column(name: str) -> str:
    plain = name.strip().lower().replace(" ", "_")
    return ALIASES.get(plain, plain)


def _require_columns(path: Path, found: Iterable[str]) -> None:
    found = [name for name in found if name]
    missing = [name for name in REQUIRED if name not in found]
    if missing:
        shown = ", ".join(UNREADABLE.sub("?", name)[:LONGEST_SHOWN_VALUE] for name in found[:20])
        raise BadFile(
            f"{path} lacks the columns {', '.join(missing)}; found: {shown or 'none'}.",
            hint="The first line names the columns; id, platform, published_at, views are needed.",
        )


def _csv_record(
    lines: list[str], position: int, header: list[str], delimiter: str
) -> tuple[_Record | Reject, int]:
    """Parse the record that starts here and say how many lines it used; a bad one uses one."""
    window = islice(lines, position, position + LONGEST_RECORD_LINES)
    reader = csv.reader(window, delimiter=delimiter, strict=True)
    line = position + 1
    try:
        values = next(reader)
    except csv.Error:
        reason = 'a quote is not closed, or stands inside a value: write it twice ("")'
        if len(lines[position]) > csv.field_size_limit():
            reason = "the line is too long: shorten its texts"
        return _refused(line, "", lines[position].strip(), reason), 1
    if len(values) == len(header):
        return _Record(line, dict(zip(header, values, strict=True))), reader.line_num
    few_or_many = "few" if len(values) < len(header) else "many"
    reason = (
        f"too {few_or_many} columns: {len(values)} instead of {len(header)}; "
        f"quote a value that holds the separator"
    )
    return _refused(line, "", lines[position].strip(), reason), 1


def _refused(line: int, column: str, value: str, reason: str) -> Reject:
    return Reject(line, column, UNREADABLE.sub("?", value)[:LONGEST_SHOWN_VALUE], reason)


# JSON


def _json_records(path: Path, content: bytes) -> Iterator[_Record | Reject]:
    """Give the objects of one list; their line is their place in it."""
    try:
        listed = _parsed(content.decode())
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{path} is no JSON: {error}. Export it again.") from error
    if not isinstance(listed, list):
        raise BadFile(f"{path} holds no list. Write [{{...}}, {{...}}], one object a video.")
    records = [_json_record(entry, place) for place, entry in enumerate(listed, start=1)]
    found = {name for record in records if isinstance(record, _Record) for name in record.values}
    _require_columns(path, found)
    yield from records


def _json_lines(path: Path, content: bytes) -> Iterator[_Record | Reject]:
    records = [
        _json_line(_decoded(raw), place)
        for place, raw in enumerate(content.splitlines(), start=1)
        if raw.strip()
    ]
    found = {name for record in records if isinstance(record, _Record) for name in record.values}
    _require_columns(path, found)
    yield from records


def _json_line(text: str, place: int) -> _Record | Reject:
    try:
        entry = _parsed(text)
    except (ValueError, RecursionError):
        return _refused(place, "", text, "the line is no JSON: write one object a line")
    return _json_record(entry, place)


def _parsed(text: str) -> object:
    """Parse with numbers as text: one path checks the values of CSV and JSON."""
    parsed: object = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    return parsed


def _json_record(entry: object, place: int) -> _Record | Reject:
    if not isinstance(entry, dict):
        return _refused(place, "", str(entry), "not an object: write {...} for each video")
    values: dict[str, str] = {}
    for name, value in entry.items():
        column = _column(name)
        if value is None:
            values[column] = ""
        elif column == "tags" and isinstance(value, list):
            values[column] = "|".join(str(tag) for tag in value)
        elif isinstance(value, str):
            values[column] = value
        elif column in COLUMNS:
            return _refused(place, column, str(value), "write plain text or a number")
    return _Record(place, values)


# Values


def _with_tenant(record: _Record, path: Path, column: str) -> _Record:
    """Read the tenant from the column that the caller named; the usual one may be absent."""
    if column == "tenant":
        return record
    if column not in record.values:
        raise BadFile(
            f"{path} has no column {column!r}, which names the tenants.",
            hint=f"It has {', '.join(record.values)}.",
        )
    return _Record(record.line, {**record.values, "tenant": record.values[column]})


def _row(record: _Record, today: date) -> ResultRow:
    values = {
        column: _readable(column, value)
        for column, value in record.values.items()
        if column in COLUMNS
    }
    for column in REQUIRED:
        if not values.get(column):
            raise _BadValue(column, "", f"{column} is missing: write it or remove the row")
    platform, video_format = _platform(values["platform"])
    published_at = _published_at(values["published_at"], today)
    return ResultRow(
        external_id=values["id"],
        platform=platform,
        format=video_format,
        tenant=values.get("tenant") or None,
        concept_id=_concept_id(values.get("concept_id", "")),
        published_at=published_at,
        observed_on=_observed_on(values.get("observed_on", ""), published_at, today),
        category=(values.get("category") or "other").lower(),
        title=values.get("title", ""),
        tags=tuple(filter(None, map(str.strip, values.get("tags", "").split("|")))),
        duration_s=_count(values, "duration_s", most=LARGEST_DURATION_S),
        views=_count(values, "views") or 0,
        likes=_count(values, "likes"),
        comments=_count(values, "comments"),
        shares=_count(values, "shares"),
        followers=_count(values, "followers"),
        sound=values.get("sound") or None,
        hook_type=values.get("hook_type") or None,
        line=record.line,
    )


def _readable(column: str, value: str) -> str:
    """Give the text without outer blanks, unless PostgreSQL could not store it."""
    if "\x00" in value:
        raise _BadValue(column, value, "holds a NUL character: remove it")
    if UNREADABLE.search(value):
        raise _BadValue(column, value, "is not UTF-8 text: save the file as UTF-8")
    text = value.strip()
    longest = LONGEST.get(column)
    if longest is not None and len(text) > longest:
        raise _BadValue(column, text, f"has {len(text)} characters: at most {longest} are kept")
    return text


def _platform(value: str) -> tuple[str, str | None]:
    known = PLATFORMS.get(value.lower().replace("_", "-").replace(" ", "-"))
    if known is None:
        raise _BadValue("platform", value, "is no known platform: tiktok, youtube or instagram")
    return known


def _published_at(value: str, today: date) -> datetime:
    """Read a moment; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        reason = "is no date: write 2026-01-31T18:30:00Z"
        raise _BadValue("published_at", value, reason) from error
    if moment.year < FIRST_YEAR:
        raise _BadValue("published_at", value, f"is before {FIRST_YEAR}: check the year")
    if moment.date() > today:
        raise _BadValue("published_at", value, "is in the future: import it once it is published")
    return moment


def _observed_on(value: str, published_at: datetime, today: date) -> date:
    if not value:
        return today
    try:
        # Exports write a moment or a day.
        day = datetime.fromisoformat(value).date()
    except ValueError as error:
        reason = "is no date: write 2026-01-31, the day on which the counts were read"
        raise _BadValue("observed_on", value, reason) from error
    if day > today:
        raise _BadValue("observed_on", value, "is in the future: write the day of the counts")
    if day < published_at.date():
        raise _BadValue("observed_on", value, "is before published_at: check both dates")
    return day


def _concept_id(value: str) -> UUID | None:
    if not value:
        return None
    try:
        return UUID(value)
    except ValueError as error:
        reason = "is no UUID: copy the id of the concept, or leave it empty"
        raise _BadValue("concept_id", value, reason) from error


def _count(values: Mapping[str, str], column: str, *, most: int = LARGEST_COUNT) -> int | None:
    value = values.get(column, "")
    if not value:
        return None
    match = COUNT.fullmatch(value)
    if match is None:
        raise _BadValue(column, value, _why_no_count(value))
    # Python refuses to convert thousands of digits; the number of digits decides before that.
    digits = match[1].lstrip("0") or "0"
    if len(digits) > len(str(most)) or int(digits) > most:
        raise _BadValue(column, value, f"is larger than {most}: check the number")
    return int(digits)


def _why_no_count(value: str) -> str:
    if value.startswith("-") and COUNT.fullmatch(value[1:]):
        return "is negative: a count is 0 or more; leave it empty if it is not known"
    if FRACTION.fullmatch(value):
        return "is a fraction: write a whole number"
    if SEPARATED.fullmatch(value):
        return "has separators: write 1234567, not 1,234,567"
    if SHORTENED.fullmatch(value):
        return "is shortened: write all digits, 1200000 and not 1.2M"
    return "is no number: write digits, or leave it empty if it is not known"


def _refuse_twin(row: ResultRow, seen: dict[tuple[str, str, date], int]) -> None:
    """Refuse a second observation of a video on one day."""
    first = seen.setdefault((row.platform, row.external_id, row.observed_on), row.line)
    if first != row.line:
        reason = f"is in line {first} already for that platform and day: keep one of them"
        raise _BadValue("id", row.external_id, reason)
