"""Tables that are made at once: in which order, and which constraints each is made with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from viral.database.catalog import Catalog, Entry


class FreshTables:
    """The tables of one catalogue that another lacks, those that are pointed at first.

    A foreign key is made with its table: added later, its check would pass over rows that row
    security hides, and PostgreSQL refuses it. Of tables in a ring one key has to wait, and so has
    a key to the table of another owner.
    """

    def __init__(self, expected: Catalog, actual: Catalog) -> None:
        self._expected = expected
        self._actual = actual
        self._names = {
            entry.name
            for title, entry in expected.items()
            if entry.kind == "table" and title not in actual
        }
        self._constraints: dict[str, list[Entry]] = {name: [] for name in self._names}
        for entry in expected.values():
            if entry.kind == "constraint" and entry.place["table"] in self._names:
                self._constraints[str(entry.place["table"])].append(entry)
        self._order: list[str] = []
        for name in sorted(self._names):
            self._visit(name, frozenset())

    def position(self, name: str) -> int:
        """Return the place of a table in the order of making."""
        return self._order.index(name)

    def made_with(self, table: str) -> list[Entry]:
        """List the constraints that a table can be made with."""
        return [entry for entry in self._constraints[table] if self.comes_along(entry)]

    def comes_along(self, constraint: Entry) -> bool:
        """Tell whether a constraint is made with its table."""
        table = str(constraint.place["table"])
        if table not in self._names or constraint.parts["validated"] != "yes":
            return False
        if constraint.place["type"] != "f":
            return True
        parent = _qualified(str(constraint.place["references"]))
        if self._owner(parent) != self._owner(table):
            return False
        if parent not in self._names:
            return f"table {parent}" in self._actual
        return self.position(parent) <= self.position(table)

    def _owner(self, table: str) -> object:
        return self._expected[f"table {table}"].parts["owner"]

    def _visit(self, name: str, above: frozenset[str]) -> None:
        if name in self._order or name in above:
            return
        for constraint in self._constraints[name]:
            parent = _qualified(str(constraint.place.get("references")))
            if constraint.place["type"] == "f" and parent in self._names:
                self._visit(parent, above | {name})
        self._order.append(name)


def _qualified(name: str) -> str:
    return name if "." in name else f"public.{name}"
