"""/api/v1/experiments: ways to open a video, compared across posts.

Written by `make docs`; do not edit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from viral.client.calls import Calls, read


class ExperimentArm(msgspec.Struct, frozen=True):
    """One way to open a video: every concept told as this arm has a hook of this type."""

    label: str
    hook_type: str


class ExperimentOut(msgspec.Struct, frozen=True):
    """An experiment; the winner is the letter of an arm."""

    id: UUID
    name: str
    platform: str
    arms: list[ExperimentArm]
    alpha: float
    most_posts: int
    status: str
    winner: str | None
    created_at: datetime
    decided_at: datetime | None


class ExperimentsPage(msgspec.Struct, frozen=True):
    """Experiments, newest first; `next_cursor` leads to older ones and is null at the end."""

    experiments: list[ExperimentOut]
    next_cursor: str | None


class ArmState(msgspec.Struct, frozen=True, omit_defaults=True):
    """An arm's mean against what was predicted, with an interval that holds at every look.

    Without posts the interval is not known.
    """

    label: str
    posts: int
    mean: float
    low: float | None = None
    high: float | None = None


class ExperimentsSequentialComparison(msgspec.Struct, frozen=True):
    """By how much one arm is better than another, with an interval that holds at every look."""

    better: str
    worse: str
    difference: float
    low: float
    high: float


class OutlookOut(msgspec.Struct, frozen=True):
    """How an experiment stands, in points above or below the forecast.

    `concepts` take part, `posts` of them have a result. The intervals hold at every look.
    """

    experiment: ExperimentOut
    concepts: int
    posts: int
    arms: list[ArmState]
    comparisons: list[ExperimentsSequentialComparison]


class Experiments(Calls):
    """Ways to open a video, compared across posts."""

    def list_experiments(self, *, page_size: int = 50) -> Iterator[ExperimentOut]:
        """List experiments, the newest first, a page at a time."""
        for page in self._pages("/experiments", ExperimentsPage, {"limit": page_size}):
            yield from page.experiments

    def start_experiment(
        self,
        *,
        name: str,
        platform: Literal["tiktok", "youtube", "instagram"],
        hook_types: Sequence[str] | None = None,
        arms: int = 2,
        alpha: float = 0.05,
        most_posts: int = 200,
        idempotency_key: str | None = None,
    ) -> ExperimentOut:
        """Begin an experiment; each concept generated from here on is told as one of its arms."""
        return read(
            self._ask(
                "POST",
                "/experiments",
                idempotency_key=idempotency_key,
                body={
                    "name": name,
                    "platform": platform,
                    "hook_types": hook_types,
                    "arms": arms,
                    "alpha": alpha,
                    "most_posts": most_posts,
                },
            ),
            ExperimentOut,
        )

    def get_experiment(self, experiment_id: UUID) -> OutlookOut:
        """Show how an experiment stands; one whose posts decide it ends here."""
        return read(self._ask("GET", f"/experiments/{experiment_id}"), OutlookOut)

    def stop_experiment(
        self, experiment_id: UUID, *, idempotency_key: str | None = None
    ) -> OutlookOut:
        """End an experiment by hand; what its posts taught the learner stays."""
        return read(
            self._ask(
                "POST", f"/experiments/{experiment_id}/stop", idempotency_key=idempotency_key
            ),
            OutlookOut,
        )
