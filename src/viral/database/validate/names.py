"""Rules of names: tables, columns, constraints, policies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import (
    CheckConstraint,
    ForeignKeyConstraint,
    PrimaryKeyConstraint,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.schema import conv

from viral.database.validate.findings import Finding
from viral.database.validate.keys import is_partitioned
from viral.schema.security import security_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Constraint, Table

_SNAKE_CASE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
# Words for many things that have no plural.
_COLLECTIVE = ("feedback", "history", "ledger", "log", "queue", "usage")
_LONGEST = 63
# A partition is its table with the month: job_queue_202611.
_MONTH = len("_202611")
_KINDS: tuple[tuple[type[Constraint], str], ...] = (
    (PrimaryKeyConstraint, "pk"),
    (ForeignKeyConstraint, "fk"),
    (UniqueConstraint, "uq"),
    (CheckConstraint, "ck"),
    (ExcludeConstraint, "ex"),
)


def name_rules(table: Table) -> Iterator[Finding]:
    """Check that names have the form of the house and fit into PostgreSQL's 63 bytes."""
    yield from _table(table)
    for column in table.columns:
        if not _SNAKE_CASE.fullmatch(column.name):
            yield Finding(
                "name-column", str(column), "is not in snake_case", 'Name it like "posted_at".'
            )
    yield from _constraints(table)
    yield from _indexes(table)
    yield from _lengths(table)


def _table(table: Table) -> Iterator[Finding]:
    is_plural = table.name.endswith(("s", *_COLLECTIVE))
    if not _SNAKE_CASE.fullmatch(table.name) or not is_plural:
        yield Finding(
            "name-table",
            str(table),
            "is not a plural in snake_case",
            'Name it like "social_posts".',
        )


def _constraints(table: Table) -> Iterator[Finding]:
    for constraint in table.constraints:
        prefix = next(prefix for kind, prefix in _KINDS if isinstance(constraint, kind))
        if constraint.name is None:
            yield Finding(
                "name-missing",
                str(table),
                f"has a {constraint.__visit_name__.replace('_', ' ')} without a name",
                'Give it one: name="status".',
            )
        elif not str(constraint.name).startswith(f"{prefix}_{table.name}"):
            yield _unconventional(table, str(constraint.name), prefix)


def _indexes(table: Table) -> Iterator[Finding]:
    for index in table.indexes:
        prefixes = ("uq", "ix") if index.unique else ("ix",)
        if not str(index.name).startswith(tuple(f"{each}_{table.name}_" for each in prefixes)):
            yield _unconventional(table, str(index.name), prefixes[0])


def _unconventional(table: Table, name: str, prefix: str) -> Finding:
    return Finding(
        "name-unconventional",
        f"{table}.{name}",
        f"does not begin with {prefix}_{table.name}",
        "Leave the name out (None), so that the convention gives it.",
    )


def _lengths(table: Table) -> Iterator[Finding]:
    longest = _LONGEST - _MONTH if is_partitioned(table) else _LONGEST
    named = [(table.name, longest)]
    named += [(column.name, _LONGEST) for column in table.columns]
    named += [(policy.name, _LONGEST) for policy in security_of(table).policies]
    # SQLAlchemy shortens the names of the convention itself, always in the same way.
    own = [each.name for each in table.constraints] + [each.name for each in table.indexes]
    named += [(str(name), _LONGEST) for name in own if not isinstance(name, conv)]
    for name, limit in named:
        if len(name.encode()) > limit:
            yield Finding(
                "name-too-long",
                f"{table}.{name}",
                f"is longer than {limit} bytes, where PostgreSQL would cut it",
                "Shorten it.",
            )
