"""What there is to attack, read from the live catalogue: tables, views, keys, functions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, TypedDict

import msgspec

from viral.schema.security import APP, MIGRATOR, OWNER, READONLY, SYSTEM, WORKER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from viral.features.verification.probe import Probe

SIGN_IN = "viral_signin"
TENANT_ROLES = (APP, READONLY)
CLOSED_ROLES = (WORKER, SIGN_IN)
ATTACKERS = (*TENANT_ROLES, *CLOSED_ROLES, SYSTEM)

_QUERY = (files("viral.features.verification") / "relations.sql").read_text("utf-8")
_WORD = re.compile(r"'([^']+)'::text")
# Their own id says whose they are.
_BY_ID = {"public.tenants", "public.users"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `name` as SQL writes it, `rights` as role:PRIVILEGE."""

    name: str
    type: str
    is_required: bool
    is_generated: bool
    rights: frozenset[str]
    words: tuple[str, ...]

    def allows(self, role: str, privilege: str) -> bool:
        """Tell whether a role has a privilege on it."""
        return f"{role}:{privilege}" in self.rights


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key."""

    name: str
    target: str
    columns: tuple[str, ...]
    target_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """A unique index; the columns that it is over."""

    name: str
    columns: tuple[str, ...]
    is_primary: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, partition, view, materialized view or foreign table."""

    name: str
    schema: str
    plain_name: str
    kind: str
    is_partition: bool
    is_enabled: bool
    is_forced: bool
    is_invokers: bool
    columns: tuple[Column, ...]
    keys: tuple[Key, ...]
    references: tuple[Reference, ...]

    @property
    def is_table(self) -> bool:
        return self.kind in {"r", "p"}

    @property
    def owner_column(self) -> str | None:
        """The column that says whose a row is; None where rows are nobody's."""
        name = "id" if self.name in _BY_ID else "tenant_id"
        return name if any(column.name == name for column in self.columns) else None

    @property
    def primary_key(self) -> tuple[str, ...]:
        return next((key.columns for key in self.keys if key.is_primary), ())

    def column(self, name: str) -> Column:
        """Return the column of a name."""
        return next(column for column in self.columns if column.name == name)

    def allowed(self, role: str, privilege: str) -> list[str]:
        """List the columns on which a role has a privilege."""
        return [column.name for column in self.columns if column.allows(role, privilege)]


@dataclass(frozen=True, slots=True)
class Routine:
    """A function that runs with its owner's rights, and who may call it."""

    name: str
    signature: str
    argument_types: tuple[str, ...]
    argument_names: tuple[str, ...]
    callers: tuple[str, ...]
    has_fixed_path: bool


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All that can be attacked in a database."""

    relations: tuple[Relation, ...]
    routines: tuple[Routine, ...]
    sequences: tuple[str, ...]
    roles: frozenset[str] = field(default_factory=frozenset)

    def tables_of_tenants(self) -> list[Relation]:
        """List the tables whose rows belong to somebody, without partitions."""
        return [
            relation
            for relation in self.relations
            if relation.is_table and not relation.is_partition and relation.owner_column
        ]

    def find(self, name: str) -> Relation:
        """Return the relation of a name."""
        return next(relation for relation in self.relations if relation.name == name)


class _Document(TypedDict):
    relations: list[dict[str, object]]
    routines: list[dict[str, object]]
    sequences: list[str]
    roles: list[str]


async def read_catalogue(migrator: Probe) -> Catalogue:
    """Read the catalogue of the database, with the rights of every role that attacks."""
    roles = ", ".join(f"'{role}'" for role in (*ATTACKERS, OWNER, MIGRATOR, "viral_auth"))
    answer = await migrator.ask("SET LOCAL search_path = ''", _QUERY.replace("{roles}", roles))
    if answer.state is not None:
        raise AssertionError(f"the catalogue cannot be read: {answer.state}")
    document = msgspec.json.decode(str(answer.value), type=_Document)
    return Catalogue(
        relations=tuple(_relation(each) for each in document["relations"]),
        routines=tuple(msgspec.convert(document["routines"], list[Routine])),
        sequences=tuple(document["sequences"]),
        roles=frozenset(document["roles"]),
    )


def _relation(fields: dict[str, object]) -> Relation:
    checks = msgspec.convert(fields.pop("checks"), list[_Check])
    columns = [_with_words(column, checks) for column in _objects(fields.pop("columns"))]
    return msgspec.convert({**fields, "columns": columns}, Relation)


class _Check(TypedDict):
    columns: list[str]
    condition: str


def _with_words(column: dict[str, object], checks: Iterable[_Check]) -> dict[str, object]:
    """Add the words that a CHECK allows in a column."""
    words = [
        word
        for check in checks
        if check["columns"][:1] == [column["name"]]
        for word in _WORD.findall(check["condition"])
        if " = " in check["condition"]
    ]
    return {**column, "words": words}


def _objects(value: object) -> list[dict[str, object]]:
    return msgspec.convert(value, list[dict[str, object]])
