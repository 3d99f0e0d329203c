"""What a text of SQL answers: rows, what it would change, or why it was refused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a result; `type` is PostgreSQL's name for it."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Changed:
    """How many rows of a table a text changed, those included that went along."""

    table: str
    inserted: int
    updated: int
    deleted: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.inserted + self.updated + self.deleted


@dataclass(frozen=True, slots=True)
class Answer:
    """What one text answered; `tag` is the server's word for what it did.

    `is_cut`: there were more rows than asked for. `is_kept`: what it changed is stored.
    """

    columns: tuple[Column, ...]
    rows: list[tuple[object, ...]]
    tag: str
    is_cut: bool
    seconds: float
    changes: tuple[Changed, ...] = ()
    is_kept: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a text was refused; `position` counts its characters from 0."""

    message: str
    hint: str = ""
    sqlstate: str | None = None
    position: int | None = None


def changed_rows(changes: tuple[Changed, ...]) -> str:
    """Write how many rows were changed: 1 row, 1,204 rows."""
    total = sum(each.total for each in changes)
    return "1 row" if total == 1 else f"{total:,} rows"
