"""How much words count: a factor on their points, for each platform and goal.

What words promise does not hold everywhere: on YouTube they foretell reach as they say, on TikTok a
third of that. One factor learns this where prior variances, equal for all platforms, cannot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.learner.effects import Effect
from viral.learner.families import TRUST
from viral.learner.terms import FULL_TRUST, served_of

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from viral.learner.families import EffectKey
    from viral.learner.terms import Views

FIRST_TRUST = 1.0
STEP = 0.1
LEAST_TRUST, LARGEST_TRUST = 0.25, 1.5


def trust_of(shared: Mapping[EffectKey, Effect]) -> Views:
    """Give the factor that words count by, in each view."""
    row = shared.get(TRUST)
    return FULL_TRUST if row is None else (row.mean, *served_of(row))


def learn_trust(
    shared: MutableMapping[EffectKey, Effect], day: int, *, points: float, share: float
) -> None:
    """Step along the gradient of the squared error.

    `points` are what the words said before the factor; `share` is the residual as a share of its
    variance, already divided by the tenant's earlier contributions.
    """
    row = shared.setdefault(TRUST, Effect(FIRST_TRUST, 0.0, 0, day, FIRST_TRUST))
    row.mean = min(max(row.mean + STEP * share * points, LEAST_TRUST), LARGEST_TRUST)
    row.n += 1
    row.day = max(row.day, day)
