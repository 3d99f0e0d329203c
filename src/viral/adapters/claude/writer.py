"""Claude as writer: a brief in, drafts out; what is missing the offline writer writes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING

from viral.adapters.claude.client import Question
from viral.adapters.claude.drafts import HOOK_TYPES, SCHEMA, Pieces, Reader
from viral.adapters.claude.texts import DATA_IS_DATA, cleaned, fenced
from viral.features.generations.drafts import Written
from viral.features.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from viral.adapters.claude.client import Answer, Claude
    from viral.features.generations.drafts import Brief, Draft, Writer
    from viral.features.trends import TrendBrief

# So many drafts a request: it stays under a minute, and a failure loses few.
_AT_ONCE = 8
_THINKING_TOKENS = 2000
_DRAFT_TOKENS = 1500
_TRENDS = 20
_KEYWORDS = 10
_INSIGHTS = 20
_TAKEN = 100
_LINE_MAX = 300

_SYSTEM = f"""\
You write concepts for short vertical videos: each with a title, a hook for its first two seconds, a
script in scenes, a caption, hashtags and a moment to post it.

{DATA_IS_DATA}

The data: `trends` to write about, each with its number; `count`, how many concepts to write;
`category`, if there is to be only one; `insights`, what this studio's own results have confirmed,
to be made use of; `taken`, titles and hooks not to be written again, nor in other words; `now`, in
UTC.

Rules:
- Write in English. Spread the concepts over the trends and over the hook types, and let no two open
  alike.
- `trend` is the number of the trend. `hook_type` is one of: {", ".join(HOOK_TYPES)}.
- Title up to 90 characters, hook up to 120, caption up to 300, without hashtags in them. Three to
  eight hashtags of letters and digits, without #.
- Three to six scenes, of 2 to 20 seconds each, together 8 to 60. `visual` is what the camera sees,
  `camera` how it moves, `on_screen_text` up to 70 characters or empty.
- `look`: light, colours and style of all pictures in one line.
- `days` from today (0 to 7) and `hour` (0 to 23, UTC) are when to post it.
- `why`: one sentence on what should make it work, without numbers that are not in the data.
- Promise nothing untrue, and name no living person who is not in the trend."""


class ClaudeWriter:
    """Asks Claude for some drafts at a time; the offline writer fills up what is missing."""

    def __init__(self, claude: Claude, *, model: str, offline: Writer) -> None:
        self.name = f"claude:{model}"
        self._claude = claude
        self._model = model
        self._offline = offline

    async def write(
        self, brief: Brief, *, rng: Random, advance: Callable[[int], None] | None = None
    ) -> Written:
        """Write up to `brief.count` drafts; what Claude took is counted, of use or not."""
        drafts: list[Draft] = []
        usage, trouble = Usage(), ""
        given = replace(brief, trends=_trends(brief))
        # One more than would do, for drafts that are left out.
        for _ in range(2 + brief.count // _AT_ONCE):
            missing = brief.count - len(drafts)
            if not missing or not given.trends:
                break
            wanted = _without(replace(given, count=min(missing, _AT_ONCE)), drafts)
            answer, found = await self._asked(wanted, done=len(drafts), advance=advance)
            usage += answer.usage
            trouble = answer.trouble or trouble
            drafts += found
            if not found:
                trouble = trouble or "Claude wrote nothing that can be used."
                break
        return await self._filled_up(
            brief, drafts, usage=usage, trouble=trouble, rng=rng, advance=advance
        )

    async def _asked(
        self, brief: Brief, *, done: int, advance: Callable[[int], None] | None
    ) -> tuple[Answer, list[Draft]]:
        """Ask once, and read each draft as soon as it is whole."""
        pieces, reader = Pieces(), Reader(brief)

        def hear(text: str) -> None:
            for piece in pieces.feed(text):
                if reader.read(piece) and advance is not None:
                    advance(done + len(reader.drafts))

        answer = await self._claude.ask(self._question(brief), hear=hear)
        return answer, reader.drafts

    async def _filled_up(
        self,
        brief: Brief,
        drafts: list[Draft],
        *,
        usage: Usage,
        trouble: str,
        rng: Random,
        advance: Callable[[int], None] | None,
    ) -> Written:
        done, missing = len(drafts), brief.count - len(drafts)
        if not missing:
            return Written(tuple(drafts), usage)

        def count(more: int) -> None:
            if advance is not None:
                advance(done + more)

        rest = await self._offline.write(
            _without(replace(brief, count=missing), drafts), rng=rng, advance=count
        )
        if not drafts:
            return Written(rest.drafts, usage, writer=self._offline.name, note=trouble)
        note = f"{len(rest.drafts)} of {brief.count} are by the {self._offline.name} writer."
        return Written((*drafts, *rest.drafts), usage, note=f"{note} {trouble}".strip())

    def _question(self, brief: Brief) -> Question:
        return Question(
            task="write",
            model=self._model,
            system=_SYSTEM,
            document=fenced(_document(brief)),
            schema=SCHEMA,
            max_tokens=_THINKING_TOKENS + _DRAFT_TOKENS * brief.count,
        )


def _trends(brief: Brief) -> tuple[TrendBrief, ...]:
    """Choose the trends to write about: those of the category, if there are any."""
    asked = (brief.category or "").casefold()
    fitting = tuple(each for each in brief.trends if each.category.casefold() == asked)
    return (fitting or brief.trends)[:_TRENDS]


def _without(brief: Brief, drafts: list[Draft]) -> Brief:
    """Take the lines of drafts out of what may be written."""
    return replace(
        brief,
        taken_titles=brief.taken_titles | {each.title.casefold() for each in drafts},
        taken_hooks=brief.taken_hooks | {each.hook.casefold() for each in drafts},
    )


def _document(brief: Brief) -> dict[str, object]:
    """Describe a brief, with what strangers wrote cut to size."""
    return {
        "now": brief.asked_at.astimezone(UTC).isoformat(timespec="minutes"),
        "count": brief.count,
        "category": cleaned(brief.category, _LINE_MAX) if brief.category else None,
        "insights": [cleaned(each, _LINE_MAX) for each in brief.insights[:_INSIGHTS]],
        "trends": [
            {
                "trend": number,
                "topic": cleaned(trend.topic, _LINE_MAX),
                "category": cleaned(trend.category, _LINE_MAX),
                "source": cleaned(trend.source, _LINE_MAX),
                "score": trend.score,
                "keywords": [cleaned(word, _LINE_MAX) for word in trend.keywords[:_KEYWORDS]],
            }
            for number, trend in enumerate(brief.trends)
        ],
        "taken": {
            "titles": sorted(brief.taken_titles)[:_TAKEN],
            "hooks": sorted(brief.taken_hooks)[:_TAKEN],
        },
    }
