"""A chart as a page shows it: drawn for both widths, read by keyboard, with its data as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from litestar import Response
from markupsafe import Markup

from viral.database.values import harmless


@dataclass(frozen=True, slots=True)
class Reading:
    """A row of a chart's data, and how it is said when the crosshair is there."""

    cells: tuple[str, ...]
    said: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with its question; the readings stand in the order of the crosshair's places.

    `columns` name the cells; `keys` are classes and what they stand for, where no line says so.
    Without readings nothing was measured: `empty` says so in the chart's place.
    """

    title: str
    caption: str
    charts: tuple[Markup, ...] = ()
    columns: tuple[str, ...] = ()
    readings: tuple[Reading, ...] = ()
    csv_url: str | None = None
    keys: tuple[tuple[str, str], ...] = ()
    id: str | None = None
    empty: str = ""


def csv_answer(
    name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> Response[str]:
    """Send rows as a file; a text that a spreadsheet would run is put behind a quote."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([harmless(cell) for cell in row] for row in rows)
    return Response(
        text.getvalue(),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )
