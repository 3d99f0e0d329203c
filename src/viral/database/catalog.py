"""The judge: what a schema is, as PostgreSQL prints it, and how two schemas differ."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

_QUERY = (files("viral.database") / "catalog.sql").read_text("utf-8")

Catalog = dict[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that is not the same; a side is None where the object is missing."""

    object: str
    expected: str | None
    actual: str | None

    def __str__(self) -> str:
        if self.expected is None:
            return f"{self.object}: unexpected ({_line(self.actual)})"
        if self.actual is None:
            return f"{self.object}: missing ({_line(self.expected)})"
        return f"{self.object}: is {_line(self.actual)}; should be {_line(self.expected)}"


async def read_catalog(connection: AsyncConnection) -> Catalog:
    """Read every object of our schemas: its name and its definition."""
    # PostgreSQL prints names as the search path needs them.
    path = (await connection.exec_driver_sql("SELECT current_setting('search_path')")).scalar_one()
    await connection.exec_driver_sql("SELECT set_config('search_path', 'public', true)")
    rows = (await connection.exec_driver_sql(_QUERY)).all()
    await connection.exec_driver_sql("SELECT set_config('search_path', $1, true)", (path,))
    return {row.object: row.definition or "" for row in rows}


def differences(expected: Mapping[str, str], actual: Mapping[str, str]) -> list[Difference]:
    """List what differs, by object, in a stable order."""
    return [
        Difference(name, expected.get(name), actual.get(name))
        for name in sorted(expected.keys() | actual.keys())
        if expected.get(name) != actual.get(name)
    ]


def _line(definition: str | None) -> str:
    return " ".join((definition or "").split())
