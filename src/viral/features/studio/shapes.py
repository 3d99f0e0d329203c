"""What Studio knows of a table: kinds of columns, relations, and what the app's role may do.

All of it is read from the models, so a table that is added is in Studio at once, with the rights
that its class states. Tables that belong to no tenant, and that the app's role may not read, are
the installation's: its operator reads them, as the system.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Float,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    Uuid,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB

from viral.errors import NotFound
from viral.schema.base import Base
from viral.schema.encrypted import EncryptedText
from viral.schema.security import APP, SYSTEM, security_of
from viral.schema.tables import METADATA, MODULES
from viral.schema.tenants import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

AnyColumn: TypeAlias = Column[object]
Kind = Literal[
    "uuid", "text", "words", "integer", "float", "numeric", "bool", "time", "date", "json", "secret"
]
Document = Literal["object", "list", "texts"]

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # untyped in SQLAlchemy
TENANT = "tenant_id"
SECRET = "encrypted, not shown"  # noqa: S105 - what stands in place of one
UNREADABLE = "not readable by viral_app"
INSTALLATION = "The installation's own rows, of no tenant: the product alone writes them."
# What a row is called by, the first that its table has.
_NAMES = ("title", "name", "slug", "email", "username", "topic", "pattern", "label", "job_type")
_KINDS: tuple[tuple[type, Kind], ...] = (
    (EncryptedText, "secret"),
    (LargeBinary, "secret"),
    (Uuid, "uuid"),
    (JSONB, "json"),
    (Boolean, "bool"),
    (DateTime, "time"),
    (Date, "date"),
    (Float, "float"),
    (Numeric, "numeric"),
    (Integer, "integer"),
)


@dataclass(frozen=True, slots=True)
class Target:
    """The row that a column names: a table, and the column of its that says which."""

    table: str
    column: str


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A column as Studio shows and edits it; `why_hidden` is empty where it may be seen."""

    column: AnyColumn
    name: str
    kind: Kind
    words: tuple[str, ...]
    document: Document | None
    target: Target | None
    why_hidden: str
    may_insert: bool
    may_update: bool

    @property
    def is_shown(self) -> bool:
        return not self.why_hidden

    @property
    def is_nullable(self) -> bool:
        return bool(self.column.nullable)

    @property
    def has_default(self) -> bool:
        return self.column.server_default is not None

    @property
    def is_sortable(self) -> bool:
        return self.is_shown and self.kind != "json"

    @property
    def type_name(self) -> str:
        """The type in PostgreSQL's words."""
        return (
            str(self.column.type.compile(dialect=_DIALECT)).lower().replace("with time zone", "tz")
        )


@dataclass(frozen=True, slots=True, eq=False)
class Referrer:
    """A foreign key from elsewhere: rows of `table` point at rows here."""

    table: Table
    constraint: ForeignKeyConstraint

    @property
    def column(self) -> str:
        """The column that names the row, beside the tenant."""
        return next((c for c in self.constraint.column_keys if c != TENANT), TENANT)

    @property
    def goes_along(self) -> bool:
        """Whether rows there are deleted with the row here; else they stand in its way."""
        return self.constraint.ondelete == "CASCADE"


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A table as Studio shows and edits it; the reasons are empty where something is allowed."""

    table: Table
    name: str
    group: str
    about: str
    fields: tuple[Field, ...]
    key: tuple[Field, ...]
    is_of_installation: bool
    why_unreadable: str
    why_no_insert: str
    why_no_update: str
    why_no_delete: str

    @property
    def is_read_only(self) -> bool:
        return bool(self.why_no_insert and self.why_no_update and self.why_no_delete)

    @property
    def shown(self) -> tuple[Field, ...]:
        """The columns of the grid: the tenant is the same in every row."""
        return tuple(each for each in self.fields if each.name != TENANT)

    @property
    def read(self) -> tuple[Field, ...]:
        """The columns that a query may name."""
        return tuple(each for each in self.fields if each.is_shown)

    @property
    def label(self) -> Field | None:
        """The column that a row is called by."""
        named = {each.name: each for each in self.read if each.kind in {"text", "words"}}
        return next((named[name] for name in _NAMES if name in named), None)

    def field(self, name: str) -> Field:
        """Return a column that may be seen; NotFound for every other name alike."""
        for each in self.read:
            if each.name == name:
                return each
        raise NotFound(f"{self.name} has no column {name[:60]!r} that can be read.")


def shape_of(name: str) -> Shape:
    """Return a table's shape by its name, with the schema in front where it is not public."""
    for each in shapes():
        if each.name == name:
            return each
    raise NotFound(f"There is no table {name[:60]!r}.", hint="The list at the left has them all.")


@cache
def shapes() -> tuple[Shape, ...]:
    """Describe all tables, in the order of the schema's files."""
    return tuple(
        _shape(cast("Table", mapper.local_table), module.__name__.rpartition(".")[2], mapper.class_)
        for module in MODULES
        for mapper in sorted(Base.registry.mappers, key=lambda each: each.class_.__name__)
        if mapper.class_.__module__ == module.__name__
    )


@cache
def referrers(table: Table) -> tuple[Referrer, ...]:
    """List the foreign keys that point at a table."""
    return tuple(
        Referrer(other, constraint)
        for other in METADATA.sorted_tables
        for constraint in sorted(other.foreign_key_constraints, key=lambda each: str(each.name))
        if constraint.referred_table is table
    )


