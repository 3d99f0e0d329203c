"""A revision as a whole: its statements, the tables that it makes, whose tables they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as grammar
from postgast.nodes import (
    AlterPolicyStmt,
    AlterTableStmt,
    ColumnDef,
    CreatePolicyStmt,
    CreateStmt,
    CreateTableAsStmt,
    CreateTrigStmt,
    DropStmt,
    IndexStmt,
    RangeVar,
    RenameStmt,
    TableLikeClause,
    TruncateStmt,
)

from viral.database.lint.statements import Statement, read_statements
from viral.database.lint.syntax import dropped, qualified, table_name
from viral.schema.tables import METADATA

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from postgast.nodes import AstNode

# No tenant owns them, and no tenant sees them whole: tenants, their people, their contexts.
_GLOBAL = frozenset({"tenants", "users", "viral.tenant_contexts"})
_TENANT = "tenant_id"


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that a statement breaks; without a line or a hint, the statement's and the rule's."""

    rule: str
    statement: Statement
    message: str
    hint: str | None = None
    line: int | None = None


class Revision:
    """All scripts of one revision, in their order."""

    def __init__(self, scripts: Mapping[str, str]) -> None:
        self.statements = [
            statement
            for script, text in scripts.items()
            for statement in read_statements(script, text)
        ]
        self._position = {id(each): at for at, each in enumerate(self.statements)}
        self._created: dict[str, int] = {}
        for at, statement in enumerate(self.statements):
            if created := created_table(statement.node):
                self._created.setdefault(created, at)
        self._tenants_tables = self._find_tenants_tables()

    def is_tenants(self, table: str) -> bool:
        """Say whether the rows of a table belong to tenants."""
        return table in self._tenants_tables

    def is_private(self, table: str) -> bool:
        """Say whether a tenant may see some of a table's rows alone."""
        return table in self._tenants_tables | _GLOBAL

    def is_filled(self, table: str, statement: Statement) -> bool:
        """Say whether a table can hold rows when a statement comes to it."""
        return self._created.get(table, len(self.statements)) > self._position[id(statement)]

    def after(self, statement: Statement) -> Iterator[Statement]:
        """Yield what comes after a statement in the revision."""
        yield from self.statements[self._position[id(statement)] + 1 :]

    def before(self, statement: Statement) -> Iterator[Statement]:
        """Yield what comes before a statement in its step."""
        for each in self.statements[: self._position[id(statement)]]:
            if is_same_step(each, statement):
                yield each

    def _find_tenants_tables(self) -> set[str]:
        # Of tables that an earlier revision made, the models say whose they are.
        found = {str(table) for table in METADATA.sorted_tables if _TENANT in table.c} - _GLOBAL
        for statement in self.statements:
            node = statement.node
            if isinstance(node, CreateStmt) and _names_tenant(node, found):
                found.add(table_name(node.relation))
        return found - _GLOBAL


def is_same_step(one: Statement, other: Statement) -> bool:
    return one.script == other.script and one.step.name == other.step.name


def created_table(node: AstNode) -> str | None:
    """Name the lasting table that a statement makes."""
    table: RangeVar | None = None
    if isinstance(node, CreateStmt):
        table = node.relation
    elif isinstance(node, CreateTableAsStmt) and node.objtype == grammar.OBJECT_TABLE:
        table = node.into.rel if node.into else None
    return table_name(table) if table and table.relpersistence != "t" else None


def touched_tables(node: AstNode) -> list[str]:
    """Name the tables whose definition a statement changes."""
    match node:
        case AlterTableStmt() | IndexStmt() | RenameStmt() | CreateTrigStmt():
            # Since PostgreSQL 12 nobody waits for an index to be renamed.
            is_gentle = isinstance(node, RenameStmt) and node.rename_type == grammar.OBJECT_INDEX
            return [table_name(node.relation)] if node.relation and not is_gentle else []
        case CreatePolicyStmt() | AlterPolicyStmt():
            return [table_name(node.table)]
        case TruncateStmt():
            return [table_name(each) for each in node.relations if isinstance(each, RangeVar)]
        case DropStmt(remove_type=grammar.OBJECT_TABLE):
            return [qualified(parts) for parts in dropped(node)]
        case DropStmt(remove_type=grammar.OBJECT_POLICY):
            return [qualified(parts[:-1]) for parts in dropped(node)]
    return []


def _names_tenant(node: CreateStmt, tenants_tables: set[str]) -> bool:
    parents = [each for each in node.inh_relations if isinstance(each, RangeVar)]
    for element in node.table_elts:
        if isinstance(element, ColumnDef) and element.colname == _TENANT:
            return True
        if isinstance(element, TableLikeClause) and element.relation:
            parents.append(element.relation)
    return any(table_name(parent) in tenants_tables for parent in parents)
