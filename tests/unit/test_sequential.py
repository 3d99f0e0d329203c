"""The test that may be looked at after every post: it errs no more often than it promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from random import Random

import pytest

from viral.features.experiments.arms import label_of
from viral.features.experiments.sequential import (
    FEWEST_POSTS,
    Tally,
    compare,
    course_of,
    half_width,
    judge,
    states_of,
)
from viral.schema.base import uuid7

ALPHA = 0.05
RUNS = 1_000


def posts(
    seed: int, labels: str, draw: Callable[[Random, str], float]
) -> Iterator[tuple[str, float]]:
    """Give posts without end, in permuted blocks."""
    rng = Random(seed)
    while True:
        for label in rng.sample(labels, k=len(labels)):
            yield label, draw(rng, label)


def even(rng: Random, _label: str) -> float:
    return rng.gauss(0, 25)


def rare(rng: Random, _label: str) -> float:
    """Most posts do as foretold; one of ten goes far beyond."""
    return rng.gauss(80 if rng.random() < 0.1 else -8, 4)


def share_decided(labels: str, draw: Callable[[Random, str], float], *, most: int = 100) -> float:
    """Look after every post of many runs without a difference; some arm wins by luck alone."""
    won = sum(
        judge(posts(seed, labels, draw), labels, alpha=ALPHA, most_posts=most).winner is not None
        for seed in range(RUNS)
    )
    return won / RUNS


@pytest.mark.parametrize("draw", [even, rare])
def test_looking_after_every_post_errs_no_more_often_than_promised(
    draw: Callable[[Random, str], float],
) -> None:
    assert share_decided("AB", draw) <= ALPHA


def test_more_arms_do_not_err_more_often() -> None:
    assert share_decided("ABC", even, most=60) <= ALPHA


def test_an_interval_of_one_look_would_err_far_more_often() -> None:
    """Show that the simulation can tell: 1.96 standard errors, looked at after each post."""

    def naive(seed: int) -> bool:
        arms = {"A": Tally(), "B": Tally()}
        for label, value in islice(posts(seed, "AB", even), 100):
            arms[label].add(value)
            counts = [each.count for each in arms.values()]
            error = 25 * sum(1 / each for each in counts) ** 0.5 if min(counts) else 1e9
            gap = abs(arms["A"].mean - arms["B"].mean)
            if min(counts) >= FEWEST_POSTS and gap > 1.96 * error:
                return True
        return False

    assert sum(naive(seed) for seed in range(300)) / 300 > 3 * ALPHA


def test_power_grows_with_the_difference_and_the_better_arm_wins() -> None:
    shares = []
    for better_by in (0, 8, 16):

        def draw(rng: Random, label: str, better_by: float = better_by) -> float:
            return rng.gauss(better_by if label == "B" else 0, 17)

        winners = [
            judge(posts(seed, "AB", draw), "AB", alpha=ALPHA, most_posts=120).winner
            for seed in range(200)
        ]
        assert not better_by or "A" not in winners
        shares.append(sum(each is not None for each in winners) / 200)

    assert shares[0] <= ALPHA < 0.25 < shares[1] < 0.9 < shares[2]


def test_a_verdict_stays_whatever_comes_after_it() -> None:
    def draw(rng: Random, label: str) -> float:
        return rng.gauss(30 if label == "B" else 0, 10)

    seen = list(islice(posts(1, "AB", draw), 100))
    first = judge(seen, "AB", alpha=ALPHA, most_posts=100)
    again = judge([*seen[: first.posts], ("A", 99.0)], "AB", alpha=ALPHA, most_posts=100)

    assert first.winner == "B"
    assert FEWEST_POSTS * 2 <= first.posts < 100
    assert (again.winner, again.posts, again.arms) == ("B", first.posts, first.arms)


def test_it_ends_at_the_last_post_without_a_winner() -> None:
    verdict = judge(posts(1, "AB", lambda *_: 0.0), "AB", alpha=ALPHA, most_posts=40)

    assert (None, 40) == (verdict.winner, verdict.posts)


def test_few_posts_decide_nothing() -> None:
    seen = [("A", 0.0), ("B", 90.0)] * (FEWEST_POSTS - 1)

    assert judge(seen, "AB", alpha=ALPHA, most_posts=100).winner is None


def test_intervals_shrink_with_posts_and_grow_with_certainty() -> None:
    widths = [half_width(225 / count, ALPHA) for count in (2, 10, 50, 250)]

    assert widths == sorted(widths, reverse=True)
    assert half_width(9, 0.01) > half_width(9, 0.05) > 1.96 * 3


def test_comparisons_share_the_risk_and_an_arm_without_posts_has_no_interval() -> None:
    arms = {"A": Tally(), "B": Tally(), "C": Tally()}
    for label, value in islice(posts(1, "AB", even), 20):
        arms[label].add(value)

    states = states_of(arms, alpha=ALPHA)
    (one,) = compare(arms, alpha=ALPHA)
    (alone,) = compare({"A": arms["A"], "B": arms["B"]}, alpha=ALPHA)

    assert [(each.label, each.posts) for each in states] == [("A", 10), ("B", 10), ("C", 0)]
    assert (states[2].low, states[2].high) == (None, None)
    assert one.difference == pytest.approx(one.high - (one.high - one.low) / 2)
    assert one.high - one.low > alone.high - alone.low


def test_each_arm_stands_once_in_every_block_in_an_order_that_the_id_fixes() -> None:
    one, other = uuid7(), uuid7()
    labels = ["A", "B", "C"]

    given = [label_of(one, labels, number) for number in range(300)]

    assert all(sorted(given[place : place + 3]) == labels for place in range(0, 300, 3))
    assert len({tuple(given[place : place + 3]) for place in range(0, 300, 3)}) == 6
    assert given == [label_of(one, labels, number) for number in range(300)]
    assert given != [label_of(other, labels, number) for number in range(300)]


def test_a_course_ends_where_the_comparison_that_decides_stands() -> None:
    seen = list(
        islice(posts(3, "ABC", lambda rng, label: rng.gauss("CBA".index(label) * 9, 9)), 60)
    )
    arms = {label: Tally() for label in "ABC"}
    for label, value in seen:
        arms[label].add(value)

    course = course_of(seen, "ABC", alpha=ALPHA)

    assert course is not None
    (last,) = [
        each
        for each in compare(arms, alpha=ALPHA)
        if (each.better, each.worse) == (course.leader, course.rival)
    ]
    assert (course.leader, course.rival) == ("A", "B")
    assert course.looks[-1].posts == 60
    assert (course.looks[-1].difference, course.looks[-1].low) == (last.difference, last.low)
    assert all(each.low < each.difference < each.high for each in course.looks)
    assert [each.posts for each in course.looks] == sorted(each.posts for each in course.looks)


def test_one_arm_alone_has_no_course() -> None:
    assert course_of([("A", 1.0)] * 9, "AB", alpha=ALPHA) is None
