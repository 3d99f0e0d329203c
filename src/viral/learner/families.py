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
    "global": Family(30, 0.3, is_shared=True),
    "category": Family(8, 0.15, is_shared=True),
    "tenant": Family(22, 0.9, is_shared=False),
    "tenant_category": Family(4, 0.15, is_shared=False),
    "hour": Family(3, 0.02, is_shared=True),
    "weekday": Family(1.5, 0.02, is_shared=True),
    "duration": Family(4, 0.03, is_shared=True),
    "duration_half": Family(3, 0.03, is_shared=True),
    "tenant_duration": Family(3, 0.03, is_shared=False),
    "followers": Family(30, 0.5, is_shared=True),
    "tag_count": Family(3, 0.03, is_shared=True),
    "title_length": Family(5, 0.03, is_shared=True),
    "title_digits": Family(3, 0.03, is_shared=True),
    "title_capitals": Family(5, 0.03, is_shared=True),
    "title_emoji": Family(4, 0.03, is_shared=True),
    "tenant_title_start": Family(5, 0.03, is_shared=False),
    "tenant_title_end": Family(4, 0.03, is_shared=False),
    "tenant_title_marks": Family(3, 0.03, is_shared=False),
    "hook": Family(6, 0.05, is_shared=True),
    "tenant_hook": Family(4, 0.1, is_shared=False),
    "script": Family(4, 0.05, is_shared=True),
    "tenant_script": Family(3, 0.05, is_shared=False),
    "sound": Family(2, 0.1, is_shared=True),
    "tenant_sound": Family(2, 0.05, is_shared=False),
    "hypothesis_low": Family(2, 0.1, is_shared=False),
    "hypothesis": Family(4, 0.1, is_shared=False),
    "hypothesis_high": Family(6, 0.1, is_shared=False),
    "word": Family(4, 0.015, is_shared=True),
    "tenant_word": Family(3.5, 0.05, is_shared=False),
}

GLOBAL: EffectKey = ("global", "")
TENANT: EffectKey = ("tenant", "")

WORD_FAMILIES = ("word", "tenant_word")
# By stated confidence: it says how far an effect may go, never where it starts.
HYPOTHESES: dict[str, str] = {
    "low": "hypothesis_low",
    "medium": "hypothesis",
    "high": "hypothesis_high",
}

# Rows of state that are no effects.
NOISE: EffectKey = ("noise", "")
WIDTH: EffectKey = ("width", "")
NEWCOMER: EffectKey = ("newcomer", "")
TRUST: EffectKey = ("trust", "")
