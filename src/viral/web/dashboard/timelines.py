"""Figures over time, as the pages of operation show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from viral.web.dashboard.charts import DESKTOP, PHONE, Series, Size, line_chart
from viral.web.dashboard.figures import Figure, Reading
from viral.web.dashboard.rendering import number, sentence, when

_DAY: Final = timedelta(days=1)
_HOURS_APART: Final = 4


@dataclass(frozen=True, slots=True)
class Line:
    """A line over the moments of its figure; None is what nobody measured, and is left out."""

    name: str
    values: tuple[float | None, ...]


def figure(
    id: str,  # noqa: A002 - it is the element's id
    title: str,
    caption: str,
    *,
    moments: Sequence[datetime],
    lines: Sequence[Line],
    unit: str,
    now: datetime,
    digits: int = 0,
    empty: str = "",
) -> Figure:
    """Draw lines over moments, oldest first, in the time zone of `now`."""
    local = [each.astimezone(now.tzinfo) for each in moments]
    series = [_series(each, local, digits) for each in lines]
    kept = [
        place
        for place in range(len(local))
        if any(each.values[place] is not None for each in lines)
    ]
    if not kept:
        return Figure(title, caption, id=id, empty=empty)
    readings = tuple(_reading(local[place], lines, place, unit, now, digits) for place in kept)
    charts = tuple(
        line_chart(
            series,
            size=size,
            summary=f"{title} Newest: {readings[-1].said}",
            unit=unit,
            x_title="",
            x_labels=_labels([local[place] for place in kept], size),
        )
        for size in (DESKTOP, PHONE)
    )
    columns = ("Since", *(sentence(each.name) for each in lines))
    return Figure(title, caption, charts, columns, readings, id=id)


def _series(line: Line, moments: Sequence[datetime], digits: int) -> Series:
    points = (
        (at.timestamp(), round(value, digits or None))
        for at, value in zip(moments, line.values, strict=True)
        if value is not None
    )
    return Series(line.name, tuple(points))


def _reading(
    at: datetime, lines: Sequence[Line], place: int, unit: str, now: datetime, digits: int
) -> Reading:
    values = [each.values[place] for each in lines]
    cells = tuple("" if value is None else number(value, digits) for value in values)
    named = ", ".join(
        f"{each.name} {cell or 'unknown'}" for each, cell in zip(lines, cells, strict=True)
    )
    said = f"{when(at, now)}: {named} {unit}".rstrip()
    return Reading((when(at, now), *cells), f"{said}.")


def _labels(moments: Sequence[datetime], size: Size) -> list[tuple[float, str]]:
    """Label midnights of a span of days, else every fourth hour; of a short one its ends."""
    first, last = moments[0], moments[-1]
    if last - first > 2 * _DAY:
        marks = [each for each in moments if not (each.hour or each.minute)]
        names = [f"{each:%a} {each.day}" for each in marks]
    else:
        marks = [each for each in moments if not (each.hour % _HOURS_APART or each.minute)]
        names = [f"{each:%H:%M}" for each in marks]
    if len(marks) < 2:  # noqa: PLR2004 - a span has two ends
        marks = [first, last] if last > first else [first]
        names = [f"{each:%H:%M}" for each in marks]
    apart = -(-len(marks) // size.x_ticks)
    return [
        (each.timestamp(), name) for each, name in list(zip(marks, names, strict=True))[::apart]
    ]
