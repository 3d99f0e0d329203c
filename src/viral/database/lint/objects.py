"""Rules of what a schema may consist of; a kind of statement that no rule reads is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from postgast.nodes import (
    CreateStmt,
    CreateTableAsStmt,
    CreateTrigStmt,
    DoStmt,
    IndexStmt,
    SelectStmt,
)

from viral.database.lint.revision import Breach

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.database.lint.revision import Revision
    from viral.database.lint.statements import Statement

_WORD = re.compile(r"[A-Z][a-z]*")
# Named as the grammar names them; what is not here might do anything.
_KNOWN = frozenset(
    {
        "AlterDefaultPrivileges",
        "AlterDomain",
        "AlterEnum",
        "AlterFunction",
        "AlterObjectSchema",
        "AlterOwner",
        "AlterPolicy",
        "AlterRoleSet",
        "AlterRole",
        "AlterSeq",
        "AlterStats",
        "AlterTable",
        "Cluster",
        "Comment",
        "CompositeType",
        "CreateDomain",
        "CreateEnum",
        "CreateFunction",
        "CreatePolicy",
        "CreateRole",
        "CreateSeq",
        "CreateStats",
        "Create",
        "CreateTableAs",
        "CreateTrig",
        "Delete",
        "Do",
        "DropOwned",
        "DropRole",
        "Drop",
        "GrantRole",
        "Grant",
        "Index",
        "Insert",
        "Merge",
        "ReassignOwned",
        "RefreshMatView",
        "Reindex",
        "Rename",
        "Select",
        "Transaction",
        "Truncate",
        "Update",
        "Vacuum",
        "VariableSet",
        "View",
    }
)


def check_kind(statement: Statement, _: Revision) -> Iterator[Breach]:
    """Find statements of a kind that no rule judges."""
    node = statement.node
    kind = type(node).__name__.removesuffix("Stmt")
    is_into = isinstance(node, SelectStmt) and node.into_clause is not None
    if is_into or kind not in _KNOWN:
        words = "SELECT INTO" if is_into else " ".join(_WORD.findall(kind)).upper()
        yield Breach("unknown-statement", statement, f"No rule judges this statement ({words}).")


def check_triggers(statement: Statement, _: Revision) -> Iterator[Breach]:
    """Find triggers."""
    if isinstance(statement.node, CreateTrigStmt):
        yield Breach("trigger", statement, "A trigger acts where nobody reads it.")


def check_code_blocks(statement: Statement, _: Revision) -> Iterator[Breach]:
    """Find statements hidden in code."""
    if isinstance(statement.node, DoStmt):
        yield Breach("code-block", statement, "No rule sees the statements of a DO block.")


def check_if_not_exists(statement: Statement, _: Revision) -> Iterator[Breach]:
    """Find what would be taken for made when something else has its name."""
    node = statement.node
    if isinstance(node, CreateStmt | CreateTableAsStmt | IndexStmt) and node.if_not_exists:
        yield Breach(
            "if-not-exists", statement, "Something else of this name would be taken for it."
        )
