"""The judge notices every change made past the migrations, and names that object alone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from clusters import Cluster, superuser
from schema_changes import CHANGES, PARTITION
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.catalog import Difference, Entry, differences, read_catalog, summary


@pytest.fixture(scope="module")
async def shared(cluster: Cluster, module_database: str) -> AsyncIterator[AsyncConnection]:
    """Open a database whose changes each test takes back."""
    async with superuser(cluster, module_database) as connection:
        await connection.execute(text("SELECT viral.make_partitions()"))
        await connection.commit()
        yield connection


@pytest.mark.parametrize(("changed", "sql"), CHANGES, ids=[change for _, change in CHANGES])
async def test_a_change_past_the_migrations_is_named(
    shared: AsyncConnection, changed: str, sql: str
) -> None:
    names = {
        "partition": await shared.scalar(text(PARTITION)),
        "database": await shared.scalar(text("SELECT current_database()")),
    }
    expected = await read_catalog(shared)

    driver = (await shared.get_raw_connection()).driver_connection
    assert driver is not None
    try:
        await driver.execute(sql.format(**names))
        found = summary(differences(expected, await read_catalog(shared)))
    finally:
        await shared.rollback()

    titles = changed.format(**names).split(" + ")
    assert [difference.title for difference in found] == titles
    assert all(str(found[n]).startswith(titles[n]) for n in range(len(titles)))


async def test_nothing_differs_where_nothing_was_changed(shared: AsyncConnection) -> None:
    first = await read_catalog(shared)
    await shared.execute(text("SET LOCAL search_path = pg_catalog, viral"))
    second = await read_catalog(shared)
    await shared.rollback()

    assert differences(first, second) == []


def test_a_difference_says_what_is_and_what_should_be() -> None:
    one = Entry("table", "t", {"owner": "a", "options": ["x", "y"]})
    other = Entry("table", "t", {"owner": "b\n  c"})

    assert str(Difference(one, None)) == "table t: missing (owner a, options x, y)"
    assert str(Difference(None, other)) == "table t: unexpected (owner b c)"
    assert str(Difference(one, other)) == (
        "table t: options is nothing, should be x, y; owner is b c, should be a"
    )


def test_a_difference_is_told_to_programs_with_the_parts_that_differ() -> None:
    one = Entry("table", "t", {"owner": "a", "row security": "on"})
    other = Entry("table", "t", {"owner": "b", "row security": "on"})

    assert Difference(one, other).as_json() == {
        "object": "table t",
        "expected": {"owner": "a"},
        "actual": {"owner": "b"},
        "message": "table t: owner is b, should be a",
    }
    assert Difference(None, other).as_json()["expected"] is None
