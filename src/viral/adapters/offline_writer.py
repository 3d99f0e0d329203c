"""Write concepts from trends with a phrase library of our own: no network, no model."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import TYPE_CHECKING

from viral.adapters.phrases import Beat, Lines, Manner, Scripts, Staging, Voice, read_phrases
from viral.adapters.phrases.scenes import (
    hashtags_of,
    middle_scenes,
    prompts_of,
    scenes_of,
    tag_of,
)
from viral.adapters.phrases.subjects import ITEMS, Subject, draw, fill
from viral.adapters.phrases.topics import clean_topic
from viral.features.generations.drafts import HOOK_TYPES, Draft, Written
from viral.features.generations.phrasing import Phrases, Said
from viral.learner.predicates import Between, Both, Named
from viral.schema.vocabulary import CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from random import Random

    from viral.features.generations.drafts import Brief
    from viral.features.trends import TrendBrief
    from viral.learner.predicates import Predicate

_HOOK_MAX = 120
_ON_SCREEN_MAX = 70
# The share of a hook's words that its title may hold already.
_REPEATS_MAX = 0.5
# Draws of slot values before a hook type of a subject counts as told: first one set of values for
# all lines, then values of its own for each line, then the short forms as well.
_DRAWS, _LOOSE_DRAWS, _SHORT_DRAWS = 6, 6, 12
# Calls to act that are tried behind a caption's line.
_CTAS_TRIED = 4
# Hook types are proposed in blocks of so many, each at least once.
_BLOCK = 16
# How often what did well is asked for once more; the rest keeps it comparable.
_FAVOUR = 0.5

_WORD = re.compile(r"[\w'-]+")
_WHY = "Interest in {topic} stands at {score} of 100 (source: {source}). {reason}"


@dataclass(slots=True)
class Turn:
    """A subject and the hook types that still have fresh lines."""

    subject: Subject
    hook_types: set[str]


@dataclass(frozen=True, slots=True)
class Words:
    """What one concept says: its lines, and the slot values the rest is written with."""

    title: str
    hook: str
    caption: str
    values: dict[str, str]


class Memory:
    """What may not be said again: titles and hooks as they are, and phrases in any line."""

    def __init__(self, brief: Brief) -> None:
        self._lines = set(brief.taken_titles | brief.taken_hooks)
        self._phrases = Phrases(brief.said)

    def add(self, words: Words, topic: str) -> None:
        self._lines |= {words.title.casefold(), words.hook.casefold()}
        self._phrases.add(Said(topic, words.title, words.hook, words.caption))

    def fresh(self, lines: Iterable[str], topic: str, *, limit: int) -> Iterator[str]:
        """Give the lines that fit and say nothing again, as they are asked for."""
        return (
            line
            for line in lines
            if len(line) <= limit
            and line.casefold() not in self._lines
            and self._phrases.is_fresh(line, topic)
        )


@dataclass(slots=True)
class Leaning:
    """What confirmed insights ask for, as far as this library can do it."""

    tags: tuple[str, ...] = ()
    shunned: frozenset[str] = field(default_factory=frozenset)
    lengths: tuple[Between, ...] = ()
    shunned_lengths: tuple[Between, ...] = ()

    @classmethod
    def of(cls, brief: Brief) -> Leaning:
        """Read the wishes; of two conditions that are bad together each may be good alone."""
        more = [part for wish in brief.wishes if wish.sign > 0 for part in _parts(wish.predicate)]
        less = [
            wish.predicate
            for wish in brief.wishes
            if wish.sign < 0 and not isinstance(wish.predicate, Both)
        ]
        return cls(
            tuple(dict.fromkeys(_tags(more))),
            frozenset(_tags(less)),
            tuple(_lengths(more)),
            tuple(_lengths(less)),
        )

    def duration(self, durations: Sequence[int], rng: Random) -> int:
        """Choose a length; one that did well half of the time, one that did badly never."""
        fine = [each for each in durations if not _within(each, self.shunned_lengths)]
        liked = [each for each in fine if _within(each, self.lengths)]
        if liked and rng.random() < _FAVOUR:
            return rng.choice(liked)
        return rng.choice(fine or durations)


class OfflineWriter:
    """Writes drafts as a pure function of the brief and the random numbers."""

    name = "offline"

    def __init__(self) -> None:
        self._titles = read_phrases("titles", Lines)
        self._hooks = read_phrases("hooks", Lines)
        self._captions = read_phrases("captions", Lines)
        self._scripts = read_phrases("scripts", Scripts)
        self._manners = read_phrases("platforms", dict[str, Manner])
        self._voices = {name: read_phrases(name, Voice) for name in (*CATEGORIES, "default")}

    async def write(
        self, brief: Brief, *, rng: Random, advance: Callable[[int], None] | None = None
    ) -> Written:
        """Write up to `brief.count` drafts; fewer when everything was said."""
        memory, leaning = Memory(brief), Leaning.of(brief)
        wanted = _hook_types(brief, rng)
        drafts: list[Draft] = []
        turns = self._turns(brief, rng)
        while turns and len(drafts) < brief.count:
            turn = turns.popleft()
            hook_type = next(wanted)
            words = self._next_words(turn, hook_type, memory, rng=rng)
            if words is None:
                continue
            hook_type, said = words
            memory.add(said, turn.subject.topic)
            drafts.append(
                self._draft(turn.subject, hook_type, said, brief.asked_at, leaning, rng=rng)
            )
            turns.append(turn)
            if advance is not None:
                advance(len(drafts))
            # A hundred drafts take a while, and others wait for the same thread.
            await asyncio.sleep(0)
        return Written(tuple(drafts))

    def _turns(self, brief: Brief, rng: Random) -> deque[Turn]:
        """Order the subjects, the strong trends likely first."""
        asked = brief.category
        trends = [t for t in brief.trends if _same(t.category, asked)] or list(brief.trends)
        # Weighted shuffle (Efraimidis and Spirakis): u ** (1 / weight), largest first.
        trends.sort(key=lambda t: rng.random() ** (1 / max(t.score, 1.0)), reverse=True)
        manner = self._manners[brief.platform or "any"]
        turns: deque[Turn] = deque()
        for trend in trends:
            topic = clean_topic(trend.topic)
            if topic:
                subject = self._subject(replace(trend, topic=topic), manner, asked)
                turns.append(Turn(subject, set(brief.hook_types or HOOK_TYPES)))
        return turns

    def _subject(self, trend: TrendBrief, manner: Manner, asked: str | None) -> Subject:
        category = asked or trend.category
        if category.casefold() in CATEGORIES:
            category = category.casefold()
        voice = self._voices.get(category, self._voices["default"])
        return Subject(trend, category, voice, manner)

    def _next_words(
        self, turn: Turn, wanted: str, memory: Memory, *, rng: Random
    ) -> tuple[str, Words] | None:
        """Find fresh words of the wanted hook type, or of another that has some left."""
        others = [each for each in HOOK_TYPES if each != wanted]
        for hook_type in (wanted, *rng.sample(others, k=len(others))):
            if hook_type not in turn.hook_types:
                continue
            words = self._words(turn.subject, hook_type, memory, rng=rng)
            if words is not None:
                return hook_type, words
            turn.hook_types.discard(hook_type)
        return None

    def _words(
        self, subject: Subject, hook_type: str, memory: Memory, *, rng: Random
    ) -> Words | None:
        choices = subject.choices()
        for number in range(_DRAWS + _LOOSE_DRAWS + _SHORT_DRAWS):
            values = draw(choices, rng)
            # The number of items must be one and the same in title, hook and script.
            fixed = choices | {"n": (values["n"],)}
            is_loose = number >= _DRAWS
            is_short = subject.is_clause or number >= _DRAWS + _LOOSE_DRAWS
            lines = [
                [fill(each, draw(fixed, rng) if is_loose else values) for each in templates]
                for templates in self._templates(subject, hook_type, is_short=is_short)
            ]
            words = self._fresh(subject, lines, memory, values, rng=rng)
            if words is not None:
                return words
        return None

    def _fresh(
        self,
        subject: Subject,
        lines: Sequence[Sequence[str]],
        memory: Memory,
        values: dict[str, str],
        *,
        rng: Random,
    ) -> Words | None:
        """Choose a title, a hook that does not say it again, and a caption, all of them fresh."""
        topic, manner = subject.topic, subject.manner
        titles, hooks, captions = (rng.sample(each, k=len(each)) for each in lines)
        title = next(memory.fresh(titles, topic, limit=manner.title_max), None)
        if title is None:
            return None
        # A clause stands in both; what is said about it may not.
        both = _words(topic) if subject.is_clause else set()
        said = _words(title) - both
        others = (hook for hook in hooks if _repeats(_words(hook) - both, said) <= _REPEATS_MAX)
        hook = next(memory.fresh(others, topic, limit=_HOOK_MAX), None)
        if hook is None:
            return None
        finished = _captions(subject, captions, values, rng)
        caption = next(memory.fresh(finished, topic, limit=manner.caption_max), None)
        return None if caption is None else Words(title, hook, caption, values)

    def _templates(
        self, subject: Subject, hook_type: str, *, is_short: bool
    ) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        titles = self._titles.of(hook_type, is_clause=is_short)
        hooks = self._hooks.of(hook_type, is_clause=is_short)
        captions = self._captions.of(hook_type, is_clause=is_short)
        if is_short:
            return titles, hooks, captions
        voice = subject.voice
        return (
            titles + voice.titles.get(hook_type, ()),
            hooks + voice.hooks.get(hook_type, ()),
            captions,
        )

    def _draft(
        self,
        subject: Subject,
        hook_type: str,
        words: Words,
        asked_at: datetime,
        leaning: Leaning,
        *,
        rng: Random,
    ) -> Draft:
        staging = self._scripts.types[hook_type]
        length_s = leaning.duration(_durations(subject), rng)
        beats = self._beats(subject, hook_type, words, length_s=length_s, rng=rng)
        # A point of a list needs four seconds to be read.
        duration_s = max(length_s, 4 * len(beats) if hook_type == "list" else 0)
        script = scenes_of(beats, duration_s, self._scripts.cameras, rng)
        liked = leaning.tags if rng.random() < _FAVOUR else ()
        return Draft(
            title=words.title,
            hook=words.hook,
            hook_type=hook_type,
            category=subject.category,
            script=script,
            caption=words.caption,
            hashtags=hashtags_of(subject, rng, liked=liked, disliked=leaning.shunned),
            duration_s=duration_s,
            post_at=_post_at(asked_at, subject.voice.hours, rng),
            why_it_works=_why(subject, staging),
            prompts=prompts_of(subject, words.hook, script, duration_s),
            trend=subject.trend,
        )

    def _beats(
        self, subject: Subject, hook_type: str, words: Words, *, length_s: int, rng: Random
    ) -> list[Beat]:
        """Join an opening, a middle in the voice of the category, and a landing."""
        staging = self._scripts.types[hook_type]
        items = ITEMS[words.values["n"]] if hook_type == "list" else middle_scenes(length_s)
        middle = rng.sample(subject.voice.beats, k=items)
        if hook_type == "list":
            middle = [Beat(b.show, f"{i}. {b.say}") for i, b in enumerate(middle, start=1)]
        on_screen = words.hook if len(words.hook) <= _ON_SCREEN_MAX else words.title
        beats = [Beat(rng.choice(staging.open), ""), *middle, rng.choice(staging.close)]
        filled = [Beat(fill(b.show, words.values), fill(b.say, words.values)) for b in beats]
        return [Beat(filled[0].show, on_screen), *filled[1:]][:6]


def _hook_types(brief: Brief, rng: Random) -> Iterator[str]:
    """Propose hook types by their shares, in shuffled blocks in which each stands once or more."""
    if brief.hook_types:
        yield from cycle(brief.hook_types)
    shares = brief.hook_shares or dict.fromkeys(HOOK_TYPES, 1 / len(HOOK_TYPES))
    rest = _BLOCK - len(HOOK_TYPES)
    # The first of a block are each type's own; the others go by what a type has too little of.
    asked = {each: max(0.0, _BLOCK * shares.get(each, 0.0) - 1) for each in HOOK_TYPES}
    total = sum(asked.values()) or 1.0
    owed = dict.fromkeys(HOOK_TYPES, 0.0)
    while True:
        block = list(HOOK_TYPES)
        for _ in range(rest):
            for each in HOOK_TYPES:
                owed[each] += asked[each] / total
            best = max(HOOK_TYPES, key=lambda each: owed[each])
            owed[best] -= 1
            block.append(best)
        rng.shuffle(block)
        yield from block


def _captions(
    subject: Subject, lines: Sequence[str], values: dict[str, str], rng: Random
) -> Iterator[str]:
    """Put a call to act behind each line, where the platform's manner has one."""
    manner = subject.manner
    ctas = (*manner.ctas, *subject.voice.ctas) if manner.ctas else ("",)
    for line in lines:
        for cta in rng.sample(ctas, k=min(_CTAS_TRIED, len(ctas))):
            said = {"line": line, "cta": fill(cta, values)}
            yield fill(manner.caption, said).strip()


