"""What a critic is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from viral.features.usage import Usage

if TYPE_CHECKING:
    from datetime import datetime

    from viral.features.scoring.predictions import Reason
    from viral.schema.vocabulary import Confidence, Direction


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An earlier video of the same tenant that is much like the missed one; scores run 0..100."""

    title: str
    category: str
    predicted: float
    actual: float


@dataclass(frozen=True, slots=True)
class Miss:
    """A prediction whose interval did not hold the outcome; scores run 0..100.

    What is not known of the video is None or empty; `published_at` is in UTC.
    """

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
    published_at: datetime | None = None
    hook: str = ""
    hook_type: str | None = None
    tags: tuple[str, ...] = ()
    duration_s: int | None = None
    sound: str | None = None
    script_features: tuple[str, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A guess at a cause, to be tested on later results: `predicate` in the closed grammar.

    `sign` is +1 where videos that the predicate holds for do better than predicted.
    """

    predicate: str
    sign: Literal[-1, 1]
    confidence: Confidence
    because: str = ""


@dataclass(frozen=True, slots=True)
class Critique:
    """What a critic makes of a miss.

    `critic` names who wrote it, where that is not the critic that was asked; `note` says why.
    """

    text: str
    reasons: tuple[str, ...]
    issues: tuple[str, ...]
    plan: str
    confidence: Confidence
    hypotheses: tuple[Hypothesis, ...] = ()
    usage: Usage = field(default_factory=Usage)
    critic: str = ""
    note: str = ""


class Critic(Protocol):
    """Explains misses."""

    name: str

    async def critique(self, miss: Miss) -> Critique:
        """Explain one miss; never invents numbers that are not in it."""
        ...
