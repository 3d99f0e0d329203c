"""Claude as critic: a miss in, hypotheses in the closed grammar out, or the offline critic's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import msgspec

from viral.adapters.claude.client import Answer, Question
from viral.adapters.claude.shapes import TEXT, listing, one_of, record
from viral.adapters.claude.texts import DATA_IS_DATA, cleaned, fenced
from viral.errors import BadInput
from viral.features.reflexion.critic import Critique, Hypothesis
from viral.features.usage import Usage
from viral.learner.predicates import GRAMMAR, format_predicate, parse_predicate
from viral.schema.vocabulary import PLATFORM_NAMES, Confidence

if TYPE_CHECKING:
    from viral.adapters.claude.client import Claude
    from viral.features.reflexion.critic import Critic, Miss

# With room for thinking, which is paid for as output.
_MAX_TOKENS = 6000
_ATTEMPTS = 2
_TEXT_MAX = 1200
_LINE_MAX = 240
_PLAN_MAX = 400
_LINES = 5
_HYPOTHESES = 5
# Of what strangers wrote, no more than says what it is about.
_GIVEN_MAX = 300
_GIVEN_LISTED = 30

_SYSTEM = f"""\
You are the critic of a studio for short videos. Its forecaster foretold a score from 0 to 100 for a
video, with an interval that should hold four outcomes of five; this outcome lay outside of it. Say
what may have been the cause, as guesses that later results can test.

{DATA_IS_DATA}

The data: `miss` has the forecast, the outcome and the points by which named effects moved the
score (`reasons`); `neighbours` are earlier videos of the same studio that are much like it.

Your answer:
- critique: two to four sentences. Use no number that is not in the data.
- reasons: up to {_LINES} short sentences, the likeliest cause first.
- issues: up to {_LINES} short sentences on what makes this judgement doubtful.
- plan: one sentence, what to change or to watch.
- confidence: how sure you are of the first reason.
- hypotheses: none to {_HYPOTHESES} conditions. `effect` is `better` where videos that meet the
  condition do better than is forecast, else `worse`. Prefer conditions that many videos meet. One
  miss is little evidence: none is a good answer. A predicate has one of these forms, no other:
{GRAMMAR}"""


class _Hypothesis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    predicate: str
    effect: Literal["better", "worse"]
    confidence: Confidence
    because: str


class _Critique(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    critique: str
    reasons: list[str]
    issues: list[str]
    plan: str
    confidence: Confidence
    hypotheses: list[_Hypothesis]


_CONFIDENCE = one_of("low", "medium", "high")
_SCHEMA = record(
    critique=TEXT,
    reasons=listing(TEXT),
    issues=listing(TEXT),
    plan=TEXT,
    confidence=_CONFIDENCE,
    hypotheses=listing(
        record(
            predicate=TEXT,
            effect=one_of("better", "worse"),
            confidence=_CONFIDENCE,
            because=TEXT,
        )
    ),
)


class ClaudeCritic:
    """Asks Claude; where it gives no usable answer the offline critic does, and a note says why."""

    def __init__(self, claude: Claude, *, model: str, offline: Critic) -> None:
        self.name = f"claude:{model}"
        self._claude = claude
        self._model = model
        self._offline = offline

    async def critique(self, miss: Miss) -> Critique:
        """Explain one miss; what Claude took is counted even where its answer is of no use."""
        usage, note = Usage(), ""
        question = self._question(miss)
        for _ in range(_ATTEMPTS):
            answer = await self._claude.ask(question)
            usage += answer.usage
            critique, note = _read(answer)
            if critique is not None:
                return replace(critique, usage=usage)
            # Garbage and cut connections may be luck; the other outcomes come again.
            if answer.outcome not in {"whole", "cut"}:
                break
        offline = await self._offline.critique(miss)
        return replace(offline, usage=usage, critic=self._offline.name, note=note)

    def _question(self, miss: Miss) -> Question:
        return Question(
            task="critique",
            model=self._model,
            system=_SYSTEM,
            document=fenced(_document(miss)),
            schema=_SCHEMA,
            max_tokens=_MAX_TOKENS,
        )


def _document(miss: Miss) -> dict[str, object]:
    """Describe a miss, with what strangers wrote cut to size."""
    published_at = miss.published_at
    told = {
        "title": _given(miss.title),
        "hook": _given(miss.hook),
        "hook_type": miss.hook_type,
        "category": _given(miss.category),
        "tags": [_given(each) for each in miss.tags[:_GIVEN_LISTED]],
        "script_features": [_given(each) for each in miss.script_features[:_GIVEN_LISTED]],
        "sound": _given(miss.sound or "") or None,
        "duration_s": miss.duration_s,
        "published_at": None if published_at is None else published_at.isoformat(),
        "platform": PLATFORM_NAMES[miss.platform],
        "predicted": miss.predicted,
        "low": miss.low,
        "high": miss.high,
        "actual": miss.actual,
        "direction": miss.direction,
        "views": miss.views,
        "engagement_rate": miss.engagement_rate,
        "reasons": [
            {"effect": _given(each.label or each.family), "points": each.points}
            for each in miss.reasons[:_GIVEN_LISTED]
        ],
    }
    near = [
        {
            "title": _given(each.title),
            "category": _given(each.category),
            "predicted": each.predicted,
            "actual": each.actual,
        }
        for each in miss.neighbours[:_GIVEN_LISTED]
    ]
    return {"miss": told, "neighbours": near}


def _given(text: str) -> str:
    return cleaned(text, _GIVEN_MAX)


def _read(answer: Answer) -> tuple[Critique | None, str]:
    """Read a whole answer, or say why there is none to read."""
    if answer.outcome != "whole":
        return None, answer.trouble
    try:
        found = msgspec.json.decode(answer.text, type=_Critique)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None, "Claude's answer does not have the form that was asked for."
    text, plan = cleaned(found.critique, _TEXT_MAX), cleaned(found.plan, _PLAN_MAX)
    if not text or not plan:
        return None, "Claude's answer says nothing."
    hypotheses, left_out = _hypotheses(found.hypotheses)
    issues = _lines(found.issues)
    if left_out:
        issues = (*issues, f"{left_out} of {len(found.hypotheses)} hypotheses cannot be tested.")
    critique = Critique(
        text=text,
        reasons=_lines(found.reasons),
        issues=issues,
        plan=plan,
        confidence=found.confidence,
        hypotheses=hypotheses,
    )
    return critique, ""


def _lines(texts: list[str]) -> tuple[str, ...]:
    lines = (cleaned(text, _LINE_MAX) for text in texts[:_LINES])
    return tuple(line for line in lines if line)


def _hypotheses(found: list[_Hypothesis]) -> tuple[tuple[Hypothesis, ...], int]:
    """Keep what the grammar knows, each predicate once, and count what it does not."""
    kept: dict[str, Hypothesis] = {}
    left_out = 0
    for each in found:
        try:
            predicate = format_predicate(parse_predicate(each.predicate))
        except BadInput:
            left_out += 1
            continue
        sign: Literal[-1, 1] = 1 if each.effect == "better" else -1
        because = cleaned(each.because, _LINE_MAX)
        kept.setdefault(predicate, Hypothesis(predicate, sign, each.confidence, because))
    return tuple(kept.values())[:_HYPOTHESES], left_out
