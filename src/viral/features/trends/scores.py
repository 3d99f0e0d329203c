"""How strong a trend is, from 0 to 100: by what a source measured, by its rank, by agreement."""

from __future__ import annotations

from math import log1p

STRONGEST = 100.0
# A list without figures: its first entry is stronger than the middle, and never the strongest.
_RANKED_LOW, _RANKED_SPAN = 30.0, 40.0
_HALVED_AFTER_H = 24.0
# What each further source takes away of what is missing to 100.
_AGREEMENT = 0.2


def measured_score(amount: float, *, full: float) -> float:
    """Score an amount that counts people: 100 * ln(1 + amount) / ln(1 + full), 100 at most.

    Ten times the people is about the same step everywhere, as counts of attention are spread over
    many powers of ten. `full` is the amount that scores 100, by kind of source.
    """
    return round(min(STRONGEST, STRONGEST * log1p(max(0.0, amount)) / log1p(full)), 2)


def ranked_score(place: int, count: int, *, age_h: float = 0.0) -> float:
    """Score by the place from 0 in a list without figures: 30 + 40 * (1 - place / count) * 2^(-d).

    `d` is the entry's age in days, so that yesterday's news falls towards 30.
    """
    freshness: float = 0.5 ** (max(0.0, age_h) / _HALVED_AFTER_H)
    return round(_RANKED_LOW + _RANKED_SPAN * (1 - place / max(1, count)) * freshness, 2)


def agreed_score(best: float, sources: int) -> float:
    """Raise the best score of a topic by the number of sources that name it.

    100 - (100 - best) * 0.8^(sources - 1): each further source closes a fifth of the gap to 100.
    """
    missing: float = (STRONGEST - best) * (1 - _AGREEMENT) ** max(0, sources - 1)
    return round(STRONGEST - missing, 2)
