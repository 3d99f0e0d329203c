"""The watch over champion and challenger."""

from __future__ import annotations

from random import Random

import pytest

from viral.learner.guard import Guard


def watched(
    lead: float, count: int, *, start: Guard | None = None, seed: int = 2, scatter: float = 3.0
) -> Guard:
    rng = Random(seed)
    guard = start or Guard()
    for _ in range(count):
        guard = guard.observe(champion_error=20 + lead + rng.gauss(0, scatter), challenger_error=20)
    return guard


def test_a_better_challenger_is_published_after_two_hundred_results() -> None:
    early, late = watched(1, 200), watched(1, 201)

    assert early.verdict(is_published=False) == "wait"
    assert late.verdict(is_published=False) == "publish"


@pytest.mark.parametrize("lead", [0, -1])
def test_a_challenger_without_a_lead_waits(lead: float) -> None:
    assert watched(lead, 1000).verdict(is_published=False) == "wait"


def test_a_bad_version_is_rolled_back_within_250_results() -> None:
    guard = watched(1, 400)
    assert guard.verdict(is_published=True) == "wait"

    for number in range(250):
        guard = watched(-2, 1, start=guard, seed=number)
        if guard.verdict(is_published=True) == "roll back":
            break

    assert guard.verdict(is_published=True) == "roll back"
    assert guard.mean < 0


def test_a_version_that_keeps_its_lead_stays() -> None:
    guard = watched(1, 400)
    for number in range(1000):
        guard = watched(1, 1, start=guard, seed=number)
        assert guard.verdict(is_published=True) == "wait"


def test_young_results_weigh_alike() -> None:
    guard = Guard()
    for error in (12, 14, 10):
        guard = guard.observe(champion_error=error, challenger_error=10)

    assert guard.mean == pytest.approx(2)
    assert guard.variance == pytest.approx(8 / 3)
    assert guard.standard_error == pytest.approx((8 / 3 / 2) ** 0.5)


def test_old_results_fade_with_a_memory_of_250() -> None:
    guard = watched(10, 2000, scatter=0)

    guard = watched(0, 250, start=guard, scatter=0)

    assert guard.mean == pytest.approx(10 * 0.996**250)
