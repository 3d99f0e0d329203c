"""Erasure: everything of one tenant goes, and goes again when a backup brings it back."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from viral.database.faults import connecting, sqlstate_of
from viral.database.lock_patience import patiently
from viral.database.owner import owner_connection
from viral.database.tombstones import (
    Tombstone,
    drop_tombstone,
    put_tombstone,
    read_tombstones,
    renew_tombstone,
    slug_hash,
)
from viral.errors import LockNotObtained, NotFound, SchemaError
from viral.schema.security import APP, AUTH, OWNER, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    from viral.database.engine import Database
    from viral.database.urls import ServerUrl

# Any number that is ours: the first eight bytes of SHA-256("viral erase"), signed.
_LOCK = -7140383879222162904
_SETTINGS = (
    f"SET LOCAL ROLE {AUTH}",
    "SET LOCAL row_security = on",
    # Requests of the tenant may be at work; the cascade itself takes as long as it takes.
    "SET LOCAL lock_timeout = '30s'",
    "SET LOCAL statement_timeout = 0",
    # Of two erasures at once, each would leave the people of both tenants to the other.
    f"SELECT pg_advisory_xact_lock({_LOCK})",
)
# Whoever writes rows of the tenant holds a lock on its row until they commit: this waits for them.
_HOLD = text("SELECT true FROM public.tenants WHERE id = :id FOR UPDATE")
_THERE = text("SELECT id FROM public.tenants WHERE id = ANY(:ids)")
_ENTRY = text("SELECT true FROM public.audit_log WHERE id = :id")
# People who were let in by this tenant alone; ended memberships count, as the other tenant's audit
# log names them.
_ITS_PEOPLE = """
SELECT u.id FROM public.users AS u
WHERE NOT u.is_operator
  AND u.id IN (SELECT m.user_id FROM public.memberships AS m WHERE m.tenant_id = :id
               UNION SELECT f.id FROM public.users AS f WHERE f.tenant_id = :id)
  AND NOT EXISTS (SELECT FROM public.memberships AS m
                  WHERE m.user_id = u.id AND m.tenant_id <> :id)
"""
_DELETE_TENANT = text("DELETE FROM public.tenants WHERE id = :id")
_DELETE_PEOPLE = text("""
DELETE FROM public.users AS u WHERE u.id = ANY(:people)
  AND NOT EXISTS (SELECT FROM public.memberships AS m WHERE m.user_id = u.id)
""")
_TABLES = f"""
SELECT c.oid::regclass::text AS name, c.relforcerowsecurity AS is_forced,
       ARRAY(SELECT role FROM unnest(ARRAY['{APP}', '{SYSTEM}']) AS role
             WHERE has_column_privilege(role, c.oid, 'tenant_id', 'SELECT')) AS readers,
       EXISTS (SELECT FROM pg_catalog.pg_constraint AS f
               WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.conkey = ARRAY[a.attnum]
                 AND f.confrelid = 'public.tenants'::regclass AND f.confdeltype IN ('c', 'n'))
         AS goes_with_tenant
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_attribute AS a
  ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND c.relnamespace <> 'pg_catalog'::regnamespace
  AND c.oid <> 'public.users'::regclass
