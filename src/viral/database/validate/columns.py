"""Rules of columns: types that mean one thing, and that row security lets an index use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    Sequence,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from viral.database.validate.findings import Finding
from viral.database.validate.keys import is_tenants
from viral.schema.security import BY_FUNCTIONS, security_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Table

# PostgreSQL marks the comparisons of these types leakproof. With any other type the policy is
# evaluated first, row by row, and the index stays unused (pg_proc.proleakproof).
_LEAKPROOF = (BigInteger, Boolean, Date, DateTime, Float, Integer, LargeBinary, Text, Uuid)


def column_rules(table: Table) -> Iterator[Finding]:
    """Check the types of a table's columns and of what its indexes search by."""
    for column in table.columns:
        yield from _type(column)
        yield from _state(table, column)
    yield from _ids(table)
    yield from _numbered(table)
    if is_tenants(table) and not _is_open(table):
        yield from _searched_by(table)


def _is_open(table: Table) -> bool:
    """Tell whether each policy is plainly true, which is gone before a search is planned."""
    policies = security_of(table).policies
    return bool(policies) and all(each.using == "true" for each in policies)


def _type(column: Column[object]) -> Iterator[Finding]:
    kind = column.type
    if isinstance(kind, DateTime) and not kind.timezone:
        yield Finding(
            "timestamp-without-zone",
            str(column),
            "is a time without a zone: nobody knows which moment it means",
            "Use Mapped[datetime], or DateTime(timezone=True).",
        )
    elif isinstance(kind, Enum):
        yield Finding(
            "enum-type",
            str(column),
            "is an enum: its comparison is not leakproof, and a value cannot be removed",
            "Use Mapped[str] with CheckConstraint(\"... IN ('a', 'b')\").",
        )
    elif isinstance(kind, JSON) and not isinstance(kind, JSONB):
        yield Finding("json-type", str(column), "is json, which has no =", "Use JSONB.")


def _state(table: Table, column: Column[object]) -> Iterator[Finding]:
    """Check that a text which begins as a certain word is one of certain words."""
    default = column.server_default
    word = getattr(default, "arg", None)
    if not isinstance(column.type, Text) or not isinstance(word, str) or not word:
        return
    checks = [str(c.sqltext) for c in table.constraints if isinstance(c, CheckConstraint)]
    if not any(re.search(rf"\b{column.name}\b", check) for check in checks):
        yield Finding(
            "state-without-check",
            str(column),
            f"begins as {word!r}, and may become any text",
            f"Add CheckConstraint(\"{column.name} IN (...)\", name='{column.name}').",
        )


def _ids(table: Table) -> Iterator[Finding]:
    for name in ("id", "tenant_id"):
        if name in table.c and not isinstance(table.c[name].type, Uuid):
            yield Finding(
                "id-not-uuid", f"{table}.{name}", "is no uuid", "Use Identified, or Mapped[UUID]."
            )
    for constraint in table.constraints:
        if isinstance(constraint, ForeignKeyConstraint):
            yield from _equal_types(constraint)


def _equal_types(reference: ForeignKeyConstraint) -> Iterator[Finding]:
    for element in reference.elements:
        here, there = element.parent.type, element.column.type
        if type(here) is not type(there):
            yield Finding(
                "reference-type",
                str(element.parent),
                f"is {here!r}, but {element.column} is {there!r}",
                "Give both the same type.",
            )


def _numbered(table: Table) -> Iterator[Finding]:
    counted = table.autoincrement_column
    for column in table.columns:
        has_sequence = column.identity is not None or isinstance(column.default, Sequence)
        if has_sequence or column is counted:
            yield Finding(
                "sequence",
                str(column),
                "is numbered by a sequence: it tells how much others have, and cannot be sharded",
                "Use a uuid made in Python; a number that is a key has autoincrement=False.",
            )


def _searched_by(table: Table) -> Iterator[Finding]:
    for name, parts in _keys(table):
        for part in parts:
            if not _is_leakproof(part):
                yield Finding(
                    "index-not-leakproof",
                    f"{table}.{name}",
                    f"searches by {part}: under row security the index stays unused",
                    "Search by text, numbers, uuid or time; keep the rest out of the key.",
                )


def _keys(table: Table) -> Iterator[tuple[object, Iterable[object]]]:
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield constraint.name, constraint.columns
    for index in table.indexes:
        if index.info != BY_FUNCTIONS:
            yield index.name, index.expressions


def _is_leakproof(part: object) -> bool:
    if isinstance(part, Column):
        return isinstance(part.type, _LEAKPROOF)
    return "(" not in str(part)
