"""Effects in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viral.learner.families import HYPOTHESES
from viral.learner.predicates import Between, Both, Named, Predicate, parse_predicate

if TYPE_CHECKING:
    from collections.abc import Callable

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# As `effects.word_hasher` writes it.
_HASH = re.compile(r"[0-9a-f]{32}")
_PLAIN = {
    "global": "Starting point",
    "tenant": "Your level so far",
    "newcomer": "Level of new studios",
    "trust": "How much words count",
    "rest": "Everything smaller",
}


def label_of(family: str, key: str) -> str:
    """Say what an effect is about."""
    if family in _PLAIN:
        return _PLAIN[family]
    say = _SAYINGS.get(family)
    return f"{family} {key}".strip() if say is None else say(key)


def points(value: float, digits: int = 1) -> str:
    """Write a signed number of points: +3.1, -2.4 with a real minus sign, 0.0."""
    text = f"{value:+,.{digits}f}"
    is_zero = not any(digit in text for digit in "123456789")
    return (text.lstrip("+-") if is_zero else text).replace("-", "\N{MINUS SIGN}")


def describe(text: str) -> str:
    """Say a predicate of the grammar in words."""
    return _predicate(parse_predicate(text))


def _predicate(predicate: Predicate) -> str:
    match predicate:
        case Both(first, second):
            words = _predicate(second)
            return f"{_predicate(first)} and {words[0].lower()}{words[1:]}"
        case Between("hour", low, high):
            return f"Posted {low:02}:00 to {high:02}:59 UTC"
        case Between(_, low, high):
            return f"{low} to {high} seconds long"
        case Named("tag", name):
            return f"With #{name}"
        case Named(kind, name):
            return _NAMED[kind].format(name.replace("-", " ") if kind in _TYPES else name)


def _word(key: str) -> str:
    return "A shared word" if _HASH.fullmatch(key) else f"The word “{key}”"


def _hour(key: str) -> str:
    first = 3 * int(key)
    return f"Posted {first:02}:00 to {first + 3:02}:00 UTC"


def _duration(key: str) -> str:
    return f"{2 ** int(key) - 1} to {2 ** (int(key) + 1) - 2} seconds long"


def _half_duration(key: str) -> str:
    first, last = (round(2 ** ((int(key) + step) / 2)) for step in (0, 1))
    return f"About {first - 1} to {last - 1} seconds long"


def _capitals(key: str) -> str:
    return f"Title with {100 * int(key) // 8} % capitals or a little more"


def _marks(key: str) -> str:
    return f"Your titles with {' '.join(key)}" if key else "Your titles without marks"


def _tag_count(key: str) -> str:
    return {"10": "10 hashtags or more", "1": "1 hashtag"}.get(key, f"{key} hashtags")


def _title_length(key: str) -> str:
    first = 10 * int(key)
    last = "or more" if key == "10" else f"to {first + 9}"
    return f"Title of {first} {last} characters"


def _followers(key: str) -> str:
    # Two digits say enough: the bounds are half powers of ten.
    first, last = (float(f"{10 ** ((int(key) + step) / 2):.1e}") for step in (0, 1))
    return f"{first:,.0f} to {last:,.0f} followers"


_TYPES = ("hook", "script")
_NAMED = {
    "word": "With the word “{}”",
    "hook": "Hook: {}",
    "sound": "With the sound “{}”",
    "script": "Script: {}",
}
_SAYINGS: dict[str, Callable[[str], str]] = {
    "category": lambda key: f"Category {key}",
    "tenant_category": lambda key: f"Your videos in {key}",
    "hour": _hour,
    "weekday": lambda key: f"Posted on {_WEEKDAYS[int(key)]}",
    "duration": _duration,
    "tag_count": _tag_count,
    "title_length": _title_length,
    "duration_half": _half_duration,
    "tenant_duration": lambda key: f"Your videos of {_duration(key)}",
    "title_digits": lambda key: f"Title with {key} digits" + (" or more" if key == "5" else ""),
    "title_capitals": _capitals,
    "title_emoji": lambda key: f"Title with {key} emoji" + (" or more" if key == "3" else ""),
    "tenant_title_start": lambda key: f"Your titles that start with “{key}”",
    "tenant_title_end": lambda key: f"Your titles that end with “{key}”",
    "tenant_title_marks": _marks,
    "script": lambda key: f"Script: {key.replace('-', ' ')}",
    "tenant_script": lambda key: f"Your scripts: {key.replace('-', ' ')}",
    "tenant_sound": lambda key: (
        "Your videos with original sound" if key == "original" else "Your videos with this sound"
    ),
    "followers": _followers,
    "hook": lambda key: f"Hook: {key.replace('-', ' ')}",
    "tenant_hook": lambda key: f"Your hooks: {key.replace('-', ' ')}",
    "sound": lambda key: "Original sound" if key == "original" else "This sound",
    "word": _word,
    "tenant_word": lambda key: f"Your videos with “{key}”",
    **dict.fromkeys(HYPOTHESES.values(), describe),
}
