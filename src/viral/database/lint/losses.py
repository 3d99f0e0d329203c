"""Rules of data: what would be lost is counted first, and no row is passed over in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postgast import PgQueryError, parse, wrap
from postgast import pg_query_pb2 as grammar
from postgast.nodes import (
    AlterTableStmt,
    AstNode,
    CommonTableExpr,
    Constraint,
    CreateTableAsStmt,
    DeleteStmt,
    DropStmt,
    InsertStmt,
    MergeStmt,
    RangeVar,
    SelectStmt,
    TruncateStmt,
    UpdateStmt,
)

from viral.database.lint.revision import Breach, touched_tables
from viral.database.lint.syntax import commands, dropped, qualified, table_name, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.database.lint.revision import Revision
    from viral.database.lint.statements import Statement

_ON_ROWS = (InsertStmt, UpdateStmt, DeleteStmt, MergeStmt, SelectStmt, CreateTableAsStmt)
# How the naming convention of the models begins the name of a reference.
_REFERENCE = "fk_"
_LOSING: dict[int, str] = {
    grammar.AT_DropColumn: "drops a column",
    grammar.AT_AlterColumnType: "changes the type of a column",
}
_LOSING_DROPS: dict[int, str] = {
    grammar.OBJECT_SCHEMA: "drops a schema",
    grammar.OBJECT_TYPE: "drops a type",
    grammar.OBJECT_DOMAIN: "drops a domain",
    grammar.OBJECT_SEQUENCE: "drops a sequence",
}


def check_loss(statement: Statement, revision: Revision) -> Iterator[Breach]:
    """Find steps that lose rows or values without counting them in their table."""
    counted = {
        table_name(table)
        for risk in statement.step.risks
        for table in within(_select(risk.query), RangeVar)
    }
    for table, what in _losses(statement.node):
        if table is None:
            if not statement.step.risks:
                yield Breach("loss-not-counted", statement, f"It {what}.")
        elif revision.is_filled(table, statement) and table not in counted:
            yield Breach("loss-not-counted", statement, f"It {what} of {table}.")


def check_risk_queries(statement: Statement, revision: Revision) -> Iterator[Breach]:
    """Find losses that are not counted by one SELECT."""
    if any(revision.before(statement)):
        return
    for risk in statement.step.risks:
        if _select(risk.query) is None:
            yield Breach(
                "risk-not-a-query", statement, f"{risk.what!r} is not counted by a SELECT."
            )


def check_cascade(statement: Statement, _: Revision) -> Iterator[Breach]:
    """Find drops of what the script does not name."""
    node = statement.node
    is_cascade = isinstance(node, DropStmt | TruncateStmt) and _cascades(node.behavior)
    if isinstance(node, AlterTableStmt):
        is_cascade = any(_cascades(command.behavior) for command in commands(node))
    if is_cascade:
        yield Breach("drop-cascade", statement, "CASCADE drops what the script does not name.")


def check_sight(statement: Statement, revision: Revision) -> Iterator[Breach]:
    """Find work on rows that their owner does not see: forced row security hides them."""
    in_sight = {qualified(name.split(".")) for name in statement.step.in_sight}
    for table in sorted(_worked_on(statement, revision)):
        is_catalog = table.startswith(("pg_", "information_schema."))
        if not is_catalog and revision.is_filled(table, statement) and table not in in_sight:
            yield Breach("rows-out-of-sight", statement, f"The owner sees no rows of {table}.")


def _worked_on(statement: Statement, revision: Revision) -> set[str]:
    node = statement.node
    if isinstance(node, _ON_ROWS):
        read = node.query if isinstance(node, CreateTableAsStmt) else node
        tables = {table_name(table) for table in within(read, RangeVar)}
        return tables - {each.ctename for each in within(read, CommonTableExpr)}
    if not isinstance(node, AlterTableStmt):
        return set()
    # A reference is validated by a query, as its owner; a check reads the rows themselves.
    table = table_name(node.relation)
    names = {c.name for c in commands(node) if c.subtype == grammar.AT_ValidateConstraint}
    validated = [each for each in _references(node, table) if not each.skip_validation]
    for each in revision.statements:
        validated += [c for c in _references(each.node, table) if c.conname in names]
    if validated or any(name.startswith(_REFERENCE) for name in names):
        return {table, *(table_name(each.pktable) for each in validated)}
    return set()


def _references(node: AstNode, table: str) -> list[Constraint]:
    if not isinstance(node, AlterTableStmt) or table_name(node.relation) != table:
        return []
    found = within(node, Constraint)
    return [each for each in found if each.contype == grammar.CONSTR_FOREIGN]


def _losses(node: AstNode) -> Iterator[tuple[str | None, str]]:
    match node:
        case DropStmt(remove_type=grammar.OBJECT_TABLE):
            yield from ((table, "drops all rows") for table in touched_tables(node))
        case DropStmt() if what := _LOSING_DROPS.get(node.remove_type):
            yield from ((None, f"{what}, {qualified(parts)}") for parts in dropped(node))
        case TruncateStmt():
            yield from ((table, "empties all rows") for table in touched_tables(node))
        case AlterTableStmt():
            for command in commands(node):
                if what := _LOSING.get(command.subtype):
                    yield table_name(node.relation), f"{what}, {command.name},"
        case UpdateStmt() | DeleteStmt() if node.where_clause is None:
            verb = "deletes" if isinstance(node, DeleteStmt) else "changes"
            yield table_name(node.relation), f"{verb} every row"


def _select(query: str) -> SelectStmt | None:
    try:
        tree = parse(query)
    except PgQueryError:
        return None
    nodes = [wrap(each.stmt) for each in tree.stmts]
    return nodes[0] if len(nodes) == 1 and isinstance(nodes[0], SelectStmt) else None


def _cascades(behavior: int) -> bool:
    return behavior == int(grammar.DROP_CASCADE)
