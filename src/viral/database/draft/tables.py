"""The SQL of tables and columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from viral.database.draft.changes import texts
from viral.schema.security import AUTH, OWNER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.database.catalog import Catalog, Entry

_IDENTITY = re.compile(
    r"(?P<when>always|by default) start (?P<start>-?\d+) increment (?P<increment>-?\d+)"
    r" minimum (?P<minimum>-?\d+) maximum (?P<maximum>-?\d+) cache (?P<cache>\d+)(?P<cycle> cycle)?"
)


def create_table(table: Entry, catalog: Catalog, constraints: list[Entry]) -> Iterator[str]:
    """Yield the SQL of a table with its columns and constraints."""
    name = table.name
    lines = [column_clause(column) for column in columns_of(name, catalog)]
    lines += [
        f"CONSTRAINT {entry.place['name']} {entry.parts['definition']}" for entry in constraints
    ]
    head = "CREATE UNLOGGED TABLE" if table.parts["persistence"] == "unlogged" else "CREATE TABLE"
    sql = f"{head} {name} (\n  " + ",\n  ".join(lines) + "\n)" if lines else f"{head} {name} ()"
    if parents := texts(table.parts, "inherits"):
        sql += f" INHERITS ({', '.join(parents)})"
    if "partition by" in table.parts:
        sql += f" PARTITION BY {table.parts['partition by']}"
    if "access method" in table.parts:
        sql += f" USING {table.parts['access method']}"
    if options := _options(table):
        sql += f" WITH ({', '.join(options)})"
    yield sql
    yield from row_security(table)
    if "replica identity" in table.parts:
        yield f"ALTER TABLE {name} REPLICA IDENTITY {str(table.parts['replica identity']).upper()}"
    for column in columns_of(name, catalog):
        yield from column_settings(column, None)


def row_security(table: Entry) -> Iterator[str]:
    """Yield the SQL that sets a fresh table's two switches of row security."""
    if table.parts["row security"] == "on":
        yield f"ALTER TABLE {table.name} ENABLE ROW LEVEL SECURITY"
    if table.parts["force row security"] == "on":
        yield f"ALTER TABLE {table.name} FORCE ROW LEVEL SECURITY"


def columns_of(table: str, catalog: Catalog) -> list[Entry]:
    """List a table's columns in their order."""
    found = (
        entry
        for entry in catalog.values()
        if entry.kind == "column" and entry.place["table"] == table
    )
    return sorted(found, key=lambda entry: int(str(entry.place["position"])))


def column_clause(column: Entry, *, is_nullable: bool | None = None) -> str:
    """Write a column as CREATE TABLE and ADD COLUMN take it."""
    parts = column.parts
    words = [str(column.place["column"]), str(parts["type"])]
    if "collation" in parts:
        words.append(f"COLLATE {parts['collation']}")
    if "generated" in parts:
        kind, expression = str(parts["generated"]).split(" ", 1)
        words.append(f"GENERATED ALWAYS AS ({expression}) {kind.upper()}")
    elif "identity" in parts:
        words.append(identity_clause(str(parts["identity"])))
    elif "default" in parts:
        words.append(f"DEFAULT {parts['default']}")
    nullable = parts["not null"] == "no" if is_nullable is None else is_nullable
    if not nullable:
        words.append("NOT NULL")
    return " ".join(words)


def identity_clause(text: str) -> str:
    """Turn what the catalogue says of an identity column into its SQL."""
    found = _IDENTITY.fullmatch(text)
    assert found is not None
    cycle = " CYCLE" if found["cycle"] else ""
    return (
        f"GENERATED {found['when'].upper()} AS IDENTITY (START {found['start']}"
        f" INCREMENT {found['increment']} MINVALUE {found['minimum']}"
        f" MAXVALUE {found['maximum']} CACHE {found['cache']}{cycle})"
    )


def column_settings(column: Entry, actual: Entry | None) -> Iterator[str]:
    """Yield the SQL of what a column's definition does not say: how it is stored and measured."""
    head = f"ALTER TABLE {column.place['table']} ALTER COLUMN {column.place['column']}"
    before = actual.parts if actual else {}
    after = column.parts
    if before.get("storage") != after.get("storage"):
        yield f"{head} SET STORAGE {str(after.get('storage', 'DEFAULT')).upper()}"
    if before.get("compression") != after.get("compression"):
        yield f"{head} SET COMPRESSION {after.get('compression', 'DEFAULT')}"
    if before.get("statistics") != after.get("statistics"):
        yield f"{head} SET STATISTICS {after.get('statistics', -1)}"
    yield from _changed_options(head, texts(before, "options"), texts(after, "options"))


def change_table(expected: Entry, actual: Entry) -> Iterator[str]:
    """Yield the SQL that changes what a table says of itself."""
    name, before, after = expected.name, actual.parts, expected.parts

    def differs(part: str) -> bool:
        return before.get(part) != after.get(part)

    if differs("persistence"):
        yield f"ALTER TABLE {name} SET {str(after['persistence']).upper()}"
    if differs("row security"):
        verb = "ENABLE" if after["row security"] == "on" else "DISABLE"
        yield f"ALTER TABLE {name} {verb} ROW LEVEL SECURITY"
    if differs("force row security"):
        verb = "FORCE" if after["force row security"] == "on" else "NO FORCE"
        yield f"ALTER TABLE {name} {verb} ROW LEVEL SECURITY"
    if differs("storage options") or differs("toast options"):
        yield from _changed_options(f"ALTER TABLE {name}", _options(actual), _options(expected))
    if differs("replica identity") and after.get("replica identity") != "index":
        yield (
            f"ALTER TABLE {name} REPLICA IDENTITY"
            f" {str(after.get('replica identity', 'default')).upper()}"
        )
    if differs("inherits"):
        old, new = texts(before, "inherits"), texts(after, "inherits")
        yield from (f"ALTER TABLE {name} NO INHERIT {each}" for each in old if each not in new)
        yield from (f"ALTER TABLE {name} INHERIT {each}" for each in new if each not in old)
    if differs("access method"):
        yield f"ALTER TABLE {name} SET ACCESS METHOD {after.get('access method', 'heap')}"


def can_be_indexed_concurrently(table: str, catalog: Catalog) -> bool:
    """Tell whether PostgreSQL can build an index beside writers, as the session's own role."""
    entry = catalog.get(f"table {table}") or catalog.get(f"materialized view {table}")
    return entry is not None and "partition by" not in entry.parts and entry.parts["owner"] == OWNER


def is_of_product(owner: str) -> bool:
    """Tell whether migrations may act as a role."""
    return owner in {OWNER, AUTH}


def _options(table: Entry) -> list[str]:
    own = texts(table.parts, "storage options")
    return own + [f"toast.{option}" for option in texts(table.parts, "toast options")]


def _changed_options(head: str, before: list[str], after: list[str]) -> Iterator[str]:
    gone = {each.split("=")[0] for each in before} - {each.split("=")[0] for each in after}
    if gone:
        yield f"{head} RESET ({', '.join(sorted(gone))})"
    if added := [each for each in after if each not in before]:
        yield f"{head} SET ({', '.join(added)})"
