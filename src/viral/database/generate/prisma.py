"""`schema.prisma` for JavaScript clients of the same database, from the models alone.

What Prisma cannot say is left out, or marked as Prisma's own introspection marks it;
`docs/prisma-clients.md` lists it by name.
"""

from __future__ import annotations

import inspect
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import (
    ClauseElement,
    Column,
    ColumnDefault,
    Computed,
    Constraint,
    DefaultClause,
    ForeignKeyConstraint,
    Index,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql

import viral.schema.tables  # noqa: F401 - loads all models into Base
from viral.errors import SchemaError
from viral.schema.base import Base, uuid7

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sqlalchemy.orm import registry

HEAD = """\
// Made by `viral generate` from the models; changes belong there.

generator client {
  provider = "prisma-client"
  output   = "./client"
}

datasource db {
  provider = "postgresql"
}
"""

# PostgreSQL's type, its scalar type in Prisma, and the native type where it is not the default.
TYPES = {
    "BIGINT": ("BigInt", ""),
    "BOOLEAN": ("Boolean", ""),
    "BYTEA": ("Bytes", ""),
    "DATE": ("DateTime", "@db.Date"),
    "FLOAT(53)": ("Float", ""),
    "INTEGER": ("Int", ""),
    "JSONB": ("Json", ""),
    "NUMERIC": ("Decimal", "@db.Decimal"),
    "TEXT": ("String", ""),
    "TIMESTAMP WITH TIME ZONE": ("DateTime", "@db.Timestamptz(6)"),
    "UUID": ("String", "@db.Uuid"),
    "VARCHAR": ("String", "@db.VarChar"),
}
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # untyped in SQLAlchemy


@dataclass(frozen=True)
class Field:
    """One line of a model: a column, or one side of a relation."""

    name: str
    type: str
    attributes: str = ""
    comment: str = ""


@dataclass(frozen=True)
class Relation:
    """A foreign key with the names of its two sides; `label` where two models have several."""

    key: ForeignKeyConstraint
    name: str
    back_name: str
    label: str
    is_single: bool

    @property
    def child(self) -> Table:
        return self.key.table

    @property
    def parent(self) -> Table:
        return self.key.referred_table


def prisma_schema(models: registry = Base.registry) -> str:
    """Write the models as a schema for Prisma 7, in the form its formatter gives it."""
    class_of = {mapper.local_table: mapper.class_ for mapper in models.mappers}
    # What lies outside of `public` belongs to the product alone.
    public = [table for table in models.metadata.tables.values() if table.schema is None]
    public.sort(key=lambda table: class_of[table].__name__)
    classes = {table: class_of[table] for table in public}
    relations = _relations(classes)
    return "\n".join([HEAD, *(_model(table, classes, relations) for table in classes)])


def _relations(classes: Mapping[Table, type]) -> list[Relation]:
    keys = [
        key
        for table in classes
        for key in sorted(table.foreign_key_constraints, key=lambda key: list(key.column_keys))
        if key.referred_table in classes
    ]
    pairs = Counter(frozenset((key.table, key.referred_table)) for key in keys)
    return [
        _relation(key, classes, has_twin=pairs[frozenset((key.table, key.referred_table))] > 1)
        for key in keys
    ]


def _relation(
    key: ForeignKeyConstraint, classes: Mapping[Table, type], *, has_twin: bool
) -> Relation:
    child, parent = classes[key.table], classes[key.referred_table]
    last = key.elements[-1]
    # A column that refers to another column than the id names something else than the parent row.
    name = (
        _camel(last.parent.name.removesuffix("_id"))
        if last.column.name == "id"
        else _lower_first(parent.__name__)
    )
    unique = [set(unique.columns.keys()) for unique in _unique_keys(key.table)]
    is_single = set(key.column_keys) in [*unique, set(key.table.primary_key.columns.keys())]
    back_name = _lower_first(child.__name__) if is_single else _camel(key.table.name)
    label = f"{child.__name__}{_upper_first(name)}"
    if has_twin:
        back_name += f"By{_upper_first(name)}"
    elif child is not parent:
        label = ""
    return Relation(key, name, back_name, label, is_single)


def _model(table: Table, classes: Mapping[Table, type], relations: list[Relation]) -> str:
    model = classes[table]
    fields = [
        *(_column_field(column) for column in table.columns),
        *(_forward_field(r, classes) for r in relations if r.child is table),
        *(_back_field(r, classes) for r in relations if r.parent is table),
    ]
    _refuse_twins(model, fields)
    doc = inspect.cleandoc(model.__doc__ or "").splitlines()
    lines = [
        *(f"/// {line}".rstrip() for line in doc),
        f"model {model.__name__} {{",
        *_aligned(fields),
        "",
        *(f"  {attribute}" for attribute in _model_attributes(table)),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _refuse_twins(model: type, fields: Iterable[Field]) -> None:
    for name, count in Counter(field.name for field in fields).items():
        if count > 1:
            raise SchemaError(
                f"{model.__name__} would have {count} fields {name} in schema.prisma.",
                hint="Rename the column: a relation takes its name from the key's column.",
            )


def _column_field(column: Column[object]) -> Field:
    scalar, native = _type(column)
    default = _default(column, scalar)
    attributes = [
        _key_attribute(column),
        f"@default({default})" if default else "",
        "@updatedAt" if column.onupdate is not None else "",
        f'@map("{column.name}")' if _camel(column.name) != column.name else "",
        native,
    ]
    return Field(
        _camel(column.name),
        # Prisma reads a list that is NULL as an empty one.
        f"{scalar}?" if column.nullable and not scalar.endswith("]") else scalar,
        " ".join(filter(None, attributes)),
        "PostgreSQL computes it; writing it is refused."
        if column.computed
        else column.comment or "",
    )


def _type(column: Column[object]) -> tuple[str, str]:
    sql = column.type.compile(dialect=_DIALECT)
    element = sql.removesuffix("[]")
    if element in TYPES:
        scalar, native = TYPES[element]
        return scalar + sql.removeprefix(element), native
    name, _, arguments = sql.partition("(")
    if name in TYPES:
        scalar, native = TYPES[name]
        return scalar, f"{native}({arguments}"
    return f"Unsupported({json.dumps(sql.lower())})", ""


def _default(column: Column[object], scalar: str) -> str:
    default = column.default
    if isinstance(default, ColumnDefault) and inspect.unwrap(default.arg) is uuid7:
        return "uuid(7)"
    match column.server_default:
        case DefaultClause(arg=str() as value):
            return _literal(value, scalar)
        case DefaultClause(arg=ClauseElement() as expression):
            return _expression(str(expression.compile(dialect=_DIALECT)), scalar)
        case Computed():
            return "dbgenerated()"
    return ""


def _expression(sql: str, scalar: str) -> str:
    if literal := re.fullmatch(r"'((?:[^']|'')*)'", sql):
        return _literal(literal[1].replace("''", "'"), scalar)
    if re.fullmatch(r"now\(\)|true|false|-?\d+(\.\d+)?", sql):
        return sql
    # Without an argument: there is a default, and it is PostgreSQL's business.
    return "dbgenerated()"


def _literal(value: str, scalar: str) -> str:
    if scalar in {"String", "Json"}:
        return json.dumps(value, ensure_ascii=False)
    return value if scalar in {"BigInt", "Boolean", "Decimal", "Float", "Int"} else "dbgenerated()"


def _key_attribute(column: Column[object]) -> str:
    table = column.table
    assert isinstance(table, Table)
    if list(table.primary_key.columns) == [column]:
        return f"@id({_map(table.primary_key)})"
    for key in _unique_keys(table):
        if list(key.columns) == [column]:
            return f"@unique({_map(key)})"
    return ""


def _model_attributes(table: Table) -> Iterator[str]:
    if len(table.primary_key.columns) > 1:
        yield f"@@id([{_names(table.primary_key.columns)}], {_map(table.primary_key)})"
    for key in _unique_keys(table):
        if len(key.columns) > 1:
            yield f"@@unique([{_names(key.columns)}], {_map(key)})"
    for index in _plain_indexes(table):
        if not index.unique:
            yield f"@@index([{_names(index.columns)}], {_map(index)})"
    yield f'@@map("{table.name}")'


def _unique_keys(table: Table) -> list[UniqueConstraint | Index]:
    constraints = (key for key in table.constraints if isinstance(key, UniqueConstraint))
    indexes = (index for index in _plain_indexes(table) if index.unique)
    return sorted([*constraints, *indexes], key=_map)


def _plain_indexes(table: Table) -> list[Index]:
    """Leave out what Prisma cannot say: indexes over a part of the rows or over expressions."""
    plain = (
        index
        for index in table.indexes
        if index.dialect_options["postgresql"]["where"] is None
        and all(isinstance(part, Column) for part in index.expressions)
    )
    return sorted(plain, key=_map)


def _forward_field(relation: Relation, classes: Mapping[Table, type]) -> Field:
    key = relation.key
    is_optional = any(column.nullable for column in key.columns)
    arguments = [
        f'"{relation.label}"' if relation.label else "",
        f"fields: [{_names(key.columns)}]",
        f"references: [{_names(element.column for element in key.elements)}]",
        f"onDelete: {_action(key.ondelete)}",
        f"onUpdate: {_action(key.onupdate)}",
        _map(key),
    ]
    return Field(
        relation.name,
        classes[relation.parent].__name__ + ("?" if is_optional else ""),
        f"@relation({', '.join(filter(None, arguments))})",
    )


def _back_field(relation: Relation, classes: Mapping[Table, type]) -> Field:
    return Field(
        relation.back_name,
        classes[relation.child].__name__ + ("?" if relation.is_single else "[]"),
        f'@relation("{relation.label}")' if relation.label else "",
    )


def _action(action: str | None) -> str:
    return (action or "NO ACTION").title().replace(" ", "")


def _map(item: Constraint | Index) -> str:
    # Names longer than PostgreSQL's 63 characters are shortened as they are when a table is made.
    prepare = _DIALECT.identifier_preparer
    name = (
        prepare.format_index(item) if isinstance(item, Index) else prepare.format_constraint(item)
    )
    return f'map: "{name}"'


def _names(columns: Iterable[Column[object]]) -> str:
    return ", ".join(_camel(column.name) for column in columns)


def _aligned(fields: list[Field]) -> Iterator[str]:
    name_width = max(len(field.name) for field in fields)
    type_width = max(len(field.type) for field in fields)
    for field in fields:
        yield from (f"  /// {line}" for line in field.comment.splitlines())
        line = f"  {field.name:{name_width}} {field.type:{type_width}} {field.attributes}"
        yield line.rstrip()


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _lower_first(name: str) -> str:
    return name[0].lower() + name[1:]


def _upper_first(name: str) -> str:
    return name[0].upper() + name[1:]
