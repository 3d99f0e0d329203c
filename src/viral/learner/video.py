"""A video as the learner sees it, and the effects that it touches."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log2, log10
from typing import TYPE_CHECKING

from viral.learner.families import GLOBAL, TENANT, EffectKey
from viral.learner.titles import MOST_WORDS, WORD, phrases, title_keys, title_words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

MOST_TAGS = 10
NO_TAGS = "[none]"  # what YouTube's data files write for a video without tags


@dataclass(frozen=True, slots=True)
class Video:
    """What is known of a video before it is published; None is "not known".

    `script` are features by name (`scripts.script_features`), `hypotheses` the effects of the
    tenant's hypotheses that hold for it.
    """

    tenant: str
    category: str
    published_at: datetime
    title: str
    tags: tuple[str, ...]
    duration_s: int | None
    followers: int | None
    sound: str | None
    hook_type: str | None = None
    hook: str = ""
    script: tuple[str, ...] = ()
    hypotheses: tuple[EffectKey, ...] = ()


def effect_keys(video: Video) -> tuple[EffectKey, ...]:
    """Name the effects of a video, always in the same order: sums of floats depend on it."""
    tags = tags_of(video)
    return (
        GLOBAL,
        ("category", video.category),
        TENANT,
        ("tenant_category", video.category),
        ("hour", str(video.published_at.hour // 3)),
        ("weekday", str(video.published_at.weekday())),
        ("tag_count", str(min(len(tags), 10))),
        ("title_length", str(min(len(video.title) // 10, 10))),
        *_optional_keys(video),
        *title_keys(video.title),
        *_word_keys(video, tags),
        *video.hypotheses,
    )


def tags_of(video: Video) -> tuple[str, ...]:
    """Give the tags in lower case, without blanks and without the mark for "none"."""
    lowered = (tag.strip().lower() for tag in video.tags)
    return tuple(tag for tag in lowered if tag and tag != NO_TAGS)


def words_of(video: Video) -> tuple[str, ...]:
    """Give every tag and every word of tags, title and hook, once, in lower case."""
    tags = tags_of(video)
    found = WORD.findall(" ".join((*tags, video.title, video.hook)).lower())
    return tuple(dict.fromkeys((*tags, *found)))


def _optional_keys(video: Video) -> Iterator[EffectKey]:
    if video.duration_s is not None:
        octaves = log2(1 + video.duration_s)
        yield "duration", str(floor(octaves))
        yield "duration_half", str(floor(2 * octaves))
        yield "tenant_duration", str(floor(octaves))
    if video.followers is not None:
        yield "followers", str(floor(2 * log10(max(video.followers, 1))))
    if video.sound is not None:
        yield "sound", video.sound
        yield "tenant_sound", video.sound
    if video.hook_type is not None:
        yield "hook", video.hook_type
        yield "tenant_hook", video.hook_type
    for feature in video.script:
        yield "script", feature
        yield "tenant_script", feature


def _word_keys(video: Video, tags: tuple[str, ...]) -> Iterator[EffectKey]:
    """Name tags, words and pairs of words: a bounded number of each, or tags fill all places."""
    in_title = title_words(video.title)
    in_hook = title_words(video.hook)
    words = dict.fromkeys(tags[:MOST_TAGS])
    words |= dict.fromkeys(list(dict.fromkeys(in_title))[:MOST_WORDS])
    words |= dict.fromkeys(list(dict.fromkeys(in_hook))[:MOST_WORDS])
    words |= dict.fromkeys(phrases(in_title))
    for word in words:
        yield "word", word
        yield "tenant_word", word
