"""What a key is made of, read from the definition of its index."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = re.compile(r"CREATE (UNIQUE )?INDEX .*? USING \w+ \(")
_REST = re.compile(
    r"\)( INCLUDE \([^)]*\))?(?P<equal> NULLS NOT DISTINCT)?( WITH \([^)]*\))?"
    r"( TABLESPACE \S+)?"
    r"( WHERE (?P<condition>.*))?"
)
# An expression, or a name; what follows it says how to sort and compare.
_PART = re.compile(r"(?P<what>(\"[^\"]*\"|[^\s(\"]+)?(?P<open>\()?)")


@dataclass(frozen=True, slots=True)
class Key:
    """Columns and expressions that stand once, in the rows that meet the condition."""

    parts: tuple[str, ...]
    condition: str | None
    are_nulls_equal: bool


def key_of(definition: str) -> Key:
    """Read `pg_get_indexdef`."""
    head = _HEAD.match(definition)
    assert head is not None
    end = _closing(definition, head.end())
    rest = _REST.fullmatch(definition, end)
    assert rest is not None
    parts = tuple(_bare(part) for part in _parts(definition[head.end() : end]))
    return Key(parts, rest["condition"], rest["equal"] is not None)


def _bare(part: str) -> str:
    found = _PART.match(part)
    assert found is not None
    return part[: _closing(part, found.end()) + 1] if found["open"] else found["what"]


def _parts(text: str) -> Iterator[str]:
    start = depth = 0
    for position, sign in _signs(text):
        depth += (sign == "(") - (sign == ")")
        if sign == "," and not depth:
            yield text[start:position].strip()
            start = position + 1
    yield text[start:].strip()


def _closing(text: str, start: int) -> int:
    """Find the parenthesis that closes the one before `start`."""
    depth = 1
    for position, sign in _signs(text, start):
        depth += (sign == "(") - (sign == ")")
        if not depth:
            return position
    raise ValueError(text)


def _signs(text: str, start: int = 0) -> Iterator[tuple[int, str]]:
    """Walk over what is not quoted."""
    for found in re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(.)", re.DOTALL).finditer(
        text, start
    ):
        if found[1]:
            yield found.start(), found[1]
