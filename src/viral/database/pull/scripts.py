"""SQL for what no class can say: what tables need before them, and what stands on them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from viral.database.catalog import summary
from viral.database.draft.changes import Phase, texts
from viral.database.draft.plan import draft
from viral.database.pull.access import can_say
from viral.database.pull.definitions import NAME, parse_index
from viral.database.pull.entries import builder_of
from viral.database.pull.keys import constraint_node, index_node
from viral.database.pull.order import in_order
from viral.schema.security import LOGINS, OWNERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from viral.database.catalog import Catalog, Entry
    from viral.database.draft.changes import Change
    from viral.database.pull.entries import TableEntries

# What the class of a column or table cannot say; draft finds the SQL for it.
_UNSAID = {
    "table": {"replica identity", "inherits", "tablespace"},
    "column": {
        "storage",
        "compression",
        "statistics",
        "options",
        "not null inherited",
        "identity sequence",
    },
    "constraint": {"index is"},
    "index": {"is"},
}
# What a database has before its schema: made with it, or by `viral server bootstrap`.
_PREPARED = {"database", "schema public", "schema viral", "comment on schema public"}
_PREPARED_ROLES = {*LOGINS, *OWNERS, "PUBLIC", "pg_database_owner"}


@dataclass(frozen=True, slots=True)
class Scripts:
    """Both scripts, and the titles of what no statement can make."""

    before: list[str]
    after: list[str]
    left_out: list[str]


def write_scripts(catalog: Catalog, tables: list[TableEntries], later: set[str]) -> Scripts:
    """Write what leads from the classes alone to the whole catalogue."""
    builder = builder_of(tables)
    plan = draft(catalog, _said(catalog, tables))
    changes = list(in_order(plan.changes, catalog))
    before = [change for change in changes if change.phase <= Phase.FUNCTION]
    after = [change for change in changes if change.phase > Phase.FUNCTION]
    verbatim = [(entries, sql) for entries in tables for sql in _verbatim(entries)]
    verbatim += [(entries, sql) for entries in tables for sql in _references(entries, later)]
    owned = [(str(entries.table.parts["owner"]), sql) for entries, sql in verbatim]
    return Scripts(
        before=list(_as_owners(_pairs(before), builder)),
        after=list(_as_owners([*owned, *_pairs(after)], builder)),
        left_out=[difference.title for difference in summary(plan.impossible)],
    )


def _said(catalog: Catalog, tables: list[TableEntries]) -> Catalog:
    """Leave in a catalogue what is there once the tables are made."""
    names = {entries.table.name for entries in tables}
    unsaid = {
        policy.title for entries in tables for policy in entries.policies if not can_say(policy)
    }
    return {
        title: replace(entry, parts=_said_parts(entry))
        for title, entry in catalog.items()
        if title not in unsaid and (_is_prepared(entry) or _is_said(entry, catalog, names))
    }


def _is_said(entry: Entry, catalog: Catalog, tables: set[str]) -> bool:
    if entry.kind == "comment":
        target = catalog.get(str(entry.place["object"]))
        return (
            target is not None
            and target.kind in {"table", "column"}
            and (target.place["table"] in tables)
        )
    said = {"table", "column", "constraint", "index", "policy", "grant"}
    return entry.kind in said and entry.place.get("table") in tables


def _is_prepared(entry: Entry) -> bool:
    if entry.kind == "grant":
        role, target = entry.place["role"], str(entry.place["object"])
        if target.startswith(("type ", "function ", "procedure ", "aggregate ")):
            # PostgreSQL lets everybody use a type and call a function that is made.
            return role == "PUBLIC"
        is_elsewhere = target.startswith(("database", "language "))
        return is_elsewhere or (target in _PREPARED and role in _PREPARED_ROLES)
    return entry.title in _PREPARED


def _said_parts(entry: Entry) -> dict[str, object]:
    unsaid = _UNSAID.get(entry.kind, set())
    return {
        name: value
        for name, value in entry.parts.items()
        # The index says it too.
        if name not in unsaid or (name, value) == ("replica identity", "index")
    }


def _verbatim(entries: TableEntries) -> Iterator[str]:
    """Yield constraints, indexes and the like as PostgreSQL prints them."""
    table, columns = entries.table.name, entries.column_names
    if "of type" in entries.table.parts:
        yield f"ALTER TABLE {table} OF {entries.table.parts['of type']}"
    for column in entries.columns:
        if column.parts["not null"] == "not valid":
            yield f"ALTER TABLE {table} ADD NOT NULL {column.place['column']} NOT VALID"
    for index in entries.indexes:
        if index_node(index, columns) is None:
            yield str(index.parts["definition"]).replace(" ON ONLY ", " ON ", 1)
        for each in texts(index.parts, "statistics"):
            number, target = each.split(": ")
            yield f"ALTER INDEX {index.name} ALTER COLUMN {number} SET STATISTICS {target}"
    for constraint in entries.constraints:
        if constraint.place["type"] != "f":
            if constraint_node(constraint, columns) is None:
                yield _add_constraint(constraint)
            yield from _index_options(constraint)


def _references(entries: TableEntries, later: set[str]) -> Iterator[str]:
    """Yield the foreign keys that stand in no class, once all that they point at is made."""
    for constraint in entries.constraints:
        is_said = constraint.title not in later and constraint_node(constraint, ())
        if constraint.place["type"] == "f" and not is_said:
            yield _add_constraint(constraint)


def _add_constraint(constraint: Entry) -> str:
    definition = str(constraint.parts["definition"])
    if constraint.parts["validated"] == "no" and "NOT ENFORCED" not in definition:
        definition += " NOT VALID"
    head = f"ALTER TABLE {constraint.place['table']} ADD CONSTRAINT {constraint.place['name']}"
    return f"{head} {definition}"


def _index_options(constraint: Entry) -> Iterator[str]:
    """Set the storage options of a constraint's index: constraints are made without."""
    found = parse_index(str(constraint.parts.get("index", "")))
    if found and found.options:
        schema = re.match(NAME, str(constraint.place["table"]))
        assert schema is not None
        options = ", ".join(f"{name} = {value}" for name, value in found.options.items())
        yield f"ALTER INDEX {schema[0]}.{constraint.place['name']} SET ({options})"


def _pairs(changes: Iterable[Change]) -> list[tuple[str, str]]:
    return [(change.owner, change.sql) for change in changes]


def _as_owners(statements: list[tuple[str, str]], builder: str | None) -> Iterator[str]:
    """Let each statement run as who owns its object; without a builder, as who connects."""
    role = builder
    for owner, sql in statements:
        if builder is not None and owner != role:
            yield f"SET LOCAL ROLE {owner}"
            role = owner
        yield sql.strip().rstrip(";")
