"""The order inside a table's class, so that everybody puts a line in the same place.

    __tablename__, columns, relationships, __table_args__, methods
    in __table_args__: foreign keys, uniques, indexes, exclusions, checks, owner, policies, grants

What stands in one group keeps its order, which for columns is that of the database; policies and
grants go by role. A comment moves with the line below it. The layout is left to the formatter.
"""

from __future__ import annotations

import ast
from itertools import groupby

from viral.database.format.elements import order_elements

_ARGUMENTS = "__table_args__"
_TABLE_NAME = "__tablename__"
_DOCSTRING, _CONSTANT, _COLUMN, _RELATIONSHIP, _TABLE_ARGUMENTS, _METHOD = range(6)


def order_classes(source: str) -> str:
    """Put the classes of tables into their order."""
    for place in range(len(_table_classes(source))):
        source = _order_body(source, _table_classes(source)[place])
        for statement in _table_classes(source)[place].body:
            if isinstance(statement, ast.Assign) and _assigned(statement) == _ARGUMENTS:
                source = order_elements(source, statement.value)
    return source


def _table_classes(source: str) -> list[ast.ClassDef]:
    return [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef)
        and any(_assigned(statement) == _TABLE_NAME for statement in node.body)
    ]


def _assigned(statement: ast.stmt) -> str | None:
    """Return the name that a statement of a class gives a value or a type."""
    target: ast.expr | None = None
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
    elif isinstance(statement, ast.AnnAssign):
        target = statement.target
    return target.id if isinstance(target, ast.Name) else None


def _group(statement: ast.stmt) -> int:
    if isinstance(statement, ast.Expr):
        return _DOCSTRING
    if (name := _assigned(statement)) is None:
        return _METHOD
    if name == _ARGUMENTS:
        return _TABLE_ARGUMENTS
    if not isinstance(statement, ast.AnnAssign) or not _is_mapped(statement.annotation):
        return _CONSTANT
    match statement.value:
        case ast.Call(func=ast.Name(id="relationship")):
            return _RELATIONSHIP
    return _COLUMN


def _is_mapped(annotation: ast.expr) -> bool:
    return ast.unparse(annotation).startswith("Mapped[")


def _order_body(source: str, node: ast.ClassDef) -> str:
    wanted = sorted(node.body, key=_group)
    if not _keeps_meaning(node.body, wanted):
        return source
    lines = source.split("\n")
    begin = _first_line(lines, node.body[0])
    ends = [statement.end_lineno or 0 for statement in node.body]
    text = {
        statement: "\n".join(lines[start:end]).strip("\n")
        for statement, start, end in zip(node.body, [begin, *ends], ends, strict=False)
    }
    groups = [
        ("\n\n" if group == _METHOD else "\n").join(text[statement] for statement in members)
        for group, members in groupby(wanted, key=_group)
    ]
    return "\n".join([*lines[:begin], "\n\n".join(groups), *lines[ends[-1] :]])


def _keeps_meaning(before: list[ast.stmt], after: list[ast.stmt]) -> bool:
    """Tell whether each statement still comes after those whose names it uses."""
    return all(
        (before.index(one) < before.index(other)) == (after.index(one) < after.index(other))
        for one in before
        for other in before
        if _assigned(one) in _used(other)
    )


def _used(statement: ast.stmt) -> set[str | None]:
    value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else statement
    names = (node for node in ast.walk(value) if isinstance(node, ast.Name)) if value else ()
    return {name.id for name in names}


def _first_line(lines: list[str], statement: ast.stmt) -> int:
    """Return the index of the line below the class's header."""
    index = statement.lineno - 1
    while lines[index - 1].strip().startswith(("#", "@")) or not lines[index - 1].strip():
        index -= 1
    return index
