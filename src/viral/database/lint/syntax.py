"""Small questions about the nodes of PostgreSQL's grammar."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from postgast import pg_query_pb2 as grammar
from postgast import walk_typed
from postgast.nodes import (
    A_Const,
    AlterTableCmd,
    AlterTableStmt,
    AstNode,
    Boolean,
    DefElem,
    DropStmt,
    Float,
    Integer,
    List,
    RangeVar,
    RoleSpec,
    String,
    TypeCast,
    TypeName,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

EVERYBODY = "PUBLIC"

_Node = TypeVar("_Node", bound=AstNode)


def within(node: AstNode | None, kind: type[_Node]) -> Iterator[_Node]:
    """Yield every node of a kind in a tree, its root included."""
    if node is not None:
        yield from (found for _, found in walk_typed(node) if isinstance(found, kind))


def texts(nodes: Iterable[AstNode]) -> list[str]:
    return [node.sval for node in nodes if isinstance(node, String)]


def qualified(parts: list[str]) -> str:
    """Join the parts of a name; `public` goes without saying."""
    return ".".join(parts[1:] if parts[0] == "public" else parts)


def table_name(table: RangeVar | None) -> str:
    assert table is not None
    return qualified([part for part in (table.schemaname, table.relname) if part])


def type_name(type_: TypeName | None) -> str:
    return texts(type_.names)[-1] if type_ is not None else ""


def role_names(nodes: Iterable[AstNode]) -> list[str]:
    """Name the roles of a list; CURRENT_USER and its like have no name of their own."""
    return [role_name(node) for node in nodes if isinstance(node, RoleSpec)]


def role_name(role: RoleSpec) -> str:
    return EVERYBODY if role.roletype == grammar.ROLESPEC_PUBLIC else role.rolename


def options(nodes: Iterable[AstNode]) -> dict[str, AstNode | None]:
    """Read `WITH (name = value)` and its like."""
    return {node.defname: node.arg for node in nodes if isinstance(node, DefElem)}


def constant(node: object) -> str | None:
    """Write a literal as text, with or without a cast around it."""
    match node:
        case TypeCast(arg=inner) | A_Const(val=inner):
            return constant(inner)
        case String(sval=text) | Float(fval=text):
            return text
        case Integer(ival=value) | Boolean(boolval=value):
            return str(value).lower()
    return None


def dropped(statement: DropStmt) -> list[list[str]]:
    """List the names that a DROP gives, each in its parts."""
    names = []
    for each in statement.objects:
        parts = texts(each.items if isinstance(each, List) else [each])
        if isinstance(each, TypeName):
            parts = texts(each.names)
        if parts:
            names.append(parts)
    return names


def commands(statement: AlterTableStmt) -> list[AlterTableCmd]:
    return [command for command in statement.cmds if isinstance(command, AlterTableCmd)]
