"""Rows for tests: plain functions that make what a test needs and nothing more."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import count
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    Uuid,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from viral.database.engine import Database
from viral.database.secrets import Secrets
from viral.features.tenants import create_tenant
from viral.features.users.members import add_member
from viral.schema.base import uuid7
from viral.schema.tables import METADATA
from viral.schema.tenants import User
from viral.schema.vocabulary import Tier

Row = dict[str, object]


@dataclass(frozen=True)
class TestTenant:
    """A tenant and its admin."""

    __test__ = False

    id: UUID
    slug: str
    user_id: UUID


async def make_tenant(
    system: Database,
    secrets: Secrets,
    *,
    slug: str,
    tier: Tier = "PRO",
    is_demo: bool = False,
) -> TestTenant:
    async with system.session_without_tenant() as session:
        tenant_id = await create_tenant(
            session, slug=slug, name=slug.title(), tier=tier, is_demo=is_demo, secrets=secrets
        )
        user = User(email=f"{slug}@example.com", name=slug.title())
        session.add(user)
        await session.flush()
        await add_member(session, tenant_id=tenant_id, user_id=user.id, role="ADMIN")
        return TestTenant(tenant_id, slug, user.id)


_numbers = count(1)

# What a column's type and its CHECK do not tell. `None` leaves a reference out.
_VALUES: dict[str, dict[str, object]] = {
    "concepts": {"source_platform": None, "source_id": None},
    "model_versions": {"is_current": False},
    "quota_ledger": {"reservation_id": None},
    "concept_variants": {"label": "A"},
    "experiments": {"winner": None},
    # Ciphertext is of one row: an account without its tokens.
    "social_accounts": {"access_token": b"", "refresh_token": None},
}


def new_row(
    table: Table, *, tenant_id: UUID, parents: Mapping[str, Row], columns: set[str] | None = None
) -> Row:
    """Make a row that a table's checks accept, pointing at the tenant's rows in `parents`.

    `columns` limits it to those that a role may write.
    """
    row: Row = {}
    fixed = _VALUES.get(table.name, {})
    for column in table.columns:
        if column.computed is not None or (columns is not None and column.name not in columns):
            continue
        if column.name in fixed:
            value = fixed[column.name]
        elif column.name == "tenant_id":
            value = tenant_id
        elif column.foreign_keys:
            value = _referenced(column, parents)
        elif column.server_default is not None:
            continue
        else:
            value = _some_value(column)
        if value is not None:
            row[column.name] = value
    return row


def _referenced(column: Column[Any], parents: Mapping[str, Row]) -> object:
    target = next(iter(column.foreign_keys)).column
    return parents[str(target.table)][target.name]


_MAKERS: dict[type[TypeEngine[Any]], Callable[[str], object]] = {
    Uuid: lambda _word: uuid7(),
    LargeBinary: lambda word: sha256(word.encode()).digest(),
    ARRAY: lambda _word: [],
    JSONB: lambda _word: {},
    DateTime: lambda _word: datetime.now(UTC),
    Date: lambda _word: datetime.now(UTC).date(),
    Boolean: lambda _word: True,
    Numeric: lambda _word: 1,
    Float: lambda _word: 1,
    Integer: lambda word: int(word.rpartition("-")[2]),
}


def _some_value(column: Column[Any]) -> object:
    if allowed := _allowed_values(column):
        return allowed[0]
    word = f"{column.name}-{next(_numbers)}".replace("_", "-")
    for kind, make in _MAKERS.items():
        if isinstance(column.type, kind):
            return make(word)
    return word


def _allowed_values(column: Column[Any]) -> list[str]:
    """Read the words that a CHECK allows: `status IN ('queued', ...)`."""
    for constraint in column.table.constraints:
        if isinstance(constraint, CheckConstraint):
            text_of = str(constraint.sqltext)
            if found := re.match(rf"\(?{column.name} (?:IN \(|= )(.*)", text_of):
                return re.findall(r"'([^']+)'", found[1])
    return []


async def insert_row(connection: AsyncConnection, table: Table, row: Row) -> Row:
    """Insert a row and return it as the database keeps it."""
    made = await connection.execute(table.insert().values(row).returning(*table.columns))
    return dict(made.mappings().one())


async def fill_every_table(admin: AsyncConnection, tenant: TestTenant) -> dict[str, Row]:
    """Put a row of the tenant into every table; return the rows by table.

    Tables without a tenant get a row as well. As superuser: nothing of it passes row security.
    """
    await admin.execute(text("SELECT viral.make_partitions()"))
    rows: dict[str, Row] = {}
    for table in METADATA.sorted_tables:
        rows[str(table)] = await _existing(admin, table, tenant) or await insert_row(
            admin, table, new_row(table, tenant_id=tenant.id, parents=rows)
        )
    await admin.commit()
    return rows


async def _existing(admin: AsyncConnection, table: Table, tenant: TestTenant) -> Row | None:
    """Find what came with the tenant: itself, its admin, the membership, the context."""
    mine = {
        "tenants": ("id", tenant.id),
        "users": ("id", tenant.user_id),
        "memberships": ("tenant_id", tenant.id),
        "tenant_contexts": ("tenant_id", tenant.id),
    }
    if table.name not in mine:
        return None
    column, value = mine[table.name]
    found = await admin.execute(select(table).where(table.c[column] == value))
    return dict(found.mappings().one())
