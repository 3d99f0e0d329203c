"""Python source, laid out as the formatter leaves it: on one line, or one argument a line."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 100
_STEP = 4
_PIECE = re.compile(r" *[^ ]+ *$| *[^ ]+| +")


@dataclass(frozen=True, slots=True)
class Call:
    """Something in brackets: a call, a tuple, a list or a dictionary, under its keyword."""

    head: str
    items: Sequence[Node]
    tail: str = ")"


@dataclass(frozen=True, slots=True)
class Text:
    """A string, under its keyword; a long one is broken at its spaces."""

    value: str
    keyword: str = ""


Node = str | Call | Text


def tuple_of(items: Sequence[Node], keyword: str = "") -> Call:
    """Write a tuple."""
    return Call(f"{keyword}(", items, ",)" if len(items) == 1 else ")")


def under(keyword: str, node: Node) -> Node:
    """Give an argument its keyword, such as "name="."""
    match node:
        case Call():
            return replace(node, head=keyword + node.head)
        case Text():
            return replace(node, keyword=keyword)
    return keyword + node


def quoted(value: str) -> str:
    """Write a string in the quotes that need fewer escapes."""
    quote = "'" if value.count('"') > value.count("'") else '"'
    return quote + "".join(_escaped(letter, quote) for letter in value) + quote


def laid_out(node: Node, *, indent: int = 0, prefix: str = "") -> str:
    """Lay a node out after `prefix`, in a line that begins at `indent`."""
    flat = prefix + _flat(node)
    if isinstance(node, str) or indent + len(flat) < WIDTH:
        return flat
    margin = " " * (indent + _STEP)
    if isinstance(node, Call):
        lines = [f"{margin}{laid_out(item, indent=indent + _STEP)}," for item in node.items]
        # A tuple of one brings a comma, which every line has.
        return "\n".join([prefix + node.head, *lines, " " * indent + node.tail.lstrip(",")])
    if prefix or node.keyword:
        pieces = _broken(node.value, WIDTH - indent - _STEP)
        lines = [margin + piece for piece in pieces]
        return "\n".join([f"{prefix}{node.keyword}(", *lines, " " * indent + ")"])
    # One less: a comma follows the last.
    return f"\n{' ' * indent}".join(_broken(node.value, WIDTH - indent - 1))


def _flat(node: Node) -> str:
    match node:
        case str():
            return node
        case Text():
            return node.keyword + quoted(node.value)
    return node.head + ", ".join(_flat(item) for item in node.items) + node.tail


def _broken(value: str, width: int) -> list[str]:
    """Cut a string before its spaces into literals that fit; a word stays whole."""
    lines = [""]
    for piece in _PIECE.findall(value):
        if lines[-1] and len(quoted(lines[-1] + piece)) > width:
            lines.append("")
        lines[-1] += piece
    return [quoted(line) for line in lines]


def _escaped(letter: str, quote: str) -> str:
    if letter in {"\\", quote}:
        return "\\" + letter
    return letter if letter.isprintable() else repr(letter)[1:-1]
