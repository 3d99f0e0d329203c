"""What a writer is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from viral.features.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from random import Random

    from viral.features.generations.phrasing import Said
    from viral.features.trends import TrendBrief
    from viral.learner.predicates import Predicate
    from viral.schema.vocabulary import Platform

# How a video opens; every writer keeps to these.
HOOK_TYPES = (
    "question",
    "bold-claim",
    "list",
    "mistake",
    "story",
    "challenge",
    "secret",
    "comparison",
)


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
class Wish:
    """What a confirmed insight asks for: more (+1) or less (-1) of what its predicate holds for."""

    predicate: Predicate
    sign: int


@dataclass(frozen=True, slots=True)
class Brief:
    """What is asked of a writer.

    `insights` are sentences of what the tenant's own results have confirmed, `wishes` the same as
    predicates; `said` are the tenant's latest concepts, none of whose phrases is to be used again.
    `hook_shares` say how often each type of hook is to be proposed, by what is published of them;
    empty is equally often. With `hook_types` only these are wanted, in turn.
    """

    trends: tuple[TrendBrief, ...]
    count: int
    asked_at: datetime
    category: str | None = None
    taken_titles: frozenset[str] = field(default_factory=frozenset)
    taken_hooks: frozenset[str] = field(default_factory=frozenset)
    insights: tuple[str, ...] = ()
    platform: Platform | None = None
    said: tuple[Said, ...] = ()
    hook_shares: Mapping[str, float] = field(default_factory=dict)
    wishes: tuple[Wish, ...] = ()
    hook_types: tuple[str, ...] = ()


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

        The drafts are candidates: some of them are picked, the others forgotten.

        `advance` is told how many there are, each time one more is.
        """
        ...
