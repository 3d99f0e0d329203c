"""Charts of what posts reach from week to week."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Literal

from viral.features.performance.weeks import Grouping, WeekOfPosts
from viral.schema.vocabulary import PLATFORM_NAMES
from viral.web.dashboard.charts import DESKTOP, MOST_SERIES, PHONE, Series, line_chart
from viral.web.dashboard.figures import Figure, Reading
from viral.web.dashboard.rendering import count, number, sentence

Measure = Literal["views", "score"]
_WEEK_DAYS = 7
_TITLES: dict[tuple[Measure, Grouping], str] = {
    ("views", "platform"): "Views by platform",
    ("score", "platform"): "Score by platform",
    ("views", "category"): "Views by category",
    ("score", "category"): "Score by category",
}
_MEANINGS: dict[Measure, str] = {
    "views": "Median views of the posts of a week",
    "score": "Mean score of the posts of a week that were learned from, of 100",
}


def first_monday(now: datetime, *, weeks: int) -> datetime:
    """Give the Monday on which the oldest of so many weeks begins, in UTC; this one is the last."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=now.weekday(), weeks=weeks - 1)


def week_figures(weeks: Sequence[WeekOfPosts], *, csv_url: str) -> tuple[Figure, ...]:
    """Draw views and score, by platform and by category; one without data is left out."""
    drawn = [
        _figure([each for each in weeks if each.grouping == grouping], measure, csv_url=csv_url)
        for measure, grouping in _TITLES
    ]
    return tuple(each for each in drawn if each is not None)


def _figure(weeks: Sequence[WeekOfPosts], measure: Measure, *, csv_url: str) -> Figure | None:
    names = _most_posted(weeks)
    values = {
        (each.monday, each.name): each
        for each in weeks
        if each.name in names and _value(each, measure) is not None
    }
    if not values:
        return None
    mondays = sorted({monday for monday, _ in values})
    grouping = weeks[0].grouping
    series = [
        Series(_name(name, grouping), _points(name, mondays, values, measure)) for name in names
    ]
    left_out = len({each.name for each in weeks}) - len(names)
    rest = f" The {MOST_SERIES} with most posts; {left_out} left out." if left_out else ""
    title = _TITLES[measure, grouping]
    summary = f"{title}: {_MEANINGS[measure].lower()}, {len(mondays)} weeks. " + "; ".join(
        f"{each.name} {_said(each.points[-1][1], measure)} at last"
        for each in series
        if each.points
    )
    return Figure(
        title=title,
        caption=f"{_MEANINGS[measure]}.{rest}",
        charts=tuple(
            line_chart(
                series,
                size=size,
                summary=f"{summary}.",
                unit="views" if measure == "views" else "score",
                x_title="week of publication",
                x_labels=_labels(mondays, most=size.x_ticks),
            )
            for size in (DESKTOP, PHONE)
        ),
        columns=("Week of", *(_name(name, grouping) for name in names)),
        readings=tuple(
            _reading(monday, names, values, measure, grouping=grouping) for monday in mondays
        ),
        csv_url=csv_url,
    )


def _points(
    name: str,
    mondays: Sequence[date],
    values: dict[tuple[date, str], WeekOfPosts],
    measure: Measure,
) -> tuple[tuple[float, float], ...]:
    return tuple(
        (_place(monday, mondays[0]), _value(values[monday, name], measure) or 0.0)
        for monday in mondays
        if (monday, name) in values
    )


def _reading(
    monday: date,
    names: Sequence[str],
    values: dict[tuple[date, str], WeekOfPosts],
    measure: Measure,
    *,
    grouping: Grouping,
) -> Reading:
    found = [(name, values.get((monday, name))) for name in names]
    said = ", ".join(
        f"{_name(name, grouping)} {_said(_value(week, measure) or 0.0, measure)}"
        f" ({count(week.posts, 'post')})"
        for name, week in found
        if week is not None
    )
    cells = (
        "\N{EN DASH}" if week is None else _said(_value(week, measure) or 0.0, measure)
        for _, week in found
    )
    return Reading((_day(monday), *cells), f"Week of {_day(monday)}: {said}.")


def _most_posted(weeks: Sequence[WeekOfPosts]) -> list[str]:
    posts: Counter[str] = Counter()
    for each in weeks:
        posts[each.name] += each.posts
    return sorted(posts, key=lambda name: (-posts[name], name))[:MOST_SERIES]


def _labels(mondays: Sequence[date], *, most: int) -> list[tuple[float, str]]:
    """Label whole weeks, evenly spread, the first among them."""
    first = mondays[0]
    weeks = int(_place(mondays[-1], first)) + 1
    step = -(-weeks // most)
    return [
        (float(week), _day(first + timedelta(days=week * _WEEK_DAYS)))
        for week in range(0, weeks, step)
    ]


def _place(monday: date, first: date) -> float:
    return (monday - first).days / _WEEK_DAYS


def _value(week: WeekOfPosts, measure: Measure) -> float | None:
    return week.views if measure == "views" else week.score


def _said(value: float, measure: Measure) -> str:
    return number(value) if measure == "views" else number(value, 1)


def _name(name: str, grouping: Grouping) -> str:
    return PLATFORM_NAMES[name] if grouping == "platform" else sentence(name)


def _day(monday: date) -> str:
    return f"{monday.day} {monday:%b}"
