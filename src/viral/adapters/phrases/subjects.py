"""What a draft is about, and its words: templates whose slots are filled in a category's voice."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

    from viral.adapters.phrases import Manner, Voice
    from viral.features.trends import TrendBrief

ITEMS = {"three": 3, "four": 4, "five": 5}
# A phrase of more words is read as a clause of its own and put before a colon.
_PHRASE_WORDS = 5
_SPANS = ("twenty seconds", "thirty seconds", "forty seconds", "one minute")
_DAYS = ("three days", "five days", "seven days", "two weeks")
_SLOT = re.compile(r"\{(\w+)\}")
_CLAUSE_START = frozenset(
    {
        "are",
        "can",
        "could",
        "did",
        "do",
        "does",
        "how",
        "is",
        "should",
        "what",
        "when",
        "where",
        "who",
        "why",
    }
)


@dataclass(frozen=True, slots=True)
class Subject:
    """A trend, cleaned, with the voice that speaks about it and the manner of the platform."""

    trend: TrendBrief
    category: str
    voice: Voice
    manner: Manner

    @property
    def topic(self) -> str:
        return self.trend.topic

    @property
    def is_clause(self) -> bool:
        words = self.topic.casefold().split()
        is_long = len(words) > _PHRASE_WORDS or "," in self.topic
        return is_long or words[0] in _CLAUSE_START

    def choices(self) -> dict[str, tuple[str, ...]]:
        """Every value a slot may take."""
        voice = self.voice
        return {
            "topic": (self.topic,),
            "who": voice.who,
            "want": voice.want,
            "measure": voice.measure,
            "other": voice.measure,
            "slip": voice.slip,
            "where": voice.where,
            "rival": voice.rival,
            "n": tuple(ITEMS),
            "span": _SPANS,
            "days": _DAYS,
        }


def draw(choices: dict[str, tuple[str, ...]], rng: Random) -> dict[str, str]:
    """Choose a value for every slot; the other measure is another one."""
    values = {name: rng.choice(options) for name, options in choices.items()}
    values["other"] = rng.choice([m for m in choices["other"] if m != values["measure"]])
    return values


def fill(template: str, values: dict[str, str]) -> str:
    """Fill the slots in one pass, so that braces or format fields in a value stay text."""

    def value(slot: re.Match[str]) -> str:
        before = template[: slot.start()]
        starts = not before or before.endswith((". ", "? "))
        return _capital(values[slot[1]]) if starts else values[slot[1]]

    return _SLOT.sub(value, template)


def _capital(text: str) -> str:
    # "iPhone" keeps its own case.
    first = text.split(" ", 1)[0]
    return text[:1].upper() + text[1:] if first == first.lower() else text
