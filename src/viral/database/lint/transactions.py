"""Rules of transactions, settings and locks: a step is one transaction, and short."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as grammar
from postgast.nodes import (
    AlterEnumStmt,
    AlterTableStmt,
    ClusterStmt,
    ColumnDef,
    Constraint,
    CreateStmt,
    DropStmt,
    FuncCall,
    IndexStmt,
    PartitionCmd,
    ReindexStmt,
    TransactionStmt,
    VacuumStmt,
    VariableSetStmt,
)

from viral.database.lint.privileges import OWNERS
from viral.database.lint.revision import Breach, is_same_step, touched_tables
from viral.database.lint.syntax import commands, constant, options, table_name, texts, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgast.nodes import AstNode

    from viral.database.lint.revision import Revision
    from viral.database.lint.statements import Statement

_TIMEOUTS = {"lock_timeout", "statement_timeout", "transaction_timeout"}
_NO_LIMIT = re.compile(r"0+(\.0*)? *[a-z]*")
# These leave reads and writes alone, or lock both tables of a reference whatever one does.
_GENTLE = {
    grammar.AT_ValidateConstraint,
    grammar.AT_SetStatistics,
    grammar.AT_AttachPartition,
    grammar.AT_SetRelOptions,
    grammar.AT_ResetRelOptions,
}
_REWRITING = {grammar.AT_SetLogged, grammar.AT_SetUnLogged, grammar.AT_SetTableSpace}


def check_transaction_control(statement: Statement, _: Revision) -> Iterator[Breach]:
    """Find scripts that begin or end transactions themselves."""
    if isinstance(statement.node, TransactionStmt):
        yield Breach("transaction-control", statement, "A script does not begin or end one itself.")


def check_step(statement: Statement, revision: Revision) -> Iterator[Breach]:
    """Find statements in the wrong kind of step."""
    earlier = list(revision.before(statement))
    if not statement.step.is_transactional:
        if earlier:
            yield Breach(
                "one-statement-outside", statement, f"Step {statement.step.name!r} has several."
            )
    elif words := _refuses_transaction(statement.node):
        yield Breach("needs-no-transaction", statement, f"{words} cannot run in a transaction.")
    elif isinstance(statement.node, AlterEnumStmt) and statement.node.new_val:
        others = [each for each in revision.after(statement) if is_same_step(each, statement)]
        if earlier or others:
            yield Breach(
                "needs-own-step",
                statement,
                f"The value {statement.node.new_val!r} cannot be used before its step commits.",
            )


def check_settings(statement: Statement, _: Revision) -> Iterator[Breach]:
    """Find settings that outlive their step, lift a limit or pass over rows."""
    for name, value, is_local in _settings(statement.node):
        if name == "session_authorization" or (
            name == "role" and not (is_local and value in OWNERS)
        ):
            yield Breach("role-taken", statement, f"It goes on as {value or 'the role of login'}.")
        elif name == "row_security":
            yield Breach(
                "row-security-setting", statement, "Statements could pass over rows in silence."
            )
        elif name in _TIMEOUTS and (value is None or _NO_LIMIT.fullmatch(value)):
            yield Breach("timeout-lifted", statement, f"{name} is lifted.")
        elif not is_local:
            yield Breach("session-setting", statement, f"{name} would outlive the step.")


def check_validation(statement: Statement, revision: Revision) -> Iterator[Breach]:
    """Find constraints that are added and validated in one transaction."""
    node = statement.node
    if not isinstance(node, AlterTableStmt):
        return
    table = table_name(node.relation)
    for command in commands(node):
        if command.subtype != grammar.AT_ValidateConstraint:
            continue
        earlier = [each.node for each in revision.before(statement)]
        if any(_adds(each, table, command.name) for each in [*earlier, node]):
            yield Breach(
                "validated-at-once",
                statement,
                f"{command.name} is validated under the lock that adding it took.",
            )


def check_column_check(statement: Statement, revision: Revision) -> Iterator[Breach]:
    """Find columns that come to a filled table with a check of their own."""
    node = statement.node
    if not isinstance(node, AlterTableStmt):
        return
    table = table_name(node.relation)
    if not revision.is_filled(table, statement):
        return
    for column in within(node, ColumnDef):
        for each in column.constraints:
            if isinstance(each, Constraint) and each.contype == grammar.CONSTR_CHECK:
                yield Breach(
                    "column-with-check",
                    statement,
                    f"All rows of {table} are read under a lock for {column.colname}.",
                )


def check_rewrite(statement: Statement, _: Revision) -> Iterator[Breach]:
    """Find tables that are copied under a lock."""
    node = statement.node
    is_rewrite = isinstance(node, ClusterStmt)
    if isinstance(node, VacuumStmt):
        is_rewrite = "full" in options(node.options)
    if isinstance(node, AlterTableStmt):
        is_rewrite = any(command.subtype in _REWRITING for command in commands(node))
    if is_rewrite:
        yield Breach("table-rewritten", statement, "Nobody reads the table while it is copied.")


def check_locks(statement: Statement, revision: Revision) -> Iterator[Breach]:
    """Find steps that hold the exclusive locks of two filled tables."""
    held = {table for each in revision.before(statement) for table in _locked(each, revision)}
    locked = list(dict.fromkeys(_locked(statement, revision)))
    for at, table in enumerate(locked):
        others = held | set(locked[:at])
        if others and table not in others:
            yield Breach(
                "two-tables-locked",
                statement,
                f"It waits for {table} while nobody can read {', '.join(sorted(others))}.",
            )


def _refuses_transaction(node: AstNode) -> str | None:
    match node:
        case IndexStmt(concurrent=True):
            return "CREATE INDEX CONCURRENTLY"
        case DropStmt(concurrent=True):
            return "DROP INDEX CONCURRENTLY"
        case ReindexStmt() if "concurrently" in options(node.params):
            return "REINDEX CONCURRENTLY"
        case VacuumStmt(is_vacuumcmd=True):
            return "VACUUM"
        case AlterTableStmt() if any(each.concurrent for each in within(node, PartitionCmd)):
            return "DETACH PARTITION CONCURRENTLY"
    return None


def _settings(node: AstNode) -> Iterator[tuple[str, str | None, bool]]:
    if isinstance(node, VariableSetStmt):
        name = "all settings" if node.kind == grammar.VAR_RESET_ALL else node.name
        yield name, constant(node.args[0]) if node.args else None, node.is_local
        return
    for call in within(node, FuncCall):
        if texts(call.funcname)[-1] == "set_config":
            setting, value, local = ([constant(each) for each in call.args] + [None] * 3)[:3]
            yield (setting or "a setting").lower(), value, local in {"true", "t"}


def _adds(node: AstNode, table: str, constraint: str) -> bool:
    return (
        isinstance(node, AlterTableStmt)
        and table_name(node.relation) == table
        and any(each.conname == constraint for each in within(node, Constraint))
    )


def _locked(statement: Statement, revision: Revision) -> Iterator[str]:
    node = statement.node
    if isinstance(node, CreateStmt | IndexStmt):
        return
    if isinstance(node, AlterTableStmt) and all(_is_gentle(each) for each in commands(node)):
        return
    yield from (each for each in touched_tables(node) if revision.is_filled(each, statement))


def _is_gentle(command: AstNode) -> bool:
    subtype = getattr(command, "subtype", None)
    added = getattr(command, "def_", None)
    is_reference = isinstance(added, Constraint) and added.contype == grammar.CONSTR_FOREIGN
    return subtype in _GENTLE or is_reference
