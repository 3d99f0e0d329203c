"""The catalogue of a database, table by table, without what other tools keep for themselves."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from viral.schema.security import OWNER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.database.catalog import Catalog, Entry

# Where Alembic, the product and Prisma write down which migrations ran.
BOOKKEEPING = ("viral.alembic_version", "viral.migrations", "public._prisma_migrations")


@dataclass(slots=True)
class TableEntries:
    """A table and all that stands on it."""

    table: Entry
    columns: list[Entry] = field(default_factory=list)
    constraints: list[Entry] = field(default_factory=list)
    indexes: list[Entry] = field(default_factory=list)
    policies: list[Entry] = field(default_factory=list)
    grants: list[Entry] = field(default_factory=list)
    comments: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """The schema and the name, as they are without quotes."""
        return str(self.table.place["schema"]), str(self.table.place["bare"])

    @property
    def column_names(self) -> list[str]:
        return [str(column.place["bare"]) for column in self.columns]


def without_bookkeeping(catalog: Catalog) -> tuple[Catalog, list[str]]:
    """Leave bookkeeping tables out; return the rest and their names."""
    found = [name for name in BOOKKEEPING if f"table {name}" in catalog]
    rest = {
        title: entry
        for title, entry in catalog.items()
        if not any(_is_of(entry, name) for name in found)
    }
    return rest, found


def tables_of(catalog: Catalog) -> list[TableEntries]:
    """Gather what stands on each table, in the order of their names."""
    found = {entry.name: TableEntries(entry) for entry in catalog.values() if entry.kind == "table"}
    lists = _entries_by_table(catalog)
    for name, entries in found.items():
        entries.columns = sorted(
            lists["column", name], key=lambda column: int(str(column.place["position"]))
        )
        entries.constraints = lists["constraint", name]
        entries.indexes = lists["index", name]
        entries.policies = lists["policy", name]
        entries.grants = lists["grant", name]
    for comment in (entry for entry in catalog.values() if entry.kind == "comment"):
        if (title := str(comment.place["object"])) in catalog:
            target = catalog[title]
            name = str(target.place.get("table"))
            if target.kind in {"table", "column"} and name in found:
                found[name].comments[title] = str(comment.parts["text"])
    return sorted(found.values(), key=lambda entries: entries.key)


def builder_of(tables: list[TableEntries]) -> str | None:
    """Say who builds the tables: the product's owner where it owns some, else who connects."""
    return OWNER if any(entries.table.parts["owner"] == OWNER for entries in tables) else None


def _entries_by_table(catalog: Catalog) -> defaultdict[tuple[str, str], list[Entry]]:
    found: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in catalog.values():
        if "table" in entry.place:
            found[entry.kind, str(entry.place["table"])].append(entry)
    return found


def _is_of(entry: Entry, table: str) -> bool:
    return any(name == table or name.startswith(f"{table}.") for name in _names(entry))


def _names(entry: Entry) -> Iterator[str]:
    yield str(entry.place.get("table"))
    yield str(entry.place.get("object", "")).partition(" ")[2]
