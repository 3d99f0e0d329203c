"""What the form of a title says, beside its words."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.learner.families import EffectKey

# Letters and digits of any script: titles are not all English.
WORD = re.compile(r"[^\W_]+")
MOST_WORDS = 12
MOST_PHRASES = 12
MOST_DIGITS = 5
MOST_EMOJI = 3
CAPITAL_STEPS = 8
# Arrows, symbols and all pictures come after it.
FIRST_PICTURE = "\u2190"
MARKS = "|:-([#?!"


def title_keys(title: str) -> Iterator[EffectKey]:
    """Name the effects of a title's form: counts for all, and how this tenant builds titles."""
    if not title:
        return
    letters = "".join(filter(str.isalpha, title))
    capitals = sum(map(str.isupper, letters)) / max(len(letters), 1)
    yield "title_digits", str(min(sum(map(str.isdigit, title)), MOST_DIGITS))
    yield "title_capitals", str(int(capitals * CAPITAL_STEPS))
    yield "title_emoji", str(min(sum(map(FIRST_PICTURE.__lt__, title)), MOST_EMOJI))
    yield "tenant_title_marks", "".join(mark for mark in MARKS if mark in title)
    # A series repeats its first or its last word; its numbers are all one.
    words = ["#" if word.isdigit() else word for word in title_words(title)]
    if words:
        yield "tenant_title_start", words[0]
        yield "tenant_title_end", words[-1]


def title_words(title: str) -> list[str]:
    """Give all words in lower case, in order."""
    return WORD.findall(title.lower())


def phrases(words: list[str]) -> list[str]:
    """Give the first pairs of neighbours, each once: "slow cooker" is neither slow nor a cooker."""
    pairs = dict.fromkeys(pairwise(words))
    return [" ".join(pair) for pair in list(pairs)[:MOST_PHRASES]]
