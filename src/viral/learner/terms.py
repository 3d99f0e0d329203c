"""The summands of a prediction, and what each view of the state makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from viral.learner.families import HYPOTHESES, NEWCOMER, WORD_FAMILIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viral.learner.effects import Effect
    from viral.learner.families import EffectKey, Family

# What is believed, what is served, and what was served before that.
View = Literal["live", "published", "former"]
# A value in each view, in this order.
Views = tuple[float, float, float]

FULL_TRUST: Views = (1.0, 1.0, 1.0)
HYPOTHESIS_FAMILIES = frozenset(HYPOTHESES.values())


@dataclass(frozen=True, slots=True)
class Means:
    """What each view foretold, without ends; `plain` is the live view without hypotheses.

    `shared_former` and `own_former` are the published view with the former values of what all
    tenants share, and of the tenant's own.
    """

    live: float
    published: float
    shared_former: float
    own_former: float
    plain: float


@dataclass(slots=True)
class Term:
    """One summand of a prediction; `row` is the key as stored, `key` as shown.

    `points` are those of the rows, `trust` is what words count by.
    """

    key: EffectKey
    row: EffectKey
    family: Family
    effect: Effect | None
    points: Views
    variance: float
    trust: Views

    @property
    def live(self) -> float:
        return self.points[0] * self.trust[0]

    @property
    def published(self) -> float:
        return self.points[1] * self.trust[1]

    def share(self, view: View) -> float:
        """Give the points that the prediction of a view counts."""
        if view == "live":
            return self.live
        return self.published if view == "published" else self.points[2] * self.trust[2]

    @property
    def is_everybodys(self) -> bool:
        # The level of newcomers stands in for a tenant's own effect.
        return self.family.is_shared or self.key is NEWCOMER


def served_of(effect: Effect) -> tuple[float, float]:
    """Give what is published of a row, and what was before."""
    former = effect.former
    return effect.published, effect.published if former is None else former


def trust_for(key: EffectKey, trust: Views) -> Views:
    """Give what an effect counts by: trust is asked of words alone."""
    return trust if key[0] in WORD_FAMILIES else FULL_TRUST


def sums(terms: Sequence[Term], view: View) -> tuple[float, float]:
    """Add up points and variances; `sum` rounds otherwise from Python 3.12 on, replay may not."""
    points = variance = 0.0
    for term in terms:
        points += term.share(view)
        variance += term.variance
    return points, variance


def means_of(terms: Sequence[Term]) -> tuple[Means, float]:
    """Add up the points of every view, and the variances; hypotheses come last."""
    live = published = shared_former = own_former = plain = variance = 0.0
    for term in terms:
        live += term.live
        published += term.published
        variance += term.variance
        _, served, former = term.points
        if term.is_everybodys:
            shared_former += former * term.trust[2]
            own_former += served * term.trust[1]
        else:
            # The trust in words is everybody's, whoever's word it is.
            shared_former += served * term.trust[2]
            own_former += former * term.trust[1]
        if term.key[0] not in HYPOTHESIS_FAMILIES:
            plain = live
    return Means(live, published, shared_former, own_former, plain), variance
