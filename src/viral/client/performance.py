"""/api/v1/performance: results of published videos.

Written by `make docs`; do not edit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import msgspec

from viral.client.calls import Calls, read


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


class Performance(Calls):
    """Results of published videos."""

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
