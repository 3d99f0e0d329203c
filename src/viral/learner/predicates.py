"""A closed grammar of what a hypothesis may say about a video, as text and as values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from viral.errors import BadInput
from viral.learner.video import tags_of, words_of

if TYPE_CHECKING:
    from viral.learner.video import Video

NameKind = Literal["tag", "word", "hook", "sound", "script"]
RangeKind = Literal["duration", "hour"]

# For prompts and for messages; one line a form.
GRAMMAR = """\
tag:NAME            one of its hashtags is NAME
word:NAME           its hashtags, title or hook contain the word NAME
hook:NAME           its hook is of the type NAME
sound:NAME          its sound is NAME
script:NAME         its script has the feature NAME
duration:FROM..TO   it lasts FROM to TO seconds
hour:FROM..TO       it is published from FROM:00 to TO:59 UTC; 22..3 passes midnight
A & B               both of two of these hold"""

AND = " & "
LONGEST_NAME = 80
LARGEST: dict[RangeKind, int] = {"duration": 86_400, "hour": 23}
_HINT = "Write it as one of these:\n" + GRAMMAR
_RANGE = re.compile(r"([0-9]{1,5})\.\.([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Named:
    """The video has something of this name: a tag, a word, a type of hook."""

    kind: NameKind
    name: str


@dataclass(frozen=True, slots=True)
class Between:
    """A number of the video lies in a range, both ends in it."""

    kind: RangeKind
    low: int
    high: int


Simple = Named | Between


@dataclass(frozen=True, slots=True)
class Both:
    """Two simple predicates hold, in the order of their texts: a pair has one form."""

    first: Simple
    second: Simple


Predicate = Named | Between | Both


def parse_predicate(text: str) -> Predicate:
    """Read a predicate; raises BadInput with the grammar where it is none."""
    parts = [_simple(part) for part in text.split("&")]
    if len(parts) == 1:
        return parts[0]
    if len(parts) > len(("first", "second")) or parts[0] == parts[1]:
        raise BadInput(f"{text[:200]!r} does not join two different conditions.", hint=_HINT)
    first, second = sorted(parts, key=format_predicate)
    return Both(first, second)


def format_predicate(predicate: Predicate) -> str:
    """Write a predicate as `parse_predicate` reads it; equal predicates have equal texts."""
    match predicate:
        case Named(kind, name):
            return f"{kind}:{name}"
        case Between(kind, low, high):
            return f"{kind}:{low}..{high}"
        case Both(first, second):
            return format_predicate(first) + AND + format_predicate(second)


def fires(predicate: Predicate, video: Video) -> bool:
    """Tell whether a predicate holds; what is not known of a video does not."""
    match predicate:
        case Named(kind, name):
            return name in _names(kind, video)
        case Between("hour", low, high):
            hour = video.published_at.hour
            return low <= hour <= high if low <= high else hour >= low or hour <= high
        case Between(_, low, high):
            return video.duration_s is not None and low <= video.duration_s <= high
        case Both(first, second):
            return fires(first, video) and fires(second, video)


def holds_text(predicate: Predicate) -> bool:
    """Tell whether it repeats a tenant's own words: such a one is never shared."""
    match predicate:
        case Named(kind, _):
            return kind in {"tag", "word", "sound"}
        case Between():
            return False
        case Both(first, second):
            return holds_text(first) or holds_text(second)


def _names(kind: NameKind, video: Video) -> tuple[str, ...]:
    match kind:
        case "tag":
            return tags_of(video)
        case "word":
            return words_of(video)
        case "hook":
            return () if video.hook_type is None else (video.hook_type.lower(),)
        case "sound":
            return () if video.sound is None else (video.sound.lower(),)
        case "script":
            return video.script


def _simple(text: str) -> Simple:
    kind, _, value = (part.strip().lower() for part in text.partition(":"))
    for range_kind in get_args(RangeKind):
        if kind == range_kind:
            return _between(range_kind, value)
    for name_kind in get_args(NameKind):
        if kind == name_kind:
            return _named(name_kind, value)
    raise BadInput(f"{text.strip()[:200]!r} is not a condition.", hint=_HINT)


def _named(kind: NameKind, value: str) -> Named:
    name = value.removeprefix("#") if kind in {"tag", "word"} else value
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise BadInput(
            f"{kind}:{value[:LONGEST_NAME]!r} needs a name of 1 to {LONGEST_NAME} characters.",
            hint=_HINT,
        )
    return Named(kind, name)


def _between(kind: RangeKind, value: str) -> Between:
    match = _RANGE.fullmatch(value)
    low, high = (int(match[1]), int(match[2])) if match else (1, 0)
    # Only hours go round.
    is_forward = low <= high or (kind == "hour" and match is not None)
    if not is_forward or max(low, high) > LARGEST[kind]:
        raise BadInput(
            f"{kind}:{value[:LONGEST_NAME]!r} is not a range within 0..{LARGEST[kind]}.", hint=_HINT
        )
    return Between(kind, low, high)
