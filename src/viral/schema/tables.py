"""All tables, loaded; and the SQL that builds them in an empty database."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable, SetColumnComment

from viral.schema import content, learning, operations, publishing, results, tenants
from viral.schema.base import Base
from viral.schema.functions import FUNCTIONS, Function
from viral.schema.security import AUTH, OWNER, security_of, security_statements

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from sqlalchemy import Table
    from sqlalchemy.sql.ddl import DDLElement

MODULES = (tenants, content, publishing, results, learning, operations)
METADATA = Base.metadata
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # untyped in SQLAlchemy  # type: ignore[no-untyped-call]  # untyped in SQLAlchemy


def create_statements() -> Iterator[str]:
    """Yield the SQL of the whole schema, in an order that works in a bootstrapped database.

    Roles change by SET LOCAL ROLE, so the statements belong into one transaction of the migrator.
    """
    yield from function_statements()
    for module in MODULES:
        yield from module_statements(module)


def function_statements() -> Iterator[str]:
    """Yield the SQL of all functions."""
    # Bodies name tables that are made after them.
    yield "SET LOCAL check_function_bodies = off"
    for owner, functions in groupby(_functions(), lambda function: function.owner):
        yield f"SET LOCAL ROLE {owner}"
        for function in functions:
            yield from function.statements()
    yield f"SET LOCAL ROLE {OWNER}"


def module_statements(module: ModuleType) -> Iterator[str]:
    """Yield the SQL of the tables that one file declares, parents first."""
    tables = _tables_of(module)
    for owner in (OWNER, AUTH):
        owned = [table for table in tables if security_of(table).owner == owner]
        if not owned:
            continue
        yield f"SET LOCAL ROLE {owner}"
        for table in owned:
            yield from _table_statements(table)
        for table in owned:
            yield from security_statements(table)
    yield f"SET LOCAL ROLE {OWNER}"


def drop_statements() -> Iterator[str]:
    """Yield the SQL that removes all of it again, children before parents."""
    # A policy may look at another table; then that table cannot go first.
    for table in METADATA.sorted_tables:
        for policy in security_of(table).policies:
            if " FROM " in policy.using:
                yield f"DROP POLICY {policy.name} ON {table}"
    for table in reversed(METADATA.sorted_tables):
        yield f"SET LOCAL ROLE {security_of(table).owner}"
        yield f"DROP TABLE {table}"
    for function in _functions():
        yield f"SET LOCAL ROLE {function.owner}"
        yield f"DROP FUNCTION {function.signature}"
    yield f"SET LOCAL ROLE {OWNER}"


def _functions() -> list[Function]:
    return sorted(FUNCTIONS, key=lambda function: function.owner)


def _tables_of(module: ModuleType) -> list[Table]:
    names = {
        mapper.local_table
        for mapper in Base.registry.mappers
        if mapper.class_.__module__ == module.__name__
    }
    return [table for table in METADATA.sorted_tables if table in names]


def _table_statements(table: Table) -> Iterator[str]:
    yield _sql(CreateTable(table))
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        yield _sql(CreateIndex(index))
    for column in table.columns:
        if column.comment:
            yield _sql(SetColumnComment(column))


def _sql(element: DDLElement) -> str:
    lines = str(element.compile(dialect=_DIALECT)).strip().replace("\t", "  ").splitlines()
    return "\n".join(line.rstrip() for line in lines)
