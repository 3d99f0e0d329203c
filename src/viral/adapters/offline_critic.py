"""Explain a miss from its own numbers: no network, no model, the same words every time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.features.reflexion.critic import Critique

if TYPE_CHECKING:
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


class OfflineCritic:
    """Names what moved the score the wrong way, and what to watch."""

    name = "offline"

    async def critique(self, miss: Miss) -> Critique:
        """Explain one miss from the prediction, the outcome and the parts of the score."""
        size = _size_in_sd(miss)
        wrong = _wrong_way(miss)
        return Critique(
            text=_text(miss, size),
            reasons=tuple(_reason(reason, miss) for reason in wrong),
            issues=_issues(miss, wrong, size),
            plan=_plan(miss, wrong),
            confidence=_confidence(size),
        )


def _size_in_sd(miss: Miss) -> float:
    # The interval is clipped to 0..100: its longer side is the one that kept its width.
    half_width = max(miss.high - miss.predicted, miss.predicted - miss.low)
    sd = max(half_width / _HALF_WIDTH_SD, _SD_MIN)
    return abs(miss.actual - miss.predicted) / sd


def _confidence(size: float) -> Confidence:
    if size < _MEDIUM_SD:
        return "low"
    return "medium" if size < _HIGH_SD else "high"


def _wrong_way(miss: Miss) -> tuple[Reason, ...]:
    """Pick the contributions that pushed furthest away from the outcome."""
    if miss.direction == "accurate":
        return ()
    sign = 1 if miss.direction == "over-predicted" else -1
    pushed = [reason for reason in miss.reasons if sign * reason.points > 0]
    pushed.sort(key=lambda reason: (-sign * reason.points, reason.family, reason.key))
    return tuple(pushed[:_NAMED])


def _text(miss: Miss, size: float) -> str:
    title = " ".join(miss.title.split())[:_TITLE_MAX].rstrip()
    forecast = (
        f"The score for \u201c{title}\u201d on {miss.platform} was predicted at "
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
