"""Explain a miss from its own numbers: no network, no model, the same words every time."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Literal

from viral.errors import BadInput
from viral.features.reflexion.critic import Critique, Hypothesis
from viral.features.scoring.labels import points
from viral.learner.predicates import format_predicate, parse_predicate
from viral.learner.titles import WORD
from viral.schema.vocabulary import PLATFORM_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from viral.features.reflexion.critic import Miss
    from viral.features.scoring.predictions import Reason
    from viral.schema.vocabulary import Confidence

# Half of an 80 % interval, in standard deviations.
_HALF_WIDTH_SD = 1.2816
_MEDIUM_SD = 1.64
_HIGH_SD = 2.5
# An interval without width would make every miss infinite.
_SD_MIN = 1.0
_NAMED = 2
_TITLE_MAX = 80
# Below this a single viewer moves the rate by a tenth of a point or more.
_FEW_VIEWS = 1000
# Shorter words join a sentence and say nothing of a video.
_WORD_MIN = 4
_HOURS = 3

# How an effect is said as a predicate; the numbers are those of the effect's key.
_SAYABLE: dict[str, Callable[[str], str]] = {
    "word": lambda key: f"word:{key}",
    "tenant_word": lambda key: f"word:{key}",
    "hook": lambda key: f"hook:{key}",
    "tenant_hook": lambda key: f"hook:{key}",
    "sound": lambda key: f"sound:{key}",
    "hour": lambda key: f"hour:{_HOURS * int(key)}..{_HOURS * int(key) + _HOURS - 1}",
    "duration": lambda key: f"duration:{2 ** int(key) - 1}..{2 ** (int(key) + 1) - 2}",
}


class OfflineCritic:
    """Names what moved the score the wrong way, and what to watch."""

    name = "offline"

    async def critique(self, miss: Miss) -> Critique:
        """Explain one miss from the prediction, the outcome and the parts of the score."""
        size = _size_in_sd(miss)
        pushed = _wrong_way(miss)
        wrong = pushed[:_NAMED]
        return Critique(
            text=_text(miss, size),
            reasons=tuple(_reason(reason, miss) for reason in wrong),
            issues=_issues(miss, wrong, size),
            plan=_plan(miss, wrong),
            confidence=_confidence(size),
            hypotheses=_hypotheses(miss, pushed, size),
        )


def _sd(miss: Miss) -> float:
    # The interval is clipped to 0..100: its longer side is the one that kept its width.
    half_width = max(miss.high - miss.predicted, miss.predicted - miss.low)
    return max(half_width / _HALF_WIDTH_SD, _SD_MIN)


def _size_in_sd(miss: Miss) -> float:
    return abs(miss.actual - miss.predicted) / _sd(miss)


def _confidence(size: float) -> Confidence:
    if size < _MEDIUM_SD:
        return "low"
    return "medium" if size < _HIGH_SD else "high"


def _wrong_way(miss: Miss) -> tuple[Reason, ...]:
    """List the contributions that pushed away from the outcome, the largest first."""
    if miss.direction == "accurate":
        return ()
    sign = 1 if miss.direction == "over-predicted" else -1
    pushed = [reason for reason in miss.reasons if sign * reason.points > 0]
    pushed.sort(key=lambda reason: (-sign * reason.points, reason.family, reason.key))
    return tuple(pushed)


def _hypotheses(miss: Miss, pushed: tuple[Reason, ...], size: float) -> tuple[Hypothesis, ...]:
    """Guess at the largest contributions that can be said, and at words that stand out."""
    if miss.direction == "accurate":
        return ()
    sign: Literal[-1, 1] = -1 if miss.direction == "over-predicted" else 1
    said = [(text, _reason(each, miss)) for each in pushed if (text := _predicate(each))]
    found: dict[str, Hypothesis] = {}
    for predicate, because in said:
        if len(found) < _NAMED:
            guess = Hypothesis(predicate, sign, _confidence(size), because)
            found.setdefault(predicate, guess)
    for word, contrast in _standing_out(miss, sign):
        predicate = f"word:{word}"
        because = f"Videos of this kind with `{word}` missed by {points(contrast)} points more."
        guess = Hypothesis(predicate, sign, _confidence(abs(contrast) / _sd(miss)), because)
        found.setdefault(predicate, guess)
    return tuple(found.values())


def _predicate(reason: Reason) -> str | None:
    """Say an effect in the closed grammar, where it has words for it."""
    say = _SAYABLE.get(reason.family)
    if say is None:
        return None
    try:
        return format_predicate(parse_predicate(say(reason.key)))
    except (BadInput, ValueError):
        # A key may have more signs than a predicate takes, or be of another form.
        return None


def _standing_out(miss: Miss, sign: int) -> Iterator[tuple[str, float]]:
    """List words shared with earlier videos that missed likewise, by the contrast to the rest."""
    earlier = [
        (each.actual - each.predicted, set(WORD.findall(each.title.lower())))
        for each in miss.neighbours
    ]
    contrasts: dict[str, float] = {}
    for word in dict.fromkeys(WORD.findall(miss.title.lower())):
        with_it = [gap for gap, words in earlier if word in words]
        without = [gap for gap, words in earlier if word not in words]
        if len(word) >= _WORD_MIN and with_it and without:
            gap = fmean([miss.actual - miss.predicted, *with_it])
            contrasts[word] = gap - fmean(without)
    least = _sd(miss)
    extreme = [item for item in contrasts.items() if sign * item[1] >= least]
    extreme.sort(key=lambda item: (-abs(item[1]), item[0]))
    yield from extreme[:_NAMED]


def _text(miss: Miss, size: float) -> str:
    title = " ".join(miss.title.split())[:_TITLE_MAX].rstrip()
    forecast = (
        f"The score for \u201c{title}\u201d on {PLATFORM_NAMES[miss.platform]} was predicted at "
        f"{miss.predicted:.0f}, between {miss.low:.0f} and {miss.high:.0f}."
    )
    outcome = (
        f"It reached {miss.actual:.0f}, with {miss.views:,} views "
        f"and {miss.engagement_rate:.1f} % engagement."
    )
    return f"{forecast} {outcome} {_distance(miss, size)}"


def _distance(miss: Miss, size: float) -> str:
    if miss.direction == "accurate":
        return "That is close to the prediction."
    side = "below" if miss.actual < miss.predicted else "above"
    gap = abs(miss.actual - miss.predicted)
    return f"That is {gap:.0f} points {side} the prediction, {size:.1f} standard deviations away."


def _reason(reason: Reason, miss: Miss) -> str:
    verb = "raised" if reason.points > 0 else "lowered"
    side = "below" if miss.actual < miss.predicted else "above"
    points = abs(reason.points)
    return f"{_label(reason)} {verb} the score by {points:.1f} points; the outcome lay {side} it."


def _label(reason: Reason) -> str:
    """Quote a label; it may hold a word of somebody's title."""
    label = " ".join((reason.label or f"{reason.family}: {reason.key}").split())
    return f"`{label.replace('`', '')[:_TITLE_MAX]}`"


def _issues(miss: Miss, wrong: tuple[Reason, ...], size: float) -> tuple[str, ...]:
    issues: list[str] = []
    if miss.direction == "accurate":
        return ()
    gap = abs(miss.actual - miss.predicted)
    named = sum(abs(reason.points) for reason in wrong)
    if not wrong:
        issues.append("No contribution points the wrong way; the cause is not in the score.")
    elif 2 * named < gap:
        issues.append(f"The named contributions make up {named:.1f} of {gap:.1f} points.")
    if size >= _HIGH_SD:
        issues.append(f"The interval of {miss.low:.0f} to {miss.high:.0f} is far from the outcome.")
    if miss.views < _FEW_VIEWS:
        issues.append(f"The rate rests on {miss.views:,} views only.")
    return tuple(issues)


def _plan(miss: Miss, wrong: tuple[Reason, ...]) -> str:
    if miss.direction == "accurate":
        return "Change nothing, watch the next 5 posts."
    if not wrong:
        return f"Change nothing for {miss.category} yet, watch the next 5 posts."
    verb = "Lower" if miss.direction == "over-predicted" else "Raise"
    return f"{verb} {_label(wrong[0])} for this tenant, watch the next 5 posts."
