"""How far outcomes scatter, for everybody and for each tenant."""

from __future__ import annotations

import pytest

from viral.learner.effects import Effect
from viral.learner.families import NOISE, EffectKey
from viral.learner.noise import learn_noise, noise_of, noise_sample


def test_a_sample_is_what_the_doubt_leaves_over_within_bounds() -> None:
    assert noise_sample(20, explained=100, total=325) == 300
    assert noise_sample(1, explained=100, total=325) == 16
    assert noise_sample(900, explained=100, total=325) == 9 * 325 - 100


def test_a_tenant_starts_at_everybodys_noise_and_follows_its_own_sooner() -> None:
    shared: dict[EffectKey, Effect] = {NOISE: Effect(100.0, 0.0, 5, 1, 0.0)}
    own: dict[EffectKey, Effect] = {}

    learn_noise(shared, own, 1000, 2)

    assert noise_of(own) == 100 + 900 / 9
    assert noise_of(shared) == pytest.approx(100 + 0.002 * 900)


def test_a_tenants_noise_remembers_sixty_outcomes() -> None:
    shared: dict[EffectKey, Effect] = {}
    own: dict[EffectKey, Effect] = {NOISE: Effect(100.0, 0.0, 500, 1, 0.0)}

    learn_noise(shared, own, 160, 2)

    assert noise_of(own) == 101


def test_nothing_known_means_the_start() -> None:
    assert noise_of(None) == noise_of({}) == 225
    assert noise_of(None, 50) == 50
