"""A draft leads from one catalogue to another, and back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from clusters import Cluster, superuser
from schema_changes import BY_HAND, BY_MIGRATION, PARTITION
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.catalog import Catalog, differences, read_catalog
from viral.database.draft.plan import draft
from viral.database.draft.steps import steps_of

ROUNDS = 4


@pytest.fixture(scope="module")
async def target(cluster: Cluster, module_database: str) -> AsyncIterator[AsyncConnection]:
    """Open a database in which each test makes its change for a moment, and then by a draft."""
    await cluster.execute_as_admin(module_database, "SELECT viral.make_partitions()")
    async with superuser(cluster, module_database) as connection:
        yield connection


async def changed_catalog(connection: AsyncConnection, sql: str) -> Catalog:
    names = {
        "partition": await connection.scalar(text(PARTITION)),
        "database": await connection.scalar(text("SELECT current_database()")),
    }
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    try:
        await driver.execute(sql.format(**names))
        return await read_catalog(connection)
    finally:
        await connection.rollback()


async def lead(connection: AsyncConnection, expected: Catalog) -> list[str]:
    """Draft and run until nothing differs; what is left after that."""
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, asyncpg.Connection)
    for _ in range(ROUNDS):
        actual = await read_catalog(connection)
        await connection.rollback()
        steps = steps_of(draft(expected, actual).changes)
        if not steps:
            break
        for step in steps:
            await driver.execute(step.sql)
    actual = await read_catalog(connection)
    await connection.rollback()
    return [str(difference) for difference in differences(expected, actual)]


@pytest.mark.parametrize("sql", [sql for _, sql in BY_MIGRATION])
async def test_a_change_is_drafted_and_taken_back(target: AsyncConnection, sql: str) -> None:
    before = await read_catalog(target)
    await target.rollback()
    after = await changed_catalog(target, sql)

    there = await lead(target, after)
    back = await lead(target, before)

    assert there == []
    assert back == []


IMPOSSIBLE = ("partition", "foreign-data", "collation", "aggregate")


@pytest.mark.parametrize(
    ("title", "sql"), [change for change in BY_HAND if change[0].startswith(IMPOSSIBLE)]
)
async def test_what_no_migration_can_do_is_said(
    target: AsyncConnection, title: str, sql: str
) -> None:
    before = await read_catalog(target)
    await target.rollback()
    after = await changed_catalog(target, sql)

    said = {difference.title for difference in draft(after, before).impossible}

    partition = await target.scalar(text(PARTITION))
    assert said == {title.format(partition=partition)}
