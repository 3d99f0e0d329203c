"""The judge and pg_dump, PostgreSQL's own list of a schema, notice the same changes."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator

import asyncpg
import pytest
from clusters import Cluster, copy_template, superuser
from other_changes import NO_CHANGES, NO_TABLESPACE, OTHER_CHANGES, SETUP, TABLESPACE
from schema_changes import CHANGES, PARTITION

from viral.database.bookkeeping import ensure_bookkeeping
from viral.postgres.binaries import find_binaries
from viral.postgres.bootstrap import bootstrap
from viral.schema.tables import SCHEMA

COPY = "dumped"
# What the catalogue notices and pg_dump does not print, by words of its SQL.
UNPRINTED = {
    "webhook_events DISABLE TRIGGER ALL": "a foreign key is printed, its triggers are not",
    "ENABLE ALWAYS TRIGGER %I": "a foreign key is printed, its triggers are not",
    "pg_temp.see()": "the trigger ends with the session that made its function",
    "indislive = false": "what goes away in a moment is still printed",
    "WITH NO DATA": "whether there are rows is data",
    "pg_catalog.hidden()": "what stands in pg_catalog counts as PostgreSQL's own",
    "ADD FUNCTION lab.hidden()": "its extension is printed, which makes no such function",
}
# What pg_dump prints and the catalogue does not notice.
UNNOTICED = {
    "ON FUNCTION pg_catalog.pg_sleep FROM PUBLIC": "a bootstrap withholds what its server lets it",
    "ON FUNCTION pg_catalog.pg_sleep_for TO viral_app": "everybody may do that already",
    "PARTITION OF analytics_snapshots": "months come and go",
}


@pytest.fixture(scope="module")
async def original(cluster: Cluster, module_database: str) -> AsyncIterator[str]:
    """Make a database with one of everything, to change copies of it."""
    await cluster.execute_as_admin(module_database, *TABLESPACE)
    await cluster.execute_as_admin(module_database, "SELECT viral.make_partitions()", SETUP)
    yield module_database
    await cluster.execute_as_admin("postgres", f"DROP DATABASE {COPY} WITH (FORCE)")
    await cluster.execute_as_admin(module_database, "DROP SCHEMA lab CASCADE", *NO_TABLESPACE)


async def copy(cluster: Cluster, original: str) -> str:
    """Make a fresh copy and dump it."""
    await cluster.execute_as_admin("postgres", f"DROP DATABASE IF EXISTS {COPY} WITH (FORCE)")
    await copy_template(cluster, COPY, template=original)
    return await dump(cluster, COPY)


async def dump(cluster: Cluster, database: str) -> str:
    """Dump a schema as text, without the lines that are different each time."""
    command = [
        *(find_binaries(None).program("pg_dump"), "--schema-only", "--create", database),
        *(f"--host={cluster.admin.host}", f"--port={cluster.admin.port}", "--username=viral_admin"),
    ]
    password = str(cluster.admin.password)
    done = await asyncio.to_thread(
        subprocess.run, command, check=True, capture_output=True, env={"PGPASSWORD": password}
    )
    lines = done.stdout.decode().splitlines()
    return "\n".join(line for line in lines if not line.startswith(("--", "\\")))


async def change(cluster: Cluster, sql: str) -> None:
    connection = await cluster.connect_as_admin(COPY)
    try:
        partition = await connection.fetchval(PARTITION)
        async with connection.transaction():
            await connection.execute(sql.format(partition=partition, database=COPY))
    finally:
        await connection.close()


async def unprinted(cluster: Cluster, original: str, changes: list[str]) -> list[str]:
    """Make one change after the other and list those after which the dump is the same."""
    found = []
    before = await copy(cluster, original)
    for sql in changes:
        try:
            await change(cluster, sql)
        except asyncpg.PostgresError:
            # An earlier change is in the way.
            before = await copy(cluster, original)
            await change(cluster, sql)
        after = await dump(cluster, COPY)
        if before == after:
            found.append(sql)
        before = after
    return found


@pytest.mark.timeout(600)
async def test_what_the_catalogue_notices_the_dump_prints(cluster: Cluster, original: str) -> None:
    changes = [sql for _, sql in [*CHANGES, *OTHER_CHANGES]]

    found = await unprinted(cluster, original, changes)

    assert found == [sql for sql in changes if any(words in sql for words in UNPRINTED)]


async def test_what_is_no_schema_is_not_printed_either(cluster: Cluster, original: str) -> None:
    found = await unprinted(cluster, original, NO_CHANGES)

    assert found == [sql for sql in NO_CHANGES if not any(words in sql for words in UNNOTICED)]


async def test_databases_with_equal_catalogues_have_equal_dumps(
    cluster: Cluster, database_name: str
) -> None:
    await cluster.execute_as_admin("postgres", "CREATE DATABASE from_models OWNER viral_owner")
    await bootstrap(cluster.admin.for_database("from_models"), cluster.secrets)
    async with superuser(cluster, "from_models") as connection, connection.begin():
        for statement in SCHEMA.statements():
            await connection.exec_driver_sql(statement)
        await connection.exec_driver_sql("SET LOCAL ROLE NONE")
        await ensure_bookkeeping(connection)

    models = (await dump(cluster, "from_models")).replace("from_models", database_name).split(";")
    migrated = (await dump(cluster, database_name)).split(";")

    await cluster.execute_as_admin("postgres", "DROP DATABASE from_models")
    assert sorted(models) == sorted(migrated)
