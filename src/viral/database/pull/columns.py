"""Columns: as attributes of a class, or as arguments of a table without one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viral.database.pull.keys import text_call
from viral.database.pull.source import Call, Text, under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.database.catalog import Entry
    from viral.database.pull.source import Node
    from viral.database.pull.types import Types

_IDENTITY = re.compile(
    r"(?P<when>always|by default) start (?P<start>-?\d+) increment (?P<increment>-?\d+)"
    r" minimum (?P<minimum>-?\d+) maximum (?P<maximum>-?\d+) cache (?P<cache>\d+)(?P<cycle> cycle)?"
)
_LARGEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}


def attribute(
    column: Entry, name: str, types: Types, *, comment: str | None, is_only_key: bool
) -> tuple[str, Node | None]:
    """Write a column of a class: its name with the annotation, and the rest if there is some."""
    kind = types.of(column)
    bare = str(column.place["bare"])
    items: list[Node] = [] if name == bare else [Text(bare)]
    if not kind.is_said:
        items.append(kind.node)
    items += _arguments(column, comment, is_only_key=is_only_key)
    optional = " | None" if _is_nullable(column) else ""
    return f"{name}: Mapped[{kind.python}{optional}]", (
        Call("mapped_column(", items) if items else None
    )


def column_node(column: Entry, types: Types, *, comment: str | None) -> Node:
    """Write a column of a table without a class."""
    items: list[Node] = [Text(str(column.place["bare"])), types.of(column).node]
    items += _arguments(column, comment, is_only_key=False)
    if not _is_nullable(column):
        items.append("nullable=False")
    return Call("Column(", items)


def _arguments(column: Entry, comment: str | None, *, is_only_key: bool) -> Iterator[Node]:
    parts = column.parts
    if "generated" in parts:
        kind, expression = str(parts["generated"]).split(" ", 1)
        is_stored = f"persisted={kind == 'stored'}"
        yield Call("Computed(", [*text_call(expression).items, is_stored])
    elif "identity" in parts:
        yield Call("Identity(", list(_identity(str(parts["identity"]), str(parts["type"]))))
    elif "default" in parts:
        yield under("server_default=", text_call(str(parts["default"])))
    elif is_only_key and parts["type"] in _LARGEST:
        # SQLAlchemy would make it a serial.
        yield "autoincrement=False"
    if comment is not None:
        yield Text(comment, "comment=")


def _identity(description: str, kind: str) -> Iterator[Node]:
    found = _IDENTITY.fullmatch(description)
    assert found is not None
    if found["when"] == "always":
        yield "always=True"
    largest, increment = _LARGEST[kind], int(found["increment"])
    minimum, maximum = (1, largest) if increment > 0 else (-largest - 1, -1)
    usual = {
        "start": int(found["minimum"] if increment > 0 else found["maximum"]),
        "increment": 1,
        "minimum": minimum,
        "maximum": maximum,
        "cache": 1,
    }
    keywords = {"minimum": "minvalue", "maximum": "maxvalue"}
    for name, value in usual.items():
        if int(found[name]) != value:
            yield f"{keywords.get(name, name)}={found[name]}"
    if found["cycle"]:
        yield "cycle=True"


def _is_nullable(column: Entry) -> bool:
    # NOT NULL that does not hold for the rows before it stands in a script.
    return column.parts["not null"] != "yes"
