"""How much one tenant moves what all tenants share.

A tenant that reports without end, or twenty that lie together, must not decide what is believed
of everybody's videos. Repetition counts less and less: all contributions of a tenant to one
effect amount to no more than a number of first ones. And who is far from everybody else teaches
others little: its own level explains its results, truthful or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from viral.learner.effects import Effect

# Contributions after which one tenant's next one counts a quarter; all together count as so many.
# With few tenants the strict cap would starve the shared effects: .1 to .45 MAE on 16 channels.
CAP, CAP_OF_FEW, FEW_TENANTS = 10.0, 100.0, 20
# Points between a tenant's level and a newcomer's at which its word counts half.
FAR = 30.0


def cap_among(tenants: int) -> float:
    """Choose the cap by how many tenants there are."""
    return CAP if tenants >= FEW_TENANTS else CAP_OF_FEW


def repeated(earlier: int, cap: float) -> float:
    """Give the weight of a contribution that follows so many of the same tenant."""
    return 1 / (1 + earlier / cap) ** 2


def credit(tenant: Effect | None, level: float) -> float:
    """Give the weight of a tenant's results, by how far its level is from a newcomer's."""
    distance = tenant.mean - level if tenant else 0.0
    return 1 / (1 + (distance / FAR) ** 2)
