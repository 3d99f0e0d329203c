"""The learning curve: mean misses of the last predictions, with learning and without."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from viral.features.reflexion.status import FEWEST_RESULTS, WINDOW, ScoredResult
from viral.web.dashboard.charts import DESKTOP, PHONE, Rule, Series, line_chart
from viral.web.dashboard.figures import Figure, Reading
from viral.web.dashboard.rendering import count, day, number

CSV_URL: Final = "/learning.csv"
MOST_POINTS: Final = 120


@dataclass(frozen=True, slots=True)
class Point:
    """Mean misses after the n-th result, with learning and without."""

    number: int
    measured_at: datetime
    learning: float
    without: float


def learning_curve(
    results: Sequence[ScoredResult], changes: Sequence[tuple[datetime, int]], *, now: datetime
) -> Figure | None:
    """Draw rolling misses, with a rule wherever changes were published; None for too few results.

    `changes` are moments, each with how many were published then.
    """
    points = _thinned(list(_rolling(results)))
    if not points:
        return None
    rules = tuple(_rules(results, changes))
    series = (
        Series("learning", tuple((each.number, each.learning) for each in points)),
        Series("without", tuple((each.number, each.without) for each in points)),
    )
    meaning = f"Mean miss of the last {count(WINDOW, 'prediction')}, in points of 100."
    return Figure(
        title="Does the error fall as results come in?",
        caption=f"{meaning} Lower is better."
        + (" Dotted line: changes published." if rules else ""),
        charts=tuple(
            line_chart(
                series,
                size=size,
                summary=_summary(points[-1]),
                unit="points",
                x_title="results, in order",
                rules=rules,
            )
            for size in (DESKTOP, PHONE)
        ),
        columns=("Result", "Measured", "Learning", "Without"),
        readings=tuple(_reading(each, now) for each in points),
        csv_url=CSV_URL,
    )


def _summary(last: Point) -> str:
    gap = last.without - last.learning
    return (
        f"After {count(last.number, 'result')} predictions with learning miss by"
        f" {number(last.learning, 1)} points on average and without learning by"
        f" {number(last.without, 1)}: {number(abs(gap), 1)} points"
        f" {'less' if gap >= 0 else 'more'}."
    )


def _reading(point: Point, now: datetime) -> Reading:
    place, measured = number(point.number), day(point.measured_at, now)
    learning, without = number(point.learning, 1), number(point.without, 1)
    return Reading(
        (place, measured, learning, without),
        f"Result {place}, {measured}: learning {learning}, without {without}.",
    )


def _rolling(results: Sequence[ScoredResult]) -> Iterator[Point]:
    for end in range(FEWEST_RESULTS, len(results) + 1):
        last = results[max(0, end - WINDOW) : end]
        yield Point(
            number=last[-1].number,
            measured_at=last[-1].measured_at,
            learning=sum(each.error for each in last) / len(last),
            without=sum(each.error_without_learning for each in last) / len(last),
        )


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """Keep points evenly spread, first and last among them: a page shows no more than that."""
    if len(points) <= MOST_POINTS:
        return points
    step = (len(points) - 1) / (MOST_POINTS - 1)
    return [points[round(place * step)] for place in range(MOST_POINTS)]


def _rules(
    results: Sequence[ScoredResult], changes: Sequence[tuple[datetime, int]]
) -> Iterator[Rule]:
    measured = sorted(each.measured_at for each in results)
    by_place: dict[int, int] = {}
    for applied_at, changed in changes:
        place = bisect_right(measured, applied_at)
        by_place[place] = by_place.get(place, 0) + changed
    for place, changed in by_place.items():
        if place >= FEWEST_RESULTS:
            yield Rule(place, count(changed, "change"))
