"""Constraints and indexes as arguments of a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viral.database.pull.definitions import (
    NAME,
    parse_check,
    parse_exclusion,
    parse_index,
    parse_key,
    parse_reference,
    unquoted,
)
from viral.database.pull.source import Call, Text, quoted, tuple_of, under

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from viral.database.catalog import Entry
    from viral.database.pull.definitions import Deferral
    from viral.database.pull.entries import TableEntries
    from viral.database.pull.source import Node

_PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w+(?![:\w]))|\\(?=:\w*(?![:\w]))")


def constraint_node(constraint: Entry, columns: Collection[str]) -> Node | None:
    """Write a constraint; None where SQLAlchemy has no words for it."""
    if constraint.parts["validated"] == "no":
        return None
    definition, name = str(constraint.parts["definition"]), str(constraint.place["bare"])
    match constraint.place["type"]:
        case "p" | "u":
            return _key(definition, name)
        case "c":
            return _check(definition, name)
        case "f":
            return _reference(definition, name)
        case _:
            return _exclusion(definition, name, columns)


def primary_key_of(entries: TableEntries) -> list[str]:
    """List the columns of a primary key that a class can state; none without one."""
    for constraint in entries.constraints:
        if constraint.place["type"] == "p" and constraint_node(constraint, entries.column_names):
            key = parse_key(str(constraint.parts["definition"]))
            return key.columns if key else []
    return []


def index_node(index: Entry, columns: Collection[str]) -> Node | None:
    """Write an index; None where SQLAlchemy has no words for it."""
    if (found := parse_index(str(index.parts["definition"]))) is None:
        return None
    items: list[Node] = [Text(str(index.place["bare"]))]
    items += [_element(each, columns) for each in found.elements]
    if index.place["unique"]:
        items.append("unique=True")
    if found.method != "btree":
        items.append(Text(found.method, "postgresql_using="))
    if found.include:
        items.append(_texts("postgresql_include=", found.include))
    if not found.has_distinct_nulls:
        items.append("postgresql_nulls_not_distinct=True")
    if found.options:
        items.append(options_node("postgresql_with=", found.options))
    if found.where is not None:
        items.append(under("postgresql_where=", text_call(found.where)))
    return Call("Index(", items)


def options_node(keyword: str, options: dict[str, str]) -> Node:
    """Write storage options as a dictionary."""
    items = [Text(value, f"{quoted(name)}: ") for name, value in options.items()]
    return Call(f"{keyword}{{", items, "}")


def text_call(sql: str) -> Call:
    """Write SQL as `text(...)`."""
    return Call("text(", [_sql_text(sql)])


def _key(definition: str, name: str) -> Node | None:
    if (key := parse_key(definition)) is None:
        return None
    items: list[Node] = [Text(column) for column in key.columns]
    items.append(_name(name))
    items += _deferral(key.deferral)
    if key.include:
        items.append(_texts("postgresql_include=", key.include))
    if not key.has_distinct_nulls:
        items.append("postgresql_nulls_not_distinct=True")
    is_primary = definition.startswith("PRIMARY")
    return Call("PrimaryKeyConstraint(" if is_primary else "UniqueConstraint(", items)


def _check(definition: str, name: str) -> Node | None:
    if (condition := parse_check(definition)) is None:
        return None
    return Call("CheckConstraint(", [_sql_text(condition), _name(name)])


def _reference(definition: str, name: str) -> Node | None:
    found = parse_reference(definition)
    if found is None:
        return None
    table = [unquoted(part) for part in re.findall(NAME, found.table)]
    # SQLAlchemy cuts the name of a referred column at its points.
    if any("." in name for name in (*table, *found.referred)):
        return None
    items: list[Node] = [
        _texts("", found.columns),
        _texts("", [".".join([*table, column]) for column in found.referred]),
        _name(name),
    ]
    if found.onupdate:
        items.append(Text(found.onupdate, "onupdate="))
    if found.ondelete:
        items.append(Text(found.ondelete, "ondelete="))
    if found.is_full:
        items.append(Text("FULL", "match="))
    return Call("ForeignKeyConstraint(", [*items, *_deferral(found.deferral)])


def _exclusion(definition: str, name: str, columns: Collection[str]) -> Node | None:
    if (found := parse_exclusion(definition)) is None:
        return None
    items: list[Node] = [
        tuple_of([_element(expression, columns), Text(operator)])
        for expression, operator in found.elements
    ]
    items += [_name(name), Text(found.method, "using=")]
    if found.where is not None:
        items.append(under("where=", text_call(found.where)))
    return Call("ExcludeConstraint(", [*items, *_deferral(found.deferral)])


def _element(element: str, columns: Collection[str]) -> Node:
    return Text(unquoted(element)) if unquoted(element) in columns else text_call(element)


def _deferral(deferral: Deferral) -> Iterator[Node]:
    if deferral.is_deferrable:
        yield "deferrable=True"
    if deferral.is_deferred:
        yield Text("DEFERRED", "initially=")


def _name(name: str) -> Node:
    return Text(name, "name=")


def _texts(keyword: str, values: Iterable[str]) -> Node:
    return Call(f"{keyword}[", [Text(value) for value in values], "]")


def _sql_text(sql: str) -> Text:
    # SQLAlchemy reads a word after a colon as a parameter, unless a backslash stands before it.
    return Text(_PARAMETER.sub(r"\\\g<0>", sql))
