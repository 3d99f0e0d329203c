"""How good predictions were: error, order, coverage, and each by the tenant's age."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from statistics import fmean
from typing import TYPE_CHECKING

from viral.learner.candidates import pair_accuracy, regret

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from viral.learner.candidates import CandidateSet
    from viral.learner.contenders import Forecast

# A tenant's age in earlier videos, by the first age that is too old.
AGES = (("n0", 1), ("n1_4", 5), ("n5_19", 20))
OLDEST = "n20"


@dataclass(frozen=True, slots=True)
class Scored:
    """What was predicted of one video before it was published, and what came."""

    id: str
    actual: float
    forecast: Forecast
    earlier_videos: int

    @property
    def error(self) -> float:
        return abs(self.forecast.score - self.actual)


@dataclass(frozen=True, slots=True)
class Measures:
    """One learner's figures on one target; None where there is nothing to measure."""

    mae: float
    spearman: float | None
    pair_accuracy: float | None
    regret5: float | None
    coverage: float | None
    width: float | None
    mae_by_age: dict[str, float]


def measure(scored: Sequence[Scored], sets: Sequence[CandidateSet]) -> Measures:
    """Measure at least one scored video."""
    intervals = [
        (one.forecast.interval, one.actual) for one in scored if one.forecast.interval is not None
    ]
    return Measures(
        mae=fmean(one.error for one in scored),
        spearman=spearman([(one.forecast.score, one.actual) for one in scored]),
        pair_accuracy=pair_accuracy(sets),
        regret5=regret(sets),
        coverage=_mean(low <= actual <= high for (low, high), actual in intervals),
        width=_mean(high - low for (low, high), _ in intervals),
        mae_by_age=_mae_by_age(scored),
    )


def spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Correlate the ranks; None where one side is constant."""
    first = _centred_ranks([pair[0] for pair in pairs])
    second = _centred_ranks([pair[1] for pair in pairs])
    spread = sum(rank**2 for rank in first) * sum(rank**2 for rank in second)
    if spread == 0:
        return None
    return float(sum(a * b for a, b in zip(first, second, strict=True)) / spread**0.5)


def _centred_ranks(values: Sequence[float]) -> list[float]:
    """Rank about zero; equal values share the mean of their ranks."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    for _, run in groupby(order, key=values.__getitem__):
        positions = list(run)
        shared = start + (len(positions) - len(values)) / 2
        for position in positions:
            ranks[position] = shared
        start += len(positions)
    return ranks


def _mae_by_age(scored: Sequence[Scored]) -> dict[str, float]:
    errors: dict[str, list[float]] = {}
    for one in scored:
        errors.setdefault(_age(one.earlier_videos), []).append(one.error)
    ages = [*(age for age, _ in AGES), OLDEST]
    return {age: fmean(errors[age]) for age in ages if age in errors}


def _age(earlier_videos: int) -> str:
    return next((age for age, too_old in AGES if earlier_videos < too_old), OLDEST)


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return fmean(listed) if listed else None
