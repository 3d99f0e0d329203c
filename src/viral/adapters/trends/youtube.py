"""YouTube Data API v3, videos.list chart=mostPopular: what is watched in one country."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads annotations at run time
from typing import TYPE_CHECKING

import msgspec

from viral.adapters.trends.desk import (
    Desk,
    ask,
    decoded,
    hours_since,
    items_of,
    missing_key,
    not_taken,
    row_of,
    same_origin_only,
    taken,
    until_reset_s,
)
from viral.features.trends.fetching import Asked, Reading
from viral.features.trends.scores import measured_score

if TYPE_CHECKING:
    from viral.adapters.outgoing import Answer
    from viral.features.trends import TrendRow

FORBIDDEN = 403
# Names of YouTube's own category numbers that are categories of ours.
CATEGORIES = {
    "1": "cartoon",
    "2": "luxury",
    "10": "music",
    "17": "fitness",
    "20": "gaming",
    "23": "absurd",
    "25": "news",
    "28": "tech",
}
_QUOTA = frozenset({"quotaExceeded", "dailyLimitExceeded"})


class _Snippet(msgspec.Struct, frozen=True, rename="camel"):
    title: str
    published_at: datetime | None = None
    category_id: str = ""
    tags: list[str] = []


class _Statistics(msgspec.Struct, frozen=True, rename="camel"):
    # A string of digits; left out where the channel hides it.
    view_count: str = ""


class _Video(msgspec.Struct, frozen=True):
    id: str
    snippet: _Snippet
    statistics: _Statistics = _Statistics()


class _Videos(msgspec.Struct, frozen=True):
    items: list[msgspec.Raw]
    etag: str = ""


class _Reason(msgspec.Struct, frozen=True):
    reason: str = ""


class _Fault(msgspec.Struct, frozen=True):
    errors: list[_Reason] = []


class _Refusal(msgspec.Struct, frozen=True):
    error: _Fault


async def read(asked: Asked, desk: Desk) -> Reading:
    """Read one chart: a call of 1 unit. The score is of the views an hour since publication."""
    if desk.keys.youtube_api_key is None:
        return missing_key(desk.kind)
    same_origin_only(asked, desk.kind)
    answer = await ask(
        asked,
        desk,
        params={"part": "snippet,statistics", "maxResults": str(desk.kind.most_items)},
        # Not in the address: that is what logs and errors like to show.
        headers={"x-goog-api-key": desk.keys.youtube_api_key.get_secret_value()},
    )
    refusal = not_taken(answer, asked, desk.kind)
    if refusal is not None:
        return _of_quota(answer, asked, desk) or refusal
    videos = decoded(answer, _Videos, desk.kind)
    rows = (
        None if each is None else _row(each, asked, desk) for each in items_of(videos.items, _Video)
    )
    return taken(answer, rows, desk.kind, etag=videos.etag)


def _row(video: _Video, asked: Asked, desk: Desk) -> TrendRow | None:
    snippet, count = video.snippet, video.statistics.view_count
    views = int(count[:15]) if count.isascii() and count.isdigit() else 0
    age_h = max(1.0, hours_since(snippet.published_at, at=asked.at))
    return row_of(
        topic=snippet.title,
        score=measured_score(views / age_h, full=desk.kind.full),
        external_id=video.id,
        category=CATEGORIES.get(snippet.category_id),
        keywords=snippet.tags,
        url=f"https://www.youtube.com/watch?v={video.id}",
        engagement_count=views,
    )


def _of_quota(answer: Answer, asked: Asked, desk: Desk) -> Reading | None:
    """Read a refusal for the day: all that the project had is used."""
    if answer.status != FORBIDDEN:
        return None
    try:
        fault = msgspec.json.decode(answer.body, type=_Refusal).error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if not _QUOTA & {each.reason for each in fault.errors}:
        return None
    return Reading(
        refusal="youtube: the project's units of this day are used.",
        wait_s=until_reset_s(desk.kind, at=asked.at),
    )
