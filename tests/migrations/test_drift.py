"""Drift is found beside what others do, and nothing of the search stays behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from clusters import Cluster
from shell import environment_of
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrations.histories import add_revision
from viral.database import migrate
from viral.database.drift import find_drift
from viral.database.shadow import shadow_database
from viral.database.urls import ServerUrl
from viral.errors import ShadowRefused, StatementFailed

ONE, OTHER, THIRD = (f"viral_shadow_{digit * 16}" for digit in "abc")
FOREIGN = "viral_shadow_of_mine"


async def shadows(admin: AsyncConnection) -> set[str]:
    found = await admin.scalars(text("SELECT datname FROM pg_database WHERE datname ~ 'shadow'"))
    await admin.rollback()
    return set(found)


@asynccontextmanager
async def databases(cluster: Cluster, *names: str) -> AsyncIterator[None]:
    for name in names:
        await cluster.execute_as_admin("postgres", f"CREATE DATABASE {name} OWNER viral_owner")
    yield
    for name in names:
        await cluster.execute_as_admin("postgres", f"DROP DATABASE IF EXISTS {name}")


async def test_a_database_as_its_migrations_make_it_has_no_drift(
    url: ServerUrl, admin: AsyncConnection
) -> None:
    await admin.execute(text("SELECT viral.make_partitions()"))
    await admin.commit()

    assert [] == await find_drift(url)
    assert set() == await shadows(admin)


async def test_a_database_is_compared_with_the_migration_that_it_is_at(
    url: ServerUrl, history: Path, admin: AsyncConnection
) -> None:
    add_revision(history, "applied", up="CREATE TABLE paint (id integer);")
    await migrate.deploy(url, history=history)
    add_revision(history, "pending", up="CREATE TABLE brush (id integer);")
    before = await find_drift(url, history=history)
    await admin.execute(text("CREATE TABLE brush (id integer)"))
    await admin.commit()

    after = await find_drift(url, history=history)

    assert [] == before
    assert ["table public.brush"] == [each.title for each in after]


async def test_a_database_before_its_first_migration_has_no_drift(url: ServerUrl) -> None:
    async with shadow_database(url) as empty:
        assert [] == await find_drift(empty.url)


async def test_what_killed_processes_left_is_dropped_and_never_what_is_in_use(
    cluster: Cluster, url: ServerUrl, admin: AsyncConnection
) -> None:
    async with databases(cluster, ONE, OTHER, THIRD, FOREIGN):
        maker = await cluster.connect("viral_migrator", url.database)
        await maker.execute(f"SET application_name = '{OTHER}'")
        user = await cluster.connect_as_admin(THIRD)

        await find_drift(url)
        kept = await shadows(admin)

        await maker.close()
        await user.close()
    assert {OTHER, THIRD, FOREIGN} == kept


async def test_a_status_that_was_killed_leaves_nothing_that_stops_the_next(
    cluster: Cluster, database_name: str, url: ServerUrl, admin: AsyncConnection
) -> None:
    command = [sys.executable, "-m", "viral", "migrate", "status"]
    killed = subprocess.Popen(command, env=environment_of(cluster, database_name))
    await until(admin, "SELECT count(*) > 0 FROM pg_database WHERE datname ~ '^viral_shadow_'")

    killed.kill()
    await asyncio.to_thread(killed.wait)
    await until(
        admin,
        "SELECT count(*) = 0 FROM pg_stat_activity"
        " WHERE 'viral_shadow_' IN (left(datname, 13), left(application_name, 13))",
    )
    left = await shadows(admin)

    assert [] == await find_drift(url)
    assert 1 == len(left)
    assert set() == await shadows(admin)


async def until(admin: AsyncConnection, query: str) -> None:
    deadline = time.monotonic() + 30
    while not await admin.scalar(text(query)):
        await admin.rollback()
        assert time.monotonic() < deadline, f"never came true: {query}"
        await asyncio.sleep(0.01)
    await admin.rollback()


async def test_a_role_that_may_make_no_database_is_told(cluster: Cluster, url: ServerUrl) -> None:
    await cluster.execute_as_admin("postgres", "ALTER ROLE viral_migrator NOCREATEDB")
    try:
        with pytest.raises(ShadowRefused, match="viral_migrator may not make a shadow database"):
            await find_drift(url)
    finally:
        await cluster.execute_as_admin("postgres", "ALTER ROLE viral_migrator CREATEDB")


async def test_no_shadow_is_made_through_a_pooler(url: ServerUrl) -> None:
    with pytest.raises(ShadowRefused, match="pooler") as caught:
        async with shadow_database(replace(url, is_pooled=True)):
            pass

    assert "DIRECT_URL" in caught.value.hint


async def test_a_lost_server_does_not_hide_what_went_wrong(
    cluster: Cluster, url: ServerUrl
) -> None:
    async def fail() -> None:
        async with shadow_database(url):
            await cluster.execute_as_admin(
                "postgres",
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name ~ '^viral_shadow_'",
            )
            # The driver notices in its own time.
            await asyncio.sleep(0.1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def test_models_that_postgresql_refuses_are_told_by_their_statement(url: ServerUrl) -> None:
    async with shadow_database(url) as shadow:
        with pytest.raises(StatementFailed, match=r"nothing\(\) does not exist") as caught:
            await shadow.run(["\nALTER FUNCTION viral.nothing()\n  OWNER TO viral_owner"])

    assert "`ALTER FUNCTION viral.nothing()`" in caught.value.hint
