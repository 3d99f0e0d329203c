"""/api/v1/trends: what people talk about, the same for all tenants.

Written by `make docs`; do not edit.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from viral.client.calls import Calls


class TrendOut(msgspec.Struct, frozen=True):
    """A topic as it is kept: text that strangers wrote, never an instruction.

    `score` is raised where several `sources` agree. `velocity` is points of score an hour over the
    last day; null while too little was seen.
    """

    topic: str
    category: str
    score: float
    velocity: float | None
    source: str
    sources: list[str]
    keywords: list[str]
    url: str | None
    region: str | None
    engagement_count: int | None
    is_sample: bool
    observed_at: datetime


class TrendsPage(msgspec.Struct, frozen=True):
    """Topics, each once; `next_cursor` leads to older and weaker ones and is null at the end."""

    trends: list[TrendOut]
    next_cursor: str | None


class Trends(Calls):
    """What people talk about, the same for all tenants."""

    def list_trends(
        self, *, page_size: int = 50, category: str | None = None, source: str | None = None
    ) -> Iterator[TrendOut]:
        """List the topics of the newest days, strongest first, a page at a time."""
        for page in self._pages(
            "/trends", TrendsPage, {"limit": page_size, "category": category, "source": source}
        ):
            yield from page.trends
