"""The order inside `__table_args__`: by kind, and by role where a kind is about roles."""

from __future__ import annotations

import ast
import io
import tokenize
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenize import TokenInfo

_KINDS = (
    "ForeignKeyConstraint",
    "UniqueConstraint",
    "Index",
    "ExcludeConstraint",
    "CheckConstraint",
    "anything else",
    "OwnedBy",
    "RowSecurity",
    "Policy",
    "Grant",
    "options",
)
# The policies that have a name of their own, and the role that each is for.
_POLICIES = {
    "tenant_only": "APP",
    "open_to_all": "APP",
    "functions_too": "AUTH",
    "system_too": "SYSTEM",
    "system_only": "SYSTEM",
}
_ROLES = ("APP", "READONLY", "WORKER", "AUTH", "SYSTEM")
# The place of the role among the arguments of a call.
_ROLE_ARGUMENT = {"Policy": 1, "Grant": 0}
_LAYOUT = {tokenize.NL, tokenize.NEWLINE}


def order_elements(source: str, value: ast.expr) -> str:
    """Sort the elements of a tuple that is written in parentheses; leave anything else."""
    lines = source.split("\n")
    begin, end = _start(lines, value), _end(lines, value)
    if not isinstance(value, ast.Tuple) or lines[begin[0] - 1][begin[1]] != "(":
        return source
    pieces, comments = _pieces(source, begin, end)
    wanted = sorted(range(len(pieces)), key=lambda place: _rank(value.elts[place]))
    ordered = "\n".join([*(pieces[place] for place in wanted), *comments])
    first = _offset(lines, begin) + 1
    last = _offset(lines, end) - 1
    return f"{source[:first]}\n{ordered}\n{source[last:]}" if pieces else source


def _rank(element: ast.expr) -> tuple[int, int]:
    if isinstance(element, ast.Dict):
        return _KINDS.index("options"), 0
    bound: dict[str, ast.expr] = {}
    if isinstance(element, ast.Starred) and isinstance(element.value, ast.GeneratorExp):
        bound = _first_bound(element.value)
        element = element.value.elt
    if not isinstance(element, ast.Call) or not isinstance(element.func, ast.Name):
        return _KINDS.index("anything else"), 0
    name = element.func.id
    if name in _POLICIES:
        return _KINDS.index("Policy"), _ROLES.index(_POLICIES[name])
    place = _ROLE_ARGUMENT.get(name)
    role = _role(element.args, place, bound) if place is not None else 0
    return _KINDS.index(name if name in _KINDS else "anything else"), role


def _first_bound(generator: ast.GeneratorExp) -> dict[str, ast.expr]:
    """Return what the variable of `for role in (APP, READONLY)` is at first."""
    each = generator.generators[0]
    if isinstance(each.target, ast.Name) and isinstance(each.iter, ast.Tuple) and each.iter.elts:
        return {each.target.id: each.iter.elts[0]}
    return {}


def _role(arguments: list[ast.expr], place: int, bound: dict[str, ast.expr]) -> int:
    role = arguments[place] if place < len(arguments) else None
    if isinstance(role, ast.Name):
        role = bound.get(role.id, role)
    name = role.id if isinstance(role, ast.Name) else ""
    return _ROLES.index(name) if name in _ROLES else len(_ROLES)


def _pieces(
    source: str, begin: tuple[int, int], end: tuple[int, int]
) -> tuple[list[str], list[str]]:
    """Cut the inside of a tuple at its commas: elements with their comments, and what follows."""
    pieces: list[list[TokenInfo]] = [[]]
    depth = 0
    comma_line = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if not begin < token.start or not token.end < end or token.type in _LAYOUT:
            continue
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
        if token.type == tokenize.OP and token.string == "," and depth == 0:
            pieces.append([])
            comma_line = token.start[0]
        elif token.type == tokenize.COMMENT and token.start[0] == comma_line:
            pieces[-2].append(token)
        else:
            pieces[-1].append(token)
    closing: list[TokenInfo] = []
    while pieces[-1] and pieces[-1][-1].type == tokenize.COMMENT and _is_alone(pieces[-1]):
        closing.insert(0, pieces[-1].pop())
    lines = source.split("\n")
    cut = [_piece(source, lines, tokens) for tokens in pieces if tokens]
    return cut, [token.string for token in closing]


def _is_alone(tokens: list[TokenInfo]) -> bool:
    """Tell whether the last token has a line of its own."""
    return len(tokens) == 1 or tokens[-2].end[0] < tokens[-1].start[0]


def _piece(source: str, lines: list[str], tokens: list[TokenInfo]) -> str:
    """Write an element with its comma: comments above it and beside it."""
    code = [token for token in tokens if token.type != tokenize.COMMENT]
    begin, end = code[0].start, code[-1].end
    text = source[_offset(lines, begin) : _offset(lines, end)] + ","
    comments = [token for token in tokens if token.type == tokenize.COMMENT]
    above = [token.string for token in comments if token.start < begin]
    beside = [token.string for token in comments if token.start > end]
    return "\n".join([*above, "  ".join([text, *beside])])


def _start(lines: list[str], node: ast.expr) -> tuple[int, int]:
    return node.lineno, _characters(lines[node.lineno - 1], node.col_offset)


def _end(lines: list[str], node: ast.expr) -> tuple[int, int]:
    line, column = node.end_lineno or node.lineno, node.end_col_offset or 0
    return line, _characters(lines[line - 1], column)


def _characters(line: str, octets: int) -> int:
    """Turn a column of `ast`, which counts bytes of UTF-8, into one of `tokenize`."""
    return len(line.encode()[:octets].decode())


def _offset(lines: list[str], place: tuple[int, int]) -> int:
    return sum(len(line) + 1 for line in lines[: place[0] - 1]) + place[1]
