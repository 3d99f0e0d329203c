"""Rules of keys, references and indexes: everything begins with the tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Column, ForeignKeyConstraint, Index, Table, UniqueConstraint
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.schema import conv

from viral.database.validate.classes import docstring_of
from viral.database.validate.findings import Finding
from viral.schema.security import SYSTEM, security_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.schema import ColumnCollectionConstraint

# A person's first tenant, and the contexts themselves: a tenant_id that owns nothing.
_GLOBAL = {"users", "viral.tenant_contexts"}
_KEYED_BY_ID = "the key is the id alone"


def is_tenants(table: Table) -> bool:
    """Tell whether each row of a table belongs to one tenant."""
    return "tenant_id" in table.c and table.fullname not in _GLOBAL


def is_partitioned(table: Table) -> bool:
    """Tell whether a table is divided, so that what divides it belongs to its key."""
    return table.dialect_options["postgresql"]["partition_by"] is not None


def is_keyed_by_id(table: Table) -> bool:
    """Tell whether the class claims the exception: looked up before a tenant is known."""
    return _KEYED_BY_ID in docstring_of(table)


def is_partial(index: Index) -> bool:
    """Tell whether an index leaves rows out."""
    return index.dialect_options["postgresql"]["where"] is not None


def key_rules(table: Table) -> Iterator[Finding]:
    """Check the primary key, the uniques, the references and the indexes of a table."""
    if is_tenants(table):
        yield from _primary_key(table)
        yield from _owner(table)
        yield from _uniques(table)
        yield from _indexes(table)
    for reference in _references(table):
        yield from _reference(table, reference)
        yield from _cover(table, reference)


def _primary_key(table: Table) -> Iterator[Finding]:
    key = _names(table.primary_key)
    if is_keyed_by_id(table):
        is_right = key == ["id"]
    else:
        is_right = key[:2] == ["tenant_id", "id"] and len(key) == 2 + is_partitioned(table)
    if not is_right:
        yield Finding(
            "tenant-key",
            str(table),
            f"has the primary key ({', '.join(key)})",
            "Use Identified and TenantOwned: (tenant_id, id), with the time where it is"
            f' partitioned. A table looked up before a tenant is known says "{_KEYED_BY_ID}".',
        )


def _owner(table: Table) -> Iterator[Finding]:
    owners = [
        reference
        for reference in _references(table)
        if list(reference.column_keys) == ["tenant_id"] and _target(reference) == "tenants"
    ]
    if not any(reference.ondelete == "CASCADE" for reference in owners):
        yield Finding(
            "tenant-reference",
            f"{table}.tenant_id",
            "does not end with its tenant",
            'Reference tenants.id with ondelete="CASCADE".',
        )


def _uniques(table: Table) -> Iterator[Finding]:
    uniques = [
        (each.name, _names(each))
        for each in table.constraints
        if isinstance(each, UniqueConstraint | ExcludeConstraint)
    ]
    uniques += [(index.name, _names(index)) for index in table.indexes if index.unique]
    for name, columns in uniques:
        if columns[:1] != ["tenant_id"] and not is_keyed_by_id(table):
            yield Finding(
                "tenant-unique",
                f"{table}.{name}",
                "is unique over all tenants: a second tenant learns what the first one has",
                "Begin the key with tenant_id.",
            )


def _indexes(table: Table) -> Iterator[Finding]:
    for index in table.indexes:
        begins = _names(index)[:1]
        if begins == ["tenant_id"] or index.unique or is_keyed_by_id(table):
            continue
        if any(_names(index) == list(each.column_keys) for each in _references(table)):
            continue
        if not isinstance(index.name, conv) and _system_reads_all(table):
            continue
        yield Finding(
            "tenant-index",
            f"{table}.{index.name}",
            "does not begin with tenant_id, so that no query of a tenant can use it",
            "Begin it with tenant_id; one that the system's role reads over all tenants has a"
            " name of its own.",
        )


def _reference(table: Table, reference: ForeignKeyConstraint) -> Iterator[Finding]:
    if not is_tenants(reference.referred_table):
        return
    columns = [(each.parent.name, each.column.name) for each in reference.elements]
    name = f"{table}.{reference.name}"
    if columns[0] != ("tenant_id", "tenant_id"):
        yield Finding(
            "reference-without-tenant",
            name,
            f"can point into another tenant's {reference.referred_table}",
            'Reference ["tenant_id", "x_id"] to ["table.tenant_id", "table.id"].',
        )
    for event, action in (("delete", reference.ondelete), ("update", reference.onupdate)):
        if action and action.upper() in {"SET NULL", "SET DEFAULT"}:
            yield Finding(
                "reference-emptied",
                name,
                f"does {action} on {event}, which would empty tenant_id as well",
                'Use ondelete="CASCADE", or none.',
            )


def _cover(table: Table, reference: ForeignKeyConstraint) -> Iterator[Finding]:
    wanted = set(reference.column_keys)
    if not any(set(keys[: len(wanted)]) == wanted for keys in _searched(table)):
        yield Finding(
            "reference-without-index",
            f"{table}.{reference.name}",
            "has no index: each delete of a parent reads the whole table",
            f"Add Index(None, {', '.join(repr(each) for each in reference.column_keys)}).",
        )


def _searched(table: Table) -> Iterator[list[str]]:
    yield _names(table.primary_key)
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield _names(constraint)
    for index in table.indexes:
        if not is_partial(index):
            yield _names(index)


def _names(keys: Index | ColumnCollectionConstraint) -> list[str]:
    """Name the columns in their order; an expression stands as it is written."""
    parts = keys.expressions if isinstance(keys, Index) else keys.columns
    return [part.name if isinstance(part, Column) else str(part) for part in parts]


def _references(table: Table) -> list[ForeignKeyConstraint]:
    found = [each for each in table.constraints if isinstance(each, ForeignKeyConstraint)]
    return sorted(found, key=lambda reference: list(reference.column_keys))


def _target(reference: ForeignKeyConstraint) -> str:
    return reference.referred_table.fullname


def _system_reads_all(table: Table) -> bool:
    return any(SYSTEM in policy.roles for policy in security_of(table).policies)
