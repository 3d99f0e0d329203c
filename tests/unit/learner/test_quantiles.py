"""Outcomes as ranks."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import log1p
from random import Random

import pytest

from viral.learner.quantiles import fit_quantiles


def test_ranks_are_linear_between_knots() -> None:
    table = fit_quantiles(range(401), scale="linear")

    assert [table.score(value) for value in (0, 10, 15, 200, 400)] == [0, 2.5, 3.75, 50, 100]


def test_views_are_linear_in_their_logarithm() -> None:
    table = fit_quantiles([0, 1000], scale="log")
    below, above = table.knots[20], table.knots[21]
    value = 505.0

    share = (log1p(value) - log1p(below)) / (log1p(above) - log1p(below))

    assert table.score(value) == pytest.approx(50 + 2.5 * share)


def test_values_beyond_the_table_get_its_ends() -> None:
    table = fit_quantiles([5, 6, 7], scale="log")

    assert (table.score(0), table.score(1e12)) == (0, 100)


def test_equal_outcomes_get_the_middle_of_their_ranks() -> None:
    table = fit_quantiles([0.0] * 50 + [1.0] * 50, scale="linear")

    assert table.score(0.0) == pytest.approx(25, abs=1.3)
    assert table.score(1.0) == pytest.approx(75, abs=1.3)


def test_a_table_of_one_value_gives_the_middle() -> None:
    assert fit_quantiles([3.0], scale="linear").score(3.0) == 50


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_ranks_stay_near_the_percentile(scale: str) -> None:
    rng = Random(1)
    values = sorted(round(rng.lognormvariate(3, 2)) for _ in range(5000))

    table = fit_quantiles(values, scale="log" if scale == "log" else "linear")

    for value in set(values):
        middle = (bisect_left(values, value) + bisect_right(values, value)) / 2
        assert table.score(value) == pytest.approx(100 * middle / len(values), abs=4)
