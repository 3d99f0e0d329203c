"""Sets of five candidates and the figures over them."""

from __future__ import annotations

from past_videos import make_video

from viral.learner.candidates import (
    CandidateSet,
    candidate_sets,
    pair_accuracy,
    random_regret,
    regret,
)

OUTCOMES = (10.0, 20.0, 30.0, 40.0, 90.0)


def test_sets_are_runs_of_five_within_tenant_and_month() -> None:
    videos = [make_video(tenant) for _ in range(11) for tenant in ("a", "b")]

    sets = candidate_sets(videos)

    assert sets == {
        0: (0, 2, 4, 6, 8),
        1: (1, 3, 5, 7, 9),
        10: (10, 12, 14, 16, 18),
        11: (11, 13, 15, 17, 19),
    }


def test_a_set_does_not_cross_months() -> None:
    videos = [make_video(day=day) for day in (0, 1, 2, 3, 40)]

    assert candidate_sets(videos) == {}


def test_the_right_order_is_accurate_and_without_regret() -> None:
    perfect = [CandidateSet(OUTCOMES, OUTCOMES)]

    assert (pair_accuracy(perfect), regret(perfect)) == (1.0, 0.0)


def test_the_wrong_order_is_neither() -> None:
    wrong = [CandidateSet(OUTCOMES, tuple(-outcome for outcome in OUTCOMES))]

    assert (pair_accuracy(wrong), regret(wrong)) == (0.0, 80.0)


def test_equal_ranks_count_as_a_blind_pick() -> None:
    blind = [CandidateSet(OUTCOMES, (1.0,) * 5)]

    assert pair_accuracy(blind) == 0.5
    assert regret(blind) == random_regret(blind) == 52.0


def test_outcomes_closer_than_five_points_are_no_pair() -> None:
    close = [CandidateSet((50.0, 51.0, 52.0, 53.0, 54.0), (5.0, 4.0, 3.0, 2.0, 1.0))]

    assert pair_accuracy(close) is None


def test_without_sets_there_are_no_figures() -> None:
    assert (pair_accuracy([]), regret([]), random_regret([])) == (None, None, None)
