"""All tables, loaded; and the SQL that builds them in an empty database."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable, SetColumnComment, SetTableComment

from viral.schema import content, learning, operations, publishing, results, tenants
from viral.schema.base import Base
from viral.schema.functions import FUNCTIONS, Function
from viral.schema.security import OWNER, security_of, security_statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import MetaData, Table
    from sqlalchemy.sql.ddl import DDLElement

MODULES = (tenants, content, publishing, results, learning, operations)
METADATA = Base.metadata
_DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]  # untyped in SQLAlchemy


@dataclass(frozen=True, slots=True)
class Schema:
    """All that a database of the product holds.

    `before` and `after` are SQL for what has no class of its own: extensions, types, sequences
    before the tables; views, triggers, rules after them. `owner` is who builds; with None, whoever
    is connected.
    """

    metadata: MetaData
    functions: Sequence[Function] = ()
    before: Sequence[str] = ()
    after: Sequence[str] = ()
    owner: str | None = OWNER

    def statements(self) -> Iterator[str]:
        """Yield the SQL of the whole schema, in an order that works in a bootstrapped database.

        Roles change by SET LOCAL ROLE, so the statements belong into one transaction.
        """
        # Bodies name tables that are made after them.
        yield "SET LOCAL check_function_bodies = off"
        yield from self._as_owner()
        yield from self.before
        yield from self._function_statements()
        # What one owner's tables point at is granted to it before it makes them.
        for owner, owned in self._tables_by_owner():
            yield from self._as_owner(owner)
            for table in owned:
                yield from _table_statements(table)
            for table in owned:
                yield from security_statements(table)
        yield from self._as_owner()
        yield from self.after

    def _function_statements(self) -> Iterator[str]:
        ordered = sorted(self.functions, key=lambda function: function.owner)
        for owner, functions in groupby(ordered, lambda function: function.owner):
            yield from self._as_owner(owner)
            for function in functions:
                yield from function.statements()

    def _tables_by_owner(self) -> Iterator[tuple[str, list[Table]]]:
        def owner_of(table: Table) -> str:
            return security_of(table).owner

        ordered = sorted(self.metadata.sorted_tables, key=lambda table: owner_of(table) != OWNER)
        for owner, owned in groupby(ordered, owner_of):
            yield owner, list(owned)

    def _as_owner(self, owner: str | None = None) -> Iterator[str]:
        if self.owner is not None:
            yield f"SET LOCAL ROLE {owner or self.owner}"


SCHEMA = Schema(METADATA, FUNCTIONS)


def _table_statements(table: Table) -> Iterator[str]:
    yield _sql(CreateTable(table))
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        yield _sql(CreateIndex(index))
    if table.comment:
        yield _sql(SetTableComment(table))
    for column in table.columns:
        if column.comment:
            yield _sql(SetColumnComment(column))


def _sql(element: DDLElement) -> str:
    lines = str(element.compile(dialect=_DIALECT)).strip().replace("\t", "  ").splitlines()
    return "\n".join(line.rstrip() for line in lines)