ORDER BY name
"""  # noqa: S608 - names of roles
# What this transaction deleted, a cascade's rows included, as PostgreSQL itself counts it.
_DELETED = text("""
SELECT coalesce(pg_partition_root(relid), relid)::regclass::text AS name, sum(n_tup_del)::bigint
FROM pg_catalog.pg_stat_xact_user_tables WHERE n_tup_del > 0 GROUP BY name ORDER BY name
""")
_NOT_ALLOWED = "42501"
_LOCKS = {"55P03", "40P01"}


async def count_rows(
    app: Database,
    system: Database,
    tenant_id: UUID,
    *,
    advance: Callable[[str, int, int | None], None],
) -> dict[str, int]:
    """Count a tenant's rows by table, with the people that nobody else let in.

    What neither role may read, such as the hash of the tenant's token, is left out.
    """
    async with system.session_without_tenant() as session:
        tables = (await session.execute(text(_TABLES))).all()
        people = await session.scalars(text(_ITS_PEOPLE), {"id": tenant_id})
        counts = {"tenants": 1, "users": len(people.all())}
    names = {
        role: [str(each.name) for each in tables if each.readers[:1] == [role]]
        for role in (APP, SYSTEM)
    }
    total = sum(map(len, names.values()))

    async def count(session: AsyncSession, role: str) -> None:
        # A role may raise its own limit; a large table takes its time.
        await session.execute(text("SET LOCAL statement_timeout = 0"))
        for name in names[role]:
            query = text(f"SELECT count(*) FROM {name} WHERE tenant_id = :id")  # noqa: S608 - as PostgreSQL quotes it
            counts[name] = int(await session.scalar(query, {"id": tenant_id}) or 0)
            advance("Counting rows", len(counts) - 2, total)

    async with app.tenant_session(tenant_id) as session:
        await count(session, APP)
    async with system.session_without_tenant() as session:
        await count(session, SYSTEM)
    return {name: counts[name] for name in sorted(counts) if counts[name]}


async def erase_tenant(
    migrator: ServerUrl, home: Path, *, tenant_id: UUID, slug: str, now: datetime
) -> Tombstone:
    """Destroy all rows of a tenant, and the people nobody else let in, in one transaction.

    The tombstone is on the disk before the transaction commits: what is killed in between is
    finished by `apply_tombstones`. NotFound when there is no such tenant any more.
    """
    tombstone = Tombstone(tenant_id, slug_hash(slug), now, "pending", {})
    rows = await _destroy(
        migrator,
        tenant_id,
        before_commit=lambda rows: put_tombstone(home, replace(tombstone, rows=rows)),
    )
    if not rows:
        raise NotFound(f"There is no tenant {slug!r} any more.", hint="See `viral tenant list`.")
    done = replace(tombstone, state="done", rows=rows)
    put_tombstone(home, done)
    return done


async def apply_tombstones(migrator: ServerUrl, home: Path) -> list[UUID]:
    """Erase again the tenants that a restored backup brought back; return them.

    Finishes what was killed as well. Without tombstones nothing is asked of the database.
    """
    tombstones = read_tombstones(home)
    if not tombstones:
        return []
    there = await _those_there(migrator, [each.tenant_id for each in tombstones])
    erased = []
    for tombstone in tombstones:
        rows: dict[str, int] = {}
        if tombstone.tenant_id in there:
            if await _was_restored(migrator, tombstone):
                # Killed between its commit and the removal of its tombstone.
                drop_tombstone(home, tombstone)
                continue
            expect = partial(_expect_erased, home, tombstone)
            with suppress(_LivesAgain):
                rows = await _destroy(migrator, tombstone.tenant_id, before_commit=expect)
        if rows:
            erased.append(tombstone.tenant_id)
            _tell(tombstone.tenant_id, rows)
        if tombstone.state == "pending":
            renew_tombstone(home, replace(tombstone, state="done", rows=rows or tombstone.rows))
    return erased


class _LivesAgain(Exception):
    """A restore of the tenant's export took its tombstone away meanwhile."""


def _expect_erased(home: Path, tombstone: Tombstone, _rows: dict[str, int]) -> None:
    if not renew_tombstone(home, tombstone):
        raise _LivesAgain


async def _those_there(migrator: ServerUrl, ids: Sequence[UUID]) -> set[UUID]:
    with connecting(migrator):
        async with owner_connection(migrator) as connection, connection.begin():
            await connection.exec_driver_sql(f"SET LOCAL ROLE {AUTH}")
            await connection.exec_driver_sql("SET LOCAL row_security = on")
            return set(await connection.scalars(_THERE, {"ids": list(ids)}))


