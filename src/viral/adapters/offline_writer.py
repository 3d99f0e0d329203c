"""Write concepts from trends with a phrase library of our own: no network, no model."""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING

from viral.adapters.phrases import Beat, Lines, Scripts, Staging, Voice, read_phrases
from viral.adapters.phrases.topics import clean_topic, without_article
from viral.features.generations.drafts import Draft, Scene, Written
from viral.schema.vocabulary import CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from random import Random

    from viral.features.generations.drafts import Brief
    from viral.features.trends import TrendBrief

_TITLE_MAX = 90
_HOOK_MAX = 120
_CAPTION_MAX = 300
_ON_SCREEN_MAX = 70
_SHORT_S = 12
_TAG_LENGTHS = range(2, 25)
# A phrase of more words is read as a clause of its own and put before a colon.
_PHRASE_WORDS = 5
# The share of a hook's words that its title may hold already.
_REPEATS_MAX = 0.5
# Fresh draws before every line that is left is listed.
_DRAWS = 8

_ITEMS = {"three": 3, "four": 4, "five": 5}
_SPANS = ("twenty seconds", "thirty seconds", "forty seconds", "one minute")
_DAYS = ("three days", "five days", "seven days", "two weeks")

_WORD = re.compile(r"[\w'-]+")
_SLOT = re.compile(r"\{(\w+)\}")
_NOT_TAG = re.compile(r"[^a-z0-9_]")
_CLAUSE_START = frozenset(
    {
        "are",
        "can",
        "could",
        "did",
        "do",
        "does",
        "how",
        "is",
        "should",
        "what",
        "when",
        "where",
        "who",
        "why",
    }
)
_WHY = "Interest in {topic} stands at {score} of 100 (source: {source}). {reason}"


@dataclass(frozen=True, slots=True)
class Subject:
    """A trend, cleaned, with the voice that speaks about it."""

    trend: TrendBrief
    topic: str
    category: str
    voice: Voice

    @property
    def is_clause(self) -> bool:
        words = self.topic.casefold().split()
        is_long = len(words) > _PHRASE_WORDS or "," in self.topic
        return is_long or words[0] in _CLAUSE_START

    def choices(self) -> dict[str, tuple[str, ...]]:
        """Every value a slot may take."""
        voice = self.voice
        return {
            "topic": (self.topic,),
            "who": voice.who,
            "want": voice.want,
            "measure": voice.measure,
            "other": voice.measure,
            "slip": voice.slip,
            "where": voice.where,
            "rival": voice.rival,
            "n": tuple(_ITEMS),
            "span": _SPANS,
            "days": _DAYS,
        }


@dataclass(slots=True)
class Turn:
    """A subject and the hook types that still have free lines, next one first."""

    subject: Subject
    hook_types: deque[str]


@dataclass(frozen=True, slots=True)
class Words:
    """What one concept says: its lines, and the slot values the rest is written with."""

    title: str
    hook: str
    values: dict[str, str]


