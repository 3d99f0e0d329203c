"""The families of effects: how large one may be, how fast it drifts, and who owns it."""

from __future__ import annotations

from dataclasses import dataclass, field

EffectKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Family:
    """Prior standard deviation and random walk a day, both in score points, and their squares."""

    prior_sd: float
    drift_sd: float
    is_shared: bool
    prior_variance: float = field(init=False)
    drift_variance: float = field(init=False)

    def __post_init__(self) -> None:
        # Asked for by every effect of every video.
        object.__setattr__(self, "prior_variance", self.prior_sd**2)
        object.__setattr__(self, "drift_variance", self.drift_sd**2)


# Shared families are learnt from all tenants and hold nothing of one; the others are a tenant's.
FAMILIES: dict[str, Family] = {
    "global": Family(30, 0.05, is_shared=True),
    "category": Family(8, 0.08, is_shared=True),
    "tenant": Family(18, 0.9, is_shared=False),
    "tenant_category": Family(4, 0.10, is_shared=False),
    "hour": Family(3, 0.02, is_shared=True),
    "weekday": Family(2, 0.02, is_shared=True),
    "duration": Family(5, 0.03, is_shared=True),
    "tag_count": Family(4, 0.03, is_shared=True),
    "title_length": Family(4, 0.03, is_shared=True),
    "followers": Family(20, 0.05, is_shared=True),
    "hook": Family(6, 0.05, is_shared=True),
    "tenant_hook": Family(4, 0.1, is_shared=False),
    "sound": Family(4, 0.1, is_shared=True),
    "word": Family(4, 0.05, is_shared=True),
    "tenant_word": Family(4, 0.05, is_shared=False),
    "hypothesis_low": Family(2, 0.1, is_shared=False),
    "hypothesis": Family(4, 0.1, is_shared=False),
    "hypothesis_high": Family(6, 0.1, is_shared=False),
}

# By stated confidence: it says how far an effect may go, never where it starts.
HYPOTHESES: dict[str, str] = {
    "low": "hypothesis_low",
    "medium": "hypothesis",
    "high": "hypothesis_high",
}

GLOBAL: EffectKey = ("global", "")
TENANT: EffectKey = ("tenant", "")

# Rows of state that are no effects.
NOISE: EffectKey = ("noise", "")
WIDTH: EffectKey = ("width", "")
NEWCOMER: EffectKey = ("newcomer", "")
