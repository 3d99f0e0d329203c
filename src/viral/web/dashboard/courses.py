"""Pictures of an experiment: how the deciding comparison went, and where each arm stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from markupsafe import Markup

from viral.features.experiments.sequential import ArmState, Course, Look
from viral.features.scoring.labels import points
from viral.web.dashboard.charts import (
    ADVANCE,
    DESKTOP,
    LINE,
    PHONE,
    Plot,
    Size,
    crosshair,
    nice_steps,
    place,
    x_axis,
)
from viral.web.dashboard.figures import Figure, Reading
from viral.web.dashboard.rendering import count, number

# More looks than this are no wider than a pixel.
MOST_LOOKS = 120
# Wider than this are only the intervals of the first posts.
_USUAL = 60.0
_BAR_WIDTH, _BAR_HEIGHT = 240, 24
_NARROWEST = 10.0


@dataclass(frozen=True, slots=True)
class _Scale:
    """Points from `low` to `high` on a plot that knows values from zero alone."""

    plot: Plot
    low: float
    high: float

    def y(self, value: float) -> float:
        return self.plot.y(min(max(value, self.low), self.high) - self.low)


def course_figure(course: Course, names: dict[str, str], *, csv_url: str) -> Figure:
    """Draw the leader's lead with its interval after each post; above zero it is decided."""
    looks = thinned(course.looks)
    leader, rival = names[course.leader], names[course.rival]
    last = looks[-1]
    summary = f"Lead of {leader} over {rival}: {_said(last)} after {count(last.posts, 'post')}."
    return Figure(
        title=f"Does {leader} beat {rival}?",
        caption=(
            "Lead in points with an interval that holds however often you look."
            " Once all of it is above the line at zero, the comparison is decided."
        ),
        charts=tuple(_course(looks, size=size, summary=summary) for size in (DESKTOP, PHONE)),
        columns=("Posts", "Lead", "From", "To"),
        readings=tuple(
            Reading(
                (number(each.posts), points(each.difference), points(each.low), points(each.high)),
                f"After {count(each.posts, 'post')}: {_said(each)}.",
            )
            for each in looks
        ),
        csv_url=csv_url,
    )


def thinned(looks: Sequence[Look]) -> list[Look]:
    """Leave out looks between others, evenly, and keep the last."""
    step = -(-len(looks) // MOST_LOOKS)
    return list(reversed(looks[::-1][::step]))


def arm_bars(arms: Sequence[ArmState]) -> dict[str, Markup]:
    """Draw each arm's mean and interval around the forecast, by label, on one scale."""
    ends = [end for arm in arms for end in (arm.low, arm.high) if end is not None]
    low, high = min([-_NARROWEST, *ends]), max([_NARROWEST, *ends])

    def x(value: float) -> float:
        return (value - low) / (high - low) * (_BAR_WIDTH - 12) + 6

    return {arm.label: _arm_bar(arm, x) for arm in arms}


def _arm_bar(arm: ArmState, x: Callable[[float], float]) -> Markup:
    middle = _BAR_HEIGHT / 2
    drawn = Markup('<line class="bar-zero" x1="{0}" x2="{0}" y1="0" y2="{1}"/>').format(
        place(x(0)), _BAR_HEIGHT
    )
    if arm.low is not None and arm.high is not None:
        drawn += Markup(
            '<line class="arm-line" x1="{}" x2="{}" y1="{}" y2="{}"/>'
            '<circle class="arm-dot" cx="{}" cy="{}" r="5"/>'
        ).format(place(x(arm.low)), place(x(arm.high)), middle, middle, place(x(arm.mean)), middle)
    return Markup('<svg class="arm-bar" viewBox="0 0 {} {}" aria-hidden="true">{}</svg>').format(
        _BAR_WIDTH, _BAR_HEIGHT, drawn
    )


def _said(look: Look) -> str:
    return f"{points(look.difference)} points, between {points(look.low)} and {points(look.high)}"


def _course(looks: Sequence[Look], *, size: Size, summary: str) -> Markup:
    scale, steps = _scale(looks, size=size)
    plot = scale.plot
    marks = sorted({looks[0].posts, looks[-1].posts, *_between(looks, size.x_ticks)})
    parts = [
        *(_step(scale, step, size=size) for step in steps),
        Markup('<text x="2" y="{}">points</text>').format(place(size.font)),
        x_axis(plot, [(each, f"{each:,}") for each in marks], size=size, title="posts learnt"),
        Markup('<path class="band" d="{}"/>').format(_band(scale, looks)),
        Markup('<line class="reference" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            place(plot.left), place(plot.right), place(scale.y(0)), place(scale.y(0))
        ),
        Markup('<path class="line line-1" d="{}"/>').format(
            _path([(plot.x(each.posts), scale.y(each.difference)) for each in looks])
        ),
        crosshair(plot, [each.posts for each in looks]),
    ]
    return Markup(
        '<svg class="chart chart-{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(size.name, size.width, size.height, summary, Markup("").join(parts))


def _scale(looks: Sequence[Look], *, size: Size) -> tuple[_Scale, list[float]]:
    """Lay the plot out; the first intervals, wide as all scores, may leave it."""
    above = min(max(_USUAL, looks[-1].high), max(_NARROWEST, *(each.high for each in looks)))
    below = min(max(_USUAL, -looks[-1].low), max(_NARROWEST, *(-each.low for each in looks)))
    step = nice_steps(above + below, most=6)[1]
    low, high = -step * ceil(below / step), step * ceil(above / step)
    steps = [low + step * number for number in range(round((high - low) / step) + 1)]
    plot = Plot(
        left=max(len(points(each, 0)) for each in steps) * size.font * ADVANCE + 10,
        top=size.font * LINE * 2,
        right=size.width - 10,
        bottom=size.height - size.font * LINE * 2 - 8,
        x_low=looks[0].posts,
        x_high=looks[-1].posts,
        y_high=high - low,
    )
    return _Scale(plot, low, high), steps


def _step(scale: _Scale, step: float, *, size: Size) -> Markup:
    y = scale.y(step)
    return Markup(
        '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
        '<text x="{}" y="{}" text-anchor="end">{}</text>'
    ).format(
        place(scale.plot.left),
        place(scale.plot.right),
        place(y),
        place(y),
        place(scale.plot.left - 6),
        place(y + size.font * 0.35),
        points(step, 0) if step else "0",
    )


def _between(looks: Sequence[Look], most: int) -> list[int]:
    first, last = looks[0].posts, looks[-1].posts
    step = max(1, round((last - first) / most))
    return list(range(first, last, step))


def _band(scale: _Scale, looks: Sequence[Look]) -> str:
    upper = [(scale.plot.x(each.posts), scale.y(each.high)) for each in looks]
    lower = [(scale.plot.x(each.posts), scale.y(each.low)) for each in reversed(looks)]
    return f"{_path([*upper, *lower])}Z"


def _path(spots: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{place(x)} {place(y)}" for x, y in spots)
