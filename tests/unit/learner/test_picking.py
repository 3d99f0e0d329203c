"""What a round of candidates picks, how often, and what it keeps for exploration."""

from __future__ import annotations

from random import Random

import pytest

from viral.learner.picking import Arm, Part, Pick, pick_arms


def arm(name: str, points: float, *, doubt: float = 0.0, category: str | None = None) -> Arm:
    parts = (Part("global", 50.0, 0.0), Part(name, points, doubt**2))
    return Arm(category or name, parts)


def picked(arms: list[Arm], count: int, *, seed: int = 1, exploration: float = 0.3) -> list[Pick]:
    return pick_arms(arms, count, rng=Random(seed), exploration=exploration)


def positions(picks: list[Pick]) -> list[int]:
    return [pick.position for pick in picks]


def test_the_best_are_picked_best_first() -> None:
    arms = [arm(f"a{number}", points) for number, points in enumerate((1, 9, 5, 7))]

    assert positions(picked(arms, 3)) == [1, 3, 2]


def test_the_same_seed_picks_the_same() -> None:
    arms = [arm(f"a{number}", 0, doubt=5) for number in range(20)]

    assert picked(arms, 6) == picked(arms, 6)
    assert positions(picked(arms, 6, seed=1)) != positions(picked(arms, 6, seed=2))


def test_no_more_is_picked_than_there_is_and_nothing_twice() -> None:
    arms = [arm(f"a{number}", 0, doubt=5) for number in range(5)]

    assert sorted(positions(picked(arms, 9))) == [0, 1, 2, 3, 4]
    assert picked([], 3) == []
    assert picked(arms, 0) == []


def test_one_slot_of_eight_is_the_least_known_that_may_be_best() -> None:
    sure = [arm(f"a{number}", 10 + number) for number in range(16)]
    unknown, hopeless = arm("new", 0, doubt=20), arm("bad", -90, doubt=30)

    picks = picked([*sure, unknown, hopeless], 8, exploration=0)

    assert [pick.position for pick in picks if pick.is_exploration] == [16]
    assert len(picks) == 8
    assert 17 not in positions(picks)


def test_small_rounds_explore_in_their_turn() -> None:
    arms = [arm("known", 10), arm("new", 0, doubt=20)]

    explored = sum(picked(arms, 1, seed=seed, exploration=0)[0].position for seed in range(400))

    assert explored / 400 == pytest.approx(1 / 8, abs=0.05)


def test_at_most_half_of_a_round_is_of_one_category() -> None:
    arms = [arm(f"a{number}", 90 - number, category="food") for number in range(10)]
    arms += [arm(f"b{number}", 10 - number, category="tech") for number in range(10)]

    assert sorted(positions(picked(arms, 8))) == [0, 1, 2, 3, 10, 11, 12, 13]


def test_where_there_is_one_category_the_round_is_full_all_the_same() -> None:
    arms = [arm(f"a{number}", 90 - number, category="food") for number in range(10)]

    assert len(picked(arms, 8)) == 8


def test_candidates_that_share_an_effect_rise_and_fall_together() -> None:
    together = [
        Arm(f"c{number}", (Part("shared", 0.0, 400.0), Part(number, 1.0 * number, 0.0)))
        for number in range(3)
    ]

    for seed in range(50):
        assert positions(picked(together, 3, seed=seed, exploration=1)) == [2, 1, 0]


def test_propensities_are_the_shares_of_rounds_that_pick_a_candidate() -> None:
    arms = [arm("sure", 10), *(arm(f"a{number}", 0, doubt=10) for number in range(3))]

    picks = picked(arms, 2, exploration=1)

    by_position = {pick.position: pick.propensity for pick in picks}
    assert all(0 < propensity <= 1 for propensity in by_position.values())
    assert by_position[0] > 0.8


def test_a_sure_pick_has_the_propensity_one() -> None:
    arms = [arm("best", 50), arm("worst", 0)]

    assert picked(arms, 1) == [Pick(0, 1.0, is_exploration=False)]
