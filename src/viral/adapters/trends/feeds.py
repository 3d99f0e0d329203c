"""RSS and Atom: the daily list of Google Trends, and any feed that an operator names."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from viral.adapters.trends.desk import Desk, ask, hours_since, not_taken, row_of, taken
from viral.features.trends.categories import category_named
from viral.features.trends.feeds import FeedEntry, feed_entries
from viral.features.trends.fetching import Asked, Reading
from viral.features.trends.scores import measured_score, ranked_score

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.adapters.outgoing import Answer
    from viral.features.trends import TrendRow

# "50K+", "2M+", "1,000+".
_TRAFFIC = re.compile(r"([0-9][0-9,.]{0,12})\s*([KM]?)\+?", re.ASCII | re.IGNORECASE)
_TIMES = {"": 1, "K": 1_000, "M": 1_000_000}


async def read_feed(asked: Asked, desk: Desk) -> Reading:
    """Read a feed: scored by its searches where the list tells them, else by place and age."""
    answer = await ask(asked, desk)
    return not_taken(answer, asked, desk.kind) or await _read(answer, asked, desk)


async def _read(answer: Answer, asked: Asked, desk: Desk) -> Reading:
    # A thread: a feed of two million bytes keeps the parser busy for seconds.
    entries = await asyncio.to_thread(feed_entries, answer.body, name=asked.name)
    if not entries:
        return Reading(refusal=f"{asked.name} answers with no feed, or with an empty one.")
    return taken(answer, _rows(entries[: desk.kind.most_items], asked, desk), desk.kind)


def _rows(entries: list[FeedEntry], asked: Asked, desk: Desk) -> Iterator[TrendRow | None]:
    for place, entry in enumerate(entries):
        searches = searches_of(entry.traffic) if desk.kind.full else None
        age_h = hours_since(entry.published, at=asked.at)
        categories = (category_named(tag) for tag in entry.tags)
        yield row_of(
            # The publisher's name would make another topic of the same words.
            topic=entry.title.removesuffix(f" - {entry.publisher}"),
            score=ranked_score(place, len(entries), age_h=age_h)
            if searches is None
            else measured_score(searches, full=desk.kind.full),
            # Every search of Google's list has the list's address; the words are its name.
            external_id=entry.title.casefold() if desk.kind.full else entry.id,
            category=next((each for each in categories if each), None),
            keywords=entry.tags,
            url=entry.url,
            engagement_count=searches,
        )


def searches_of(text: str) -> int | None:
    """Read a rounded number of searches, such as "50K+"; None for anything else."""
    found = _TRAFFIC.fullmatch(text.strip())
    if found is None:
        return None
    try:
        return round(float(found[1].replace(",", "")) * _TIMES[found[2].upper()])
    except ValueError:
        return None
