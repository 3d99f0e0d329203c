"""The centred test of a hypothesis: what passes it, and what a biased champion cannot fake."""

from __future__ import annotations

from random import Random

import pytest

from viral.learner.contrast import Residual, Scope, centre, contrast


def residuals(count: int, *, tenants: int = 10, mean: float = 0.0, seed: int = 1) -> list[Residual]:
    rng = Random(seed)
    return [Residual(f"t{number % tenants}", mean + rng.gauss(0, 10)) for number in range(count)]


def test_an_effect_that_holds_in_both_halves_is_accepted() -> None:
    judged = contrast(residuals(200, mean=5), scope="shared")

    assert judged.verdict == "accepted"
    assert judged.effect == pytest.approx(5, abs=2)
    assert (judged.firings, judged.tenants) == (200, 10)


def test_a_negative_effect_is_accepted_as_well() -> None:
    judged = contrast(residuals(200, mean=-5), scope="shared")

    assert judged.verdict == "accepted"
    assert judged.effect < 0 < judged.later_z


@pytest.mark.parametrize(
    ("scope", "count", "tenants"),
    [("shared", 39, 10), ("shared", 400, 4), ("tenant", 14, 1)],
)
def test_too_few_firings_or_tenants_wait(scope: Scope, count: int, tenants: int) -> None:
    judged = contrast(residuals(count, tenants=tenants, mean=50), scope=scope)

    assert judged.verdict == "waiting"


def test_nothing_fired_waits() -> None:
    assert contrast([], scope="shared").verdict == "waiting"


def test_the_least_evidence_is_enough() -> None:
    shared = contrast(residuals(40, tenants=5, mean=30), scope="shared")
    own = contrast(residuals(15, tenants=1, mean=30), scope="tenant")

    assert (shared.verdict, own.verdict) == ("accepted", "accepted")


def test_an_effect_that_turns_is_rejected() -> None:
    turning = [*residuals(100, mean=6), *residuals(100, mean=-6)]

    judged = contrast(turning, scope="shared")

    assert judged.verdict == "rejected"
    assert judged.earlier_z > 2.5 > -2.5 > judged.later_z


def test_one_loud_tenant_does_not_stand_for_all() -> None:
    quiet = residuals(120, tenants=12, mean=0)
    loud = [Residual("loud", 25 + each.points) for each in residuals(80)]
    mixed = [each for pair in zip(quiet, [*loud, *loud[:40]], strict=True) for each in pair]

    assert contrast(mixed, scope="shared").verdict == "rejected"


def test_without_any_scatter_only_the_sign_decides() -> None:
    same = [Residual(f"t{number % 5}", 2.0) for number in range(40)]
    nothing = [Residual(f"t{number % 5}", 0.0) for number in range(40)]

    assert contrast(same, scope="shared").verdict == "accepted"
    assert contrast(nothing, scope="shared").verdict == "rejected"


def test_centring_takes_off_what_the_champion_misses_anyway() -> None:
    biased = [Residual(each.tenant, each.points + 20) for each in residuals(600)]

    centred = centre(biased)

    late = [each.points for each in centred[300:]]
    assert abs(sum(late) / len(late)) < 2


def test_centring_takes_off_a_tenants_own_miss() -> None:
    mixed = [
        Residual(each.tenant, each.points + (20 if each.tenant == "t0" else 0))
        for each in residuals(1000)
    ]

    late = [each.points for each in centre(mixed)[500:] if each.tenant == "t0"]

    assert abs(sum(late) / len(late)) < 4


def test_a_result_is_not_centred_on_itself() -> None:
    first, second = centre([Residual("a", 10), Residual("b", 10)])

    assert first.points == 10
    assert second.points == 0


def test_placebos_hardly_ever_pass_even_beside_a_biased_champion() -> None:
    rng = Random(5)
    biased = [
        Residual(each.tenant, each.points + 8 + number / 200)
        for number, each in enumerate(residuals(2000, tenants=25))
    ]
    centred = centre(biased)

    accepted = sum(
        contrast([each for each in centred if rng.random() < 0.1], scope="shared").verdict
        == "accepted"
        for _ in range(300)
    )

    assert accepted <= 3
