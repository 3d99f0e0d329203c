"""When to post: at the hour that does best, or at the usual one where none is known to."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from viral.features.generations.leanings import HOURS_A_BIN, LEAST_GAIN, Hours
from viral.features.scoring.labels import points
from viral.learner.picking import FLOOR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from viral.features.generations.drafts import Draft

SOONEST = timedelta(hours=1)
LATEST = timedelta(days=7)


def timed(drafts: Sequence[Draft], hours: Hours, *, now: datetime) -> list[tuple[datetime, str]]:
    """Give each draft its moment to post, UTC, and the reason in a sentence.

    One of eight keeps its writer's hour, the usual one of its category: hours that nobody posts
    at are never known better.
    """
    return [
        _usual(draft, hours, keeps=number % FLOOR == FLOOR - 1)
        or (_on_best(draft.post_at, hours, now=now), _reason(hours))
        for number, draft in enumerate(drafts)
    ]


def _usual(draft: Draft, hours: Hours, *, keeps: bool) -> tuple[datetime, str] | None:
    """Stay at the writer's hour where that is as good as the best, or to learn of it."""
    moment = draft.post_at.astimezone(UTC)
    gain = hours.points[hours.best] - hours.points[moment.hour // HOURS_A_BIN]
    if gain >= LEAST_GAIN and not keeps:
        return None
    why = (
        "to learn whether another hour does better"
        if gain >= LEAST_GAIN
        else "and nothing is known of a better one"
    )
    return moment, f"Post at {moment:%H:%M} UTC: a usual hour for {draft.category}, {why}."


def _on_best(planned: datetime, hours: Hours, *, now: datetime) -> datetime:
    """Move a moment to the middle of the best three hours, on its day if that is ahead."""
    moment = planned.astimezone(UTC).replace(hour=HOURS_A_BIN * hours.best + 1)
    while moment < now + SOONEST:
        moment += timedelta(days=1)
    while moment > now + LATEST:
        moment -= timedelta(days=1)
    return moment


def _reason(hours: Hours) -> str:
    first = HOURS_A_BIN * hours.best
    videos = hours.videos[hours.best]
    yours = f"by {videos} of your videos" if videos else "by what others' videos showed"
    return (
        f"Post from {first:02}:00 to {first + HOURS_A_BIN:02}:00 UTC:"
        f" {points(hours.points[hours.best])} points {yours}."
    )
