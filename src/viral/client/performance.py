"""/api/v1/performance: results of published videos.

Written by `make docs`; do not edit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal
from uuid import UUID

import msgspec

from viral.client.calls import Calls, read


class ResultOut(msgspec.Struct, frozen=True):
    """The counts of one video, as they were read on one day.

    The scores are null until the learner took it in; `engagement_rate` is a share of the views.
    """

    id: UUID
    video: str
    platform: str
    concept_id: UUID
    variant_id: UUID | None
    title: str
    category: str
    published_at: datetime
    observed_on: str
    reported_at: datetime
    source: str
    views: int
    likes: int | None
    comments: int | None
    shares: int | None
    followers: int | None
    engagement_rate: float
    engagement_score: float | None
    reach_score: float | None


class ResultsPage(msgspec.Struct, frozen=True):
    """Results, those that came in last first; `next_cursor` leads on and is null at the end."""

    results: list[ResultOut]
    next_cursor: str | None


class RowLeftOut(msgspec.Struct, frozen=True):
    """A row that cannot be used, where, and what to do about it."""

    line: int
    column: str
    value: str
    reason: str


class ResultsStored(msgspec.Struct, frozen=True):
    """What became of the rows; learning from those that are stored is asked for.

    Early ones were read within two days of publication: the learner waits for a later reading.
    """

    stored: int
    known: int
    early: int
    rejects: list[RowLeftOut]


class ResultIn(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one video by one day; what is left out is not known, never zero."""

    id: str
    platform: str
    published_at: str
    views: int
    observed_on: str | None = None
    concept_id: UUID | None = None
    category: str | None = None
    title: str | None = None
    tags: list[str] = []
    duration_s: int | None = None
    likes: int | None = None
    comments: int | None = None
    shares: int | None = None
    followers: int | None = None
    sound: str | None = None
    hook_type: str | None = None


class WeekOfPosts(msgspec.Struct, frozen=True):
    """Posts of one week (its Monday, UTC) and one platform or category.

    `views` is the median, `score` the mean of those that were learnt from (0..100).
    """

    grouping: Literal["platform", "category"]
    name: str
    monday: str
    posts: int
    views: float
    score: float | None


class Performance(Calls):
    """Results of published videos."""

    def list_results(
        self,
        *,
        page_size: int = 50,
        platform: Literal["tiktok", "youtube", "instagram"] | None = None,
        concept_id: UUID | None = None,
    ) -> Iterator[ResultOut]:
        """List results, those that came in last first, a page at a time."""
        for page in self._pages(
            "/performance",
            ResultsPage,
            {"limit": page_size, "platform": platform, "concept_id": concept_id},
        ):
            yield from page.results

    def add_results(
        self, items: Sequence[ResultIn], *, idempotency_key: str | None = None
    ) -> ResultsStored:
        """Store results; a video whose counts of that day are known is left as it is.

        Rows with values that cannot be used are listed by their place, the others are stored.
        """
        return read(
            self._ask("POST", "/performance", idempotency_key=idempotency_key, body=items),
            ResultsStored,
        )

    def list_weeks(
        self,
        *,
        weeks: int = 12,
        platform: Literal["tiktok", "youtube", "instagram"] | None = None,
        category: str | None = None,
    ) -> list[WeekOfPosts]:
        """List what posts reached from week to week, by platform and by category."""
        return read(
            self._ask(
                "GET",
                "/performance/weeks",
                query={"weeks": weeks, "platform": platform, "category": category},
            ),
            list[WeekOfPosts],
        )

    def import_results(self, file: Path, *, idempotency_key: str | None = None) -> ResultsStored:
        """Store the results of a file of up to 50 MB.

        The columns are those of the list of results.
        """
        return read(
            self._ask(
                "POST",
                "/performance/imports",
                idempotency_key=idempotency_key,
                files={"file": (file.name, file.read_bytes())},
            ),
            ResultsStored,
        )
