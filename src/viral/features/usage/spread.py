"""How times spread: counted by bins that grow by a quarter, from which percentiles are told."""

from __future__ import annotations

from functools import lru_cache
from math import ceil, exp, log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# Each bin ends at 1.25 times the one before it: a percentile is told within an eighth.
GROWTH = 1.25
_LN_GROWTH = log(GROWTH)


@lru_cache(maxsize=1024)
def bin_of(took_ms: float) -> int:
    """Return the bin of a time in ms: bin n ends at 1.25^n ms, and bin 0 holds all up to 1 ms."""
    return max(0, ceil(log(max(took_ms, 1.0)) / _LN_GROWTH - 1e-9))


def percentile(bins: Mapping[int, int], share: float) -> float | None:
    """Return the time in ms that `share` of what was counted stays within; None of nothing.

    It is the middle, by ratio, of the bin in which the share is reached.
    """
    wanted = share * sum(bins.values())
    reached = 0
    for number in sorted(bins):
        reached += bins[number]
        if reached >= wanted and reached:
            return exp(_LN_GROWTH * (number - 0.5)) if number else 1.0
    return None
