"""Reads and inserts many rows of one table in one transaction of the caller."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sqlalchemy import and_, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from viral.database.bulk import as_arrays, bulk_insert, unnested
from viral.database.faults import sqlstate_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from viral.features.prisma_import.report import Report
    from viral.features.prisma_import.steps import Entry
    from viral.schema.base import Base

Executor = AsyncSession | AsyncConnection
Key = tuple[object, ...]

# Classes of SQLSTATE that speak of a row: data, constraints, limits such as an index entry's size.
_ABOUT_ROWS = ("22", "23", "54")


async def known_rows(executor: Executor, table: type[Base], entries: Sequence[Entry]) -> list[bool]:
    """Tell of each entry whether its row is here already."""
    names = _key_names(table)
    wanted = unnested(table, names)
    columns = [table.__table__.c[name] for name in names]
    same = and_(*(column == wanted.c[column.name] for column in columns))
    found = await executor.execute(
        select(*columns).join(wanted, same),
        as_arrays((_key(entry, names) for entry in entries), names),
    )
    keys = {tuple(row) for row in found}
    return [_key(entry, names) in keys for entry in entries]


async def insert_rows(
    executor: Executor, table: type[Base], entries: Sequence[Entry], report: Report
) -> int:
    """Insert rows and return how many; one that the database refuses is rejected, alone."""
    stored = 0
    for group in _same_columns(table, entries):
        try:
            async with executor.begin_nested():
                stored += await _insert(executor, table, group, report)
        except DBAPIError as error:
            if not _is_about_rows(error):
                raise
            for entry in group:
                stored += await _insert_one(executor, table, entry, report)
    return stored


async def _insert(
    executor: Executor, table: type[Base], entries: Sequence[Entry], report: Report
) -> int:
    keys = _key_names(table)
    names = tuple(entries[0].values)
    statement = (
        bulk_insert(table, names)
        .on_conflict_do_nothing()
        .returning(*(table.__table__.c[name] for name in keys))
    )
    rows = (tuple(entry.values.values()) for entry in entries)
    made = {tuple(row) for row in await executor.execute(statement, as_arrays(rows, names))}
    for entry in entries:
        if _key(entry, keys) not in made:
            report.reject(
                table.__tablename__, entry.source_id, "*", "another row here has the same key"
            )
    return len(made)


async def _insert_one(executor: Executor, table: type[Base], entry: Entry, report: Report) -> int:
    try:
        async with executor.begin_nested():
            return await _insert(executor, table, [entry], report)
    except DBAPIError as error:
        if not _is_about_rows(error):
            raise
        # Not the message: PostgreSQL quotes values in it.
        cause = error.orig.__cause__ if error.orig is not None else None
        constraint = getattr(cause, "constraint_name", None)
        reason = f"breaks {constraint or f'a rule of the database ({sqlstate_of(error)})'}"
        report.reject(table.__tablename__, entry.source_id, "*", reason)
        return 0


def _is_about_rows(error: DBAPIError) -> bool:
    return (sqlstate_of(error) or "").startswith(_ABOUT_ROWS)


def _same_columns(table: type[Base], entries: Sequence[Entry]) -> Iterable[list[Entry]]:
    """Group rows by their columns: JSON that is missing is left out, as it would become `null`."""
    groups: dict[Key, list[Entry]] = defaultdict(list)
    documents = {column.name for column in table.__table__.c if isinstance(column.type, JSONB)}
    for entry in entries:
        values = {
            name: value
            for name, value in entry.values.items()
            if value is not None or name not in documents
        }
        groups[tuple(values)].append(entry._replace(values=values))
    return groups.values()


def _key_names(table: type[Base]) -> tuple[str, ...]:
    return tuple(column.name for column in table.__table__.primary_key)


def _key(entry: Entry, names: Sequence[str]) -> Key:
    return tuple(entry.values[name] for name in names)
