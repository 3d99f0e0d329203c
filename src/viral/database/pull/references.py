"""Foreign keys that cannot be made with their table, because what they need comes later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viral.database.pull.definitions import parse_key, parse_reference
from viral.schema.security import OWNER

if TYPE_CHECKING:
    from viral.database.catalog import Catalog, Entry
    from viral.database.pull.entries import TableEntries


def postponed(tables: list[TableEntries], catalog: Catalog) -> set[str]:
    """List the titles of foreign keys that stand in a script and not in a class."""
    by_name = {entries.table.name: entries for entries in tables}
    edges = [
        (entries, key, by_name.get(_referred(key, catalog)))
        for entries in tables
        for key in entries.constraints
        if key.place["type"] == "f"
    ]
    ahead: dict[str, set[str]] = {}
    for entries, _, referred in edges:
        if referred is not None:
            ahead.setdefault(entries.table.name, set()).add(referred.table.name)
    return {
        key.title for entries, key, referred in edges if _is_late(entries, key, referred, ahead)
    }


def _is_late(
    entries: TableEntries, key: Entry, referred: TableEntries | None, ahead: dict[str, set[str]]
) -> bool:
    if referred is None:
        return True
    if referred is entries:
        # A table is made before its indexes.
        return not _has_key(entries, key)
    # No table on a circle can be made first; the product's own come before those of others.
    is_on_circle = entries.table.name in _reachable(referred.table.name, ahead)
    owners = entries.table.parts["owner"], referred.table.parts["owner"]
    return is_on_circle or (owners[0] == OWNER and owners[1] != OWNER)


def _has_key(entries: TableEntries, reference: Entry) -> bool:
    found = parse_reference(str(reference.parts["definition"]))
    keys = (parse_key(str(each.parts["definition"])) for each in entries.constraints)
    return found is not None and any(
        key and set(key.columns) == set(found.referred) for key in keys
    )


def _referred(key: Entry, catalog: Catalog) -> str:
    # The catalogue prints it as the search path needs it, and lists tables with their schema.
    name = str(key.place["references"])
    return name if f"table {name}" in catalog else f"public.{name}"


def _reachable(start: str, ahead: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        table = waiting.pop()
        if table not in found:
            found.add(table)
            waiting += ahead.get(table, ())
    return found
