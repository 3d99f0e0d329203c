"""The schema as a Mermaid diagram: text that renders in documents and compares line by line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viral.database.generate.entities import (
    foreign_keys,
    is_unique,
    pointing_column,
    type_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Column, ForeignKeyConstraint, Table

    from viral.database.generate.entities import Group

Outline = dict[str, dict[str, str]]

_ENTITY = re.compile(r'  "?([\w.]+)"? \{')
_COLUMN = re.compile(r"    (\S+) (\w+)(.*)")


def mermaid_diagram(groups: Sequence[Group]) -> str:
    """Write the schema as Mermaid's erDiagram."""
    lines = ["%% Written by `viral generate`; do not edit.", "erDiagram"]
    for group in groups:
        lines.append(f"  %% {group.name}: {group.meaning}")
        for entity in group.entities:
            lines += _entity(entity.table)
    for group in groups:
        for entity in group.entities:
            lines += [_relation(entity.table, key) for key in foreign_keys(entity.table)]
    return "\n".join(lines) + "\n"


def outline_of(diagram: str) -> Outline:
    """Read the tables and columns back from a diagram that was written here."""
    outline: Outline = {}
    columns: dict[str, str] = {}
    for line in diagram.splitlines():
        if entity := _ENTITY.fullmatch(line):
            columns = outline.setdefault(entity[1], {})
        elif column := _COLUMN.fullmatch(line):
            columns[column[2]] = f"{column[1]}{column[3]}"
    return outline


def changes_between(before: Outline, after: Outline) -> Iterator[str]:
    """Say which tables and columns came, went and changed."""
    for table in sorted(before.keys() | after.keys()):
        if table not in before:
            yield f"table {table} added"
        elif table not in after:
            yield f"table {table} removed"
        else:
            yield from _column_changes(table, before[table], after[table])


def _column_changes(table: str, before: dict[str, str], after: dict[str, str]) -> Iterator[str]:
    for name in [*before, *(name for name in after if name not in before)]:
        if name not in before:
            yield f"column {table}.{name} added: {after[name]}"
        elif name not in after:
            yield f"column {table}.{name} removed"
        elif before[name] != after[name]:
            yield f"column {table}.{name} changed: {before[name]} -> {after[name]}"


def _entity(table: Table) -> Iterator[str]:
    yield f"  {_name(table)} {{"
    for column in table.columns:
        yield f"    {_column(column)}"
    yield "  }"


def _column(column: Column[object]) -> str:
    # Mermaid's types hold no comma, so a numeric's digits stay out.
    words = [re.sub(r"\(.*", "", type_name(column)), column.name]
    keys = [
        key
        for key, holds in (
            ("PK", column.primary_key),
            ("FK", bool(column.foreign_keys)),
            ("UK", is_unique(column)),
        )
        if holds
    ]
    if keys:
        words.append(", ".join(keys))
    if column.nullable:
        words.append('"may be null"')
    return " ".join(words)


def _relation(table: Table, key: ForeignKeyConstraint) -> str:
    column = pointing_column(key)
    parent = "|o" if column.nullable else "||"
    child = "o|" if is_unique(column) else "o{"
    return f"  {_name(key.referred_table)} {parent}--{child} {_name(table)} : {column.name}"


def _name(table: Table) -> str:
    return f'"{table}"' if table.schema else table.name
