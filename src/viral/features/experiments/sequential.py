"""Compares arms after every post, without being fooled by looking often.

Confidence sequences by a normal mixture (Robbins 1970; Johari, Pekelis and Walsh 2017): the
intervals hold at all looks together, so that whoever stops as soon as one excludes zero errs no
more often than promised. The scale is score points.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import log, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# The size of differences that the mixture looks for first: the prior deviation of a hook type.
USUAL_DIFFERENCE = 6.0
# What the scatter is taken for until there are posts: 15 points, as the learner begins with.
FIRST_VARIANCE = 225.0
FIRST_WEIGHT = 10
# Of each arm, before anything is decided: below, means are not nearly normal.
FEWEST_POSTS = 8
# With a post, before there is something to compare.
FEWEST_ARMS_MET = 2


@dataclass(slots=True)
class Tally:
    """The scores of one arm less what was predicted of them."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.squares += value * value

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    @property
    def scatter(self) -> float:
        """The sum of squares about the mean."""
        return self.squares - self.count * self.mean**2


@dataclass(frozen=True, slots=True)
class Comparison:
    """By how much one arm is better than another, with an interval that holds at every look."""

    better: str
    worse: str
    difference: float
    low: float
    high: float

    @property
    def is_sure(self) -> bool:
        return self.low > 0


@dataclass(frozen=True, slots=True)
class ArmState:
    """An arm's mean against what was predicted, with an interval that holds at every look.

    Without posts the interval is not known.
    """

    label: str
    posts: int
    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What was known of the leader's lead over its closest rival after so many posts, in points."""

    posts: int
    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Course:
    """How the comparison that decides went: the arm that leads at the end, and its rival."""

    leader: str
    rival: str
    looks: tuple[Look, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the posts say, up to the one that decided or the last that may."""

    winner: str | None
    posts: int
    arms: dict[str, Tally]


def judge(
    posts: Iterable[tuple[str, float]], labels: Sequence[str], *, alpha: float, most_posts: int
) -> Verdict:
    """Look after each post, an arm's label and its value, and stop where one arm surely wins.

    So it makes no difference when somebody looks: the same posts give the same verdict.
    """
    arms = {label: Tally() for label in labels}
    count = 0
    for label, value in posts:
        arms[label].add(value)
        count += 1
        winner = winner_of(arms, alpha=alpha)
        if winner is not None or count >= most_posts:
            return Verdict(winner, count, arms)
    return Verdict(None, count, arms)


def course_of(
    posts: Sequence[tuple[str, float]], labels: Sequence[str], *, alpha: float
) -> Course | None:
    """Look after each post at the comparison that decides; None while there is none to be made.

    It is that of the best arm with the one that is least surely beaten by it.
    """
    arms = {label: Tally() for label in labels}
    for label, value in posts:
        arms[label].add(value)
    met = [label for label in labels if arms[label].count]
    if len(met) < FEWEST_ARMS_MET:
        return None
    leader = max(met, key=lambda label: arms[label].mean)
    beaten = [each for each in compare(arms, alpha=alpha) if each.better == leader]
    rival = min(beaten, key=lambda each: each.low).worse
    arms, looks = {label: Tally() for label in labels}, []
    for count, (label, value) in enumerate(posts, start=1):
        arms[label].add(value)
        for each in compare(arms, alpha=alpha):
            if (each.better, each.worse) == (leader, rival):
                looks.append(Look(count, each.difference, each.low, each.high))
            elif (each.better, each.worse) == (rival, leader):
                looks.append(Look(count, -each.difference, -each.high, -each.low))
    return Course(leader, rival, tuple(looks))


def states_of(arms: Mapping[str, Tally], *, alpha: float) -> list[ArmState]:
    """Describe each arm by itself; the errors of all intervals together stay within alpha."""
    variance = scatter_of(arms)
    states = []
    for label, arm in arms.items():
        if not arm.count:
            states.append(ArmState(label, 0, 0.0))
            continue
        half = half_width(variance / arm.count, alpha / len(arms))
        states.append(ArmState(label, arm.count, arm.mean, arm.mean - half, arm.mean + half))
    return states


def compare(arms: Mapping[str, Tally], *, alpha: float) -> list[Comparison]:
    """Compare every two arms that have posts; all comparisons together err within alpha."""
    variance = scatter_of(arms)
    pairs = list(combinations(arms, 2))
    found = []
    for one, other in pairs:
        first, second = arms[one], arms[other]
        if not first.count or not second.count:
            continue
        better, worse = (one, other) if first.mean >= second.mean else (other, one)
        difference = abs(first.mean - second.mean)
        half = half_width(variance * (1 / first.count + 1 / second.count), alpha / len(pairs))
        found.append(Comparison(better, worse, difference, difference - half, difference + half))
    return found


def winner_of(arms: Mapping[str, Tally], *, alpha: float) -> str | None:
    """Name the arm that is surely better than each other one, if there is one."""
    if any(arm.count < FEWEST_POSTS for arm in arms.values()):
        return None
    beaten: dict[str, int] = {}
    for each in compare(arms, alpha=alpha):
        if each.is_sure:
            beaten[each.better] = beaten.get(each.better, 0) + 1
    return next((label for label, count in beaten.items() if count == len(arms) - 1), None)


def half_width(variance: float, alpha: float) -> float:
    """Give the half-width of the mixture's interval about an estimate of this variance."""
    mixed = USUAL_DIFFERENCE**2
    both = variance + mixed
    return sqrt(variance * both / mixed * (2 * log(1 / alpha) + log(both / variance)))


def scatter_of(arms: Mapping[str, Tally]) -> float:
    """Estimate the variance of one post about its arm's mean, cautiously while there are few."""
    freedom = sum(arm.count - 1 for arm in arms.values() if arm.count)
    scatter = sum(arm.scatter for arm in arms.values() if arm.count)
    return (FIRST_WEIGHT * FIRST_VARIANCE + max(0.0, scatter)) / (FIRST_WEIGHT + freedom)
