"""The scale without ends, there and back."""

from __future__ import annotations

import pytest

from viral.learner.scale import squeezed, squeezed_interval, stretched


@pytest.mark.parametrize("score", [15, 15.001, 50, 84.9, 85])
def test_in_the_middle_a_point_is_a_point(score: float) -> None:
    assert stretched(score) == squeezed(score) == score


@pytest.mark.parametrize("score", [2, 5, 14.9, 50, 85.1, 95, 98])
def test_what_is_stretched_is_squeezed_again(score: float) -> None:
    assert squeezed(stretched(score)) == pytest.approx(score)


def test_the_last_points_of_the_scale_are_all_alike() -> None:
    assert stretched(100) == stretched(98) == pytest.approx(115.2, abs=0.1)
    assert stretched(0) == stretched(2) == pytest.approx(-15.2, abs=0.1)


def test_no_sum_leaves_the_scale_and_a_larger_one_is_more() -> None:
    scores = [squeezed(points) for points in range(-200, 301, 5)]

    assert scores == sorted(set(scores))
    assert 0 < scores[0] < 1e-3
    assert 100 - 1e-3 < scores[-1] < 100


def test_the_scale_bends_without_a_jump() -> None:
    for knee in (15.0, 85.0):
        slopes = [(squeezed(knee + step) - squeezed(knee)) / step for step in (-1e-6, 1e-6)]
        assert slopes == pytest.approx([1, 1], abs=1e-4)


def test_an_interval_that_reaches_a_margin_holds_all_of_it() -> None:
    assert squeezed_interval(-16, 116) == (0, 100)
    assert squeezed_interval(20, 80) == (20, 80)
    low, high = squeezed_interval(-15, 115)
    assert 2 < low < 3
    assert 97 < high < 98
