"""What a writer is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from viral.features.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable
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
    """What is asked of a writer.

    `insights` are sentences of what the tenant's own results have confirmed; `voice` is how the
    tenant speaks, in its own words.
    """

    trends: tuple[TrendBrief, ...]
    count: int
    asked_at: datetime
    category: str | None = None
    taken_titles: frozenset[str] = field(default_factory=frozenset)
    taken_hooks: frozenset[str] = field(default_factory=frozenset)
    insights: tuple[str, ...] = ()
    voice: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """The drafts of one brief.

    `writer` names who wrote them, where that is not the writer that was asked; `note` says why,
    and what else is worth knowing of how they came about.
    """

    drafts: tuple[Draft, ...]
    usage: Usage = field(default_factory=Usage)
    writer: str = ""
    note: str = ""


class Writer(Protocol):
    """Turns trends into drafts."""

    name: str

    async def write(
        self, brief: Brief, *, rng: Random, advance: Callable[[int], None] | None = None
    ) -> Written:
        """Write up to `brief.count` drafts; no title or hook that is taken (compare casefolded).

        `advance` is told how many there are, each time one more is.
        """
        ...
