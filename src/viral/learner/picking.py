"""Which candidates to make: the promising ones, with a floor under exploration."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import fsum, sqrt
from typing import TYPE_CHECKING

from viral.learner.interval import Z_80

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from random import Random

# Of a sample's deviation: all of it over-explores many small effects, none lets a writer stop
# proposing what was never tried.
EXPLORATION = 0.3
# One slot in so many goes to the candidate that would teach most.
FLOOR = 8
# Of a round in one category.
LARGEST_SHARE = 0.5
DRAWS = 200


@dataclass(frozen=True, slots=True)
class Part:
    """One effect of a candidate: its points and their variance; equal keys move together."""

    key: Hashable
    points: float
    variance: float


@dataclass(frozen=True, slots=True)
class Arm:
    """A candidate with all effects that its prediction adds up."""

    category: str
    parts: tuple[Part, ...]

    @property
    def mean(self) -> float:
        return fsum(part.points for part in self.parts)

    @property
    def variance(self) -> float:
        return fsum(part.variance for part in self.parts)


@dataclass(frozen=True, slots=True)
class Pick:
    """A candidate's position, how often it would have been picked, and whether to learn of it."""

    position: int
    propensity: float
    is_exploration: bool


def pick_arms(
    arms: Sequence[Arm],
    count: int,
    *,
    rng: Random,
    exploration: float = EXPLORATION,
    draws: int = DRAWS,
) -> list[Pick]:
    """Pick up to `count` candidates, best sample first; the same `rng` picks the same.

    Propensities are shares of `draws` further rounds, the picks' own round among them: none is 0.
    """
    chosen = _round(arms, count, rng, exploration)
    times = Counter(chosen.keys())
    for _ in range(draws - 1):
        times.update(_round(arms, count, rng, exploration).keys())
    return [
        Pick(position, times[position] / draws, is_exploration)
        for position, is_exploration in chosen.items()
    ]


def _round(arms: Sequence[Arm], count: int, rng: Random, exploration: float) -> dict[int, bool]:
    """Give the positions picked in one round, and which of them are there to explore."""
    samples = _samples(arms, rng, exploration)
    order = sorted(range(len(arms)), key=lambda position: (-samples[position], position))
    explorers = _explorers(arms, min(count, len(arms)), rng)
    chosen = dict.fromkeys(explorers, True)
    most = max(1, int(count * LARGEST_SHARE))
    filled = Counter(arms[position].category for position in explorers)
    left = [position for position in order if position not in chosen]
    for position in left:
        if len(chosen) < count and filled[arms[position].category] < most:
            chosen[position] = False
            filled[arms[position].category] += 1
    # Where all candidates are of one category there is nothing to mix.
    for position in left:
        if len(chosen) < count:
            chosen.setdefault(position, False)
    return {position: chosen[position] for position in order if position in chosen}


def _samples(arms: Sequence[Arm], rng: Random, exploration: float) -> list[float]:
    """Sample each effect once a round, so that candidates that share one rise and fall together."""
    draws: dict[Hashable, float] = {}
    samples = []
    for arm in arms:
        total = 0.0
        for part in arm.parts:
            if part.key not in draws:
                draws[part.key] = rng.gauss(0.0, 1.0)
            total += part.points + exploration * sqrt(part.variance) * draws[part.key]
        samples.append(total)
    return samples


def _explorers(arms: Sequence[Arm], count: int, rng: Random) -> list[int]:
    """Take the least known of the candidates that may be the best; small rounds take turns."""
    slots, rest = divmod(count, FLOOR)
    slots += rng.random() < rest / FLOOR
    if not slots:
        return []
    best = max(arm.mean for arm in arms)
    able = [
        position for position, arm in enumerate(arms) if arm.mean + Z_80 * sqrt(arm.variance) > best
    ]
    able.sort(key=lambda position: (-arms[position].variance, position))
    return able[:slots]
