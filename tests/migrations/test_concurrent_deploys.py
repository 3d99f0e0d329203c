"""Deploys beside deploys, beside locks, and beside readers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from clusters import Cluster, superuser
from factories import TestTenant
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrations.histories import add_five_steps, add_revision, end, held, start_deploy, wait_for
from viral.database import migrate
from viral.database.engine import Database
from viral.database.history import read_history
from viral.database.owner import owner_connection
from viral.database.urls import ServerUrl
from viral.errors import LockNotObtained, MigrationFailed

LONGEST_WAIT_S = 2.0


async def test_of_two_deploys_at_once_one_waits_and_names_the_other(
    url: ServerUrl, history: Path, tmp_path: Path
) -> None:
    add_five_steps(history)
    first = start_deploy(url, history, ready=tmp_path / "first", stop_at="index the colour")
    await wait_for(tmp_path / "first", first)

    second = start_deploy(url, history, ready=tmp_path / "second")
    await wait_for(tmp_path / "second", second)
    waits_for = (tmp_path / "second").read_text()
    await end(first)
    said, errors = await asyncio.to_thread(second.communicate)

    assert f"pid {first.pid})" in waits_for
    assert ("['five']\n", "") == (said, errors)


async def test_a_lock_that_is_not_obtained_names_who_holds_it(
    cluster: Cluster, url: ServerUrl
) -> None:
    waited: list[str] = []
    elsewhere = owner_connection(cluster.url("viral_migrator", "viral"))

    async with elsewhere as other, owner_connection(url) as holder:
        await other.execute(text("SET application_name = 'elsewhere'"))
        await _take_lock(other)
        await _take_lock(holder)
        with pytest.raises(LockNotObtained, match=r"viral migrate \(.*pid \d+\)"):
            await migrate.deploy(url, wait_s=0.6, on_wait=waited.append)

    assert 1 == len(waited)


async def _take_lock(connection: AsyncConnection) -> None:
    await connection.execute(text("SET ROLE NONE"))
    await connection.execute(text("SELECT pg_advisory_lock(2903415108317251643)"))


async def test_deploys_of_two_databases_do_not_meet(cluster: Cluster, url: ServerUrl) -> None:
    async with owner_connection(cluster.url("viral_migrator", "viral")) as holder:
        await _take_lock(holder)

        assert [] == await migrate.deploy(url, wait_s=0)


async def test_a_table_that_is_in_use_is_tried_again(
    url: ServerUrl, history: Path, cluster: Cluster, database_name: str
) -> None:
    add_revision(history, "paint", up="ALTER TABLE videos ADD COLUMN paint text;")

    async with superuser(cluster, database_name) as reader:
        async with held(reader, "LOCK TABLE videos IN ACCESS SHARE MODE"):
            deploying = asyncio.create_task(migrate.deploy(url, history=history))
            await asyncio.sleep(2)
            assert not deploying.done()
        applied = await deploying

    assert ["paint"] == applied


@pytest.mark.usefixtures("filled")
async def test_no_reader_waits_long_for_any_migration(
    url: ServerUrl, history: Path, app: Database, alice: TestTenant
) -> None:
    add_five_steps(history)
    later = read_history(history).revisions[-1:]
    waits: list[float] = []
    is_over = asyncio.Event()

    async def read() -> None:
        while not is_over.is_set():
            began = time.monotonic()
            async with app.tenant_session(alice.id) as session:
                assert 101 == await session.scalar(text("SELECT count(*) FROM videos"))
            waits.append(time.monotonic() - began)

    readers = [asyncio.create_task(read()) for _ in range(4)]
    applied = await migrate.deploy(url, history=history)
    is_over.set()
    await asyncio.gather(*readers)

    assert [each.id for each in later] == applied
    assert max(waits) < LONGEST_WAIT_S
    assert len(waits) > len(readers)


async def test_a_reader_who_stays_makes_the_deploy_give_up_and_nobody_else_wait(
    url: ServerUrl,
    history: Path,
    cluster: Cluster,
    database_name: str,
    app: Database,
    alice: TestTenant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("viral.database.lock_patience._PAUSES_S", (0.1, 0.1))
    add_revision(history, "paint", up="ALTER TABLE videos ADD COLUMN paint text;")
    waits: list[float] = []

    async with (
        superuser(cluster, database_name) as reader,
        held(reader, "LOCK TABLE videos IN ACCESS SHARE MODE"),
    ):
        deploying = asyncio.create_task(migrate.deploy(url, history=history))
        while not deploying.done():
            began = time.monotonic()
            async with app.tenant_session(alice.id) as session:
                await session.scalar(text("SELECT count(*) FROM videos"))
            waits.append(time.monotonic() - began)
            await asyncio.sleep(0.05)

    with pytest.raises(MigrationFailed, match="lock timeout"):
        await deploying
    assert max(waits) < LONGEST_WAIT_S
