"""The models and the migrations say the same, in the words of PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from clusters import Cluster, superuser
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from viral.database import migrate
from viral.database.bookkeeping import ensure_bookkeeping
from viral.database.catalog import Catalog, differences, read_catalog
from viral.database.urls import ServerUrl
from viral.postgres.bootstrap import bootstrap
from viral.schema.tables import SCHEMA


async def catalog_of(url: ServerUrl) -> Catalog:
    engine = create_async_engine(url.sqlalchemy, poolclass=NullPool)
    async with engine.connect() as connection:
        catalog = await read_catalog(connection)
    await engine.dispose()
    return catalog


@pytest.fixture
async def empty(cluster: Cluster) -> AsyncIterator[str]:
    """A bootstrapped database without a schema."""
    name = "empty"
    await cluster.execute_as_admin("postgres", f"CREATE DATABASE {name} OWNER viral_owner")
    await bootstrap(cluster.admin.for_database(name), cluster.secrets)
    yield name
    await cluster.execute_as_admin("postgres", f"DROP DATABASE {name} WITH (FORCE)")


async def test_models_and_migrations_give_equal_catalogues(
    cluster: Cluster, empty: str, admin: AsyncConnection
) -> None:
    async with superuser(cluster, empty) as connection, connection.begin():
        for statement in SCHEMA.statements():
            await connection.exec_driver_sql(statement)
        await connection.exec_driver_sql("SET LOCAL ROLE NONE")
        await ensure_bookkeeping(connection)

    built = await catalog_of(cluster.admin.for_database(empty))

    assert [str(d) for d in differences(built, await read_catalog(admin))] == []
    assert len(built) > 500


async def test_down_leaves_what_was_there_before_up(cluster: Cluster, empty: str) -> None:
    migrator = cluster.url("viral_migrator", empty)
    async with superuser(cluster, empty) as connection, connection.begin():
        await ensure_bookkeeping(connection)
    before = await catalog_of(cluster.admin.for_database(empty))

    await migrate.deploy(migrator)
    up = await catalog_of(cluster.admin.for_database(empty))
    undone = await migrate.downgrade(migrator, "base")
    down = await catalog_of(cluster.admin.for_database(empty))
    await migrate.deploy(migrator)
    up_again = await catalog_of(cluster.admin.for_database(empty))

    assert undone[-1] == "0001"
    assert differences(before, down) == []
    assert differences(up, up_again) == []
    assert before != up
