"""Charts as SVG text: positions are worked out here, colours come from CSS classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

MOST_SERIES: Final = 4
MOST_MARKED_POINTS: Final = 20
ADVANCE: Final = 0.6  # widest mean advance of a digit or letter in the usual system fonts, in em
LINE: Final = 1.25  # line height of chart text, in em
_THOUSANDS: Final = 1e3


@dataclass(frozen=True, slots=True)
class Size:
    """A drawing area in user units; `font` is the text height that the layout reserves."""

    name: str
    width: int
    height: int
    font: int
    x_ticks: int


DESKTOP: Final = Size("desktop", 640, 220, 12, 7)
PHONE: Final = Size("phone", 340, 200, 15, 4)


@dataclass(frozen=True, slots=True)
class Series:
    """A line; `name` stands at its end, so one or two words."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A vertical line at x where something happened."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Where numbers are drawn: the box in user units, and the ends of both scales."""

    left: float
    top: float
    right: float
    bottom: float
    x_low: float
    x_high: float
    y_high: float

    def x(self, value: float) -> float:
        span = self.x_high - self.x_low
        share = (value - self.x_low) / span if span else 0.5
        return self.left + share * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.bottom - value / self.y_high * (self.bottom - self.top)


def line_chart(
    series: Sequence[Series],
    *,
    size: Size,
    summary: str,
    unit: str,
    x_title: str,
    rules: Sequence[Rule] = (),
    x_labels: Sequence[tuple[float, str]] | None = None,
) -> Markup:
    """Draw up to four lines over a shared x with y from zero; `summary` is the name read aloud."""
    if len(series) > MOST_SERIES:
        raise ValueError(f"A chart holds {MOST_SERIES} lines, not {len(series)}: group the rest.")
    drawn = [each for each in series if each.points]
    if not drawn:
        return Markup("")
    plot, steps = _layout(drawn, size=size)
    parts = [
        grid(plot, steps, size=size, unit=unit),
        x_axis(plot, x_labels or _whole_labels(plot, size.x_ticks), size=size, title=x_title),
        _rules(plot, rules, size=size),
        *(_line(plot, each, number=series.index(each) + 1) for each in drawn),
        _end_labels(plot, drawn, order=series, size=size),
        crosshair(plot, sorted({x for each in drawn for x, _ in each.points})),
    ]
    return Markup(
        '<svg class="chart chart-{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(size.name, size.width, size.height, summary, Markup("").join(parts))


def contribution_bars(
    points: Sequence[float], *, width: int = 160, height: int = 12
) -> list[Markup]:
    """Draw one signed bar per number around a zero that all of them share."""
    low, high = min([0.0, *points]), max([0.0, *points])
    span = (high - low) or 1.0
    zero = -low / span * width
    bars = []
    for value in points:
        length = abs(value) / span * width
        start = zero if value >= 0 else zero - length
        bars.append(
            Markup(
                '<svg class="bar" viewBox="0 0 {} {}" preserveAspectRatio="none"'
                ' aria-hidden="true">'
                '<rect class="bar-{}" x="{}" y="1" width="{}" height="{}"/>'
                '<line class="bar-zero" x1="{}" x2="{}" y1="0" y2="{}"/></svg>'
            ).format(
                width,
                height,
                "up" if value >= 0 else "down",
                place(start),
                place(length),
                height - 2,
                place(zero),
                place(zero),
                height,
            )
        )
    return bars


def balanced(points: Sequence[float], *, total: float) -> list[float]:
    """Round to tenths so that the rounded numbers still add up to the rounded total.

    Largest remainder: each number moves by less than a tenth when the points do add up.
    """
    tenths = [math.floor(value * 10) for value in points]
    spare = round(total * 10) - sum(tenths)
    order = sorted(range(len(points)), key=lambda i: points[i] * 10 - tenths[i], reverse=True)
    for turn in range(abs(spare) if points else 0):
        tenths[order[turn % len(order)]] += 1 if spare > 0 else -1
    return [value / 10 for value in tenths]


def score_ring(score: float, *, label: str) -> Markup:
    """Draw a score from 0 to 100 as a ring with its number inside."""
    share = min(100.0, max(0.0, score))
    return Markup(
        '<svg class="ring" viewBox="0 0 56 56" role="img" aria-label="{}">'
        '<circle class="ring-track" cx="28" cy="28" r="24"/>'
        '<circle class="ring-value" cx="28" cy="28" r="24" pathLength="100"'
        ' stroke-dasharray="{} 100" transform="rotate(-90 28 28)"/>'
        '<text x="28" y="34" text-anchor="middle">{}</text></svg>'
    ).format(label, place(share), round(share))


def sparkline(values: Sequence[float], *, width: int = 96, height: int = 32) -> Markup:
    """Draw a small line of one series, from zero; fewer than two values draw nothing."""
    if len(values) < 2:  # noqa: PLR2004 - a line has two ends
        return Markup("")
    high = max(values) or 1.0
    step = (width - 6) / (len(values) - 1)
    spots = [(3 + i * step, height - 3 - v / high * (height - 6)) for i, v in enumerate(values)]
    last_x, last_y = spots[-1]
    return Markup(
        '<svg class="sparkline" viewBox="0 0 {} {}" aria-hidden="true">'
        '<path class="line line-1" d="{}"/>'
        '<circle class="dot dot-1" cx="{}" cy="{}" r="2.5"/></svg>'
    ).format(width, height, _path(spots), place(last_x), place(last_y))


def meter(share: float, *, level: str, label: str) -> Markup:
    """Draw how much of something is used; `level` is a class and is said in words beside it."""
    filled = min(1.0, max(0.0, share)) * 100
    return Markup(
        '<svg class="meter meter-{}" viewBox="0 0 100 6" preserveAspectRatio="none" role="img"'
        ' aria-label="{}"><rect class="meter-track" width="100" height="6"/>'
        '<rect class="meter-value" width="{}" height="6"/></svg>'
    ).format(level, label, place(filled))


def nice_steps(high: float, *, most: int = 5) -> list[float]:
    """Give 0 and up to `most` round steps, the last of which is at or above `high`."""
    if high <= 0:
        return [0.0, 1.0]
    step = _round_step(high / most)
    return [step * i for i in range(math.ceil(high / step - 1e-9) + 1)]


def _layout(series: Sequence[Series], *, size: Size) -> tuple[Plot, list[float]]:
    xs = [x for each in series for x, _ in each.points]
    steps = nice_steps(max(y for each in series for _, y in each.points))
    widest_step = max(len(tick(step)) for step in steps)
    widest_end = max(max(len(each.name), len(_value(each.points[-1][1]))) for each in series)
    plot = Plot(
        left=widest_step * size.font * ADVANCE + 10,
        top=size.font * LINE * 2,
        right=size.width - 10 - widest_end * size.font * ADVANCE,
        bottom=size.height - size.font * LINE * 2 - 8,
        x_low=min(xs),
        x_high=max(xs),
        y_high=steps[-1],
    )
    return plot, steps


def grid(plot: Plot, steps: Sequence[float], *, size: Size, unit: str) -> Markup:
    """Draw a line and a number for each step, and the unit above them."""
    rows = [
        Markup(
            '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
            '<text x="{}" y="{}" text-anchor="end">{}</text>'
        ).format(
            place(plot.left),
            place(plot.right),
            place(plot.y(step)),
            place(plot.y(step)),
            place(plot.left - 6),
            place(plot.y(step) + size.font * 0.35),
            tick(step),
        )
        for step in steps
    ]
    title = Markup('<text x="2" y="{}">{}</text>').format(place(size.font), unit)
    return Markup("").join([title, *rows])


def x_axis(plot: Plot, labels: Sequence[tuple[float, str]], *, size: Size, title: str) -> Markup:
    """Write labels below the plot, moved inside and left out where they would meet."""
    baseline = plot.bottom + size.font * LINE + 2
    parts = []
    taken = -math.inf
    for x, label in labels:
        half = len(label) * size.font * ADVANCE / 2
        middle = min(max(plot.x(x), half), size.width - half)
        if middle - half < taken:
            continue
        taken = middle + half + size.font / 2
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
                place(middle), place(baseline), label
            )
        )
    parts.append(
        Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            place((plot.left + plot.right) / 2), place(size.height - 4), title
        )
    )
    return Markup("").join(parts)


def _rules(plot: Plot, rules: Sequence[Rule], *, size: Size) -> Markup:
    """Draw the rules; their labels stand above them, all or none: half of them would mislead."""
    inside = sorted(
        (each for each in rules if plot.x_low <= each.x <= plot.x_high), key=lambda each: each.x
    )
    lines = [
        Markup('<line class="rule" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            place(plot.x(each.x)), place(plot.x(each.x)), place(plot.top - 6), place(plot.bottom)
        )
        for each in inside
    ]
    if not _labels_fit(plot, inside, size=size):
        return Markup("").join(lines)
    labels = [
        Markup('<text class="rule-label" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            place(plot.x(each.x)), place(size.font), each.label
        )
        for each in inside
    ]
    return Markup("").join([*lines, *labels])


def _labels_fit(plot: Plot, rules: Sequence[Rule], *, size: Size) -> bool:
    taken = plot.left + size.font * 2  # the unit stands at the left end of the same line
    for each in rules:
        half = len(each.label) * size.font * ADVANCE / 2
        middle = plot.x(each.x)
        if middle - half < taken or middle + half > size.width:
            return False
        taken = middle + half + size.font / 2
    return True


def _line(plot: Plot, series: Series, *, number: int) -> Markup:
    spots = [(plot.x(x), plot.y(y)) for x, y in series.points]
    parts = [Markup('<path class="line line-{}" d="{}"/>').format(number, _path(spots))]
    if len(spots) < MOST_MARKED_POINTS:
        parts += [
            Markup('<circle class="dot dot-{}" cx="{}" cy="{}" r="3"/>').format(
                number, place(x), place(y)
            )
            for x, y in spots
        ]
    return Markup("").join(parts)


def _end_labels(
    plot: Plot, drawn: Sequence[Series], *, order: Sequence[Series], size: Size
) -> Markup:
    """Put name and last value beside each line's end, pushed apart where lines end together."""
    block = 2 * size.font * LINE + 4
    ends = sorted(drawn, key=lambda each: -each.points[-1][1])
    tops: list[float] = []
    for each in ends:
        wanted = plot.y(each.points[-1][1]) - block / 2
        tops.append(max(wanted, tops[-1] + block if tops else plot.top - size.font))
    floor = plot.bottom + size.font
    for i in reversed(range(len(tops))):
        tops[i] = min(tops[i], floor - block)
        floor = tops[i]
    parts = [
        Markup(
            '<text class="end end-{}" x="{}" y="{}">{}</text>'
            '<text class="end-value" x="{}" y="{}">{}</text>'
        ).format(
            order.index(each) + 1,
            place(plot.right + 8),
            place(top + size.font),
            each.name,
            place(plot.right + 8),
            place(top + size.font * (1 + LINE)),
            _value(each.points[-1][1]),
        )
        for each, top in zip(ends, tops, strict=True)
    ]
    return Markup("").join(parts)


def crosshair(plot: Plot, xs: Sequence[float]) -> Markup:
    """Leave the x of every reading, in their order, for the script that moves the crosshair."""
    return Markup('<line class="crosshair" x1="0" x2="0" y1="{}" y2="{}" data-xs="{}"/>').format(
        place(plot.top), place(plot.bottom), " ".join(place(plot.x(x)) for x in xs)
    )


def _whole_labels(plot: Plot, most: int) -> list[tuple[float, str]]:
    """Label whole numbers at round steps, at most `most` of them."""
    first, last = math.ceil(plot.x_low), math.floor(plot.x_high)
    step = max(1, math.ceil(_round_step((last - first) / most)))
    marks = range(math.ceil(first / step) * step, last + 1, step)
    if len(marks) > most:
        step = math.ceil(_round_step(step + 1))
        marks = range(math.ceil(first / step) * step, last + 1, step)
    return [(mark, f"{mark:,}") for mark in marks]


def _round_step(rough: float) -> float:
    """Give the next of 1, 2, 2.5, 5 times a power of ten."""
    if rough <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))


def _path(spots: Sequence[tuple[float, float]]) -> str:
    if len(spots) == 1:
        x, y = spots[0]
        return f"M{place(x)} {place(y)}h0"
    return "M" + "L".join(f"{place(x)} {place(y)}" for x, y in spots)


def tick(value: float) -> str:
    """Write a number of an axis: 12.5, 1,200, 12.5k, 3M."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit * (1 if unit > _THOUSANDS else 10):
            return f"{tick(value / unit)}{name}"
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def _value(value: float) -> str:
    if abs(value) >= _THOUSANDS:
        return tick(float(f"{value:.3g}"))
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def place(value: float) -> str:
    """Write a coordinate with at most one decimal: a page of charts stays small."""
    return f"{value:.1f}".removesuffix(".0")
