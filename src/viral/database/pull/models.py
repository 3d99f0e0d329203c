"""The source of one table: a class, or a bare table where nothing tells its rows apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from viral.database.draft.changes import texts
from viral.database.pull.access import access_nodes
from viral.database.pull.columns import attribute, column_node
from viral.database.pull.keys import (
    constraint_node,
    index_node,
    options_node,
    primary_key_of,
)
from viral.database.pull.names import attribute_names, sentence
from viral.database.pull.source import Call, Text, laid_out, quoted, tuple_of, under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.database.pull.entries import TableEntries
    from viral.database.pull.source import Node
    from viral.database.pull.types import Types

_INDENT = 4
_LONGEST_DOCSTRING = 85
_ORDER = "pufcx"


@dataclass(frozen=True, slots=True)
class Model:
    """What a table's source needs to know beside its own entries."""

    entries: TableEntries
    name: str
    types: Types
    builder: str | None
    later: set[str]


def model_source(model: Model) -> str:
    """Write a table: as a class when it has a primary key that a class can state."""
    if primary_key_of(model.entries):
        return _class_source(model)
    return _table_source(model)


def docstring(text: str) -> str:
    """Write one sentence as a docstring."""
    text = text.replace("\\", "/").replace('"', "'")
    return f'"""{text if text.endswith((".", "!", "?")) else f"{text}."}"""'


def _class_source(model: Model) -> str:
    entries = model.entries
    arguments = list(_arguments(model))
    if options := list(_options(model)):
        items = [under(f"{quoted(name)}: ", node) for name, node in options]
        arguments.append(Call("{", items, "}"))
    body = [
        docstring(_description(entries)),
        "",
        laid_out(Text(entries.key[1]), indent=_INDENT, prefix="__tablename__ = "),
        "",
        *_attributes(model),
        "",
        laid_out(tuple_of(arguments), indent=_INDENT, prefix="__table_args__ = "),
    ]
    lines = [f"{' ' * _INDENT}{line}" if line else "" for line in body]
    return "\n".join([f"class {model.name}(Base):", *lines]) + "\n"


def _attributes(model: Model) -> Iterator[str]:
    entries = model.entries
    names, key = attribute_names(entries.column_names), primary_key_of(entries)
    for column in entries.columns:
        bare = str(column.place["bare"])
        head, node = attribute(
            column,
            names[bare],
            model.types,
            comment=entries.comments.get(column.title),
            is_only_key=key == [bare],
        )
        yield laid_out(node, indent=_INDENT, prefix=f"{head} = ") if node else head


def _table_source(model: Model) -> str:
    entries = model.entries
    items: list[Node] = [Text(entries.key[1]), "Base.metadata"]
    items += [
        column_node(column, model.types, comment=entries.comments.get(column.title))
        for column in entries.columns
    ]
    items += _arguments(model)
    items += [under(f"{name}=", node) for name, node in _options(model)]
    return laid_out(Call("Table(", items), prefix=f"{model.name} = ") + "\n"


def _description(entries: TableEntries) -> str:
    comment = entries.comments.get(entries.table.title, "").strip()
    first = comment.partition("\n")[0]
    return first if 0 < len(first) <= _LONGEST_DOCSTRING else sentence(entries.key[1])


def _arguments(model: Model) -> Iterator[Node]:
    entries = model.entries
    columns = entries.column_names
    constraints = sorted(
        (entry for entry in entries.constraints if entry.title not in model.later),
        key=lambda entry: _ORDER.index(str(entry.place["type"])),
    )
    nodes = [constraint_node(entry, columns) for entry in constraints]
    nodes += [index_node(entry, columns) for entry in entries.indexes]
    yield from (node for node in nodes if node is not None)
    yield from access_nodes(entries, builder=model.builder)


def _options(model: Model) -> Iterator[tuple[str, Node]]:
    entries = model.entries
    parts = entries.table.parts
    if entries.key[0] != "public":
        yield "schema", Text(entries.key[0])
    if comment := entries.comments.get(entries.table.title):
        yield "comment", Text(comment)
    if parts.get("persistence") == "unlogged":
        yield "prefixes", Call("[", [Text("UNLOGGED")], "]")
    if "partition by" in parts:
        yield "postgresql_partition_by", Text(str(parts["partition by"]))
    if "access method" in parts:
        yield "postgresql_using", Text(str(parts["access method"]))
    if "tablespace" in parts:
        yield "postgresql_tablespace", Text(str(parts["tablespace"]))
    stored = texts(parts, "storage options")
    stored += [f"toast.{option}" for option in texts(parts, "toast options")]
    if stored:
        options = dict(option.split("=", 1) for option in stored)
        yield "postgresql_with", options_node("", options)
