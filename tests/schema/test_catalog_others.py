"""The judge notices changes past what our schema has, and lets pass what is no schema."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from clusters import TEMPLATE, Cluster, superuser
from other_changes import NO_CHANGES, NO_TABLESPACE, OTHER_CHANGES, SETUP, TABLESPACE
from schema_changes import PARTITION
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database import migrate
from viral.database.catalog import Catalog, Difference, differences, read_catalog, summary
from viral.database.secrets import Secrets
from viral.database.shadow import catalog_at
from viral.database.urls import ServerUrl
from viral.postgres.account import ROOT_STATE
from viral.postgres.bootstrap import bootstrap
from viral.postgres.installation import load_installation
from viral.postgres.server import Server

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
# What PostgreSQL 15 does not have.
YOUNGER = (
    *("NOT NULL title", "_not_null", "NOT ENFORCED", "VIRTUAL", "SET EXPRESSION"),
    *("WITHOUT OVERLAPS", "publish_generated_columns", "MAINTAIN", "LARGE OBJECTS"),
)
# Of the server, not of one of its databases.
OF_THE_SERVER = [
    "ALTER ROLE viral_app SET work_mem = '9MB'",
    "CREATE ROLE somebody ROLE viral_app BYPASSRLS",
]
# What goes along with what is dropped is not told again.
DROPS = [
    ("table lab.scenes", "DROP TABLE lab.scenes"),
    ("view lab.titles", "DROP VIEW lab.titles"),
    ("foreign table lab.there", "DROP FOREIGN TABLE lab.there"),
    ("type lab.span", "DROP TYPE lab.span"),
    ("constraint lab.films.once", "ALTER TABLE lab.films DROP CONSTRAINT once"),
    ("column lab.films.number", "ALTER TABLE lab.films DROP number"),
    ("user mapping away for viral_app", "DROP USER MAPPING FOR viral_app SERVER away"),
    ("operator lab.===(pg_catalog.text,pg_catalog.text)", "DROP OPERATOR lab.=== (text, text)"),
    ("extension pg_trgm", "DROP EXTENSION pg_trgm"),
    (
        (
            "constraint lab.scenes.of_film + materialized view lab.counts + publication sent"
            " + table lab.films + view lab.titles"
        ),
        "DROP TABLE lab.films CASCADE",
    ),
]


@pytest.fixture(scope="module")
async def lab(cluster: Cluster, module_database: str) -> AsyncIterator[AsyncConnection]:
    """Open a database with one of everything, whose changes each test takes back."""
    await prepare(cluster, module_database)
    async with superuser(cluster, module_database) as connection:
        yield connection
    # A tablespace is the server's: it would be in the way of the next database of this kind.
    await cluster.execute_as_admin(module_database, "DROP SCHEMA lab CASCADE", *NO_TABLESPACE)


@pytest.fixture(scope="module")
async def expected(lab: AsyncConnection) -> Catalog:
    catalog = await read_catalog(lab)
    await lab.rollback()
    return catalog


@pytest.fixture
async def fifteen(short_folder: Path) -> AsyncIterator[Cluster]:
    """Give a server with the schema, of the oldest PostgreSQL that we run on."""
    home = short_folder / "fifteen"
    secrets = Secrets.load_or_create(home)
    server = Server(home=home, secrets=secrets, bindir=DEBIAN_15)
    address = await server.start()
    admin = ServerUrl(
        host=str(address.socket_dir),
        port=address.port,
        user="viral_admin",
        password=secrets.password("viral_admin"),
        database="postgres",
    )
    await bootstrap(admin, secrets)
    cluster = Cluster(home, server, secrets, admin)
    await migrate.deploy(cluster.url("viral_migrator", TEMPLATE))
    yield cluster
    await server.stop()
    installation = load_installation(home)
    if installation is not None and installation.state.is_relative_to(ROOT_STATE):
        shutil.rmtree(installation.state)


async def prepare(cluster: Cluster, database: str) -> None:
    await cluster.execute_as_admin(database, *TABLESPACE)
    await cluster.execute_as_admin(database, "SELECT viral.make_partitions()", SETUP)


async def changed(connection: AsyncConnection, sql: str) -> Catalog:
    """Read the catalogue after a change that is taken back."""
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, asyncpg.Connection)
    # The transaction begins with the first statement that is sent this way.
    partition = await connection.scalar(text(PARTITION))
    database = await connection.scalar(text("SELECT current_database()"))
    try:
        await driver.execute(sql.format(partition=partition, database=database))
        return await read_catalog(connection)
    finally:
        await connection.rollback()


async def titles(connection: AsyncConnection, named: str) -> list[str]:
    partition = await connection.scalar(text(PARTITION))
    await connection.rollback()
    return sorted(named.format(partition=partition).split(" + "))


def reported(expected: Catalog, actual: Catalog) -> list[str]:
    return sorted(found.title for found in summary(differences(expected, actual)))


@pytest.mark.parametrize(
    ("named", "sql"), OTHER_CHANGES, ids=[sql[:120] for _, sql in OTHER_CHANGES]
)
async def test_a_change_is_named_and_nothing_else(
    lab: AsyncConnection, expected: Catalog, named: str, sql: str
) -> None:
    actual = await changed(lab, sql)

    assert await titles(lab, named) == reported(expected, actual)


@pytest.mark.parametrize(("named", "sql"), DROPS)
async def test_what_goes_along_with_an_object_is_not_told_again(
    lab: AsyncConnection, expected: Catalog, named: str, sql: str
) -> None:
    actual = await changed(lab, sql)

    assert await titles(lab, named) == reported(expected, actual)


@pytest.mark.parametrize("sql", [*NO_CHANGES, *OF_THE_SERVER])
async def test_what_is_no_schema_is_not_told(
    lab: AsyncConnection, expected: Catalog, sql: str
) -> None:
    actual = await changed(lab, sql)

    assert differences(expected, actual) == []


async def test_how_a_session_prints_values_makes_no_difference(
    lab: AsyncConnection, expected: Catalog
) -> None:
    settings = {
        "search_path": "lab, viral",
        "quote_all_identifiers": "on",
        "timezone": "Asia/Tokyo",
        "datestyle": "German",
        "intervalstyle": "iso_8601",
        "bytea_output": "escape",
        "extra_float_digits": "-10",
    }
    for name, value in settings.items():
        await lab.execute(
            text("SELECT set_config(:name, :value, true)"), {"name": name, "value": value}
        )

    actual = await read_catalog(lab)

    kept = {
        name: await lab.scalar(text("SELECT current_setting(:name)"), {"name": name})
        for name in settings
    }
    await lab.rollback()
    assert differences(expected, actual) == []
    assert settings | {"datestyle": "German, DMY"} == kept


async def test_the_role_of_migrations_reads_the_same(
    cluster: Cluster, module_database: str, expected: Catalog
) -> None:
    actual = await catalog_at(cluster.url("viral_migrator", module_database))

    assert differences(expected, actual) == []


async def test_a_secret_of_a_setting_or_a_mapping_is_not_told(lab: AsyncConnection) -> None:
    actual = await changed(
        lab,
        "ALTER DATABASE {database} SET app.key = 'hidden';"
        "ALTER USER MAPPING FOR viral_app SERVER away OPTIONS (ADD password 'hidden')",
    )

    assert "options password" in str(Difference(None, actual["user mapping away for viral_app"]))
    assert "hidden" not in str(actual)


async def test_a_subscription_is_told_without_its_connection(
    lab: AsyncConnection, expected: Catalog
) -> None:
    sql = (
        "CREATE SUBSCRIPTION got CONNECTION 'host=x password=hidden' PUBLICATION sent"
        " WITH (connect = false, slot_name = NONE, origin = none)"
    )

    actual = await changed(lab, sql)

    assert reported(expected, actual) == ["subscription got"]
    assert actual["subscription got"].parts["origin"] == "none"
    assert "hidden" not in str(actual)


async def test_a_privilege_on_a_parameter_is_told(lab: AsyncConnection, expected: Catalog) -> None:
    actual = await changed(lab, "GRANT SET ON PARAMETER log_statement TO viral_app")

    assert reported(expected, actual) == ["grant parameter log_statement to viral_app"]


async def test_who_passed_a_privilege_on_is_told(lab: AsyncConnection, expected: Catalog) -> None:
    sql = (
        "GRANT SELECT ON lab.scenes TO viral_readonly; SET LOCAL ROLE viral_app;"
        "GRANT SELECT ON lab.scenes TO viral_readonly; RESET ROLE"
    )

    actual = await changed(lab, sql)

    grant = actual["grant table lab.scenes to viral_readonly"]
    assert grant.parts == {"privileges": ["SELECT"], "passed on by": ["viral_app"]}
    assert reported(expected, actual) == [grant.title]


@pytest.mark.timeout(180)
@pytest.mark.skipif(not DEBIAN_15.is_dir(), reason=f"{DEBIAN_15} is not on this machine")
async def test_postgresql_15_prints_the_same_and_notices_what_it_has(
    fifteen: Cluster, admin: AsyncConnection
) -> None:
    async with superuser(fifteen, TEMPLATE) as connection:
        fresh = await read_catalog(connection)
    await prepare(fifteen, TEMPLATE)
    async with superuser(fifteen, TEMPLATE) as connection:
        expected = await read_catalog(connection)
        missed = []
        for named, sql in OTHER_CHANGES:
            if not any(word in sql for word in YOUNGER):
                found = reported(expected, await changed(connection, sql))
                if found != await titles(connection, named):
                    missed.append((sql, found))

    assert differences(await read_catalog(admin), fresh) == []
    assert missed == []