class Taken:
    """Lines that may not be written again, compared casefolded."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = {line.casefold() for line in lines}

    def add(self, line: str) -> None:
        self._lines.add(line.casefold())

    def free(self, lines: Iterable[str], *, limit: int) -> list[str]:
        return [line for line in lines if len(line) <= limit and line.casefold() not in self._lines]


class OfflineWriter:
    """Writes drafts as a pure function of the brief and the random numbers."""

    name = "offline"

    def __init__(self) -> None:
        self._titles = read_phrases("titles", Lines)
        self._hooks = read_phrases("hooks", Lines)
        self._captions = read_phrases("captions", Lines)
        self._scripts = read_phrases("scripts", Scripts)
        self._voices = {name: read_phrases(name, Voice) for name in (*CATEGORIES, "default")}

    async def write(
        self, brief: Brief, *, rng: Random, advance: Callable[[int], None] | None = None
    ) -> Written:
        """Write up to `brief.count` drafts; fewer when every free line is used."""
        titles, hooks = Taken(brief.taken_titles), Taken(brief.taken_hooks)
        drafts: list[Draft] = []
        turns = self._turns(brief, rng)
        while turns and len(drafts) < brief.count:
            turn = turns.popleft()
            draft = self._next_draft(turn, brief.asked_at, titles, hooks, rng=rng)
            if draft is None:
                continue
            titles.add(draft.title)
            hooks.add(draft.hook)
            drafts.append(draft)
            turns.append(turn)
            if advance is not None:
                advance(len(drafts))
        return Written(tuple(drafts))

    def _turns(self, brief: Brief, rng: Random) -> deque[Turn]:
        """Order the subjects, the strong trends likely first, and spread the hook types."""
        asked = brief.category
        trends = [t for t in brief.trends if _same(t.category, asked)] or list(brief.trends)
        # Weighted shuffle (Efraimidis and Spirakis): u ** (1 / weight), largest first.
        trends.sort(key=lambda t: rng.random() ** (1 / max(t.score, 1.0)), reverse=True)
        hook_types = tuple(self._scripts.types)
        order = rng.sample(hook_types, k=len(hook_types))
        turns: deque[Turn] = deque()
        for trend in trends:
            topic = clean_topic(trend.topic)
            if topic:
                turns.append(Turn(self._subject(trend, topic, asked), deque(order)))
                order = order[1:] + order[:1]
        return turns

    def _subject(self, trend: TrendBrief, topic: str, asked: str | None) -> Subject:
        category = asked or trend.category
        if category.casefold() in CATEGORIES:
            category = category.casefold()
        voice = self._voices.get(category, self._voices["default"])
        return Subject(trend, topic, category, voice)

    def _next_draft(
        self, turn: Turn, asked_at: datetime, titles: Taken, hooks: Taken, *, rng: Random
    ) -> Draft | None:
        while turn.hook_types:
            hook_type = turn.hook_types[0]
            words = self._words(turn.subject, hook_type, titles, hooks, rng=rng)
            if words is not None:
                turn.hook_types.rotate(-1)
                return self._draft(turn.subject, hook_type, words, asked_at, rng=rng)
            turn.hook_types.popleft()
        return None

    def _words(
        self, subject: Subject, hook_type: str, titles: Taken, hooks: Taken, *, rng: Random
    ) -> Words | None:
        """Find a free title and hook: of one set of values if possible, else any two."""
        title_templates, hook_templates = self._templates(subject, hook_type)
        choices = subject.choices()
        for _ in range(_DRAWS):
            values = _draw(choices, rng)
            free_titles = titles.free((_fill(t, values) for t in title_templates), limit=_TITLE_MAX)
            free_hooks = hooks.free((_fill(t, values) for t in hook_templates), limit=_HOOK_MAX)
            if free_titles and free_hooks:
                return _pair(free_titles, free_hooks, values, rng=rng)
        # The number of items must be one and the same in title, hook and script.
        for number in rng.sample(list(_ITEMS), k=len(_ITEMS)):
            fixed = choices | {"n": (number,)}
            free_titles = titles.free(_every_line(title_templates, fixed), limit=_TITLE_MAX)
            free_hooks = hooks.free(_every_line(hook_templates, fixed), limit=_HOOK_MAX)
            if free_titles and free_hooks:
                values = _draw(fixed, rng)
                return _pair(free_titles, free_hooks, values, rng=rng)
        return None

    def _templates(
        self, subject: Subject, hook_type: str
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        titles = self._titles.of(hook_type, is_clause=subject.is_clause)
        hooks = self._hooks.of(hook_type, is_clause=subject.is_clause)
        if subject.is_clause:
            return titles, hooks
        voice = subject.voice
        return titles + voice.titles.get(hook_type, ()), hooks + voice.hooks.get(hook_type, ())

    def _draft(
        self, subject: Subject, hook_type: str, words: Words, asked_at: datetime, *, rng: Random
    ) -> Draft:
        staging = self._scripts.types[hook_type]
        length_s = rng.choice(subject.voice.durations)
        beats = self._beats(subject, hook_type, words, length_s=length_s, rng=rng)
        # A point of a list needs four seconds to be read.
        duration_s = max(length_s, 4 * len(beats) if hook_type == "list" else 0)
        script = _scenes(beats, duration_s, self._scripts.cameras, rng)
        caption = _caption(
            self._captions.of(hook_type, is_clause=subject.is_clause), subject, words, rng
        )
        return Draft(
            title=words.title,
            hook=words.hook,
            hook_type=hook_type,
            category=subject.category,
            script=script,
            caption=caption,
            hashtags=_hashtags(subject, rng),
            duration_s=duration_s,
            post_at=_post_at(asked_at, subject.voice.hours, rng),
            why_it_works=_why(subject, staging),
            prompts=_prompts(subject, words.hook, script, duration_s),
            trend=subject.trend,
        )

    def _beats(
        self, subject: Subject, hook_type: str, words: Words, *, length_s: int, rng: Random
    ) -> list[Beat]:
        """Join an opening, a middle in the voice of the category, and a landing."""
        staging = self._scripts.types[hook_type]
        items = _ITEMS[words.values["n"]] if hook_type == "list" else _middle_scenes(length_s)
        middle = rng.sample(subject.voice.beats, k=items)
        if hook_type == "list":
            middle = [Beat(b.show, f"{i}. {b.say}") for i, b in enumerate(middle, start=1)]
        on_screen = words.hook if len(words.hook) <= _ON_SCREEN_MAX else words.title
        beats = [Beat(rng.choice(staging.open), ""), *middle, rng.choice(staging.close)]
        filled = [Beat(_fill(b.show, words.values), _fill(b.say, words.values)) for b in beats]
        return [Beat(filled[0].show, on_screen), *filled[1:]][:6]


def _pair(
    titles: Sequence[str], hooks: Sequence[str], values: dict[str, str], *, rng: Random
) -> Words:
    """Choose a title, and a hook that does not say the same again if there is one."""
    title = rng.choice(titles)
    said = set(_WORD.findall(title.casefold()))
    fresh = [hook for hook in hooks if _repeats(hook, said) <= _REPEATS_MAX]
    return Words(title, rng.choice(fresh or hooks), values)


def _repeats(line: str, said: set[str]) -> float:
    words = set(_WORD.findall(line.casefold()))
    return len(words & said) / len(words)


def _same(category: str, asked: str | None) -> bool:
    return asked is None or category.casefold() == asked.casefold()


def _fill(template: str, values: dict[str, str]) -> str:
    """Fill the slots in one pass, so that braces or format fields in a value stay text."""

    def value(slot: re.Match[str]) -> str:
        before = template[: slot.start()]
        starts = not before or before.endswith((". ", "? "))
        return _capital(values[slot[1]]) if starts else values[slot[1]]

    return _SLOT.sub(value, template)


def _capital(text: str) -> str:
    # "iPhone" keeps its own case.
    first = text.split(" ", 1)[0]
    return text[:1].upper() + text[1:] if first == first.lower() else text


def _draw(choices: dict[str, tuple[str, ...]], rng: Random) -> dict[str, str]:
    values = {name: rng.choice(options) for name, options in choices.items()}
    values["other"] = rng.choice([m for m in choices["other"] if m != values["measure"]])
    return values


def _every_line(templates: Sequence[str], choices: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """List all lines that the templates can make."""
    for template in templates:
        names = sorted(set(_SLOT.findall(template)))
        for options in product(*(choices[name] for name in names)):
            values = dict(zip(names, options, strict=True))
            if values.get("other", "") != values.get("measure"):
                yield _fill(template, values)


def _middle_scenes(length_s: int) -> int:
    """Cut often enough that no scene drags, and leave each two seconds or more."""
    return min(4, 1 + length_s // 10)


def _scenes(
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


def _caption(templates: Sequence[str], subject: Subject, words: Words, rng: Random) -> str:
    line = _fill(rng.choice(templates), words.values)
    caption = f"{line} {rng.choice(subject.voice.ctas)}"
    return caption if len(caption) <= _CAPTION_MAX else line[:_CAPTION_MAX]


def _hashtags(subject: Subject, rng: Random) -> tuple[str, ...]:
    """Join the topic, its keywords and two to four tags of the voice."""
    own = [_tag(word) for word in (without_article(subject.topic), *subject.trend.keywords[:3])]
    voice = rng.sample(subject.voice.tags, k=rng.randint(3, 4))
    usable = [tag for tag in (*own, *voice) if len(tag) in _TAG_LENGTHS and not tag.isdigit()]
    return tuple(dict.fromkeys(usable))[:8]


def _tag(text: str) -> str:
    return _NOT_TAG.sub("", unicodedata.normalize("NFKD", text).casefold())


def _post_at(asked_at: datetime, hours: Sequence[int], rng: Random) -> datetime:
    """Choose one of the voice's hours in the next seven days, at least an hour ahead."""
    asked = asked_at.astimezone(UTC)
    midnight = asked.replace(hour=0, minute=0, second=0, microsecond=0)
    minute = rng.choice((0, 15, 30, 45))
    times = [
        midnight + timedelta(days=day, hours=hour, minutes=minute)
        for day in range(8)
        for hour in hours
    ]
    soonest, latest = asked + timedelta(hours=1), asked + timedelta(days=7)
    return rng.choice([time for time in times if soonest <= time <= latest])


def _why(subject: Subject, staging: Staging) -> str:
    values = {
        "topic": subject.topic,
        "score": f"{subject.trend.score:.0f}",
        "source": clean_topic(subject.trend.source) or "its source",
        "reason": staging.reason,
    }
    return _fill(_WHY, values)


def _prompts(
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
