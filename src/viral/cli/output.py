"""How commands speak: tables and progress for people, JSON for programs, errors for both."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from viral.errors import ViralError

# A pipe has no width: there every row of a table is one line.
_PIPE_WIDTH = 1_000

out = Console(
    emoji=False,
    highlight=False,
    soft_wrap=True,
    width=None if sys.stdout.isatty() else _PIPE_WIDTH,
)
err = Console(emoji=False, stderr=True, highlight=False, soft_wrap=True)


def print_json(document: object) -> None:
    """Write one JSON document to standard output."""
    sys.stdout.write(json.dumps(document, default=str, indent=2, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table; numbers stand to the right."""
    lines = [list(row) for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        is_number = bool(lines) and all(isinstance(line[index], int | float) for line in lines)
        table.add_column(
            name, justify="right" if is_number else "left", overflow="fold", no_wrap=name == "id"
        )
    for line in lines:
        table.add_row(*(Text(_cell(value)) for value in line))
    out.print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """Write names and values, as they are."""
    print_table(
        ("", ""), [(name, None if value is None else str(value)) for name, value in facts.items()]
    )


def print_error(error: ViralError, *, as_json: bool) -> None:
    """Say what went wrong and what to do now."""
    if as_json:
        document = {"code": error.code, "message": error.message, "hint": error.hint}
        print_json({"error": document})
        return
    err.print(Text.assemble(("error: ", "bold red"), error.message))
    if error.hint:
        err.print(Text.assemble(("  fix: ", "bold"), error.hint))


@contextmanager
def progress_bar(
    label: str, *, is_bytes: bool = False
) -> Iterator[Callable[[str, int, int | None], None]]:
    """Show a bar with its rate and the time left; yields `advance(step, done, total)`."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if is_bytes else MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    ) as progress:
        task = progress.add_task(label, total=None, rate="")

        def advance(step: str, done: int, total: int | None) -> None:
            if progress.tasks[0].description != step:
                progress.reset(task, description=step, total=total)
            speed = progress.tasks[0].speed
            rate = f"{_amount(speed, is_bytes=is_bytes)}/s" if speed else ""
            progress.update(task, completed=done, total=total, rate=rate)

        yield advance


def size(size_bytes: int) -> str:
    """Write a number of bytes for people: `3.8 MB`."""
    return decimal(size_bytes)


def _amount(number: float, *, is_bytes: bool) -> str:
    return size(int(number)) if is_bytes else f"{number:,.0f}"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
