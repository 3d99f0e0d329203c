"""The types of columns: in Python, and in SQLAlchemy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from viral.database.draft.changes import texts
from viral.database.pull.definitions import NAME, unquoted
from viral.database.pull.names import constant_names
from viral.database.pull.source import Call, Text, under

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.database.catalog import Catalog, Entry
    from viral.database.pull.source import Node

# The annotation alone says these types: SQLAlchemy's own rules, and the map of the pulled Base.
_SAID = {
    "boolean": ("bool", "Boolean"),
    "bytea": ("bytes", "LargeBinary"),
    "date": ("date", "Date"),
    "double precision": ("float", "Double"),
    "integer": ("int", "Integer"),
    "interval": ("timedelta", "Interval"),
    "numeric": ("Decimal", "Numeric"),
    "text": ("str", "Text"),
    "time without time zone": ("time", "Time"),
    "timestamp with time zone": ("datetime", "DateTime(timezone=True)"),
    "uuid": ("UUID", "Uuid"),
}
_OTHERS = {
    "bigint": ("int", "BigInteger"),
    "character varying": ("str", "String"),
    "cidr": ("object", "CIDR"),
    "citext": ("str", "CITEXT"),
    "daterange": ("Range[date]", "DATERANGE"),
    "inet": ("object", "INET"),
    "int4range": ("Range[int]", "INT4RANGE"),
    "int8range": ("Range[int]", "INT8RANGE"),
    "json": ("object", "JSON"),
    "jsonb": ("object", "JSONB"),
    "macaddr": ("str", "MACADDR"),
    "money": ("str", "MONEY"),
    "numrange": ("Range[Decimal]", "NUMRANGE"),
    "oid": ("int", "OID"),
    "real": ("float", "REAL"),
    "smallint": ("int", "SmallInteger"),
    "time with time zone": ("time", "Time(timezone=True)"),
    "timestamp without time zone": ("datetime", "DateTime"),
    "tsrange": ("Range[datetime]", "TSRANGE"),
    "tstzrange": ("Range[datetime]", "TSTZRANGE"),
    "tsvector": ("str", "TSVECTOR"),
}
_SIZED = (
    (r"character varying\((\d+)\)", "str", "String({0})"),
    (r"character\((\d+)\)", "str", "CHAR({0})"),
    (r"numeric\((\d+),(-?\d+)\)", "Decimal", "Numeric({0}, {1})"),
    (r"timestamp\((\d)\) without time zone", "datetime", "TIMESTAMP(precision={0})"),
    (
        r"timestamp\((\d)\) with time zone",
        "datetime",
        "TIMESTAMP(precision={0}, timezone=True)",
    ),
    (r"time\((\d)\) without time zone", "time", "TIME(precision={0})"),
    (r"time\((\d)\) with time zone", "time", "TIME(precision={0}, timezone=True)"),
)
_COLLATABLE = re.compile(r"(Text|String|CHAR)(?:\((\d+)\))?")


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A type: its annotation, its expression, and whether the annotation says it all."""

    python: str
    node: Node
    is_said: bool = False


class Types:
    """The types of one database."""

    def __init__(self, catalog: Catalog, taken: set[str]) -> None:
        entries = [entry for entry in catalog.values() if entry.kind == "type"]
        self._entries = {_printed(entry): entry for entry in entries}
        enums = [entry for entry in entries if texts(entry.parts, "labels")]
        names = constant_names((_key(entry) for entry in enums), taken)
        self._constants = {_printed(entry): names[_key(entry)] for entry in enums}

    def of(self, column: Entry) -> ColumnType:
        """Find the type of a column, with its collation."""
        sql = str(column.parts["type"])
        found = self._find(sql)
        if "collation" not in column.parts:
            return found
        collation = str(column.parts["collation"])
        collatable = isinstance(found.node, str) and _COLLATABLE.fullmatch(found.node)
        if not collatable or not re.fullmatch(NAME, collation):
            return ColumnType(found.python, _native(f"{sql} COLLATE {collation}"))
        size = [collatable[2]] if collatable[2] else []
        name = under("collation=", Text(unquoted(collation)))
        return ColumnType(found.python, Call(f"{collatable[1]}(", [*size, name]))

    def constants(self) -> Iterator[tuple[str, Node]]:
        """Yield the name and the value of each enumeration."""
        for printed, name in self._constants.items():
            entry = self._entries[printed]
            schema, bare = _key(entry)
            items: list[Node] = [Text(label) for label in texts(entry.parts, "labels")]
            items.append(under("name=", Text(bare)))
            if schema != "public":
                items.append(under("schema=", Text(schema)))
            yield name, Call("Enum(", [*items, "create_type=False"])

    def _find(self, sql: str) -> ColumnType:
        if sql.endswith("[]"):
            inner = self._find(sql.removesuffix("[]"))
            return ColumnType(f"list[{inner.python}]", Call("ARRAY(", [inner.node]))
        if sql in self._constants:
            return ColumnType("str", self._constants[sql])
        if (entry := self._entries.get(sql)) is not None:
            base = entry.parts.get("base")
            python = self._find(str(base)).python if base else "object"
            return ColumnType(python, _native(sql))
        return _built_in(sql)


def _built_in(sql: str) -> ColumnType:
    if sql in _SAID:
        return ColumnType(*_SAID[sql], is_said=True)
    if sql in _OTHERS:
        return ColumnType(*_OTHERS[sql])
    for pattern, python, form in _SIZED:
        if found := re.fullmatch(pattern, sql):
            return ColumnType(python, form.format(*found.groups()))
    return ColumnType("object", _native(sql))


def _native(sql: str) -> Node:
    return Call("Native(", [Text(sql)])


def _printed(entry: Entry) -> str:
    # As PostgreSQL prints it where `public` is the search path.
    return entry.name.removeprefix("public.")


def _key(entry: Entry) -> tuple[str, str]:
    return str(entry.place["schema"]), str(entry.place["bare"])
