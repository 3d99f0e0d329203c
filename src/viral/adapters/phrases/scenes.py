"""What is seen and posted beside the words: scenes, hashtags, prompts for pictures."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from viral.adapters.phrases.topics import without_article
from viral.features.generations.drafts import Scene

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from random import Random

    from viral.adapters.phrases import Beat
    from viral.adapters.phrases.subjects import Subject

_SHORT_S = 12
_TAG_LENGTHS = range(2, 25)
_NOT_TAG = re.compile(r"[^a-z0-9_]")


def middle_scenes(length_s: int) -> int:
    """Cut often enough that no scene drags, and leave each two seconds or more."""
    return min(4, 1 + length_s // 10)


def scenes_of(
    beats: Sequence[Beat], duration_s: int, cameras: dict[str, tuple[str, ...]], rng: Random
) -> tuple[Scene, ...]:
    """Give the hook its first two or three seconds and share the rest out evenly."""
    opening = 2 if duration_s < _SHORT_S else 3
    rest = len(beats) - 1
    cuts = [0, *(opening + (duration_s - opening) * i // rest for i in range(rest + 1))]
    places = ["open", *["middle"] * (rest - 1), "close"]
    return tuple(
        Scene(start, end, beat.show, rng.choice(cameras[place]), beat.say)
        for beat, place, start, end in zip(beats, places, cuts, cuts[1:], strict=False)
    )


def hashtags_of(
    subject: Subject, rng: Random, *, liked: Iterable[str], disliked: frozenset[str]
) -> tuple[str, ...]:
    """Join the topic, its keywords, what did well before, and two to four tags of the voice."""
    manner = subject.manner
    own = [tag_of(word) for word in (without_article(subject.topic), *subject.trend.keywords[:3])]
    voice = rng.sample(subject.voice.tags, k=rng.randint(3, 4))
    tags = [*manner.tags, *own[:1], *liked, *own[1:], *voice]
    usable = [tag for tag in tags if _is_usable(tag) and tag not in disliked]
    return tuple(dict.fromkeys(usable))[: manner.most_tags]


def tag_of(text: str) -> str:
    """Make a hashtag of a text; may be empty."""
    return _NOT_TAG.sub("", unicodedata.normalize("NFKD", text).casefold())


def prompts_of(
    subject: Subject, hook: str, script: Sequence[Scene], duration_s: int
) -> dict[str, str]:
    """Describe the pictures for each provider; models draw letters badly, so none are asked for."""
    shots = " ".join(f"{s.start_s}-{s.end_s} s: {s.visual}; {s.camera}." for s in script)
    story = ". Then: ".join(s.visual for s in script)
    style, topic, first = subject.voice.style, subject.topic, script[0]
    frame = f"Vertical 9:16 video of {duration_s} seconds about {topic}."
    no_text = "No text, captions or logos in the picture."
    return {
        "neutral": f"{frame} Style: {style}. {shots} {no_text}",
        "sora": f"{frame} {story}. The look: {style}. {no_text}",
        "veo": f"{frame} {shots} Style: {style}. Sound: the room, and a voice: {hook} {no_text}",
        # One clip of Runway holds one shot: the opening decides.
        "runway": f"Vertical 9:16. {first.visual}; {first.camera}. Style: {style}. {no_text}",
    }


def _is_usable(tag: str) -> bool:
    return len(tag) in _TAG_LENGTHS and not tag.isdigit()
