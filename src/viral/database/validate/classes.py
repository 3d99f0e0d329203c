"""The class behind a table: its docstring and its relationships."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.orm import DeclarativeBase

from viral.database.validate.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Table

_PLURAL = "s"
_SINGULAR_ENDINGS = ("ss", "us", "is")


def class_of(table: Table) -> type | None:
    """Find the class that declares a table."""
    for base in DeclarativeBase.__subclasses__():
        if base.metadata is table.metadata:
            for mapper in base.registry.mappers:
                if mapper.local_table is table:
                    return mapper.class_
    return None


def docstring_of(table: Table) -> str:
    """Return the docstring of the table's class on one line; empty when it has none."""
    return " ".join((vars(class_of(table) or object).get("__doc__") or "").split())


def class_rules(table: Table) -> Iterator[Finding]:
    """Check that a table has a class which says what a row is and loads nothing by itself."""
    cls = class_of(table)
    if cls is None:
        yield Finding(
            "class-missing",
            str(table),
            "has no class, so nothing creates it",
            "Declare it as a class of Base.",
        )
        return
    if vars(cls).get("__doc__") is None:
        yield Finding(
            "class-without-docstring",
            cls.__name__,
            "does not say what a row is",
            "Begin the class with one sentence.",
        )
    yield from _name(cls)
    yield from _relationships(cls)


def _name(cls: type) -> Iterator[Finding]:
    name = cls.__name__
    is_plural = name.endswith(_PLURAL) and not name.endswith(_SINGULAR_ENDINGS)
    if not name[0].isupper() or "_" in name or is_plural:
        yield Finding(
            "class-name",
            name,
            "is not one thing in CamelCase",
            "Name the class after one row: SocialPost.",
        )


def _relationships(cls: type) -> Iterator[Finding]:
    for relationship in cls.__mapper__.relationships:  # type: ignore[attr-defined]  # mapped class
        if relationship.lazy != "raise":
            yield Finding(
                "relationship-loads-by-itself",
                f"{cls.__name__}.{relationship.key}",
                f"has lazy={relationship.lazy!r}: a query per row, outside of any await",
                'Declare it with lazy="raise" and load it with selectinload or joinedload.',
            )
