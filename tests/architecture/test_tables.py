"""What holds of all tables in a migrated database, besides the rules of `viral validate`."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.schema.security import APP, READONLY, SYSTEM, WORKER
from viral.schema.tables import METADATA

OURS = "('public'::regnamespace, 'viral'::regnamespace)"
# What the migrations note about themselves.
BOOKKEEPING = {"alembic_version", "migrations"}


async def names(admin: AsyncConnection, query: str) -> list[str]:
    return list(await admin.scalars(text(query.replace("{ours}", OURS))))


async def test_the_database_holds_the_tables_of_the_models_and_no_others(
    admin: AsyncConnection,
) -> None:
    known = await names(
        admin,
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace IN {ours}"
        " AND NOT relispartition",
    )

    assert sorted(set(known) - BOOKKEEPING) == sorted(t.name for t in METADATA.sorted_tables)


async def test_a_function_runs_as_its_owner(admin: AsyncConnection) -> None:
    invokers = await names(
        admin,
        # What is immutable reads no row.
        "SELECT oid::regprocedure::text FROM pg_proc"
        " WHERE pronamespace IN {ours} AND NOT prosecdef AND provolatile <> 'i'",
    )

    assert invokers == []


async def test_the_worker_and_signin_roles_touch_no_table(admin: AsyncConnection) -> None:
    touched = await names(
        admin,
        """
        SELECT relname FROM pg_class, unnest(ARRAY['viral_worker', 'viral_signin']) AS role
        WHERE relkind IN ('r', 'p') AND relnamespace IN {ours}
          AND has_any_column_privilege(role, oid, 'SELECT, INSERT, UPDATE, REFERENCES')
        """,
    )

    assert touched == []


@pytest.mark.parametrize("role", [APP, READONLY, WORKER, SYSTEM])
async def test_messages_locks_and_large_objects_are_withheld(
    admin: AsyncConnection, role: str
) -> None:
    granted = await names(
        admin,
        f"""
        SELECT oid::regprocedure::text FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace
          AND (proname ~ '^pg_(try_)?advisory_' OR proname ~ '^lo_'
               OR proname IN ('pg_notify', 'loread', 'lowrite', 'pg_read_file', 'pg_ls_dir'))
          AND has_function_privilege('{role}', oid, 'EXECUTE')
        """,
    )

    assert granted == []
