"""What a draft is made of: one statement or a few that belong together."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING

from viral.schema.security import OWNER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viral.database.catalog import Catalog, Entry
    from viral.database.scripts import Risk, Waiver


class Phase(IntEnum):
    """The order of changes: what is needed first comes first, what goes goes last."""

    RENAME = 0
    SCHEMA = 1
    TYPE = 2
    SEQUENCE = 3
    FUNCTION = 4
    TABLE = 5
    COLUMN = 6
    BACKFILL = 7
    CONSTRAINT = 8
    INDEX = 9
    REFERENCE = 10
    VIEW = 11
    # Of materialized views.
    VIEW_INDEX = 12
    POLICY = 13
    TRIGGER = 14
    OWNER = 15
    GRANT = 16
    COMMENT = 17
    # After the grant that lets one owner point at the table of another.
    REFERENCE_ACROSS = 18
    DROP_TRIGGER = 21
    DROP_POLICY = 22
    DROP_VIEW = 23
    DROP_REFERENCE = 24
    DROP_CONSTRAINT = 25
    DROP_INDEX = 26
    DROP_COLUMN = 27
    DROP_TABLE = 28
    DROP_FUNCTION = 29
    DROP_SEQUENCE = 30
    DROP_TYPE = 31
    DROP_SCHEMA = 32

    @property
    def label(self) -> str:
        """The phase of a change of schema that loses nothing: expand, backfill, contract."""
        if self is Phase.BACKFILL:
            return "backfill"
        return "contract" if self >= Phase.DROP_TRIGGER else "expand"


class Mode(Enum):
    """How a change is run: with its neighbours, in a transaction of its own, or in none."""

    TOGETHER = 1
    ALONE = 2
    OUTSIDE = 3


@dataclass(frozen=True, slots=True)
class Change:
    """SQL that brings one object nearer to what is expected, without a closing semicolon.

    `locks` is the table that nobody can use meanwhile, where there is one.
    """

    title: str
    phase: Phase
    sql: str
    mode: Mode = Mode.TOGETHER
    owner: str = OWNER
    locks: str | None = None
    risks: tuple[Risk, ...] = ()
    in_sight: tuple[str, ...] = ()
    waivers: tuple[Waiver, ...] = ()


def literal(value: object) -> str:
    """Write a text as SQL does, in standard_conforming_strings."""
    return "'" + str(value).replace("'", "''") + "'"


def table_of(entry: Entry) -> str:
    """Name the table that an object stands on."""
    return str(entry.place["table"])


def texts(parts: Mapping[str, object], name: str) -> list[str]:
    """Return a part that is a list, or an empty one."""
    found = parts.get(name)
    return [str(each) for each in found] if isinstance(found, list) else []


def owner_of(entry: Entry, *catalogs: Catalog) -> str:
    """Find the role that may change an object: its own owner, or its table's."""
    if entry.kind in {"grant", "default privileges", "owner's rights"}:
        return str(entry.place["owner"])
    names = [entry.title, str(entry.place.get("object"))]
    names += [f"{kind} {entry.place.get('table')}" for kind in ("table", "view")]
    names.append(f"materialized view {entry.place.get('table')}")
    for catalog in catalogs:
        for name in names:
            if name in catalog and "owner" in catalog[name].parts:
                return str(catalog[name].parts["owner"])
    for catalog in catalogs:
        for name in names[1:]:
            if name in catalog:
                return owner_of(catalog[name], *catalogs)
    return OWNER
