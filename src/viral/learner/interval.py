"""The 80 % interval, and its half-width that follows the share of misses."""

from __future__ import annotations

from math import exp

Z_80 = 1.2816
MISS_SHARE = 0.2
STEP = 0.01
FIRST_WIDTH = 1.0
WORST_SCORE, BEST_SCORE = 0.0, 100.0


def clipped(score: float) -> float:
    return min(max(score, WORST_SCORE), BEST_SCORE)


def interval(score: float, sd: float, width: float) -> tuple[float, float]:
    """Span the interval about a clipped score."""
    half = Z_80 * width * sd
    return clipped(score - half), clipped(score + half)


def next_width(width: float, *, is_miss: bool) -> float:
    """Widen after a miss and narrow a quarter of that after a hit: one miss in five balances."""
    return width * exp(STEP * (is_miss - MISS_SHARE))