def _shape(table: Table, group: str, model: type[Base]) -> Shape:
    is_readable = _granted(table, "SELECT")
    is_of_installation = not is_readable and _is_of_installation(table)
    reader = SYSTEM if is_of_installation else APP
    fields = tuple(_field(column, model, reader) for column in table.columns)
    why_unreadable = "" if is_readable else UNREADABLE
    why_closed = INSTALLATION if is_of_installation else why_unreadable
    by_name = {each.name: each for each in fields}
    key = tuple(by_name[c.name] for c in table.primary_key if c.name != TENANT)
    return Shape(
        table=table,
        name=str(table),
        group=group,
        about=(model.__doc__ or "").strip().partition("\n")[0],
        fields=fields,
        key=key,
        is_of_installation=is_of_installation,
        why_unreadable=why_unreadable,
        why_no_insert=why_closed or _why_no_insert(table, fields),
        why_no_update=why_closed
        or ("" if any(each.may_update for each in fields) else _why_not(table, "UPDATE")),
        why_no_delete=why_closed
        or ("" if _granted(table, "DELETE") else _why_not(table, "DELETE")),
    )


def _is_of_installation(table: Table) -> bool:
    return TENANT not in table.c and _granted(table, "SELECT", role=SYSTEM)


def _why_no_insert(table: Table, fields: Sequence[Field]) -> str:
    if table is AuditEntry.__table__:
        return "The log of deeds writes itself."
    if not _granted(table, "INSERT"):
        return _why_not(table, "INSERT")
    needed = [each for each in fields if not _has_value(each)]
    if left_out := [each.name for each in needed if not each.may_insert]:
        return f"viral_app may not write {', '.join(left_out)}, which every row needs."
    return ""


def _has_value(field: Field) -> bool:
    column = field.column
    return bool(
        field.name == TENANT
        or column.nullable
        or column.default is not None
        or column.server_default is not None
        or column.computed is not None
        # An account without its tokens: they are never typed in.
        or isinstance(column.type, EncryptedText)
    )


def _why_not(table: Table, privilege: str) -> str:
    policies = {policy.name for policy in security_of(table).policies}
    if "open_to_all" in policies:
        return "The same rows for all tenants: the product alone writes them."
    word = {"INSERT": "add rows", "UPDATE": "change rows", "DELETE": "delete rows"}[privilege]
    return f"viral_app may not {word} here: the product does, with what belongs to it."


def _field(column: AnyColumn, model: type[Base], reader: str) -> Field:
    table = column.table
    assert isinstance(table, Table)
    kind = _kind(column)
    words = _words(column)
    if kind == "text" and words:
        kind = "words"
    name = str(column.name)
    if _is_withheld(column, model):
        kind = "secret"
    why_hidden = SECRET if kind == "secret" else ""
    if not why_hidden and not _granted(table, "SELECT", name, role=reader):
        why_hidden = UNREADABLE
    is_written = not why_hidden and column.computed is None and name != TENANT
    is_fixed = column.primary_key or column.onupdate is not None
    return Field(
        column=column,
        name=name,
        kind=kind,
        words=words,
        document=_document(column, model) if kind == "json" else None,
        target=_target(column),
        why_hidden=why_hidden,
        may_insert=is_written and _granted(table, "INSERT", name),
        may_update=is_written and not is_fixed and _granted(table, "UPDATE", name),
    )


def _kind(column: AnyColumn) -> Kind:
    return next((kind for kind_of, kind in _KINDS if isinstance(column.type, kind_of)), "text")


def _is_withheld(column: AnyColumn, model: type[Base]) -> bool:
    """Tell whether the model itself refuses to load a column: the hash of a password."""
    attribute = model.__mapper__.get_property_by_column(column)
    return bool(getattr(attribute, "raiseload", False))


def _granted(table: Table, privilege: str, column: str | None = None, *, role: str = APP) -> bool:
    """Tell whether a role holds a privilege: on a column, or on any of them."""
    return any(
        grant.role == role
        and privilege in grant.privileges
        and (not grant.columns or column is None or column in grant.columns)
        for grant in security_of(table).grants
    )


def _words(column: AnyColumn) -> tuple[str, ...]:
    """Read the words that a CHECK allows: `status IN ('queued', ...)`."""
    table = column.table
    assert isinstance(table, Table)
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint):
            found = re.fullmatch(rf"{column.name} IN \(([^()]*)\)", str(constraint.sqltext))
            if found:
                return tuple(re.findall(r"'([^']*)'", found[1]))
    return ()


def _document(column: AnyColumn, model: type[Base]) -> Document:
    """Read from the model's annotation what a JSON column holds."""
    attribute = model.__mapper__.get_property_by_column(column).key
    said = str(model.__annotations__.get(attribute, ""))
    if "Texts" in said:
        return "texts"
    return "list" if "JsonList" in said else "object"


def _target(column: AnyColumn) -> Target | None:
    """Follow a foreign key to the row it names; a membership leads on to its person."""
    if column.name == TENANT or not column.foreign_keys:
        return None
    for key in sorted(column.foreign_keys, key=lambda each: str(each.target_fullname)):
        target: AnyColumn = key.column
        if not target.primary_key:
            return _target(target)
        return Target(str(target.table), str(target.name))
    return None
