"""Text of strangers made harmless to store and to show, and the key that one topic has everywhere.

What comes out is data: sentences that look like instructions stay sentences, and whoever hands
them to a model has to mark them as such.
"""

from __future__ import annotations

import html
import re
import unicodedata

# What a topic of a source may have; longer ones are cut, because a source cannot be asked again.
LONGEST_FOUND = 200
LONGEST_KEY = 200
# Text of this many times its limit is not looked at: entities and tags take up to this much.
_SLACK = 8
# An opened tag without an end is text; the bound keeps the search linear.
_TAG = re.compile(r"<[a-zA-Z/!?][^<>]{0,500}>")
_SCRIPT = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
# Colours and movements of a terminal (ECMA-48, 5.4).
_TERMINAL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
# They join letters of Persian and parts of emoji; all other format characters hide or reorder.
_JOINERS = "\u200c\u200d"
_MARKS = re.compile("[\u0300-\u036f]")
_APOSTROPHES = re.compile("['\u2018\u2019\u02bc`]")
_HTTP = re.compile(r"https?://[^\s\"'<>\\]+", re.IGNORECASE)
_STOP = frozenset(
    {
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "for",
        "from",
        "has",
        "have",
        "how",
        "in",
        "into",
        "is",
        "it",
        "its",
        "my",
        "new",
        "of",
        "on",
        "or",
        "our",
        "that",
        "the",
        "their",
        "this",
        "to",
        "vs",
        "was",
        "we",
        "what",
        "when",
        "who",
        "why",
        "will",
        "with",
        "you",
        "your",
    }
)
_SHORTEST_PLURAL = 5


def clean_text(value: object, *, limit: int) -> str:
    """Give text as one line of at most `limit` characters: no markup, no controls, no hidden signs.

    A longer one is cut at a word and ends with an ellipsis.
    """
    text = _TERMINAL.sub("", str("" if value is None else value)[: limit * _SLACK])
    # Twice: feeds hold HTML that was escaped before it was put into XML.
    for _ in range(2):
        text = _TAG.sub(" ", _SCRIPT.sub(" ", html.unescape(text)))
    text = unicodedata.normalize("NFC", "".join(_shown(each) for each in text))
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    return f"{cut.rpartition(' ')[0] or cut}\u2026"


def clean_url(value: object, *, limit: int) -> str | None:
    """Give a web address as it is, or None: other schemes could be run by whoever opens them."""
    text = str(value or "").strip()
    return text if len(text) <= limit and _HTTP.fullmatch(text) else None


def folded_words(text: str) -> list[str]:
    """Split text into lower-case words without accents, apostrophes and signs, in their order."""
    folded = _MARKS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    folded = _APOSTROPHES.sub("", folded)
    spaced = (c if unicodedata.category(c)[0] in "LMN" else " " for c in folded)
    return "".join(spaced).split()


def topic_key(topic: str) -> str:
    """Give the key under which all sources name the same topic; never empty for a topic.

    It holds the topic's different words without articles and the like, singular and sorted:
    "One-pan dinners!" and "the dinner (one pan)" have one key.
    """
    words = folded_words(topic)
    telling = [word for word in words if word not in _STOP] or words
    key = " ".join(sorted({_singular(word) for word in telling}))
    return (key or topic.casefold().strip())[:LONGEST_KEY]


def _singular(word: str) -> str:
    is_plural = len(word) >= _SHORTEST_PLURAL and word.endswith("s") and not word.endswith("ss")
    return word[:-1] if is_plural else word


def _shown(character: str) -> str:
    kind = unicodedata.category(character)
    if kind[0] == "Z" or character.isspace():
        return " "
    return "" if kind[0] == "C" and character not in _JOINERS else character
