"""Drafts as Claude is asked for them, read one by one; each fits our limits or is left out."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import msgspec

from viral.adapters.claude.shapes import NUMBER, TEXT, listing, one_of, record
from viral.adapters.claude.texts import cleaned
from viral.adapters.phrases import Scripts, read_phrases
from viral.features.generations.drafts import Draft, Scene
from viral.schema.vocabulary import CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.features.generations.drafts import Brief
    from viral.features.trends import TrendBrief

HOOK_TYPES = tuple(read_phrases("scripts", Scripts).types)

_TITLE_MAX = 90
_HOOK_MAX = 120
_CAPTION_MAX = 300
_ON_SCREEN_MAX = 70
_LINE_MAX = 240
_MOST_TAGS = 8
_TAG_LENGTHS = range(2, 25)
_SCENES = range(2, 9)
_LENGTHS_S = range(5, 91)
_NOT_TAG = re.compile(r"[^\w]")
# In `{"drafts": [{`, a draft is the object at the third level.
_OUTER = 2


class _Scene(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    seconds: Annotated[int, msgspec.Meta(ge=1, le=60)]
    visual: str
    camera: str
    on_screen_text: str


class _Draft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    trend: Annotated[int, msgspec.Meta(ge=0)]
    title: str
    hook: str
    hook_type: str
    scenes: list[_Scene]
    caption: str
    hashtags: list[str]
    days: Annotated[int, msgspec.Meta(ge=0, le=7)]
    hour: Annotated[int, msgspec.Meta(ge=0, le=23)]
    look: str
    why: str


SCHEMA = record(
    drafts=listing(
        record(
            trend=NUMBER,
            title=TEXT,
            hook=TEXT,
            hook_type=one_of(*HOOK_TYPES),
            scenes=listing(record(seconds=NUMBER, visual=TEXT, camera=TEXT, on_screen_text=TEXT)),
            caption=TEXT,
            hashtags=listing(TEXT),
            days=NUMBER,
            hour=NUMBER,
            look=TEXT,
            why=TEXT,
        )
    )
)


class Pieces:
    """Cuts whole drafts out of an answer as it comes, and out of one that never ends."""

    def __init__(self) -> None:
        self._depth = 0
        self._is_text = False
        self._is_escaped = False
        self._piece: list[str] = []

    def feed(self, text: str) -> Iterator[str]:
        """Give the drafts that end in this text, as JSON."""
        for sign in text:
            if self._depth > _OUTER or (self._depth == _OUTER and sign == "{"):
                self._piece.append(sign)
            if self._is_text:
                self._read_text(sign)
            elif sign == '"':
                self._is_text = True
            elif sign in "{[":
                self._depth += 1
            elif sign in "}]":
                self._depth -= 1
                if self._depth == _OUTER and self._piece:
                    yield "".join(self._piece)
                    self._piece.clear()

    def _read_text(self, sign: str) -> None:
        if self._is_escaped:
            self._is_escaped = False
        elif sign == "\\":
            self._is_escaped = True
        elif sign == '"':
            self._is_text = False


class Reader:
    """Keeps what answers a brief and fits our limits, up to the number that was asked for."""

    def __init__(self, brief: Brief) -> None:
        self.drafts: list[Draft] = []
        self._brief = brief
        self._titles = set(brief.taken_titles)
        self._hooks = set(brief.taken_hooks)

    def read(self, piece: str) -> bool:
        """Read one draft, and tell whether it is kept."""
        try:
            found = msgspec.json.decode(piece, type=_Draft)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            return False
        draft = self._draft(found)
        if draft is None or len(self.drafts) >= self._brief.count:
            return False
        self._titles.add(draft.title.casefold())
        self._hooks.add(draft.hook.casefold())
        self.drafts.append(draft)
        return True

    def _draft(self, found: _Draft) -> Draft | None:
        title, hook = cleaned(found.title, _TITLE_MAX), cleaned(found.hook, _HOOK_MAX)
        is_new = title.casefold() not in self._titles and hook.casefold() not in self._hooks
        script = _script(found.scenes)
        is_known = found.trend < len(self._brief.trends) and found.hook_type in HOOK_TYPES
        if not (title and hook and is_new and is_known and script):
            return None
        trend = self._brief.trends[found.trend]
        look = cleaned(found.look, _LINE_MAX)
        return Draft(
            title=title,
            hook=hook,
            hook_type=found.hook_type,
            category=_category(self._brief, trend),
            script=script,
            caption=cleaned(found.caption, _CAPTION_MAX),
            hashtags=_hashtags(found.hashtags),
            duration_s=script[-1].end_s,
            post_at=_post_at(self._brief.asked_at, days=found.days, hour=found.hour),
            why_it_works=cleaned(found.why, _LINE_MAX),
            prompts=_prompts(script, hook=hook, look=look),
            trend=trend,
        )


def _category(brief: Brief, trend: TrendBrief) -> str:
    category = brief.category or trend.category
    return category.casefold() if category.casefold() in CATEGORIES else category


def _script(scenes: list[_Scene]) -> tuple[Scene, ...]:
    """Lay the scenes one behind the other; empty where they make no script."""
    script: list[Scene] = []
    for scene in scenes:
        start = script[-1].end_s if script else 0
        visual = cleaned(scene.visual, _LINE_MAX)
        if not visual:
            return ()
        camera, words = (
            cleaned(scene.camera, _LINE_MAX),
            cleaned(scene.on_screen_text, _ON_SCREEN_MAX),
        )
        script.append(Scene(start, start + scene.seconds, visual, camera, words))
    fits = len(script) in _SCENES and script[-1].end_s in _LENGTHS_S
    return tuple(script) if fits else ()


def _hashtags(found: list[str]) -> tuple[str, ...]:
    tags = (_NOT_TAG.sub("", unicodedata.normalize("NFKC", tag).casefold()) for tag in found)
    usable = (tag for tag in tags if len(tag) in _TAG_LENGTHS and not tag.isdigit())
    return tuple(dict.fromkeys(usable))[:_MOST_TAGS]


def _post_at(asked_at: datetime, *, days: int, hour: int) -> datetime:
    """Choose the hour on the day that was meant, at least an hour ahead and within seven days."""
    asked = asked_at.astimezone(UTC)
    first = asked.replace(hour=hour, minute=0, second=0, microsecond=0)
    if first < asked + timedelta(hours=1):
        first += timedelta(days=1)
        days = max(days - 1, 0)
    latest = (asked + timedelta(days=7) - first).days
    return first + timedelta(days=min(days, latest))


def _prompts(script: tuple[Scene, ...], *, hook: str, look: str) -> dict[str, str]:
    """Describe the pictures for each provider, from what is on them; letters models draw badly."""
    shots = " ".join(f"{s.start_s}-{s.end_s} s: {s.visual}; {s.camera}." for s in script)
    story = ". Then: ".join(scene.visual for scene in script)
    opening = f"{script[0].visual}; {script[0].camera}."
    frame = f"Vertical 9:16 video of {script[-1].end_s} seconds."
    no_text = "No text, captions or logos in the picture."
    return {
        "neutral": f"{frame} Style: {look}. {shots} {no_text}",
        "sora": f"{frame} {story}. The look: {look}. {no_text}",
        "veo": f"{frame} {shots} Style: {look}. Sound: the room, and a voice: {hook} {no_text}",
        # One clip of Runway holds one shot: the opening decides.
        "runway": f"Vertical 9:16. {opening} Style: {look}. {no_text}",
    }
