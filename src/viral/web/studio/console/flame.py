"""A plan as a picture: a bar for each step, as wide as what it and the steps below it take.

Positions are worked out here; colours come from CSS classes, so one picture serves both themes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape

from viral.database.console.plan import FAR_OFF, Plan, Step
from viral.web.dashboard.rendering import count

# The widest mean advance of a character in the usual system fonts, in em.
_ADVANCE: Final = 0.58
_GAP: Final = 2
# Narrower bars would not be seen.
_NARROWEST: Final = 6


@dataclass(frozen=True, slots=True)
class Canvas:
    """A drawing area in user units; `row` is the height of a step, `font` that of its text."""

    name: str
    width: int
    row: int
    font: int


DESKTOP: Final = Canvas("desktop", 960, 46, 13)
PHONE: Final = Canvas("phone", 340, 46, 13)


@dataclass(frozen=True, slots=True)
class _Bar:
    step: Step
    x: float
    width: float
    depth: int


def draw_plan(plan: Plan, canvas: Canvas) -> Markup:
    """Draw a plan from its root at the top to its leaves."""
    bars = list(_bars(plan.root, 0, canvas.width, 0))
    height = (max(bar.depth for bar in bars) + 1) * canvas.row
    heaviest = plan.heaviest
    drawn = Markup("").join(
        _drawn(bar, plan, canvas, is_heaviest=bar.step is heaviest) for bar in bars
    )
    return Markup(
        '<svg class="flame flame-{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(canvas.name, canvas.width, height, summary(plan), drawn)


def summary(plan: Plan) -> str:
    """Say in a sentence or two where a plan spends its time, or expects to."""
    heaviest = plan.heaviest
    steps = sum(1 for _ in plan.root.walk())
    share = f"{plan.share(heaviest) * 100:.0f} %"
    number = count(steps, "step")
    if not plan.is_measured:
        return f"{number}. Heaviest by estimate: {heaviest.title}, {share} of the cost."
    text = f"{number}, {duration(plan.execution_ms or 0)}. Heaviest: {heaviest.title}, {share}."
    worst = max((step for _, step in plan.root.walk()), key=lambda step: step.times_off or 0)
    if (worst.times_off or 0) >= FAR_OFF:
        text += f" Furthest from its estimate: {worst.title}, {off(worst)}."
    return text


def off(step: Step) -> str:
    """Say how far the rows of a step are from what was expected."""
    times = step.times_off
    if times is None or step.actual is None or times < 2:  # noqa: PLR2004 - twice is as expected
        return "as expected"
    return f"{times:,.0f} times {'more' if step.actual > step.estimated else 'fewer'} than expected"


def duration(milliseconds: float) -> str:
    """Write 0.04 ms, 3.2 ms, 250 ms or 1.25 s."""
    if milliseconds >= 1000:  # noqa: PLR2004 - a second
        return f"{milliseconds / 1000:.2f} s"
    digits = 2 if milliseconds < 1 else 1 if milliseconds < 10 else 0  # noqa: PLR2004 - two figures
    return f"{milliseconds:.{digits}f} ms"


def rows(step: Step) -> str:
    """Write the rows of a step: expected, and what came if it was measured."""
    if step.actual is None:
        return f"{count(step.estimated, 'row')} expected"
    return f"{count(step.actual, 'row')}, {step.estimated:,} expected"


def _bars(step: Step, x: float, width: float, depth: int) -> Iterator[_Bar]:
    yield _Bar(step, x, width, depth)
    below = sum(child.weight for child in step.children)
    # Parallel workers, and plans that are stopped early, have children that outweigh them.
    whole = max(step.weight, below)
    shares = [child.weight / whole if whole else 1 / len(step.children) for child in step.children]
    widths = [max(_NARROWEST, share * width) for share in shares]
    excess = sum(widths) / width if width else 1
    for child, wide in zip(step.children, widths, strict=True):
        fitted = wide / max(1.0, excess)
        yield from _bars(child, x, fitted, depth + 1)
        x += fitted


def _drawn(bar: _Bar, plan: Plan, canvas: Canvas, *, is_heaviest: bool) -> Markup:
    step, y = bar.step, bar.depth * canvas.row
    width = max(1.0, bar.width - _GAP)
    own = plan.share(step)
    words = rows(step)
    took = duration(step.weight) if plan.is_measured else f"cost {step.weight:,.0f}"
    label = f"{'Heaviest: ' if is_heaviest else ''}{step.title}"
    parts = [
        Markup("<title>{}</title>").format(f"{step.title}: {took}, {words}, {own:.0%} its own"),
        Markup('<rect class="flame-bar" x="{}" y="{}" width="{}" height="{}" rx="6"/>').format(
            _n(bar.x), y, _n(width), canvas.row - _GAP
        ),
    ]
    if own:
        parts.append(
            Markup('<rect class="flame-own" x="{}" y="{}" width="{}" height="4" rx="2"/>').format(
                _n(bar.x + 6),
                y + canvas.row - 10,
                _n(max(2.0, (width - 12) * step.own / step.weight if step.weight else 0)),
            )
        )
    if text := _fitted(label, width, canvas):
        parts.append(_text(bar.x, y + 16, "flame-title", text))
    if text := _fitted(f"{took}, {words}", width, canvas):
        parts.append(_text(bar.x, y + 31, "flame-words", text))
    kind = "flame-step flame-heaviest" if is_heaviest else "flame-step"
    return Markup('<g class="{}">{}</g>').format(kind, Markup("").join(parts))


def _text(x: float, y: float, style: str, words: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(
        style, _n(x + 8), y, escape(words)
    )


def _fitted(words: str, width: float, canvas: Canvas) -> str:
    """Cut words to what fits a bar; a few letters alone say nothing."""
    room = int((width - 16) / (canvas.font * _ADVANCE))
    if len(words) <= room:
        return words
    return words[: room - 1].rstrip() + "…" if room >= 4 else ""  # noqa: PLR2004 - the fewest letters


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
