"""Prediction and update: sums of points, evidence, caps and saved state."""

from __future__ import annotations

from dataclasses import astuple, replace
from math import exp, sqrt
from random import Random
from statistics import fmean
from time import perf_counter

import pytest
from past_videos import START_DAY, live_through, make_history, make_video, teach

from viral.learner.effects import Effect
from viral.learner.families import (
    FAMILIES,
    GLOBAL,
    NEWCOMER,
    NOISE,
    TENANT,
    TRUST,
    WIDTH,
    EffectKey,
)
from viral.learner.history import PastVideo
from viral.learner.learner import Contribution, Learner

Rows = dict[EffectKey, tuple[float, float, int, int, float, int]]


def saved_rows(rows: dict[EffectKey, Effect]) -> Rows:
    """Give rows as a database returns them: in another order."""
    return {key: astuple(rows[key]) for key in sorted(rows)}


def restored(learner: Learner) -> Learner:
    copy = Learner(min_word_tenants=1)
    copy.shared = {key: Effect(*row) for key, row in saved_rows(learner.shared).items()}
    copy.tenants = {
        tenant: {key: Effect(*row) for key, row in saved_rows(rows).items()}
        for tenant, rows in learner.tenants.items()
    }
    return copy


def by_family(contributions: tuple[Contribution, ...]) -> dict[str, float]:
    return {family: points for family, _, points in contributions}


def mean_error(means: list[float], history: list[PastVideo]) -> float:
    errors = zip(means, history, strict=True)
    return fmean(abs(mean - past.views / 10_000) for mean, past in errors)


def test_a_cold_start_is_the_middle_with_all_doubt() -> None:
    prediction = Learner().predict(make_video(), START_DAY)

    assert (prediction.score, prediction.mean) == (50.0, 50.0)
    assert prediction.low < 5
    assert prediction.high > 95
    assert prediction.contributions == (("global", "", 50.0),)


def test_no_sum_of_points_leaves_the_scale() -> None:
    learner = Learner()
    for tenant in ("best", "worst"):
        teach(learner, make_video(tenant), 50, times=30)
    learner.tenants["best"][TENANT].mean = 70
    learner.tenants["worst"][TENANT].mean = -70

    best, worst = (learner.predict(make_video(tenant), START_DAY) for tenant in ("best", "worst"))

    assert best.mean > 100
    assert 95 < best.score < 100
    assert worst.mean < 0 < worst.score < 5
    assert (worst.low, best.high) == (0.0, 100.0)


def test_words_count_by_the_trust_in_them() -> None:
    learner = Learner(min_word_tenants=1)
    video = make_video(title="cake")
    teach(learner, video, 90, times=3)
    full = by_family(learner.predict(video, START_DAY).contributions)

    learner.shared[TRUST].mean = 0.5
    half = by_family(learner.predict(video, START_DAY).contributions)

    assert half["tenant"] == full["tenant"]
    trust = full["word"] / learner.shared["word", "cake"].mean
    for family in ("word", "tenant_word"):
        assert half[family] == pytest.approx(0.5 * full[family] / trust)


