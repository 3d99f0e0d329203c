"""The judge: what a schema is, as PostgreSQL prints it, and how two schemas differ."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

_QUERIES = ("tables", "partitions", "others", "rare", "access")
# PostgreSQL prints names as the search path needs them, and moments as the session asks for them.
_PRINT_ALIKE = """
SELECT set_config(name, value, true) FROM (VALUES
  ('search_path', 'public'), ('quote_all_identifiers', 'off'), ('TimeZone', 'UTC'),
  ('DateStyle', 'ISO, MDY'), ('IntervalStyle', 'postgres'), ('bytea_output', 'hex'),
  ('extra_float_digits', '1'), ('xmlbinary', 'base64'), ('array_nulls', 'on')
) AS wanted (name, value)
"""
_MISSING = "nothing"
_RELATIONS = ("table", "view", "materialized view", "foreign table")


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a schema: `parts` are compared, `place` says where it stands."""

    kind: str
    name: str
    parts: Mapping[str, object] = field(default_factory=dict)
    place: Mapping[str, object] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name that tells it from every other object, such as "table public.videos"."""
        return f"{self.kind} {self.name}".strip()


Catalog = dict[str, Entry]


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that is not the same; a side is None where the object is missing."""

    expected: Entry | None
    actual: Entry | None

    @property
    def entry(self) -> Entry:
        """The object, from the side that has it."""
        found = self.expected or self.actual
        assert found is not None
        return found

    @property
    def title(self) -> str:
        return self.entry.title

    @property
    def changed(self) -> list[str]:
        """The parts that both sides have, or one of them, and that are not the same."""
        expected = self.expected.parts if self.expected else {}
        actual = self.actual.parts if self.actual else {}
        names = sorted(expected.keys() | actual.keys())
        return [name for name in names if expected.get(name) != actual.get(name)]

    @property
    def is_whole(self) -> bool:
        """Whether the object itself is missing or unexpected, and not only different."""
        return self.expected is None or self.actual is None

    def __str__(self) -> str:
        if self.expected is None:
            return _line(f"{self.title}: unexpected", self.entry)
        if self.actual is None:
            return _line(f"{self.title}: missing", self.entry)
        changes = (
            f"{name} is {_words(self.actual.parts.get(name))},"
            f" should be {_words(self.expected.parts.get(name))}"
            for name in self.changed
        )
        return f"{self.title}: {'; '.join(changes)}"

    def as_json(self) -> dict[str, object]:
        """Say the same for programs: only the parts that differ."""

        def side(entry: Entry | None) -> dict[str, object] | None:
            if entry is None:
                return None
            return {name: entry.parts.get(name) for name in self.changed}

        return {
            "object": self.title,
            "expected": side(self.expected),
            "actual": side(self.actual),
            "message": str(self),
        }


async def read_catalog(connection: AsyncConnection) -> Catalog:
    """Read every object of the database's own schemas; the session's settings stay as they are."""
    async with connection.begin_nested() as for_the_moment:
        await connection.exec_driver_sql(_PRINT_ALIKE)
        rows = (await connection.exec_driver_sql(_query())).all()
        await for_the_moment.rollback()
    entries = (Entry(row.kind, row.name, row.parts, row.place) for row in rows)
    return {entry.title: entry for entry in entries}


@cache
def _query() -> str:
    def text(name: str) -> str:
        return (files("viral.database") / f"catalog_{name}.sql").read_text("utf-8")

    rows = "\nUNION ALL\n".join(f"({text(name)})" for name in _QUERIES)
    return f"{text('objects')}\n{rows}\nORDER BY 1, 2"


def differences(expected: Catalog, actual: Catalog) -> list[Difference]:
    """List what differs, by object, in a stable order."""
    return list(_differences(expected, actual))


def summary(found: list[Difference]) -> list[Difference]:
    """Leave out what comes or goes with its table or object: columns, privileges, comments."""
    whole = {difference.title for difference in found if difference.is_whole}
    return [
        difference
        for difference in found
        if not (difference.is_whole and whole & set(_belongs_to(difference.entry)))
    ]


def _belongs_to(entry: Entry) -> Iterator[str]:
    if "object" in entry.place:
        yield str(entry.place["object"])
    if "table" in entry.place and entry.kind not in _RELATIONS:
        yield from (f"{kind} {entry.place['table']}" for kind in _RELATIONS)


def _differences(expected: Catalog, actual: Catalog) -> Iterator[Difference]:
    for name in sorted(expected.keys() | actual.keys()):
        difference = Difference(expected.get(name), actual.get(name))
        if difference.is_whole or difference.changed:
            yield difference


def _line(head: str, entry: Entry) -> str:
    details = ", ".join(f"{name} {_words(value)}" for name, value in entry.parts.items())
    return f"{head} ({details})" if details else head


def _words(value: object) -> str:
    if value is None:
        return _MISSING
    if isinstance(value, list):
        return ", ".join(str(each) for each in value)
    return " ".join(str(value).split())
