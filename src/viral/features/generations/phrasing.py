"""What was said before: no run of five words twice within a tenant's latest concepts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Shorter runs are grammar ("what it does to"), longer ones let a reader notice first.
RUN_WORDS = 5
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")

Run = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Said:
    """The lines of one concept, and the topic that they are about."""

    topic: str
    title: str
    hook: str = ""
    caption: str = ""

    @property
    def lines(self) -> tuple[str, str, str]:
        return self.title, self.hook, self.caption


# Whoever writes for many concepts remembers the same lines each time.
@lru_cache(maxsize=8192)
def runs_of(line: str, topic: str) -> frozenset[Run]:
    """List every run of five words, or a shorter line as it is.

    A stretch of the topic's words counts as one word: a long topic is no repetition by itself,
    but the same words around it are.
    """
    words = _masked(_words(line), _words(topic))
    last = max(0, len(words) - RUN_WORDS)
    return frozenset(words[i : i + RUN_WORDS] for i in range(last + 1) if words)


class Phrases:
    """The runs that were said, and whether a line says one of them again."""

    def __init__(self, said: Iterable[Said] = ()) -> None:
        self._runs: set[Run] = set()
        for each in said:
            self.add(each)

    def add(self, said: Said) -> None:
        for line in said.lines:
            self._runs |= runs_of(line, said.topic)

    def are_fresh(self, said: Said) -> bool:
        return all(self.is_fresh(line, said.topic) for line in said.lines)

    def is_fresh(self, line: str, topic: str) -> bool:
        return self._runs.isdisjoint(runs_of(line, topic))


@lru_cache(maxsize=4096)
def _words(line: str) -> Run:
    return tuple(_WORD.findall(line.casefold()))


def _masked(words: Run, topic: Run) -> Run:
    """Join each longest stretch of two topic words or more to one word."""
    masked: list[str] = []
    place = 0
    while place < len(words):
        length = _stretch(words, place, topic)
        masked.append(" ".join(words[place : place + length]))
        place += length
    return tuple(masked)


def _stretch(words: Run, place: int, topic: Run) -> int:
    """Count how many words from here on stand in the topic, in its order; at least one."""
    longest = 1
    for start, word in enumerate(topic):
        if word != words[place]:
            continue
        length = 1
        while topic[start + length : start + length + 1] == words[place + length :][:1] != ():
            length += 1
        longest = max(longest, length)
    return longest
