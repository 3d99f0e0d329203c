"""Tables as diagrams and types show them: grouped by the file that declares them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql

from viral.schema.base import Base
from viral.schema.tables import MODULES

if TYPE_CHECKING:
    from sqlalchemy import Column, ForeignKeyConstraint
    from sqlalchemy.orm import DeclarativeBase

TENANTS = "tenants"

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # untyped in SQLAlchemy
_SHORT_TYPES = {
    "timestamp with time zone": "timestamptz",
    "double precision": "float8",
    "float(53)": "float8",
}
_ONE_OF = re.compile(r"(\w+) IN \(('[^']*'(?:,\s*'[^']*')*)\)")


@dataclass(frozen=True, slots=True)
class Entity:
    """A table and the class that declares it."""

    model: type[DeclarativeBase]
    table: Table

    @property
    def name(self) -> str:
        """The table's name, with its schema where that is not the usual one."""
        return str(self.table)

    @property
    def meaning(self) -> str:
        """What the class says a row is."""
        return (self.model.__doc__ or "").partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Group:
    """The tables of one file of the schema, in the order in which they are declared."""

    name: str
    meaning: str
    entities: tuple[Entity, ...]


def schema_groups() -> list[Group]:
    """Return all tables of the product."""
    models = {mapper.local_table: mapper.class_ for mapper in Base.registry.mappers}
    return [
        Group(
            name=module.__name__.rpartition(".")[2],
            meaning=(module.__doc__ or "").partition("\n")[0],
            entities=tuple(
                Entity(models[table], table)
                for table in Base.metadata.tables.values()
                if models[table].__module__ == module.__name__
            ),
        )
        for module in MODULES
    ]


def type_name(column: Column[object]) -> str:
    """Return a column's type as PostgreSQL's people write it."""
    name = column.type.compile(dialect=_DIALECT).lower()
    return _SHORT_TYPES.get(name, name)


def foreign_keys(table: Table) -> list[ForeignKeyConstraint]:
    """Return a table's foreign keys in the order of their columns."""
    places = {column.name: place for place, column in enumerate(table.columns)}
    return sorted(
        table.foreign_key_constraints,
        key=lambda key: ([places[name] for name in key.column_keys], key.referred_table.name),
    )


def pointing_column(key: ForeignKeyConstraint) -> Column[object]:
    """Return the column that says which row is meant: the tenant stands first in every key."""
    return list(key.columns)[-1]


def is_unique(column: Column[object]) -> bool:
    """Tell whether a column alone is unique in its table."""
    return any(
        [column] == list(constraint.columns)
        for constraint in column.table.constraints
        if isinstance(constraint, UniqueConstraint)
    )


def allowed_texts(table: Table) -> dict[str, list[str]]:
    """Return the texts to which a CHECK limits a column, by the column's name."""
    found = (
        _ONE_OF.fullmatch(str(constraint.sqltext))
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    )
    return {each[1]: re.findall(r"'([^']*)'", each[2]) for each in found if each}
