"""The level at which new tenants start."""

from __future__ import annotations

from math import exp

import pytest
from past_videos import START_DAY, live_through, make_history, make_video, teach

from viral.learner.families import NEWCOMER, TENANT
from viral.learner.learner import Learner
from viral.learner.newcomer import newcomer_level


def vote_weight(variance: float) -> float:
    return 1 / (1 + 4 * variance / 22**2)


def test_nobody_known_means_level_zero() -> None:
    assert newcomer_level(None) == 0.0


def test_a_new_tenant_starts_at_the_level_of_the_others() -> None:
    learner = Learner()
    for tenant in "abcdefgh":
        teach(learner, make_video(tenant), 90, times=5)
    level = newcomer_level(learner.shared[NEWCOMER])

    prediction = learner.predict(make_video("new"), START_DAY)

    assert level > 0
    assert ("newcomer", "", level) in prediction.contributions


def test_the_first_outcome_starts_the_tenant_at_the_level() -> None:
    learner = Learner()
    teach(learner, make_video("a"), 90, times=5)
    expected = learner.predict(make_video("new"), START_DAY).mean

    learner.update(make_video("new"), expected, START_DAY)

    assert learner.predict(make_video("new"), START_DAY).mean == pytest.approx(expected)


def test_each_tenant_has_one_vote_however_often_it_reports() -> None:
    learner = Learner()
    history = make_history()
    live_through(learner, history)
    row = learner.shared[NEWCOMER]
    first_day = history[0].video.published_at.toordinal()

    votes = [
        (own[TENANT], exp(-(row.day - own[TENANT].day) / 80)) for own in learner.tenants.values()
    ]
    weights = [vote_weight(effect.variance) * fade for effect, fade in votes]

    assert row.variance == pytest.approx(2 * exp(-(row.day - first_day) / 80) + sum(weights))
    assert row.mean == pytest.approx(
        sum(weight * effect.mean for weight, (effect, _) in zip(weights, votes, strict=True))
    )


def test_old_votes_fade() -> None:
    learner = Learner()
    teach(learner, make_video("a"), 90, times=9)
    before = learner.shared[NEWCOMER].variance

    learner.update(make_video("b"), 50, START_DAY + 1200)

    own_vote = vote_weight(learner.tenants["b"][TENANT].variance)
    assert learner.shared[NEWCOMER].variance == pytest.approx(before * exp(-15) + own_vote)
