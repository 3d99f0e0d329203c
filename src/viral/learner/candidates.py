"""Which of five videos would have been the best pick: a tenant's candidates scored at once.

Figures inside a tenant need one state for all five. Running predictions have seen the others'
outcomes, and a running mean then ranks worse than chance.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viral.learner.video import Video

SET_SIZE = 5
# Closer outcomes than this are no difference worth ranking.
LEAST_DIFFERENCE = 5.0


@dataclass(frozen=True, slots=True)
class CandidateSet:
    """What five candidates turned out to be, beside the rank and the score of a learner."""

    outcomes: tuple[float, ...]
    ranks: tuple[float, ...]
    ids: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()


def candidate_sets(videos: Sequence[Video]) -> dict[int, tuple[int, ...]]:
    """Cut each tenant's months into runs of five: the first one's position to all positions."""
    months: defaultdict[tuple[str, int, int], list[int]] = defaultdict(list)
    for position, video in enumerate(videos):
        published = video.published_at
        months[video.tenant, published.year, published.month].append(position)
    runs = (
        tuple(positions[start : start + SET_SIZE])
        for positions in months.values()
        for start in range(0, len(positions), SET_SIZE)
    )
    return {run[0]: run for run in runs if len(run) == SET_SIZE}


def pair_accuracy(sets: Sequence[CandidateSet]) -> float | None:
    """Give the share of pairs in the right order; equal ranks count half."""
    points = [
        _pair_points(one, other)
        for candidates in sets
        for one, other in combinations(zip(candidates.outcomes, candidates.ranks, strict=True), 2)
        if abs(one[0] - other[0]) >= LEAST_DIFFERENCE
    ]
    return fmean(points) if points else None


def regret(sets: Sequence[CandidateSet]) -> float | None:
    """Give the points lost by the top-ranked candidate against the best; ties are averaged."""
    lost = [max(candidates.outcomes) - _picked(candidates) for candidates in sets]
    return fmean(lost) if lost else None


def random_regret(sets: Sequence[CandidateSet]) -> float | None:
    """Give the points lost by picking blindly."""
    lost = [max(candidates.outcomes) - fmean(candidates.outcomes) for candidates in sets]
    return fmean(lost) if lost else None


def _pair_points(one: tuple[float, float], other: tuple[float, float]) -> float:
    if one[1] == other[1]:
        return 0.5
    return float((one[0] > other[0]) == (one[1] > other[1]))


def _picked(candidates: CandidateSet) -> float:
    best = max(candidates.ranks)
    pairs = zip(candidates.outcomes, candidates.ranks, strict=True)
    return fmean(outcome for outcome, rank in pairs if rank == best)
