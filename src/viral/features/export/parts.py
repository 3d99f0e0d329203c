"""What of a tenant travels: which tables, which columns, in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Column, DateTime
from sqlalchemy.dialects.postgresql import JSONB

from viral.database.encryption.fields import encrypted_columns
from viral.schema.operations import IdempotencyKey, Job
from viral.schema.security import APP, security_of
from viral.schema.tables import METADATA
from viral.schema.tenants import AuditEntry, Membership, Tenant, User

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Table

# Of a person no more than it takes to know them again.
PERSON = ("id", "email", "name")
# A job that was taken along would be done twice: here and there; a repeated request is a matter of
# the installation that it was sent to.
_STAYS = {Job.__tablename__, IdempotencyKey.__tablename__}
# Deeds with copies are of the installation: the same data give the same file.
_OF_COPIES = "action NOT IN ('exported tenant', 'restored tenant')"


@dataclass(frozen=True, slots=True)
class Part:
    """One table of an export."""

    table: Table
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """The table's name, which is also the name of its file."""
        return str(self.table.name)

    @property
    def owner_column(self) -> str:
        """The column that says whose the row is."""
        return "id" if self.name == Tenant.__tablename__ else "tenant_id"

    @property
    def condition(self) -> str:
        """The tenant's rows; row security says the same, and has the last word."""
        match self.name:
            case User.__tablename__:
                return "id IN (SELECT user_id FROM public.memberships WHERE tenant_id = :tenant)"
            case AuditEntry.__tablename__:
                return f"tenant_id = :tenant AND {_OF_COPIES}"
        return f"{self.owner_column} = :tenant"

    @property
    def order(self) -> str:
        """The order of the rows: none points at one that comes later."""
        to_itself = sorted(
            f'r."{key.parent.name}" IS NOT NULL'
            for key in self.table.foreign_keys
            if key.column.table is self.table and key.parent.name != "tenant_id"
        )
        keys = [f'r."{column.name}"' for column in self.table.primary_key]
        return ", ".join((*to_itself, *keys))

    @property
    def month_column(self) -> str | None:
        """The moment that decides in which partition a row stands."""
        if self.table.dialect_options["postgresql"]["partition_by"] is None:
            return None
        return next(
            column.name for column in self.table.primary_key if isinstance(column.type, DateTime)
        )

    @property
    def people(self) -> set[str]:
        """The columns that name a person."""
        named = {
            key.parent.name
            for key in self.table.foreign_keys
            if key.column in (User.__table__.c.id, Membership.__table__.c.user_id)
        }
        # Usage names a person without a reference, as it outlives them.
        return named | ({"user_id"} & set(self.columns))

    def documents(self) -> set[str]:
        """Name the JSON columns that hold a value in every row."""
        return {
            column.name
            for column in self.table.columns
            if isinstance(column.type, JSONB) and not column.nullable
        }


def travelling(*, with_tokens: bool) -> list[Part]:
    """List what travels, parents first.

    What lets somebody in does not: of a table of which the app may not read every column, such as
    sessions, keys and invitations, nothing is taken. Tokens of connected accounts are ciphertext;
    `with_tokens` takes them along as it stands, for an export that is sealed itself.
    """
    tables = [table for table in METADATA.sorted_tables if _travels(table)]
    # Usage names people without a reference: who is who is known before any other row.
    tables.sort(key=lambda table: table.name not in {Tenant.__tablename__, User.__tablename__})
    return [Part(table, tuple(_columns(table, with_tokens=with_tokens))) for table in tables]


def _travels(table: Table) -> bool:
    if table.name in {Tenant.__tablename__, User.__tablename__}:
        return True
    owner = table.columns.get("tenant_id")
    return owner is not None and table.name not in _STAYS and _is_read_whole(table)


def _is_read_whole(table: Table) -> bool:
    return any(
        grant.role == APP and "SELECT" in grant.privileges and not grant.columns
        for grant in security_of(table).grants
    )


def _columns(table: Table, *, with_tokens: bool) -> Iterator[str]:
    left_out = set() if with_tokens else set(encrypted_columns(table))
    column: Column[object]
    for column in table.columns:
        is_person = table.name != User.__tablename__ or column.name in PERSON
        if is_person and column.computed is None and column.name not in left_out:
            yield str(column.name)
