"""Make a phrase of a trend's topic, which is text that strangers wrote."""

from __future__ import annotations

import re
import unicodedata

# The patterns below are quadratic in the worst case.
_INPUT_MAX = 1000
_TOPIC_MAX = 56
_SHOUT_MIN = 10

_SCRIPT = re.compile(r"<(script|style)\b.*?(</\1\s*>|$)", re.IGNORECASE | re.DOTALL)
_MARKUP = re.compile(r"<[^<>]*>|\{\{.*?\}\}|\{%.*?%\}|\$\{.*?\}", re.DOTALL)
_URL = re.compile(r"\b(?:[a-z][a-z0-9+.-]*://|www\.)\S+|\bjavascript:\S*", re.IGNORECASE)
# Text that speaks to a model and not to a viewer, up to its end.
_ORDER = re.compile(
    r"\b(?:ignore|disregard|forget|override)\s+(?:all|any|every|the|your|my|these|those|previous|prior"
    r"|above|everything)\b[^.!?]*\b(?:instructions?|prompts?|above|previous)\b.*"
    r"|\b(?:you are now|system prompt|developer message)\b.*"
    r"|^\W*(?:system|assistant|user)\s*:.*",
    re.IGNORECASE,
)
# "Headline | Publisher" and "Headline - Publisher", as news feeds write them.
_PUBLISHER = re.compile(r"(?<=\w)\s+[|\u2013\u2014-]\s+[^|\u2013\u2014]{1,30}$")
_SENTENCE_END = re.compile(r"\s*[.!?;:]+\s+")
_LEADING = frozenset(
    {"a", "an", "the", "my", "your", "our", "his", "her", "their", "this", "that", "these", "those"}
)
_LOOSE_END = _LEADING | frozenset(
    {
        "about",
        "after",
        "and",
        "as",
        "at",
        "before",
        "but",
        "by",
        "for",
        "from",
        "in",
        "into",
        "is",
        "nor",
        "of",
        "on",
        "or",
        "over",
        "than",
        "to",
        "under",
        "vs",
        "with",
        "without",
    }
)


def clean_topic(text: str) -> str:
    """Make a phrase of untrusted text: no markup, addresses, orders or controls; may be empty."""
    text = text[:_INPUT_MAX]
    # Invisible signs go first: they could split an address or a tag.
    text = "".join(
        c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf"
    )
    text = _URL.sub(" ", _MARKUP.sub(" ", _SCRIPT.sub(" ", text)))
    text = _printable(_PUBLISHER.sub("", text.strip()))
    text = _ORDER.sub(" ", text)
    text = _SENTENCE_END.sub(", ", text + " ")
    text = " ".join(text.split()).strip(" ,.;:!?-\u2013\u2014'\"")
    if text.isupper() and " " in text and len(text) >= _SHOUT_MIN:
        text = text.lower()
    text = _cut(text, _TOPIC_MAX)
    first, _, rest = text.partition(" ")
    if first in {"A", "An", "The", "My", "Your", "Our", "This", "These"}:
        text = f"{first.lower()} {rest}"
    says_something = any(c.isalpha() for c in text) and not _LOOSE_END.issuperset(text.split())
    return text if says_something else ""


def _printable(text: str) -> str:
    """Drop controls, pictures and the signs that markup and templates are made of."""
    kept = (
        " " if unicodedata.category(c)[0] in "CZ" else c
        for c in text
        if c not in "{}<>[]`|\\*#@~^" and unicodedata.category(c) not in {"So", "Sk"}
    )
    return "".join(kept)


def _cut(text: str, limit: int) -> str:
    """Cut at a word, and never leave a preposition or article hanging."""
    if len(text) <= limit:
        return text
    words = text[: limit + 1].rsplit(" ", 1)[0][:limit].split()
    while len(words) > 1 and words[-1].casefold().strip(",") in _LOOSE_END:
        words.pop()
    return " ".join(words).rstrip(" ,.;:-")


def without_article(topic: str) -> str:
    """Cut a leading article or possessive."""
    first, _, rest = topic.partition(" ")
    return rest if rest and first.casefold() in _LEADING else topic