def _words(line: str) -> set[str]:
    return set(_WORD.findall(line.casefold()))


def _repeats(words: set[str], said: set[str]) -> float:
    return len(words & said) / max(1, len(words))


def _same(category: str, asked: str | None) -> bool:
    return asked is None or category.casefold() == asked.casefold()


def _durations(subject: Subject) -> Sequence[int]:
    shortest, longest = subject.manner.seconds
    fitting = [each for each in subject.voice.durations if shortest <= each <= longest]
    return fitting or [min(max(subject.voice.durations[0], shortest), longest)]


def _parts(predicate: Predicate) -> tuple[Named | Between, ...]:
    if isinstance(predicate, Both):
        return predicate.first, predicate.second
    return (predicate,)


def _tags(predicates: Sequence[Predicate]) -> list[str]:
    """Words and tags as hashtags; the library's lines are not bent to hold a word."""
    return [
        tag_of(each.name)
        for each in predicates
        if isinstance(each, Named) and each.kind in {"tag", "word"}
    ]


def _lengths(predicates: Sequence[Predicate]) -> list[Between]:
    return [each for each in predicates if isinstance(each, Between) and each.kind == "duration"]


def _within(seconds: int, ranges: Sequence[Between]) -> bool:
    return any(each.low <= seconds <= each.high for each in ranges)


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
    return fill(_WHY, values)
