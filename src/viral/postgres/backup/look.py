"""What a database holds, seen on a server and on its copy: rows by table, schema, indexes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from viral.database.catalog import Catalog, differences, read_catalog
from viral.postgres.bootstrap import DATABASE, admin_connection

if TYPE_CHECKING:
    from collections.abc import Callable

    import asyncpg

    from viral.database.urls import ServerUrl
    from viral.postgres.server import Server

    Advance = Callable[[str, int, int | None], None]

QUIET_ATTEMPTS = 100
QUIET_POLL_S = 0.05
# An unlogged table is empty after every recovery.
_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY 1
"""
_IS_ALONE = """
SELECT pg_current_wal_insert_lsn()::text AS lsn,
       pg_snapshot_xmin(pg_current_snapshot()) = pg_snapshot_xmax(pg_current_snapshot()) AS is_alone
"""
# Every index entry in its order and place; damage that checksums cannot see.
_CHECK_INDEXES = """
SELECT count(bt_index_check(c.oid)) FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_am AS a ON a.oid = c.relam
WHERE a.amname = 'btree' AND c.relkind = 'i' AND i.indisvalid AND c.relpersistence = 'p'
"""


@dataclass(frozen=True, slots=True)
class Sight:
    """Rows by table and the schema; `lsn` is the moment, where nobody was writing at it."""

    rows: dict[str, int]
    catalog: Catalog
    lsn: str | None = None


async def look_at_source(server: Server, *, advance: Advance) -> Sight | None:
    """Count the rows of a running server at a moment that WAL can be replayed to, exactly.

    That takes a snapshot in which nobody writes. None where people write all the time.
    """
    url = server.socket_url("viral_admin", DATABASE)
    async with admin_connection(url) as connection:
        for _ in range(QUIET_ATTEMPTS):
            before = await connection.fetchval("SELECT pg_current_wal_insert_lsn()::text")
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                found = await connection.fetchrow(_IS_ALONE)
                assert found is not None
                if found["is_alone"] and found["lsn"] == before:
                    rows = await _count(connection, advance)
                    return Sight(rows, await _catalog(url), before)
            await asyncio.sleep(QUIET_POLL_S)
    return None


async def look_at_copy(server: Server, *, advance: Advance) -> Sight:
    """Count the rows of a restored server and check its indexes; asyncpg says what is damaged."""
    url = server.socket_url("viral_admin", DATABASE)
    async with admin_connection(url) as connection:
        rows = await _count(connection, advance)
        catalog = await _catalog(url)
        advance("Checking indexes", 0, None)
        if await connection.fetchval(
            "SELECT true FROM pg_available_extensions WHERE name = 'amcheck'"
        ):
            await connection.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
            await connection.execute(_CHECK_INDEXES)
    return Sight(rows, catalog)


def compare_sights(source: Sight, copy: Sight) -> list[str]:
    """Say what a copy has otherwise than its source at the same moment."""
    found = [
        f"{table} has {copy.rows.get(table, 0):,} rows in the copy, and {rows:,} in the server."
        for table, rows in source.rows.items()
        if copy.rows.get(table) != rows
    ]
    return found + [
        f"The copy differs: {each}" for each in differences(source.catalog, copy.catalog)
    ]


async def _count(
    connection: asyncpg.Connection[asyncpg.Record], advance: Advance
) -> dict[str, int]:
    tables = [str(name) for (name,) in await connection.fetch(_TABLES)]
    rows = {}
    for number, table in enumerate(tables, 1):
        rows[table] = await connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608 - as PostgreSQL quotes it
        advance("Counting rows", number, len(tables))
    return rows


async def _catalog(url: ServerUrl) -> Catalog:
    engine = create_async_engine(url.sqlalchemy, poolclass=NullPool, connect_args=url.connect_args)
    try:
        async with engine.connect() as connection:
            return await read_catalog(connection)
    finally:
        await engine.dispose()
