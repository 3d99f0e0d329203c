"""How far outcomes scatter about what the effects explain: for everybody, and for each tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.learner.effects import Effect
from viral.learner.families import NOISE

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from viral.learner.families import EffectKey

FIRST_NOISE = 225.0
LEAST_NOISE = 16.0
# One freak outcome counts as at most three standard deviations.
LARGEST_SAMPLE = 9.0
SHARED_STEP = 0.002
TENANT_START_WEIGHT = 8
TENANT_MEMORY = 60


def noise_of(rows: Mapping[EffectKey, Effect] | None, otherwise: float = FIRST_NOISE) -> float:
    """Give the variance in these rows, or another one where nothing is known."""
    row = rows.get(NOISE) if rows else None
    return row.mean if row else otherwise


def noise_sample(residual: float, *, explained: float, total: float) -> float:
    """Estimate the noise from one residual: what the doubt about the effects leaves over."""
    return max(LEAST_NOISE, min(residual**2, LARGEST_SAMPLE * total) - explained)


def learn_noise(
    shared: MutableMapping[EffectKey, Effect],
    own: MutableMapping[EffectKey, Effect],
    sample: float,
    day: int,
) -> None:
    """Move everybody's noise a little and the tenant's own, which starts there, faster."""
    if NOISE not in own:
        own[NOISE] = Effect(noise_of(shared), 0.0, TENANT_START_WEIGHT, day, 0.0)
    if NOISE not in shared:
        shared[NOISE] = Effect(FIRST_NOISE, 0.0, 0, day, 0.0)
    _move(own[NOISE], sample, day, step=1 / min(own[NOISE].n + 1, TENANT_MEMORY))
    _move(shared[NOISE], sample, day, step=SHARED_STEP)


def _move(row: Effect, sample: float, day: int, *, step: float) -> None:
    row.mean += step * (sample - row.mean)
    row.n += 1
    row.day = max(row.day, day)
