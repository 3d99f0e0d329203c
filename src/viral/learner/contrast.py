"""Whether a hypothesis says something that the champion does not know already.

A champion that is biased for the moment makes any predicate look useful, so residuals are centred
on what it has missed by lately; the sign is taken from the earlier half of the firings and must
hold up in the later one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from math import fsum, inf, sqrt
from statistics import fmean
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Scope = Literal["shared", "tenant"]
Verdict = Literal["waiting", "rejected", "accepted"]

# Firings, and the tenants they are of, before anything is said.
LEAST_FIRINGS: dict[Scope, int] = {"shared": 40, "tenant": 15}
LEAST_TENANTS: dict[Scope, int] = {"shared": 5, "tenant": 1}
LEAST_Z = 2.5
# The half that gives the sign must itself lean that way, or the sign is a coin's.
LEAST_EARLIER_Z = 1.0
# Results that a running mean residual remembers: everybody's, and a tenant's own on top.
MEMORY = 200
TENANT_MEMORY = 30
# A tenant's own running mean counts half after so many results.
TENANT_DOUBT = 5


@dataclass(frozen=True, slots=True)
class Residual:
    """An outcome less the champion's score, in points, of one tenant's video."""

    tenant: str
    points: float


@dataclass(frozen=True, slots=True)
class Contrast:
    """The mean centred residual where a predicate fired; z of each half, along the sign."""

    firings: int
    tenants: int
    effect: float
    earlier_z: float
    later_z: float
    verdict: Verdict


@dataclass(slots=True)
class _Level:
    """A running mean."""

    mean: float = 0.0
    count: int = 0

    def follow(self, points: float, memory: int) -> None:
        self.count += 1
        self.mean += (points - self.mean) / min(self.count, memory)


@dataclass(slots=True)
class _Levels:
    """What the champion misses by, for everybody and for each tenant."""

    all: _Level = field(default_factory=_Level)
    own: defaultdict[str, _Level] = field(default_factory=lambda: defaultdict(_Level))


def centre(residuals: Sequence[Residual]) -> list[Residual]:
    """Take off the running mean residual before each, in the order in which results came in."""
    levels = _Levels()
    centred = []
    for residual in residuals:
        own = levels.own[residual.tenant]
        beside = residual.points - levels.all.mean
        trust = own.count / (own.count + TENANT_DOUBT)
        centred.append(Residual(residual.tenant, beside - trust * own.mean))
        own.follow(beside, TENANT_MEMORY)
        levels.all.follow(residual.points, MEMORY)
    return centred


def contrast(fired: Sequence[Residual], *, scope: Scope) -> Contrast:
    """Judge a predicate by the centred residuals of the videos that it fired on, in order."""
    tenants = len({residual.tenant for residual in fired})
    half = len(fired) // 2
    if len(fired) < LEAST_FIRINGS[scope] or tenants < LEAST_TENANTS[scope]:
        effect = fmean(residual.points for residual in fired) if fired else 0.0
        return Contrast(len(fired), tenants, effect, 0.0, 0.0, "waiting")
    earlier, later = fired[:half], fired[half:]
    sign = 1.0 if _sum(earlier) >= 0 else -1.0
    earlier_z, later_z = sign * _z(earlier), sign * _z(later)
    is_held = earlier_z > LEAST_EARLIER_Z and later_z > LEAST_Z
    return Contrast(
        firings=len(fired),
        tenants=tenants,
        effect=_sum(fired) / len(fired),
        earlier_z=earlier_z,
        later_z=later_z,
        verdict="accepted" if is_held else "rejected",
    )


def _z(residuals: Sequence[Residual]) -> float:
    """Divide the mean by its standard error.

    Videos of one tenant err together, so the error is at least that of the tenants' sums
    (the cluster-robust variance of a mean: Liang and Zeger 1986).
    """
    count = len(residuals)
    mean = _sum(residuals) / count
    deviations: defaultdict[str, list[float]] = defaultdict(list)
    for residual in residuals:
        deviations[residual.tenant].append(residual.points - mean)
    single = _squares(each for own in deviations.values() for each in own) / max(count - 1, 1)
    together = _squares(fsum(own) for own in deviations.values()) / count
    error = sqrt(max(single, together) / count)
    if error == 0:
        return inf if mean > 0 else -inf if mean < 0 else 0.0
    return mean / error


def _sum(residuals: Sequence[Residual]) -> float:
    return fsum(residual.points for residual in residuals)


def _squares(values: Iterable[float]) -> float:
    return fsum(value**2 for value in values)
