"""The level at which a new tenant starts: the tenants' mean, sure and recent ones first."""

from __future__ import annotations

from math import exp

from viral.learner.effects import Effect
from viral.learner.families import FAMILIES, TENANT

MEMORY_DAYS = 80
# Two votes for zero: the first tenants of an installation do not set the level alone.
FIRST_VOTES = 2.0
DOUBT = 4 / FAMILIES[TENANT[0]].prior_variance


def newcomer_level(row: Effect | None) -> float:
    """Divide the sum of votes (kept in `mean`) by the sum of their weights (kept in `variance`)."""
    return row.mean / row.variance if row else 0.0


def first_row(day: int) -> Effect:
    return Effect(mean=0.0, variance=FIRST_VOTES, n=0, day=day, published=0.0)


def age_votes(row: Effect, day: int) -> None:
    """Let old votes fade."""
    fade = _fade(day - row.day)
    row.mean *= fade
    row.variance *= fade
    row.day = max(row.day, day)


def withdraw_vote(row: Effect, tenant: Effect) -> None:
    """Take out what the tenant voted when its effect was last touched, faded by the same days."""
    weight = _weight(tenant) * _fade(row.day - tenant.day)
    row.mean -= weight * tenant.mean
    row.variance -= weight


def cast_vote(row: Effect, tenant: Effect) -> None:
    """Put in the vote of a tenant whose effect was touched today."""
    weight = _weight(tenant) * _fade(row.day - tenant.day)
    row.mean += weight * tenant.mean
    row.variance += weight


def _weight(tenant: Effect) -> float:
    return 1 / (1 + DOUBT * tenant.variance)


def _fade(days: int) -> float:
    return exp(-max(0, days) / MEMORY_DAYS)
