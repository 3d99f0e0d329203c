"""One row of learnt state: what is believed of an effect, and what is served."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from viral.learner.families import GLOBAL, EffectKey

START_SCORE = 50.0  # the middle of the scale, before anything is known


@dataclass(slots=True)
class Effect:
    """Points, their variance and evidence; `tenants` counts contributors of a shared effect.

    `former` is what was published before, None where that is the same. A tenant's row of a shared
    effect is an override where it is published in place of the shared points.
    """

    mean: float
    variance: float
    n: int
    day: int
    published: float
    tenants: int = 0
    former: float | None = None
    is_override: bool = False


def start_of(key: EffectKey) -> float:
    """Give the points of an effect that nothing is known of."""
    return START_SCORE if key == GLOBAL else 0.0


@dataclass(slots=True)
class Touched:
    """Keys of the rows that changed, so that only these are written back."""

    shared: set[EffectKey] = field(default_factory=set)
    tenants: defaultdict[str, set[EffectKey]] = field(default_factory=lambda: defaultdict(set))

    @property
    def rows(self) -> int:
        return len(self.shared) + sum(map(len, self.tenants.values()))
