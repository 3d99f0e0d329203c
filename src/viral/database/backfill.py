"""Rows of all tenants in the hands of the owner, who is under row security like everybody.

For steps in Python:

    async def colour(connection: AsyncConnection, progress: Progress) -> None:
        await backfill(
            connection, "videos", assign="colour = 'red'", where="colour IS NULL", progress=progress
        )
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import text

from viral.database.lock_patience import patiently
from viral.database.owner import deploy_lock, is_lost, send
from viral.errors import MigrationFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

BATCH = 5_000
_POLICY = "migration_pass"
_LEFT_OVER = "SELECT polrelid::regclass::text FROM pg_policy WHERE polname = :policy"
# Row security of a partition is its own, and a reference is checked partition by partition.
_PARTITIONS = """
SELECT relid::regclass::text FROM pg_partition_tree(to_regclass(:table))
WHERE relid <> to_regclass(:table)
"""
_KEY = """
SELECT quote_ident(a.attname)
FROM pg_index AS i, unnest(i.indkey) WITH ORDINALITY AS k (number, position)
JOIN pg_attribute AS a ON a.attnum = k.number
WHERE i.indrelid = to_regclass(:table) AND i.indisprimary AND a.attrelid = i.indrelid
ORDER BY k.position
"""
_PARENT = """
SELECT confrelid::regclass::text FROM pg_constraint
WHERE conrelid = to_regclass(:table) AND conname = (parse_ident(:constraint))[1] AND contype = 'f'
"""


@asynccontextmanager
async def rls_suspended(connection: AsyncConnection, *tables: str) -> AsyncIterator[None]:
    """Let viral_owner see and write every row of the tables, under the lock of a deploy.

    The connection is the migrator's and in no transaction; it stays viral_owner. The policies that
    do it are committed, so no table is locked meanwhile; the next deploy drops what a crash leaves.
    """
    async with deploy_lock(connection):
        await send(connection, "SET ROLE viral_owner; SET row_security = on")
        relations = [each for table in tables for each in await _with_partitions(connection, table)]
        try:
            for table in relations:
                await patiently(partial(_let_pass, connection, table))
            yield
            refuse_open_transaction(connection)
        finally:
            if not await is_lost(connection):
                # After an error a transaction may be open still.
                await connection.rollback()
                for table in relations:
                    await patiently(partial(_let_pass_no_more, connection, table))
                await send(connection, "SET row_security = off")


async def drop_passes(connection: AsyncConnection) -> None:
    """Drop the policies of `rls_suspended`, whoever left them."""
    async with connection.begin():
        tables = list(await connection.scalars(text(_LEFT_OVER), {"policy": _POLICY}))
    for table in tables:
        await patiently(partial(_let_pass_no_more, connection, table))


def refuse_open_transaction(connection: AsyncConnection) -> None:
    """Raise MigrationFailed for work that nobody committed."""
    if connection.in_transaction():
        raise MigrationFailed(
            "The step left a transaction open.", hint="Use `async with connection.begin()`."
        )


async def backfill(
    connection: AsyncConnection,
    table: str,
    *,
    assign: str,
    where: str,
    progress: Callable[[str, int, int | None], None],
    reading: Sequence[str] = (),
    batch: int = BATCH,
) -> int:
    """Run `UPDATE table SET assign WHERE where` in batches, each committed; return the rows.

    The assignment has to make `where` false, so that a second run goes on where a first stopped.
    `reading` names the other tables that the two expressions look into.
    """
    key = await _key_of(connection, table)
    done = 0
    async with rls_suspended(connection, table, *reading):
        left = await _count(connection, table, where)
        total = left
        while left:
            async for rows in _batches(connection, table, key, assign, where, batch):
                done += rows
                progress(f"backfill of {table}", done, max(done, total))
            before, left = left, await _count(connection, table, where)
            if left >= before:
                raise MigrationFailed(
                    f"The backfill of {table} does not end: {left:,} rows still answer to {where}.",
                    hint="Let the assignment make the condition false.",
                )
    return done


async def validate_constraint(connection: AsyncConnection, table: str, constraint: str) -> None:
    """Validate a constraint; a foreign key has to see all rows of both tables."""
    async with connection.begin():
        names = {"table": table, "constraint": constraint}
        parent = await connection.scalar(text(_PARENT), names)
    statement = f"ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}"
    if parent is None:
        return await patiently(lambda: send(connection, statement))
    async with rls_suspended(connection, table, parent):
        await patiently(lambda: send(connection, statement))
    return None


async def _with_partitions(connection: AsyncConnection, table: str) -> list[str]:
    async with connection.begin():
        found = await connection.scalars(text(_PARTITIONS), {"table": table})
        return [table, *found]


async def _let_pass(connection: AsyncConnection, table: str) -> None:
    await send(
        connection,
        f"DROP POLICY IF EXISTS {_POLICY} ON {table};"
        f"CREATE POLICY {_POLICY} ON {table} TO viral_owner USING (true) WITH CHECK (true)",
    )


async def _let_pass_no_more(connection: AsyncConnection, table: str) -> None:
    await send(connection, f"DROP POLICY IF EXISTS {_POLICY} ON {table}")


async def _key_of(connection: AsyncConnection, table: str) -> str:
    async with connection.begin():
        columns = list(await connection.scalars(text(_KEY), {"table": table}))
    if not columns:
        raise MigrationFailed(
            f"{table} has no primary key to go by.", hint="Write this step without `backfill`."
        )
    return ", ".join(columns)


async def _count(connection: AsyncConnection, table: str, where: str) -> int:
    async with connection.begin():
        counted = await connection.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE {where}")  # noqa: S608  # the revision's own words
        return int(counted.scalar_one())


async def _batches(
    connection: AsyncConnection, table: str, key: str, assign: str, where: str, batch: int
) -> AsyncIterator[int]:
    """Walk along the primary key, so that no batch looks at the rows of another again."""
    names = key.split(", ")
    numbers = ", ".join(f"${number}" for number in range(1, len(names) + 1))
    last: tuple[object, ...] | None = None
    while True:
        after = f"({key}) > ({numbers}) AND " if last else ""
        statement = (
            f"WITH done AS (UPDATE {table} SET {assign} WHERE ({key}) IN ("  # noqa: S608  # the revision's own words
            f"SELECT {key} FROM {table} WHERE {after}({where}) ORDER BY {key} LIMIT {batch}"
            f" FOR UPDATE) RETURNING {key})"
            f" SELECT count(*) OVER () AS rows, {key} FROM done"
            f" ORDER BY {', '.join(f'{name} DESC' for name in names)} LIMIT 1"
        )
        async with connection.begin():
            row = (await connection.exec_driver_sql(statement, last)).one_or_none()
        if row is None:
            return
        last = tuple(row[1:])
        yield int(row[0])
