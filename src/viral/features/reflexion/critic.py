"""What a critic is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from viral.features.scoring.predictions import Reason
    from viral.schema.vocabulary import Confidence, Direction


@dataclass(frozen=True, slots=True)
class Miss:
    """A prediction whose interval did not hold the outcome; scores run 0..100."""

    title: str
    category: str
    platform: str
    predicted: float
    low: float
    high: float
    actual: float
    engagement_rate: float
    views: int
    reasons: tuple[Reason, ...]
    direction: Direction


@dataclass(frozen=True, slots=True)
class Critique:
    """What a critic makes of a miss."""

    text: str
    reasons: tuple[str, ...]
    issues: tuple[str, ...]
    plan: str
    confidence: Confidence


class Critic(Protocol):
    """Explains misses."""

    name: str

    async def critique(self, miss: Miss) -> Critique:
        """Explain one miss; never invents numbers that are not in it."""
        ...
