"""The specification's own algorithms."""

from __future__ import annotations

import pytest
from past_videos import make_video

from viral.learner.baselines import MovingAverage, OriginalLoop, Static
from viral.learner.contenders import Contender, Forecast

SERVED = Forecast(75, 75)


def score_after(contender: Contender, *outcomes: float) -> float:
    for outcome in outcomes:
        contender.learn(make_video(), outcome, 1, SERVED)
    return contender.forecast(make_video(), 1).score


def test_the_static_score_learns_nothing() -> None:
    assert score_after(Static(), 0, 0, 0) == 75


def test_the_moving_average_starts_at_its_first_outcome() -> None:
    assert score_after(MovingAverage()) == 50
    assert score_after(MovingAverage(), 20) == 20
    assert score_after(MovingAverage(), 20, 30) == pytest.approx(23)


@pytest.mark.parametrize(
    ("outcome", "score"),
    [
        (0, 60),  # a gap of 100 % lowers by 20 %
        (50, 63.75),  # 33 % lowers by 15 %
        (55, 75),  # 20 points are no reason yet
        (97.5, 86.25),  # 30 % raises by 15 %
    ],
)
def test_one_large_miss_moves_the_loops_weight(outcome: float, score: float) -> None:
    assert score_after(OriginalLoop(), outcome) == pytest.approx(score)


def test_the_loops_weight_has_bounds() -> None:
    assert score_after(OriginalLoop(), *[0.0] * 50) == 37.5


def test_other_categories_keep_their_weight() -> None:
    loop = OriginalLoop()
    loop.learn(make_video(category="music"), 0, 1, SERVED)

    assert score_after(loop) == 75
