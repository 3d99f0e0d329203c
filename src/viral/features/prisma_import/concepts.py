"""A concept as the source's JSON has it: its columns, its variants, its scores, and the rest."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from math import ceil, floor
from typing import TYPE_CHECKING, TypeVar

from viral.features.performance.files import LONGEST
from viral.features.prisma_import.fields import LARGEST_INTEGER, Fields, Unusable, platform_of
from viral.schema.content import FORMER_MODEL

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_CATEGORY = LONGEST["category"]
LONGEST_TITLE = LONGEST["title"]
LARGEST_SCORE = 100
# The source tells no interval; this is what its own critic calls accurate.
ACCURATE_WITHIN = 0.2
HOOK_SOURCES = ("template", "evolved", "knowledge-base")
_RANGE = re.compile(r"\s*(?:(\d+):)?(\d+)(?:\.\d+)?\s*s?\s*(?:-|–|to)\s*(?:(\d+):)?(\d+)")  # noqa: RUF001 - people write both dashes
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")

_T = TypeVar("_T")


def concept_values(
    document: dict[str, object], *, made_at: datetime, trends: Sequence[object]
) -> dict[str, object]:
    """Take the columns of a concept out of its document; what stays has no column."""
    fields = Fields(dict(document))
    values: dict[str, object] = {
        "title": fields.word("title", longest=LONGEST_TITLE),
        "category": fields.word("category", longest=LONGEST_CATEGORY),
    }
    del document["title"], document["category"]
    script = [_scene(each) for each in _taken(document, "script", list) or []]
    hashtags = _taken(document, "hashtags", list) or []
    return values | {
        "hook": _hook(script),
        "script": script,
        "duration_s": _duration(script),
        "caption": _taken(document, "caption", str) or "",
        "hashtags": [tag for tag in hashtags if isinstance(tag, str)],
        "why_it_works": _taken(document, "why_it_works", str) or "",
        "post_at": _post_at(document.get("post_time"), made_at),
        "prompts": {
            provider: prompt
            for provider in ("sora", "veo")
            if (prompt := _taken(document, f"{provider}_prompt", str))
        },
        "trend": _trend(document.get("trend_source"), trends),
    }


def variant_values(variant: object) -> dict[str, object]:
    """Read one variant of a concept."""
    if not isinstance(variant, dict):
        raise Unusable("variants", "is no JSON object")
    fields = Fields(variant)
    if not re.fullmatch("[A-Z]", fields.text("label")):
        raise Unusable("variants.label", "is no letter from A to Z")
    return {
        "label": fields.text("label"),
        "title": fields.text("title"),
        "caption": fields.text_or_none("caption") or "",
        "hook_source": fields.choice("hook_source", HOOK_SOURCES),
        "is_selected": variant.get("selected") is True,
    }


def band_of(score: float) -> tuple[float, float]:
    """Return the interval in which the source's critic calls a score accurate."""
    low, high = score * (1 - ACCURATE_WITHIN), score * (1 + ACCURATE_WITHIN)
    # Floored and raised, so that rounding never leaves the score outside.
    return floor(low * 10) / 10, min(float(LARGEST_SCORE), ceil(high * 10) / 10)


def prediction_values(platform: str, virality: object) -> dict[str, object]:
    """Read one score of the source's formula; it stands for both goals."""
    if not isinstance(virality, dict):
        raise Unusable("platform_virality", "is no JSON object")
    score = Fields(virality).number("score")
    if not 0 <= score <= LARGEST_SCORE:
        raise Unusable("platform_virality.score", "is not between 0 and 100")
    low, high = band_of(score)
    reason = {"family": "global", "key": "", "label": "Score of the former system"}
    return {
        "platform": platform_of("platform_virality", platform)[0],
        "score": score,
        "low": low,
        "high": high,
        "engagement_score": score,
        "engagement_low": low,
        "engagement_high": high,
        "reach_score": score,
        "reach_low": low,
        "reach_high": high,
        "reasons": [{**reason, "points": score}],
        "model_version": FORMER_MODEL,
    }


def _taken(document: dict[str, object], key: str, kind: type[_T]) -> _T | None:
    """Take a value out of a document where it has the right form; else it stays."""
    value = document.get(key)
    if not isinstance(value, kind):
        return None
    del document[key]
    return value


def _scene(scene: object) -> object:
    """Write the times of a scene in seconds; a scene in another form stays as it is."""
    if not isinstance(scene, dict):
        return scene
    found = _RANGE.match(str(scene.get("time_range", "")))
    if found is None:
        return scene
    start_minutes, start, end_minutes, end = (int(part or 0) for part in found.groups())
    return {
        "start_s": 60 * start_minutes + start,
        "end_s": 60 * end_minutes + end,
        "on_screen_text": "",
        **{name: value for name, value in scene.items() if name != "time_range"},
    }


def _hook(script: Sequence[object]) -> str:
    """Return the words that open the video: a hook has no place of its own in the source."""
    first = script[0] if script else None
    words = first.get("on_screen_text") if isinstance(first, dict) else None
    return words if isinstance(words, str) else ""


def _duration(script: Sequence[object]) -> int | None:
    ends = [scene["end_s"] for scene in script if isinstance(scene, dict) and "end_s" in scene]
    whole = [end for end in ends if isinstance(end, int) and 0 <= end <= LARGEST_INTEGER]
    return max(whole, default=None)


def _post_at(advice: object, made_at: datetime) -> datetime | None:
    """Read the advised hour: the first one after the concept was made."""
    text = advice.get("utc") if isinstance(advice, dict) else None
    found = _CLOCK.match(text) if isinstance(text, str) else None
    if found is None:
        return None
    hour, minute = (int(part) for part in found.groups())
    moment = made_at.astimezone(UTC).replace(hour=hour, minute=minute, second=0, microsecond=0)
    return moment if moment >= made_at else moment + timedelta(days=1)


def _trend(name: object, trends: Sequence[object]) -> dict[str, object] | None:
    """Find the trend that a concept says it came from."""
    for each in trends:
        if (
            isinstance(each, dict)
            and name is not None
            and name in {each.get("topic"), each.get("id")}
        ):
            return {
                "topic": each.get("topic"),
                "category": each.get("category"),
                "source": each.get("source"),
                "score": each.get("score"),
                "keywords": each.get("related_keywords") or [],
            }
    return None
