"""Rules of keys: a tenant's rows are found, counted and referred to within the tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as grammar
from postgast.nodes import (
    AlterSeqStmt,
    AlterTableStmt,
    ColumnDef,
    Constraint,
    CreateSeqStmt,
    CreateStmt,
    FuncCall,
    IndexElem,
    IndexStmt,
)

from viral.database.lint.revision import Breach
from viral.database.lint.syntax import table_name, texts, type_name, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.database.lint.revision import Revision
    from viral.database.lint.statements import Statement

# Looked up before a tenant is known: by an unguessable hash, an event's number, the queue.
_KEYED_BY_ID = frozenset({"job_queue", "sessions", "api_keys", "webhook_events", "invitations"})
_UNIQUE: dict[int, str] = {
    grammar.CONSTR_PRIMARY: "primary key",
    grammar.CONSTR_UNIQUE: "unique key",
}
_SERIAL = {"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"}
_EMPTYING = {"n": "SET NULL", "d": "SET DEFAULT"}


def check_keys(statement: Statement, revision: Revision) -> Iterator[Breach]:
    """Find keys of tenants' tables that do not begin with tenant_id."""
    node = statement.node
    if not isinstance(node, CreateStmt | AlterTableStmt | IndexStmt):
        return
    table = table_name(node.relation)
    if not revision.is_tenants(table) or table in _KEYED_BY_ID:
        return
    for kind, columns in _unique_keys(node):
        if columns[:1] != ["tenant_id"]:
            yield Breach(
                "key-without-tenant",
                statement,
                f"A {kind} of {table} begins with {columns[0] or 'an expression'}.",
            )


def check_references(statement: Statement, revision: Revision) -> Iterator[Breach]:
    """Find references between tenants' tables that lose or empty the tenant."""
    node = statement.node
    if not isinstance(node, CreateStmt | AlterTableStmt):
        return
    table = table_name(node.relation)
    if not revision.is_tenants(table):
        return
    for reference in within(node, Constraint):
        if reference.contype != grammar.CONSTR_FOREIGN:
            continue
        target = table_name(reference.pktable)
        if emptying := _EMPTYING.get(reference.fk_del_action):
            yield Breach(
                "reference-emptied", statement, f"{table} to {target}: ON DELETE {emptying}."
            )
        ends = (texts(reference.fk_attrs)[:1], texts(reference.pk_attrs)[:1])
        if revision.is_tenants(target) and ends != (["tenant_id"], ["tenant_id"]):
            yield Breach(
                "reference-without-tenant",
                statement,
                f"A row of {table} could point at another tenant's row of {target}.",
            )


def check_sequences(statement: Statement, _: Revision) -> Iterator[Breach]:
    """Find sequences, also those behind serial and identity columns."""
    node = statement.node
    found = isinstance(node, CreateSeqStmt | AlterSeqStmt)
    if isinstance(node, CreateStmt | AlterTableStmt):
        found = (
            any(type_name(column.type_name) in _SERIAL for column in within(node, ColumnDef))
            or any(c.contype == grammar.CONSTR_IDENTITY for c in within(node, Constraint))
            or any(texts(call.funcname)[-1] == "nextval" for call in within(node, FuncCall))
        )
    if found:
        yield Breach("sequence", statement, "A sequence is shared by all tenants.")


def _unique_keys(node: CreateStmt | AlterTableStmt | IndexStmt) -> Iterator[tuple[str, list[str]]]:
    if isinstance(node, IndexStmt):
        if node.unique:
            columns = [each.name for each in node.index_params if isinstance(each, IndexElem)]
            yield "unique index", columns
        return
    for column in within(node, ColumnDef):
        for constraint in column.constraints:
            if isinstance(constraint, Constraint) and (kind := _UNIQUE.get(constraint.contype)):
                yield kind, [column.colname]
    for constraint in within(node, Constraint):
        if (kind := _UNIQUE.get(constraint.contype)) and constraint.keys:
            yield kind, texts(constraint.keys)
