"""`viral db execute`: where its SQL comes from, and how its results are shown."""

from __future__ import annotations

import sys
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from viral.cli.output import err, out, print_table
from viral.database.values import as_json, as_text, json_document
from viral.errors import BadFile, BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from viral.database.execute import Result

LONGEST_TEXT = 64 * 1024 * 1024
WIDEST_VALUE = 60
CUT = "…"
# Joins the parts of one emoji; all other characters without a glyph are written as escapes.
_JOINER = "\u200d"


def read_text(sql: str | None, *, stdin: bool, file: Path | None) -> str:
    """Return the SQL from the one place that was named."""
    named = [sql is not None, stdin, file is not None].count(True)
    if named != 1:
        raise BadInput(
            "No SQL is given." if named == 0 else "SQL is given in more than one way.",
            hint="Give one of: 'SELECT 1', --stdin, --file FILE.",
        )
    if sql is not None:
        return sql
    if file is None:
        return _decoded(_limited(sys.stdin.buffer, "standard input"), "standard input")
    try:
        with file.open("rb") as source:
            return _decoded(_limited(source, str(file)), str(file))
    except OSError as error:
        raise BadFile(f"{file} cannot be read: {error.strerror}.") from error


def print_results(results: Sequence[Result]) -> None:
    """Show each result as a table, or by its command tag, with its count and time."""
    # Thousands of INSERTs are one line.
    for number, (_, alike) in enumerate(groupby(results, key=_sameness)):
        if number:
            out.print()
        first, *others = alike
        if first.columns:
            _print_rows(first)
        else:
            _print_status([first, *others])


def results_json(results: Sequence[Result]) -> str:
    """Write the rows of one statement as a list of objects, of several as a list of such lists."""
    documents = [list(_objects(result)) for result in results]
    for result in results:
        if result.is_cut:
            err.print(_cut_note(result), markup=False)
    return json_document(documents if len(documents) > 1 else documents[0])


def _limited(source: BinaryIO, name: str) -> bytes:
    content = source.read(LONGEST_TEXT + 1)
    if len(content) > LONGEST_TEXT:
        raise BadFile(
            f"{name} is longer than {LONGEST_TEXT // 1024 // 1024} MB.",
            hint='Give it to psql: psql "$(viral db url --direct --show)" --file FILE',
        )
    return content


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile(
            f"{name} is not text in UTF-8: byte {error.start + 1} is wrong.",
            hint="Save it as UTF-8.",
        ) from error


def _objects(result: Result) -> Iterator[dict[str, object]]:
    names = list(_distinct(result.columns))
    for row in result.rows:
        yield {name: as_json(value) for name, value in zip(names, row, strict=True)}


def _distinct(columns: Sequence[str]) -> Iterator[str]:
    """Give columns that share a name a number each, so that no value is lost by it."""
    taken: set[str] = set()
    for column in columns:
        name, number = column, 1
        while name in taken:
            number += 1
            name = f"{column}_{number}"
        taken.add(name)
        yield name


def _sameness(result: Result) -> object:
    return id(result) if result.columns else result.status


def _print_status(results: Sequence[Result]) -> None:
    times = f" ({len(results):,} times)" if len(results) > 1 else ""
    took = _duration(sum(result.seconds for result in results))
    out.print(f"{results[0].status}{times}, {took}", markup=False)


def _print_rows(result: Result) -> None:
    # One row or one column has room for whole values, such as a plan or the body of a function.
    is_whole = 1 in {len(result.rows), len(result.columns)}
    cells = [[_cell(value, whole=is_whole) for value in row] for row in result.rows]
    if cells and _width(result.columns, cells) > out.width:
        _print_upright(result.columns, cells)
    else:
        _print_level(result, cells)
    if not is_whole and any(_is_cut(cell) for row in cells for cell in row):
        out.print("Long values are cut; --json shows them whole.")
    if result.is_cut:
        out.print(_cut_note(result), markup=False)
    count = len(result.rows)
    out.print(f"{count:,} row{'' if count == 1 else 's'}, {_duration(result.seconds)}")


def _print_level(result: Result, cells: list[list[str]]) -> None:
    columns = [_visible(name) for name in result.columns]
    for index, name in enumerate(columns):
        if any(_is_number(row[index]) for row in result.rows):
            width = max(len(name), *(len(line[index]) for line in cells))
            columns[index] = name.rjust(width)
            for line in cells:
                line[index] = line[index].rjust(width)
    print_table(columns, cells)


def _print_upright(columns: Sequence[str], cells: list[list[str]]) -> None:
    """Write a row as lines of name and value: side by side they do not fit."""
    for number, line in enumerate(cells, start=1):
        print_table((f"row {number}", ""), list(zip(map(_visible, columns), line, strict=True)))


def _width(columns: Sequence[str], cells: list[list[str]]) -> int:
    widths = [
        max(len(part) for cell in (name, *values) for part in (cell.splitlines() or [""]))
        for name, *values in zip(columns, *cells, strict=True)
    ]
    return sum(widths) + 2 * (len(widths) - 1)


def _cell(value: object, *, whole: bool) -> str:
    text = as_text(value)
    if isinstance(value, str) and text in {"", "NULL"}:
        # Not to be taken for the absence of a value.
        return f'"{text}"'
    if whole:
        return "\n".join(_visible(line) for line in text.split("\n"))
    shown = _visible(text[: WIDEST_VALUE + 1])
    return shown if len(shown) <= WIDEST_VALUE else shown[: WIDEST_VALUE - 1] + CUT


def _is_cut(cell: str) -> bool:
    return len(cell) == WIDEST_VALUE and cell.endswith(CUT)


def _visible(text: str) -> str:
    """Escape what would move the cursor or change the colours of the terminal."""
    return "".join(
        character
        if character.isprintable() or character == _JOINER
        else character.encode("unicode_escape").decode()
        for character in text
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"


def _cut_note(result: Result) -> str:
    return f"Only the first {len(result.rows):,} rows are shown; more with --limit N."
