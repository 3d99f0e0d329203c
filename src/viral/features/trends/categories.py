"""Which of the twelve categories a topic is of: a lexicon of weighted words, and nothing learned.

The points of a category are the weights of its words in the topic and its keywords; those of the
topic count twice. How often that is right is measured by `bench/trend_categories.py`.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from viral.features.trends.topics import folded_words
from viral.schema.vocabulary import CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from viral.schema.vocabulary import Confidence

# What a topic is of when nothing is known: the widest of the twelve.
FALLBACK = "news"
_LONGEST_PHRASE = 3
_SHORTEST_STEM = 2
_SHORTEST_INNER, _SHORTEST_COMPOUND = 5, 8
_TOPIC_WEIGHT = 2
# So many points, and so many times those of the second best, are one strong word in the topic.
_SURE_POINTS, _SURE_RATIO = 6, 2.0
_WEIGHTS = {"strong": 3, "usual": 2, "other_languages": 2, "weak": 1}
# Topics are short; keywords of strangers may be many.
_MOST_WORDS = 200


@dataclass(frozen=True, slots=True)
class Guess:
    """A category, and how sure it is: `low` says that no word was known."""

    category: str
    confidence: Confidence


@dataclass(frozen=True, slots=True)
class _Lexicon:
    # Words and phrases, and beginnings of words, each with its category's points.
    whole: Mapping[str, Mapping[str, int]]
    stems: Mapping[str, Mapping[str, int]]
    # Beginnings that are telling within a word too: hashtags run words together.
    inner: Mapping[str, Mapping[str, int]]
    aliases: Mapping[str, str]


def guess_category(topic: str, keywords: Iterable[str] = (), *, own: str | None = None) -> Guess:
    """Guess the category; `own` is what the source says, and is taken unless words are clear.

    Without any known word it is `own`, or else `news`, with low confidence.
    """
    points = points_of(topic, keywords)
    if not points:
        return Guess(own or FALLBACK, "low")
    (best, most), *others = points.most_common(2)
    second = others[0][1] if others else 0
    if most >= _SURE_POINTS and most >= _SURE_RATIO * second:
        return Guess(best, "high")
    return Guess(own or best, "medium")


def points_of(topic: str, keywords: Iterable[str] = ()) -> Counter[str]:
    """Add up each category's points; equal ones stand in the order of the vocabulary."""
    weights: dict[str, int] = dict.fromkeys(_grams_of(keywords), 1)
    weights |= dict.fromkeys(_grams_of([topic]), _TOPIC_WEIGHT)
    found: Counter[str] = Counter()
    for gram, times in weights.items():
        for category, weight in _entries(gram).items():
            found[category] += weight * times
    return Counter({name: found[name] for name in CATEGORIES if found[name]})


def category_named(text: str) -> str | None:
    """Read what a source calls a category, such as "Technology"; None where it has no name here."""
    name = " ".join(folded_words(text))
    return name if name in CATEGORIES else _lexicon().aliases.get(name)


def _grams_of(texts: Iterable[str]) -> Iterator[str]:
    """Give all words and phrases of each text."""
    left = _MOST_WORDS
    for text in texts:
        if left <= 0:
            return
        words = folded_words(text)[:left]
        left -= len(words)
        for size in range(1, _LONGEST_PHRASE + 1):
            for start in range(len(words) - size + 1):
                yield " ".join(words[start : start + size])


def _entries(gram: str) -> Mapping[str, int]:
    """Look a word or phrase up: as a whole, or else by its longest known beginning."""
    lexicon = _lexicon()
    known = lexicon.whole.get(gram)
    if known is None and gram.endswith("s"):
        known = lexicon.whole.get(gram[:-1])
    if known is not None:
        return known
    for length in range(len(gram), _SHORTEST_STEM - 1, -1):
        known = lexicon.stems.get(gram[:length])
        # The rest of a phrase is no ending of its first word.
        if known is not None and " " not in gram[length:]:
            return known
    if " " in gram or (gram.isascii() and len(gram) < _SHORTEST_COMPOUND):
        return {}
    return next((entry for part, entry in lexicon.inner.items() if part in gram), {})


@cache
def _lexicon() -> _Lexicon:
    text = (files("viral.features.trends") / "categories.toml").read_text("utf-8")
    document: dict[str, dict[str, Sequence[str]]] = tomllib.loads(text)
    aliases = document.pop("aliases")
    whole: dict[str, dict[str, int]] = {}
    stems: dict[str, dict[str, int]] = {}
    for category, groups in document.items():
        for group, entries in groups.items():
            for entry in entries:
                place = stems if entry.endswith("*") else whole
                place.setdefault(entry.rstrip("*"), {})[category] = _WEIGHTS[group]
    inner = {
        stem: points
        for stem, points in sorted(stems.items(), key=lambda entry: -len(entry[0]))
        if not stem.isascii()
        or (len(stem) >= _SHORTEST_INNER and max(points.values()) == _WEIGHTS["strong"])
    }
    named = {name: category for category, names in aliases.items() for name in names}
    return _Lexicon(whole, stems, inner, named)
