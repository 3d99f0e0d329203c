"""How much one tenant moves what all share: repetition and distance count against it."""

from __future__ import annotations

import pytest
from past_videos import START_DAY, make_video, teach

from viral.learner.effects import Effect
from viral.learner.families import GLOBAL, TENANT
from viral.learner.learner import Learner
from viral.learner.voice import CAP, FAR, credit, repeated


def level(points: float) -> Effect:
    return Effect(points, 1.0, 1, START_DAY, 0.0)


def test_all_contributions_of_a_tenant_amount_to_little_more_than_the_cap() -> None:
    assert repeated(0, CAP) == 1
    assert repeated(10, CAP) == 0.25
    assert CAP < sum(repeated(earlier, CAP) for earlier in range(100_000)) < CAP + 1


@pytest.mark.parametrize("points", [-FAR, FAR])
def test_a_tenant_far_from_a_newcomers_level_counts_half(points: float) -> None:
    assert credit(level(points), 0.0) == 0.5
    assert credit(level(points), points) == 1
    assert credit(None, points) == 1


def test_a_far_tenant_moves_shared_effects_less_and_its_own_alike() -> None:
    moved = []
    for far in (0.0, -60.0):
        learner = Learner()
        for number in range(30):
            teach(learner, make_video(f"t{number}"), 50)
        teach(learner, make_video("a"), 50, times=5)
        learner.tenants["a"][TENANT].mean += far
        before = learner.shared[GLOBAL].mean, learner.tenants["a"][TENANT].mean
        # As surprising to the one as to the other.
        outcome = learner.predict(make_video("a"), START_DAY).mean + 20
        learner.update(make_video("a"), max(outcome, 15.0), START_DAY)
        shared = learner.shared[GLOBAL].mean - before[0]
        moved.append((shared, learner.tenants["a"][TENANT].mean - before[1]))

    (near_shared, near_own), (far_shared, far_own) = moved
    assert 0 < far_shared / far_own < 0.5 * near_shared / near_own
