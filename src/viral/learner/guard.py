"""Whether the challenger predicts better than the champion, watched before and after publishing."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal

Verdict = Literal["wait", "publish", "roll back"]

# The weight of the newest result: a memory of about 250.
ALPHA = 0.004
LEAST_RESULTS = 200
LEAST_Z = 1.64


@dataclass(frozen=True, slots=True)
class Guard:
    """How much less the challenger errs, in points: an exponentially weighted mean and variance.

    The champion is what is served before publishing, and what would be rolled back to after it:
    so one guard goes on from the one to the other, and what earned the publishing is its lead.
    """

    mean: float = 0.0
    variance: float = 0.0
    results: int = 0

    def observe(self, *, champion_error: float, challenger_error: float) -> Guard:
        """Take in the absolute errors of both on one result."""
        lead = champion_error - challenger_error
        # Young means weigh all results alike: the first would else be an anchor at zero.
        step = max(ALPHA, 1 / (self.results + 1))
        beside = lead - self.mean
        return Guard(
            mean=self.mean + step * beside,
            variance=(1 - step) * (self.variance + step * beside**2),
            results=self.results + 1,
        )

    @property
    def standard_error(self) -> float:
        """Give the error of the mean, with as many results as its weights amount to."""
        effective = min(self.results, (2 - ALPHA) / ALPHA)
        return sqrt(self.variance / max(effective - 1, 1))

    def verdict(self, *, is_published: bool) -> Verdict:
        """Say what to do: a lead that is sure publishes, a lead that is gone rolls back."""
        if is_published:
            return "roll back" if self.mean < 0 else "wait"
        is_sure = self.results > LEAST_RESULTS and self.mean > LEAST_Z * self.standard_error
        return "publish" if is_sure else "wait"
