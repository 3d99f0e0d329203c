"""The summands of a prediction, and what each view of the state makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from viral.learner.families import NEWCOMER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viral.learner.design import Indicator
    from viral.learner.effects import Effect
    from viral.learner.families import EffectKey

# What is believed, what is served, and what was served before that.
View = Literal["live", "published", "former"]
# A value in each view, in this order.
Views = tuple[float, float, float]

FULL_TRUST: Views = (1.0, 1.0, 1.0)
PLACES: dict[View, int] = {"live": 0, "published": 1, "former": 2}


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


# One summand of a prediction: the effect as shown (the level of newcomers where the tenant has none
# of its own), its indicator, its row if there is one, the points of the row in each view, their
# variance, and what the points count by. A plain tuple: a batch of results makes a million.
Term: TypeAlias = "tuple[EffectKey, Indicator, Effect | None, Views, float, Views]"


def share_of(term: Term, view: View) -> float:
    """Give the points that the prediction of a view counts."""
    _, _, _, points, _, trust = term
    place = PLACES[view]
    return points[place] * trust[place]


def served_of(effect: Effect) -> tuple[float, float]:
    """Give what is published of a row, and what was before."""
    former = effect.former
    return effect.published, effect.published if former is None else former


def sums(terms: Sequence[Term], view: View) -> tuple[float, float]:
    """Add up points and variances; `sum` rounds otherwise from Python 3.12 on, replay may not."""
    points = variance = 0.0
    for term in terms:
        _, _, _, _, doubt, _ = term
        points += share_of(term, view)
        variance += doubt
    return points, variance


def means_of(terms: Sequence[Term]) -> tuple[Means, float]:
    """Add up the points of every view, and the variances; hypotheses come last."""
    live = published = shared_former = own_former = plain = variance = 0.0
    for key, indicator, _, (seen, served, former), doubt, trusts in terms:
        live_trust, trust, former_trust = trusts
        live += seen * live_trust
        published += served * trust
        variance += doubt
        # The level of newcomers stands in for a tenant's own effect; the trust in words is
        # everybody's, whoever's word it is.
        if indicator.counter or key is NEWCOMER:
            shared_former += former * former_trust
            own_former += served * trust
        else:
            shared_former += served * former_trust
            own_former += former * trust
        if not indicator.is_hypothesis:
            plain = live
    return Means(live, published, shared_former, own_former, plain), variance
