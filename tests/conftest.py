"""A real server per test process, a migrated template, and a copy of it per test."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import asyncpg
import pytest
import structlog
from clusters import NO_ROWS, TEMPLATE, Cluster, copy_template, superuser
from factories import TestTenant, make_tenant
from memory import write_into_memory
from poolers import PooledServer
from sqlalchemy.ext.asyncio import AsyncConnection
from tenancy import small
from ways import IS_POOLED, SETTINGS

from viral.database import migrate
from viral.database.engine import Database
from viral.database.secrets import Secrets
from viral.database.urls import ServerUrl
from viral.postgres.account import ROOT_STATE
from viral.postgres.bootstrap import bootstrap
from viral.postgres.installation import load_installation
from viral.postgres.server import Server

_numbers = count(1)


def pytest_configure() -> None:
    write_into_memory()
    # What is imported is compiled once, not by every process.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # Before the learner takes it for what is usual.
    gc.set_threshold(10_000, 20, 20)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have files whose tests may take long begin first: none is left alone at the end."""
    tests = Counter(item.path for item in items)
    long = {item.path for item in items if item.get_closest_marker("timeout")}
    items.sort(key=lambda item: (item.path in long, tests[item.path]), reverse=True)


def pytest_collection_finish() -> None:
    # Millions of objects that stay: a full pass over them found nothing, many times a minute.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the settings of this machine away from the tests."""
    for name in os.environ:
        if name.startswith(("VIRAL_", "PG", "NEON_", "AWS_", "ANTHROPIC_")) or name in {
            "DATABASE_URL",
            "DIRECT_URL",
            "REPLICA_URL",
        }:
            monkeypatch.delenv(name)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    yield
    # A command that ran here has left its stream behind, which is closed by now.
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Path]:
    """Make a folder whose path leaves room for a socket's name."""
    folder = Path(tempfile.mkdtemp(prefix="viral-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
async def cluster(short_folder: Path) -> AsyncIterator[Cluster]:
    home = short_folder / "home"
    secrets = Secrets.load_or_create(home)
    server = (PooledServer if IS_POOLED else Server)(home=home, secrets=secrets)
    address = await server.start()
    admin = ServerUrl(
        host=str(address.socket_dir),
        port=address.port,
        user="viral_admin",
        password=secrets.password("viral_admin"),
        database="postgres",
    )
    cluster = Cluster(home, server, secrets, admin)
    # The tests lose nothing when the machine does, and run in half the time.
    await cluster.execute_as_admin(
        "postgres", "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"
    )
    await bootstrap(admin, secrets)
    await migrate.deploy(cluster.url("viral_migrator", TEMPLATE))
    if isinstance(server, PooledServer):
        await server.start_pooler()
    try:
        yield cluster
    finally:
        await server.stop()
        installation = load_installation(home)
        if installation is not None and installation.state.is_relative_to(ROOT_STATE):
            shutil.rmtree(installation.state)


@pytest.fixture
async def database_name(cluster: Cluster) -> AsyncIterator[str]:
    """Make a fresh migrated database of the test's own."""
    name = f"test_{next(_numbers)}"
    await copy_template(cluster, name)
    yield name
    await cluster.execute_as_admin("postgres", f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
async def module_database(cluster: Cluster) -> AsyncIterator[str]:
    """Give a migrated database that the tests of a module share."""
    name = f"module_{next(_numbers)}"
    await copy_template(cluster, name)
    yield name
    await cluster.execute_as_admin("postgres", f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def emptied_database(cluster: Cluster, module_database: str) -> AsyncIterator[str]:
    """Give the module's database, and take every row out of it afterwards."""
    yield module_database
    await cluster.execute_as_admin(module_database, NO_ROWS)


@pytest.fixture
async def app(cluster: Cluster, database_name: str) -> AsyncIterator[Database]:
    """Open the database as the app's role."""
    database = cluster.database("viral_app", database_name)
    yield database
    await database.close()


@pytest.fixture
async def system(cluster: Cluster, database_name: str) -> AsyncIterator[Database]:
    """Open the database as the role of system jobs and operator commands."""
    database = cluster.database("viral_system", database_name)
    yield database
    await database.close()


@pytest.fixture
async def signin(cluster: Cluster, database_name: str) -> AsyncIterator[Database]:
    """Open the database as the role that checks passwords."""
    database = cluster.database("viral_signin", database_name)
    yield database
    await database.close()


@pytest.fixture
async def worker(cluster: Cluster, database_name: str) -> AsyncIterator[Database]:
    """Open the database as the worker's role."""
    database = cluster.database("viral_worker", database_name)
    yield database
    await database.close()


@pytest.fixture
async def admin(cluster: Cluster, database_name: str) -> AsyncIterator[AsyncConnection]:
    """Open the database as superuser: to arrange and to look behind row security."""
    async with superuser(cluster, database_name) as connection:
        yield connection


@pytest.fixture
async def alice(system: Database, cluster: Cluster) -> TestTenant:
    """Make a tenant with an admin."""
    return await make_tenant(system, cluster.secrets, slug="alice")


@pytest.fixture
async def bob(system: Database, cluster: Cluster) -> TestTenant:
    """Make another tenant with an admin."""
    return await make_tenant(system, cluster.secrets, slug="bob")


@pytest.fixture
async def narrow(cluster: Cluster, database_name: str) -> AsyncIterator[Database]:
    """Open the app's database with one connection, so that everybody gets the same."""
    database = Database(
        small(cluster.url("viral_app", database_name)), context_key=cluster.secrets.context_key
    )
    yield database
    await database.close()


@pytest.fixture
async def raw(
    cluster: Cluster, database_name: str
) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Connect as the app's role, past the product."""
    connection = await cluster.connect("viral_app", database_name)
    yield connection
    await connection.close()