def test_trust_falls_where_words_promise_too_much() -> None:
    learner = Learner(min_word_tenants=1)
    rng = Random(3)
    for number in range(3000):
        words = "".join(rng.choice("abcdef") + " " for _ in range(8))
        video = make_video(f"t{number % 40}", title=words)
        learner.update(video, rng.uniform(0, 100), START_DAY + number // 40)

    assert learner.shared[TRUST].mean < 0.6


def test_a_late_outcome_of_a_tenant_hardly_moves_the_trust() -> None:
    steps = []
    for earlier in (0, 5000):
        learner = Learner(min_word_tenants=1)
        video = make_video(title="cake")
        teach(learner, video, 90, times=3)
        learner.tenants["a"][GLOBAL].n += earlier
        before = learner.shared[TRUST].mean
        teach(learner, video, 10)
        steps.append(before - learner.shared[TRUST].mean)

    first, late = steps
    assert 0 < late < first / 50


def test_the_published_view_counts_words_by_the_published_trust() -> None:
    learner = Learner(min_word_tenants=1)
    video = make_video(title="cake")
    teach(learner, video, 90, times=3)
    learner.shared["word", "cake"].published = 4.0
    learner.shared[TRUST].published = 0.5

    served = by_family(learner.predict(video, START_DAY, view="published").contributions)

    assert served["word"] == 2.0


def test_predicting_changes_nothing() -> None:
    learner = Learner()
    teach(learner, make_video("a"), 80)
    before = restored(learner)

    learner.predict(make_video("b", title="unheard of"), START_DAY)

    assert (learner.shared, learner.tenants) == (before.shared, before.tenants)


def test_contributions_add_up_to_the_mean() -> None:
    learner = Learner(min_word_tenants=1)
    history = make_history()
    live_through(learner, history)

    for past in history[-20:]:
        prediction = learner.predict(past.video, START_DAY + 90)

        total = 0.0
        for _, _, points in prediction.contributions:
            total += points
        assert total == prediction.mean


def test_parts_are_the_prediction_with_its_doubts() -> None:
    learner = Learner(min_word_tenants=1)
    live_through(learner, make_history())
    video = make_video("t1", title="my cake")

    parts = learner.parts(video, START_DAY + 90)

    prediction = learner.predict(video, START_DAY + 90)
    noise = learner.tenants["t1"][NOISE].mean
    assert sum(part.points for part in parts) == pytest.approx(prediction.mean)
    assert sum(part.variance for part in parts) + noise == pytest.approx(prediction.sd**2)


def test_an_update_follows_the_formula() -> None:
    learner = Learner()
    video = make_video()
    known = sum(
        FAMILIES[family].prior_variance
        for family in ("global", "category", "tenant", "tenant_category", "hour", "weekday")
    )
    known += FAMILIES["tag_count"].prior_variance + FAMILIES["title_length"].prior_variance
    total = known + 225

    update = learner.update(video, 80, START_DAY)

    assert (update.residual, update.variance) == (30.0, total)
    assert learner.tenants["a"][TENANT].mean == pytest.approx(30 * 484 / total)
    assert learner.shared[GLOBAL].mean == pytest.approx(50 + 30 * 900 / total)
    assert learner.shared[GLOBAL].variance == pytest.approx(900 * (1 - 900 / total))
    assert learner.shared[NOISE].mean == pytest.approx(225 + 0.002 * (16 - 225))


def test_a_freak_outcome_counts_as_one_and_a_half_deviations() -> None:
    learner = Learner()
    teach(learner, make_video(), 50, times=60)
    before = learner.tenants["a"][TENANT].mean
    variance = learner.tenants["a"][TENANT].variance

    update = learner.update(make_video(), 100, START_DAY)

    moved = learner.tenants["a"][TENANT].mean - before
    assert update.residual > 60
    assert moved == pytest.approx(variance / update.variance * 1.5 * sqrt(update.variance))


def test_a_tenants_level_is_learnt_and_stays_its_own() -> None:
    learner = Learner()
    for _ in range(30):
        teach(learner, make_video("high"), 90)
        teach(learner, make_video("low"), 10)

    high = learner.predict(make_video("high"), START_DAY).score
    low = learner.predict(make_video("low"), START_DAY).score

    assert high == pytest.approx(90, abs=4)
    assert low == pytest.approx(10, abs=4)


def test_one_attacker_hardly_moves_the_others() -> None:
    honest = make_history(600)
    attacked = []
    for place, past in enumerate(honest):
        attack = replace(past, views=0, video=replace(past.video, tenant="attacker"))
        attacked += [past, attack, attack, attack] if place >= 300 else [past]

    without = live_through(Learner(), honest)
    among = zip(live_through(Learner(), attacked), attacked, strict=True)
    beside = [mean for mean, past in among if past.video.tenant != "attacker"]

    assert mean_error(beside, honest) < 1.01 * mean_error(without, honest)


def test_doubt_grows_with_time_up_to_the_prior() -> None:
    learner = Learner()
    teach(learner, make_video(), 70, times=20)

    sds = [learner.predict(make_video(), START_DAY + days).sd for days in (0, 30, 1_000_000)]

    unknown = Learner().predict(make_video(), START_DAY)
    assert sds == sorted(sds)
    assert sds[2] ** 2 - learner.tenants["a"][NOISE].mean == pytest.approx(unknown.sd**2 - 225)


def test_an_old_level_gives_way_sooner_than_a_fresh_one() -> None:
    fresh, old = Learner(), Learner()
    for learner, day in ((fresh, START_DAY), (old, START_DAY + 400)):
        teach(learner, make_video(), 20, times=20)
        learner.update(make_video(), 80, day)

    assert old.tenants["a"][TENANT].mean > fresh.tenants["a"][TENANT].mean


def test_outcomes_out_of_order_never_lower_the_doubt() -> None:
    learner = Learner()
    learner.update(make_video(), 60, START_DAY)

    learner.update(make_video(), 60, START_DAY - 50)

    assert learner.tenants["a"][TENANT].day == START_DAY
    assert learner.shared[NEWCOMER].day == START_DAY


def test_each_further_outcome_of_one_tenant_moves_shared_effects_less() -> None:
    strict, loose = Learner(cap=1), Learner(cap=1000)
    for learner in (strict, loose):
        teach(learner, make_video("a"), 90, times=20)

    assert strict.shared["category", "food"].mean < loose.shared["category", "food"].mean
    assert strict.tenants["a"]["category", "food"].n == 20


def test_the_cap_is_stricter_from_twenty_tenants_on() -> None:
    by_number, few, many = Learner(), Learner(cap=100), Learner(cap=10)
    for learner in (by_number, few, many):
        for number in range(19):
            teach(learner, make_video(f"t{number}"), 60, times=2)
    assert by_number.shared == few.shared != many.shared

    for learner in (by_number, few):
        teach(learner, make_video("t19"), 60)
        teach(learner, make_video("t0"), 60, times=2)

    assert by_number.shared != few.shared


def test_a_shared_word_waits_for_enough_tenants() -> None:
    learner = Learner(min_word_tenants=3)
    stranger = make_video("stranger", title="cake")

    for tenant, is_used in (("a", False), ("a", False), ("b", False), ("c", True)):
        teach(learner, make_video(tenant, title="cake"), 90)
        families = [family for family, _, _ in learner.predict(stranger, START_DAY).contributions]
        assert ("word" in families) is is_used

    assert learner.shared["word", "cake"].tenants == 3
    assert learner.tenants["a"]["tenant_word", "cake"].n == 2


def test_shared_words_are_stored_under_the_given_key_and_shown_in_plain() -> None:
    learner = Learner(word_key=lambda word: f"sealed-{len(word)}", min_word_tenants=1)
    teach(learner, make_video(title="secret"), 90)

    shown = [
        key
        for family, key, _ in learner.predict(make_video(title="secret"), 1).contributions
        if family == "word"
    ]

    assert ("word", "sealed-6") in learner.shared
    assert not any("secret" in key for _, key in learner.shared)
    assert shown == ["secret"]


def test_the_published_view_is_still_until_published() -> None:
    learner = Learner()
    teach(learner, make_video(), 90, times=20)

    prediction = learner.predict(make_video(), START_DAY, view="published")

    assert prediction.mean == 50.0
    assert prediction.sd == learner.predict(make_video(), START_DAY).sd


def test_the_published_view_serves_published_points() -> None:
    learner = Learner()
    teach(learner, make_video(), 90)
    learner.tenants["a"][TENANT].published = 12.5

    prediction = learner.predict(make_video(), START_DAY, view="published")

    assert prediction.contributions == (("global", "", 50.0), ("tenant", "", 12.5))


def test_a_tenants_first_outcome_does_not_move_its_published_score() -> None:
    learner = Learner()
    teach(learner, make_video("a"), 90)
    learner.shared[NEWCOMER].published = 7.0
    before = learner.predict(make_video("b"), START_DAY, view="published").mean

    teach(learner, make_video("b"), 10)

    assert before == 57.0
    assert learner.predict(make_video("b"), START_DAY, view="published").mean == before


def test_the_width_moves_by_the_interval_that_was_served() -> None:
    learner = Learner()

    missed = learner.update(make_video(), 60, START_DAY, served=(0, 10))
    held = learner.update(make_video(), 60, START_DAY, served=(0, 100))

    assert (missed.is_miss, held.is_miss) == (True, False)
    assert learner.shared[WIDTH].mean == pytest.approx(exp(0.01 * 0.8) * exp(-0.01 * 0.2))


def test_intervals_come_to_hold_four_outcomes_in_five() -> None:
    learner = Learner()
    rng = Random(3)
    misses = []
    for _ in range(3000):
        outcome = 50 + rng.choice((-1, 1)) * rng.expovariate(1 / 12)
        misses.append(learner.update(make_video(rng.choice("abcdef")), outcome, START_DAY).is_miss)

    assert sum(misses[1000:]) / 2000 == pytest.approx(0.2, abs=0.02)


def test_two_runs_give_the_same_bits() -> None:
    history = make_history()

    assert live_through(Learner(), history) == live_through(Learner(), history)


def test_saved_rows_carry_on_bit_for_bit() -> None:
    history = make_history()
    through, first = Learner(min_word_tenants=1), Learner(min_word_tenants=1)
    expected = live_through(through, history)
    live_through(first, history[:150])

    second = restored(first)

    assert live_through(second, history[150:]) == expected[150:]
    assert second.shared == through.shared
    assert second.tenants == through.tenants


def test_only_touched_rows_change() -> None:
    learner = Learner()
    live_through(learner, make_history())
    before = restored(learner)
    learner.clear_touched()

    teach(learner, make_video("t1", title="my cake", sound="original"), 40)

    changed = {key for key, row in learner.shared.items() if before.shared.get(key) != row}
    changed_of_tenants = {
        (tenant, key)
        for tenant, rows in learner.tenants.items()
        for key, row in rows.items()
        if before.tenants[tenant].get(key) != row
    }
    assert learner.touched.shared == changed
    touched = {(tenant, key) for tenant, keys in learner.touched.tenants.items() for key in keys}
    assert touched == changed_of_tenants


def test_facts_that_nobody_had_before_do_not_move_the_score() -> None:
    learner = Learner()
    video = make_video()
    teach(learner, video, 70, times=5)
    known = learner.predict(video, START_DAY)

    unheard = learner.predict(replace(video, sound="unheard", hook_type="unheard"), START_DAY)

    assert unheard.mean == known.mean
    assert unheard.sd > known.sd


def test_predicting_and_learning_take_less_than_a_millisecond() -> None:
    history = make_history(400)
    start = perf_counter()

    live_through(Learner(), history)

    assert (perf_counter() - start) / len(history) < 0.001
