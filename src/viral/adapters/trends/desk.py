"""What the readers of all sources share: keys, conditional requests, refusals, cleaned rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from viral.errors import VendorRefused
from viral.features.trends import TrendRow
from viral.features.trends.fetching import Reading
from viral.features.trends.topics import LONGEST_FOUND, clean_text, clean_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import SecretStr

    from viral.adapters.outgoing import Answer, Outgoing
    from viral.features.trends.fetching import Asked
    from viral.features.trends.kinds import Kind

OK, NOT_MODIFIED = 200, 304
TOO_MANY_REQUESTS = 429
LARGEST_ANSWER = 2_000_000
LONGEST_VALIDATOR = 500
LONGEST_URL = 2000
_LONGEST_ID = 300
_LONGEST_KEYWORD = 60
_MOST_KEYWORDS = 20
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_Shape = TypeVar("_Shape")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendKeys:
    """The operator's keys; None switches the kind of source off."""

    youtube_api_key: SecretStr | None = None
    reddit_client_id: str | None = None
    reddit_client_secret: SecretStr | None = None
    gnews_api_key: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class Desk:
    """What a reader works with: the client, the keys, and what the kind of source allows."""

    outgoing: Outgoing
    keys: TrendKeys
    kind: Kind


def same_origin_only(asked: Asked, kind: Kind) -> None:
    """Refuse to send a key elsewhere than to the kind's own host, whatever stands in the table."""
    base = kind.url.partition("/{")[0].partition("?")[0]
    scheme, _, rest = base.partition("://")
    origin = f"{scheme}://{rest.partition('/')[0]}/"
    if not asked.url.startswith(origin):
        raise VendorRefused(
            f"The source {asked.name} would send its key to another host than {kind.name}'s.",
            hint=f"viral trends sources remove {asked.name}, and add it again.",
        )


def missing_key(kind: Kind) -> Reading:
    """Say which settings are missing; nothing was sent."""
    return Reading(
        refusal=f"{' and '.join(kind.needs)} must be set: {kind.name} answers with a key only."
    )


async def ask(
    asked: Asked,
    desk: Desk,
    *,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Ask for a source's address, only for what changed since the last time."""
    conditions = {"if-none-match": asked.etag, "if-modified-since": asked.last_modified}
    sent = {name: value for name, value in conditions.items() if value}
    return await desk.outgoing.request(
        "GET",
        asked.url,
        params=params,
        headers={**sent, **(headers or {})},
        max_bytes=LARGEST_ANSWER,
    )


def not_taken(answer: Answer, asked: Asked, kind: Kind) -> Reading | None:
    """Read an answer that holds no trends: nothing new, or a refusal; None for one that does."""
    if answer.status == OK:
        return None
    if answer.status == NOT_MODIFIED:
        return Reading()
    reason = {401: "its key is not accepted", 403: "it does not allow that", 404: "nothing there"}
    words = reason.get(answer.status, "it has a fault of its own")
    if answer.status == TOO_MANY_REQUESTS:
        words = "it gets too many requests"
    return Reading(
        refusal=f"{kind.name} answers with status {answer.status}: {words}.",
        wait_s=asked_wait_s(answer, at=asked.at),
    )


def taken(
    answer: Answer, rows: Iterable[TrendRow | None], kind: Kind, *, etag: str | None = None
) -> Reading:
    """Give the usable rows of an answer, and what to ask with the next time."""
    found = list(rows)[: kind.most_items]
    usable = tuple(row for row in found if row is not None)
    if found and not usable:
        return Reading(refusal=f"{kind.name} answers with {len(found)} entries, none usable.")
    headers = answer.headers
    return Reading(
        rows=usable,
        left_out=len(found) - len(usable),
        etag=_validator(etag or headers.get("etag")),
        last_modified=_validator(headers.get("last-modified")),
    )


def row_of(
    *,
    topic: object,
    score: float,
    external_id: str,
    category: str | None = None,
    keywords: Iterable[object] = (),
    url: object = None,
    engagement_count: int | None = None,
) -> TrendRow | None:
    """Make a row of what strangers wrote; None where no topic is left of it.

    Its source is named, and its category judged, by whoever stores it.
    """
    cleaned = clean_text(topic, limit=LONGEST_FOUND)
    if not any(each.isalnum() for each in cleaned):
        return None
    words = (clean_text(each, limit=_LONGEST_KEYWORD).lower() for each in keywords)
    return TrendRow(
        topic=cleaned,
        category=category or "",
        score=score,
        source="",
        external_id=_short_id(external_id or cleaned.casefold()),
        keywords=tuple(dict.fromkeys(word for word in words if word))[:_MOST_KEYWORDS],
        url=clean_url(url, limit=LONGEST_URL),
        engagement_count=engagement_count,
    )


def decoded(answer: Answer, shape: type[_Shape], kind: Kind) -> _Shape:
    """Read a JSON answer; VendorRefused when it has another shape."""
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except _UNREADABLE:
        raise VendorRefused(f"{kind.name} answers with something else than its list.") from None


def items_of(items: Iterable[msgspec.Raw], shape: type[_Shape]) -> list[_Shape | None]:
    """Read the entries of a list one by one; None for each that has another shape."""
    found: list[_Shape | None] = []
    for item in items:
        try:
            found.append(msgspec.json.decode(item, type=shape))
        except _UNREADABLE:
            found.append(None)
    return found


def asked_wait_s(answer: Answer, *, at: datetime) -> float:
    """Read how long a server wants to be left alone: Retry-After (RFC 9110, 10.2.3), or 0."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        # Longer numbers than these are no waits, and too long for a float at some point.
        return float(text[:10])
    try:
        return max(0.0, (parsedate_to_datetime(text) - at).total_seconds())
    except (OverflowError, TypeError, ValueError):
        return 0.0


def until_reset_s(kind: Kind, *, at: datetime) -> float:
    """Return the seconds until a daily quota begins anew: midnight where the vendor counts."""
    local = at.astimezone(ZoneInfo(kind.resets_in or "UTC"))
    midnight = (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight.astimezone(UTC) - at).total_seconds()


def hours_since(moment: datetime | None, *, at: datetime) -> float:
    """Return the age in hours, from 0 on; what has no moment, or one to come, has no age."""
    if moment is None:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (at - moment).total_seconds() / 3600)


def _validator(text: str | None) -> str | None:
    """Keep what is sent back as a header, if it is short and plain."""
    is_plain = text is not None and text.isascii() and text.isprintable()
    return text if is_plain and text and len(text) <= LONGEST_VALIDATOR else None


def _short_id(text: str) -> str:
    cleaned = clean_text(text, limit=LONGEST_URL)
    is_whole = len(cleaned) <= _LONGEST_ID
    return cleaned if is_whole else sha256(text.encode("utf-8", "replace")).hexdigest()
