"""What a writer is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

    from viral.features.trends import TrendBrief


@dataclass(frozen=True, slots=True)
class Scene:
    """One segment of a script; times are seconds from the start."""

    start_s: int
    end_s: int
    visual: str
    camera: str
    on_screen_text: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """One concept as written, before it is predicted and stored."""

    title: str
    hook: str
    hook_type: str
    category: str
    script: tuple[Scene, ...]
    caption: str
    hashtags: tuple[str, ...]
    duration_s: int
    post_at: datetime
    why_it_works: str
    prompts: dict[str, str]
    trend: TrendBrief


@dataclass(frozen=True, slots=True)
class Brief:
    """What is asked of a writer."""

    trends: tuple[TrendBrief, ...]
    count: int
    asked_at: datetime
    category: str | None = None
    taken_titles: frozenset[str] = field(default_factory=frozenset)
    taken_hooks: frozenset[str] = field(default_factory=frozenset)


class Writer(Protocol):
    """Turns trends into drafts."""

    async def write(self, brief: Brief, *, rng: Random) -> list[Draft]:
        """Write up to `brief.count` drafts; no title or hook that is taken (compare casefolded)."""
        ...
