"""What the console's pages are given: plain data, no markup."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from viral.database.console.answers import Answer, Changed, Refusal, changed_rows
from viral.database.console.plan import FAR_OFF, Plan
from viral.database.values import JsonText, as_text
from viral.web.dashboard.rendering import count, number
from viral.web.studio.console.flame import duration, off

# A page shows the beginning of a value; an export has all of it.
LONGEST_SHOWN = 2_000
_LONG = 80
_ID_SHOWN = 8
_LINE_WIDTH = 100
_NUMBERS = {"integer", "bigint", "int2", "numeric", "float4", "float8", "oid", "money"}
# What stands before a column's name for its type.
_ICONS = (
    ("[]", "[ ]"),
    ("json", "{ }"),
    ("time", "t"),
    ("date", "t"),
    ("interval", "t"),
    ("uuid", "id"),
    ("bool", "?"),
    ("bytea", "01"),
)


@dataclass(frozen=True, slots=True)
class Head:
    """A column of the grid."""

    name: str
    type: str
    sign: str
    is_number: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """A value of the grid; `whole` is set where the grid shows its beginning only."""

    kind: Literal["null", "empty", "text", "number", "id"]
    text: str
    whole: str | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows of a result."""

    heads: tuple[Head, ...]
    rows: list[list[Cell]]
    said: str
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """What a text would change; `seal` proves that this was shown."""

    changes: tuple[Changed, ...]
    rows: str
    seal: str
    is_kept: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a text was refused, and the line of it that is meant."""

    message: str
    hint: str
    sqlstate: str | None
    position: int | None
    line: int | None
    before: str
    marked: str
    after: str


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step of a plan, as the table below the picture has it."""

    depth: int
    title: str
    conditions: tuple[tuple[str, str], ...]
    estimated: str
    actual: str
    off: str
    is_far_off: bool
    removed: str
    weight: str
    share: float
    is_heaviest: bool


def grid_of(answer: Answer) -> Grid:
    """Make a grid of a result."""
    heads = tuple(
        Head(each.name, each.type, _sign(each.type), each.type in _NUMBERS)
        for each in answer.columns
    )
    rows = [
        [_cell(value, head) for value, head in zip(row, heads, strict=True)] for row in answer.rows
    ]
    took = duration(answer.seconds * 1000)
    shown = f"The first {count(len(rows), 'row')}" if answer.is_cut else count(len(rows), "row")
    return Grid(heads, rows, f"{shown}, {took}", answer.is_cut)


def trial_of(answer: Answer, seal: str) -> Trial:
    """Say what a text would change, or has changed."""
    return Trial(answer.changes, changed_rows(answer.changes), seal, answer.is_kept)


def fault_of(refused: Refusal, text: str) -> Fault:
    """Place a refusal in its text."""
    position = refused.position
    if position is None or position > len(text):
        return Fault(refused.message, refused.hint, refused.sqlstate, None, None, "", "", "")
    begin = text.rfind("\n", 0, position) + 1
    line = text[begin:].partition("\n")[0].rstrip("\r")
    column = position - begin
    end = column
    while end < len(line) and (line[end].isalnum() or line[end] in "_$."):
        end += 1
    end = max(end, column + 1)
    first = max(0, column - _LINE_WIDTH // 2)
    return Fault(
        refused.message,
        refused.hint,
        refused.sqlstate,
        position,
        text.count("\n", 0, position) + 1,
        line[first:column],
        line[column:end] or " ",
        line[end : first + _LINE_WIDTH],
    )


def step_rows(plan: Plan) -> Iterator[StepRow]:
    """List the steps of a plan, the root first."""
    heaviest = plan.heaviest
    for depth, step in plan.root.walk():
        yield StepRow(
            depth=depth,
            title=step.title,
            conditions=step.conditions,
            estimated=number(step.estimated),
            actual="" if step.actual is None else number(step.actual),
            off=off(step) if step.actual is not None else "",
            is_far_off=(step.times_off or 0) >= FAR_OFF,
            removed="" if step.removed is None else number(step.removed),
            weight=duration(step.weight) if plan.is_measured else number(step.weight),
            share=plan.share(step),
            is_heaviest=step is heaviest,
        )


def _sign(type_name: str) -> str:
    if type_name in _NUMBERS:
        return "#"
    return next((sign for part, sign in _ICONS if part in type_name), "Aa")


def _cell(value: object, head: Head) -> Cell:
    if value is None:
        return Cell("null", "null")
    text = as_text(value)
    if text == "":
        return Cell("empty", '""')
    if head.is_number:
        return Cell("number", text)
    if head.type == "uuid":
        return Cell("id", f"{text[:_ID_SHOWN]}…", text)
    is_document = isinstance(value, JsonText) and text[0] in "{["
    if len(text) <= _LONG and "\n" not in text and not is_document:
        return Cell("text", text)
    whole = _pretty(text) if is_document else text
    if len(whole) > LONGEST_SHOWN:
        whole = f"{whole[:LONGEST_SHOWN]}\n… {len(whole) - LONGEST_SHOWN:,} more characters"
    begin = " ".join(text[:_LONG].split())
    return Cell("text", begin if len(text) <= _LONG else f"{begin}…", whole)


def _pretty(text: str) -> str:
    return msgspec.json.format(text, indent=2)
