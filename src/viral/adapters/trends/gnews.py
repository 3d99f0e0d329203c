"""GNews v4, top headlines of one topic: a list without figures, newest first."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads annotations at run time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

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
from viral.features.trends.categories import category_named
from viral.features.trends.fetching import Asked, Reading
from viral.features.trends.scores import ranked_score

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.features.trends import TrendRow

FORBIDDEN = 403
# The widest sections say nothing of an article.
_WIDE = frozenset({"general", "world", "nation"})


class _Publisher(msgspec.Struct, frozen=True):
    name: str = ""


class _Article(msgspec.Struct, frozen=True, rename="camel"):
    title: str
    url: str
    published_at: datetime | None = None
    source: _Publisher = _Publisher()


class _Articles(msgspec.Struct, frozen=True):
    articles: list[msgspec.Raw]


async def read(asked: Asked, desk: Desk) -> Reading:
    """Read one list of headlines: a call of the day's quota. The score is by place and age."""
    if desk.keys.gnews_api_key is None:
        return missing_key(desk.kind)
    same_origin_only(asked, desk.kind)
    answer = await ask(
        asked,
        desk,
        params={"max": str(desk.kind.most_items)},
        headers={"x-api-key": desk.keys.gnews_api_key.get_secret_value()},
    )
    refusal = not_taken(answer, asked, desk.kind)
    if answer.status == FORBIDDEN:
        return Reading(
            refusal="gnews: the calls of this day are used.",
            wait_s=until_reset_s(desk.kind, at=asked.at),
        )
    if refusal is not None:
        return refusal
    articles = items_of(decoded(answer, _Articles, desk.kind).articles, _Article)
    return taken(answer, _rows(articles, asked), desk.kind)


def _rows(articles: list[_Article | None], asked: Asked) -> Iterator[TrendRow | None]:
    section = parse_qs(urlsplit(asked.url).query).get("category", [""])[0]
    category = None if section in _WIDE else category_named(section)
    for place, article in enumerate(articles):
        if article is None:
            yield None
            continue
        age_h = hours_since(article.published_at, at=asked.at)
        yield row_of(
            # The publisher's name would make another topic of the same words.
            topic=article.title.removesuffix(f" - {article.source.name}"),
            score=ranked_score(place, len(articles), age_h=age_h),
            external_id=article.url,
            category=category,
            url=article.url,
        )
