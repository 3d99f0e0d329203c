"""Rows of a result as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from litestar import Response

from viral.database.console.answers import Answer, Column
from viral.database.values import as_json, as_text, harmless, json_document

# The driver gives these as text: -infinity is no formula.
_MEASURES = {"date", "interval", "timestamp", "timestamptz"}


def exported(answer: Answer, form: Literal["csv", "json"], *, now: datetime) -> Response[bytes]:
    """Send rows as CSV (null is an empty field, no text a formula), or as a list of objects.

    The name of a file that does not hold all rows says so.
    """
    text = _csv(answer) if form == "csv" else _json(answer)
    part = f"-first-{len(answer.rows)}" if answer.is_cut else ""
    name = f"query-{now:%Y-%m-%d-%H%M%S}{part}.{form}"
    return Response(
        text.encode(errors="replace"),
        media_type="text/csv" if form == "csv" else "application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _names(answer: Answer) -> Iterator[str]:
    """Give each column a key of its own: n, n_2."""
    seen: set[str] = set()
    for column in answer.columns:
        name, number = column.name, 1
        while name in seen:
            number += 1
            name = f"{column.name}_{number}"
        seen.add(name)
        yield name


def _csv(answer: Answer) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([harmless(each.name) for each in answer.columns])
    writer.writerows(
        [_cell(value, column) for value, column in zip(row, answer.columns, strict=True)]
        for row in answer.rows
    )
    return text.getvalue()


def _cell(value: object, column: Column) -> str:
    if value is None:
        return ""
    return as_text(value if column.type in _MEASURES else harmless(value))


def _json(answer: Answer) -> str:
    names = list(_names(answer))
    return json_document(
        [
            {name: as_json(value) for name, value in zip(names, row, strict=True)}
            for row in answer.rows
        ]
    )
