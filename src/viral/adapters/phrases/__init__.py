"""The phrase library: our own wording, one TOML file for each concern and each category."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import TypeVar

import msgspec

_T = TypeVar("_T")


class Beat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a scene shows and what stands on the screen."""

    show: str
    say: str


class Voice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The words of one category."""

    style: str
    who: tuple[str, ...]
    want: tuple[str, ...]
    measure: tuple[str, ...]
    slip: tuple[str, ...]
    where: tuple[str, ...]
    rival: tuple[str, ...]
    tags: tuple[str, ...]
    hours: tuple[int, ...]
    durations: tuple[int, ...]
    ctas: tuple[str, ...]
    beats: tuple[Beat, ...]
    titles: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    hooks: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)


class Manner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a platform is spoken to: `seconds` are the shortest and the longest video."""

    title_max: int
    caption_max: int
    most_tags: int
    tags: tuple[str, ...]
    seconds: tuple[int, int]
    caption: str
    ctas: tuple[str, ...]


class Lines(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Templates by hook type: for a topic that is a phrase, and for one that is a clause."""

    phrase: dict[str, tuple[str, ...]]
    headline: dict[str, tuple[str, ...]]

    def of(self, hook_type: str, *, is_clause: bool) -> tuple[str, ...]:
        return (self.headline if is_clause else self.phrase)[hook_type]


class Staging(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one hook type opens, lands and works."""

    reason: str
    open: tuple[str, ...]
    close: tuple[Beat, ...]


class Scripts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Camera moves by position, and the staging of each hook type."""

    cameras: dict[str, tuple[str, ...]]
    types: dict[str, Staging]


def read_phrases(name: str, kind: type[_T]) -> _T:
    """Read and check one file of the library."""
    text = (resources.files(__name__) / f"{name}.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), kind)
