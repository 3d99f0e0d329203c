"""A deploy that is killed at any point: the state is named, and the next deploy finishes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from clusters import Cluster, copy_template, superuser
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrations.histories import (
    FIVE_STEPS,
    add_five_steps,
    end,
    gone,
    held,
    start_deploy,
    wait_for,
    waiting_for_a_lock,
)
from viral.database import migrate
from viral.database.catalog import Catalog, differences, read_catalog
from viral.database.urls import ServerUrl
from viral.errors import MigrationFailed

# Each boundary of the five steps, the middle of the backfill, and after the last.
POINTS = [*FIVE_STEPS, "backfill of videos", "_test"]


@pytest.fixture
def history(history: Path) -> Path:
    """A history whose last revision has five steps."""
    add_five_steps(history)
    return history


@pytest.fixture
async def finished(cluster: Cluster, history: Path) -> Catalog:
    """What a deploy without a fault leads to."""
    await copy_template(cluster, "undisturbed")
    await migrate.deploy(cluster.url("viral_migrator", "undisturbed"), history=history)
    async with superuser(cluster, "undisturbed") as connection:
        catalog = await read_catalog(connection)
    await cluster.execute_as_admin("postgres", "DROP DATABASE undisturbed WITH (FORCE)")
    return catalog


@pytest.mark.parametrize("point", POINTS)
async def test_the_deploy_after_a_kill_finishes(
    filled: AsyncConnection,
    url: ServerUrl,
    history: Path,
    finished: Catalog,
    tmp_path: Path,
    point: str,
) -> None:
    process = start_deploy(url, history, ready=tmp_path / "ready", stop_at=point)
    await wait_for(tmp_path / "ready", process)
    await end(process)
    between = await migrate.status(url, history=history)

    applied = await migrate.deploy(url, history=history)

    colours = (
        await filled.execute(text("SELECT colour, count(*) FROM videos GROUP BY tenant_id, colour"))
    ).all()
    assert [("red", 101), ("red", 101)] == colours
    assert [] == [str(each) for each in differences(finished, await read_catalog(filled))]
    _is_named(between, point)
    assert applied == ([] if point == "_test" else ["five"])


def _is_named(status: migrate.Status, point: str) -> None:
    """The state between says at which step the deploy stopped."""
    assert [] == status.broken
    if point == "_test":
        assert (status.half_done, status.pending) == (None, [])
        return
    assert ["five"] == status.pending
    step = "fill the colour" if point.startswith("backfill") else point
    half = status.half_done
    assert half is not None
    number = FIVE_STEPS.index(step) + 1
    assert (half.state, half.step_number, half.steps_total) == ("applying", number, 5)
    assert half.step == step


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("LOCK TABLE videos IN ACCESS SHARE MODE", "ADD COLUMN colour"),
        # It waits for whoever may still write without the index.
        ("LOCK TABLE videos IN ROW EXCLUSIVE MODE", "CREATE INDEX CONCURRENTLY"),
    ],
)
async def test_a_deploy_that_is_killed_within_a_statement_is_finished_by_the_next(
    filled: AsyncConnection,
    cluster: Cluster,
    database_name: str,
    url: ServerUrl,
    history: Path,
    finished: Catalog,
    tmp_path: Path,
    statement: str,
    words: str,
) -> None:
    stop_at = "" if "COLUMN" in words else "index the colour"
    if stop_at:
        await _stop_before(url, history, tmp_path, stop_at)
    async with superuser(cluster, database_name) as other, held(other, statement):
        process = start_deploy(url, history, ready=tmp_path / "again")
        await waiting_for_a_lock(filled, words)
        await end(process)
        await gone(filled)
    invalid = await filled.scalar(text("SELECT count(*) FROM pg_index WHERE NOT indisvalid"))
    await filled.rollback()

    await migrate.deploy(url, history=history)

    assert (1 if stop_at else 0) == invalid
    assert [] == [str(each) for each in differences(finished, await read_catalog(filled))]


@pytest.mark.parametrize(
    ("statement", "words", "step"),
    [
        ("LOCK TABLE videos IN ACCESS SHARE MODE", "ADD COLUMN colour", "add the colour"),
        ("LOCK TABLE videos IN ROW EXCLUSIVE MODE", "INDEX CONCURRENTLY", "index the colour"),
        ("SELECT FROM videos FOR UPDATE", "CREATE POLICY migration_pass", "fill the colour"),
    ],
)
async def test_a_connection_that_is_lost_is_told_with_its_step_and_the_next_deploy_finishes(
    filled: AsyncConnection,
    cluster: Cluster,
    database_name: str,
    url: ServerUrl,
    history: Path,
    finished: Catalog,
    tmp_path: Path,
    statement: str,
    words: str,
    step: str,
) -> None:
    if step != FIVE_STEPS[0]:
        await _stop_before(url, history, tmp_path, step)
    async with superuser(cluster, database_name) as other, held(other, statement):
        deploying = asyncio.create_task(migrate.deploy(url, history=history))
        await waiting_for_a_lock(filled, words)
        await filled.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name LIKE 'viral migrate%' AND datname = current_database()"
            )
        )
        await filled.rollback()
        with pytest.raises(MigrationFailed, match=rf"{step}\): the connection") as caught:
            await deploying

    await migrate.deploy(url, history=history)

    assert "run `viral migrate deploy` again" in caught.value.hint
    assert [] == [str(each) for each in differences(finished, await read_catalog(filled))]


async def _stop_before(url: ServerUrl, history: Path, tmp_path: Path, point: str) -> None:
    process = start_deploy(url, history, ready=tmp_path / "ready", stop_at=point)
    await wait_for(tmp_path / "ready", process)
    await end(process)
