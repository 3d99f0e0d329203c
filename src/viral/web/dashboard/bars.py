"""Charts of proof as SVG text: bars with intervals, and what was foretold against what came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from viral.web.dashboard.charts import (
    ADVANCE,
    LINE,
    Plot,
    Size,
    crosshair,
    grid,
    nice_steps,
    place,
    tick,
    x_axis,
)

_HIGHEST_SCORE: Final = 100.0
_WIDEST_BAR: Final = 44.0
# Digits are narrower than letters.
_NARROW_ADVANCE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Bar:
    """A value from zero with its interval; `series` is its colour, 1 to 4."""

    series: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Group:
    """Bars that stand together over a label, and how many posts are behind them."""

    label: str
    posts: int
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Spot:
    """A post: what was foretold and what it reached, 0 to 100."""

    predicted: float
    actual: float
    is_inside: bool


def bar_chart(
    groups: Sequence[Group],
    *,
    size: Size,
    summary: str,
    unit: str,
    digits: int = 1,
    highest: float | None = None,
    reference: tuple[float, str] | None = None,
) -> Markup:
    """Draw groups of bars from zero, each with its value and interval; a reference is a line.

    `digits` are those of the values; the scale ends at `highest`, or above the largest interval.
    """
    if not groups:
        return Markup("")
    top = highest or max(bar.high for group in groups for bar in group.bars)
    steps = nice_steps(top, most=4)
    plot = _plot(size, steps, spread=len(groups))
    parts = [
        grid(plot, steps, size=size, unit=unit),
        *(_bars(plot, at, group, digits=digits) for at, group in enumerate(groups)),
        *_labels(plot, groups, size=size),
        _reference(plot, reference, size=size),
        crosshair(plot, [at + 0.5 for at in range(len(groups))]),
    ]
    return _drawing(parts, size=size, summary=summary)


def scatter_chart(spots: Sequence[Spot], *, size: Size, summary: str) -> Markup:
    """Draw posts by what was foretold (x) and what they reached (y), with the diagonal."""
    if not spots:
        return Markup("")
    steps = [0.0, 25.0, 50.0, 75.0, 100.0]
    plot = _plot(size, steps, spread=_HIGHEST_SCORE)
    diagonal = Markup('<line class="diagonal" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        place(plot.left), place(plot.bottom), place(plot.right), place(plot.top)
    )
    dots = [
        Markup('<circle class="{}" cx="{}" cy="{}" r="3.5"/>').format(
            "hit" if each.is_inside else "miss",
            place(plot.x(each.predicted)),
            place(plot.y(each.actual)),
        )
        for each in spots
    ]
    parts = [
        grid(plot, steps, size=size, unit="actual score"),
        x_axis(plot, [(each, tick(each)) for each in steps], size=size, title="predicted score"),
        diagonal,
        *dots,
        crosshair(plot, [each.predicted for each in spots]),
    ]
    return _drawing(parts, size=size, summary=summary)


def _plot(size: Size, steps: Sequence[float], *, spread: float) -> Plot:
    return Plot(
        left=max(len(tick(step)) for step in steps) * size.font * ADVANCE + 10,
        top=size.font * LINE * 2,
        right=size.width - 10,
        bottom=size.height - size.font * LINE * 2 - 8,
        x_low=0,
        x_high=spread,
        y_high=steps[-1],
    )


def _drawing(parts: Sequence[Markup], *, size: Size, summary: str) -> Markup:
    return Markup(
        '<svg class="chart chart-{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(size.name, size.width, size.height, summary, Markup("").join(parts))


def _bars(plot: Plot, at: int, group: Group, *, digits: int) -> Markup:
    room = (plot.right - plot.left) / plot.x_high
    width = min(_WIDEST_BAR, room * 0.36)
    left = plot.x(at + 0.5) - width * len(group.bars) / 2
    return Markup("").join(
        _bar(plot, bar, left=left + number * width, width=width, digits=digits)
        for number, bar in enumerate(group.bars)
    )


def _bar(plot: Plot, bar: Bar, *, left: float, width: float, digits: int) -> Markup:
    middle = left + width / 2
    low, high = place(plot.y(bar.low)), place(plot.y(bar.high))
    end = place(middle - 4)
    whisker = f"M{place(middle)} {low}V{high}M{end} {low}h8M{end} {high}h8"
    return Markup(
        '<rect class="column column-{}" x="{}" y="{}" width="{}" height="{}" rx="2"/>'
        '<path class="whisker-ground" d="{}"/><path class="whisker" d="{}"/>'
        '<text class="column-value" x="{}" y="{}" text-anchor="middle">{}</text>'
    ).format(
        bar.series,
        place(left + 1),
        place(plot.y(bar.value)),
        place(width - 2),
        place(max(0.0, plot.bottom - plot.y(bar.value))),
        whisker,
        whisker,
        place(middle),
        place(plot.y(bar.high) - 4),
        f"{bar.value:.{digits}f}",
    )


def _labels(plot: Plot, groups: Sequence[Group], *, size: Size) -> list[Markup]:
    """Write label and number of posts below the bars; numbers alone where there is no room."""
    room = (plot.right - plot.left) / plot.x_high
    posts = [f"{each.posts:,} {'post' if each.posts == 1 else 'posts'}" for each in groups]
    if max(len(each) for each in posts) * size.font * _NARROW_ADVANCE > room:
        posts = [f"{each.posts:,}" for each in groups]
    return [
        Markup(
            '<text class="column-label" x="{}" y="{}" text-anchor="middle">{}</text>'
            '<text x="{}" y="{}" text-anchor="middle">{}</text>'
        ).format(
            _middle(plot, at, group.label, size),
            place(plot.bottom + size.font * LINE),
            group.label,
            _middle(plot, at, said, size),
            place(plot.bottom + size.font * LINE * 2),
            said,
        )
        for at, (group, said) in enumerate(zip(groups, posts, strict=True))
    ]


def _middle(plot: Plot, at: int, text: str, size: Size) -> str:
    half = _width(text, size) / 2
    return place(min(max(plot.x(at + 0.5), half), size.width - half))


def _width(text: str, size: Size) -> float:
    return len(text) * size.font * ADVANCE


def _reference(plot: Plot, reference: tuple[float, str] | None, *, size: Size) -> Markup:
    if reference is None:
        return Markup("")
    value, label = reference
    return Markup(
        '<line class="reference" x1="{}" x2="{}" y1="{}" y2="{}"/>'
        '<text class="reference-label" x="{}" y="{}" text-anchor="end">{}</text>'
    ).format(
        place(plot.left),
        place(plot.right),
        place(plot.y(value)),
        place(plot.y(value)),
        place(plot.right),
        place(size.font),
        label,
    )