async def _was_restored(migrator: ServerUrl, tombstone: Tombstone) -> bool:
    """Say whether a restore of the tenant's export committed; a backup of before knows no such."""
    if tombstone.restored_by is None:
        return False
    with connecting(migrator):
        async with owner_connection(migrator) as connection, connection.begin():
            await connection.exec_driver_sql("SET LOCAL lock_timeout = '30s'")
            await connection.exec_driver_sql("SET LOCAL row_security = on")
            # The log is shown to its tenant alone: it is locked until this transaction ends.
            await connection.exec_driver_sql("ALTER TABLE audit_log NO FORCE ROW LEVEL SECURITY")
            found = await connection.scalar(_ENTRY, {"id": tombstone.restored_by})
            await connection.exec_driver_sql("ALTER TABLE audit_log FORCE ROW LEVEL SECURITY")
            return bool(found)


async def _destroy(
    migrator: ServerUrl,
    tenant_id: UUID,
    before_commit: Callable[[dict[str, int]], object] = lambda _rows: None,
) -> dict[str, int]:
    """Delete a tenant and return the rows by table; none where there is no such tenant."""
    rows: dict[str, int] = {}

    async def attempt() -> None:
        nonlocal rows
        # A connection of its own: PostgreSQL counts the rows of an attempt that failed, too.
        async with owner_connection(migrator) as connection, connection.begin():
            for statement in _SETTINGS:
                await connection.exec_driver_sql(statement)
            rows = await _delete(connection, tenant_id)
            if rows:
                before_commit(rows)

    try:
        with connecting(migrator):
            await patiently(attempt)
    except DBAPIError as error:
        if sqlstate_of(error) not in _LOCKS:
            raise
        raise LockNotObtained(
            "Somebody's transaction holds rows of the tenant: nothing was erased.",
            hint="Run it again when that has ended.",
        ) from error
    return rows


async def _delete(connection: AsyncConnection, tenant_id: UUID) -> dict[str, int]:
    if not await connection.scalar(_HOLD, {"id": tenant_id}):
        return {}
    tables = (await connection.execute(text(_TABLES))).all()
    for table in tables:
        # Most rows go with their tenant; a table made by hand may not know it.
        if not table.goes_with_tenant:
            await _empty(connection, table.name, tenant_id, is_forced=table.is_forced)
    lock = text(f"{_ITS_PEOPLE} ORDER BY u.id FOR UPDATE OF u")
    people = list(await connection.scalars(lock, {"id": tenant_id}))
    await connection.execute(_DELETE_TENANT, {"id": tenant_id})
    await connection.execute(_DELETE_PEOPLE, {"people": people})
    return {name: int(rows) for name, rows in await connection.execute(_DELETED)}


async def _empty(
    connection: AsyncConnection, table: str, tenant_id: UUID, *, is_forced: bool
) -> None:
    """Delete a tenant's rows from a table that has no reference to tenants."""
    delete = text(f"DELETE FROM {table} WHERE tenant_id::text = :id")  # noqa: S608 - as PostgreSQL quotes it
    try:
        await connection.exec_driver_sql(f"SET LOCAL ROLE {OWNER}")
        if is_forced:
            # Nobody sees the table so: it is locked until this transaction ends.
            await connection.exec_driver_sql(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        await connection.execute(delete, {"id": str(tenant_id)})
        if is_forced:
            await connection.exec_driver_sql(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    except DBAPIError as error:
        if sqlstate_of(error) != _NOT_ALLOWED:
            raise
        raise SchemaError(
            f"{table} has a tenant_id, but no foreign key to tenants, and is not {OWNER}'s:"
            " nothing was erased.",
            hint=f"Give it a foreign key to tenants with ON DELETE CASCADE, or give it to {OWNER}.",
        ) from error
    await connection.exec_driver_sql(f"SET LOCAL ROLE {AUTH}")


def _tell(tenant_id: UUID, rows: dict[str, int]) -> None:
    # Not where commands print their results, which programs read.
    log = structlog.wrap_logger(structlog.PrintLogger(sys.stderr))
    log.warning("tenant.erased_again", tenant_id=str(tenant_id), rows=sum(rows.values()))
