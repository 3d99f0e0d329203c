"""Past videos in the order in which a learner lives through them, with their outcomes as scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from viral.learner.candidates import candidate_sets
from viral.learner.quantiles import fit_quantiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viral.learner.video import Video

Target = Literal["eng", "reach"]
TARGETS: tuple[Target, ...] = get_args(Target)

WARM_UP_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class PastVideo:
    """A published video with its counts; where likes are not known there is no rate."""

    id: str
    video: Video
    views: int
    engagement_rate: float | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One video on one target; warm-up and earlier videos are lived through, not scored."""

    id: str
    video: Video
    outcome: float
    is_scored: bool

    @property
    def day(self) -> int:
        return self.video.published_at.toordinal()


@dataclass(frozen=True, slots=True)
class History:
    """All entries by time of publication, and the candidate sets by their first one's position."""

    target: Target
    entries: tuple[Entry, ...]
    sets: dict[int, tuple[int, ...]]


def build_history(
    target: Target, rows: Sequence[PastVideo], earlier: Sequence[PastVideo] = ()
) -> History:
    """Order the videos and score outcomes by the table of the earlier ones, if there are any."""
    lived = _measured(target, earlier)
    asked = _measured(target, rows)
    if not asked:
        return History(target, (), {})
    table = fit_quantiles(
        [value for _, value in lived or asked], scale="log" if target == "reach" else "linear"
    )
    # The sort is stable: videos of one moment keep the order of the file.
    marked = [(pair, False) for pair in lived] + [(pair, True) for pair in asked]
    marked.sort(key=lambda entry: entry[0][0].video.published_at)
    warm_up = 0 if lived else int(len(marked) * WARM_UP_SHARE)
    entries = tuple(
        Entry(row.id, row.video, table.score(value), is_asked and position >= warm_up)
        for position, ((row, value), is_asked) in enumerate(marked)
    )
    sets = candidate_sets([entry.video for entry in entries])
    return History(
        target, entries, {first: run for first, run in sets.items() if entries[first].is_scored}
    )


def _measured(target: Target, rows: Sequence[PastVideo]) -> list[tuple[PastVideo, float]]:
    if target == "reach":
        return [(row, float(row.views)) for row in rows]
    return [(row, row.engagement_rate) for row in rows if row.engagement_rate is not None]
