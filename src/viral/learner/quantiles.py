"""Scores an outcome 0..100 by its rank in a table of 41 quantiles."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from math import log1p
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Scale = Literal["log", "linear"]

STEPS = 40
POINTS_A_STEP = 100 / STEPS


@dataclass(frozen=True, slots=True)
class QuantileTable:
    """Values at 0, 2.5 .. 100 %; between them linear in log(1 + x) for views, in x for rates."""

    knots: tuple[float, ...]
    scale: Scale

    def score(self, value: float) -> float:
        """Give the rank; a value that spans several knots gets the middle of them."""
        first = bisect_left(self.knots, value)
        after = bisect_right(self.knots, value)
        if first < after:
            return POINTS_A_STEP * (first + after - 1) / 2
        if first == 0:
            return 0.0
        if first > STEPS:
            return 100.0
        below, above = self.knots[first - 1], self.knots[first]
        share = (self._bent(value) - self._bent(below)) / (self._bent(above) - self._bent(below))
        return POINTS_A_STEP * (first - 1 + share)

    def _bent(self, value: float) -> float:
        return log1p(value) if self.scale == "log" else value


def fit_quantiles(values: Iterable[float], *, scale: Scale) -> QuantileTable:
    """Fit a table to at least one value."""
    ordered = sorted(values)
    return QuantileTable(tuple(_quantile(ordered, step) for step in range(STEPS + 1)), scale)


def _quantile(ordered: list[float], step: int) -> float:
    below, rest = divmod(step * (len(ordered) - 1), STEPS)
    if rest == 0:
        return ordered[below]
    return ordered[below] + (ordered[below + 1] - ordered[below]) * rest / STEPS
