"""The owner writes rows of all tenants, in batches, and leaves the wall as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrations.histories import add_python_step, add_revision
from viral.database import migrate
from viral.database.backfill import backfill, rls_suspended
from viral.database.catalog import differences, read_catalog
from viral.database.owner import owner_connection
from viral.database.urls import ServerUrl
from viral.errors import MigrationFailed

ORPHAN = """
ALTER TABLE videos DROP CONSTRAINT {name};
UPDATE videos SET concept_id = gen_random_uuid();
ALTER TABLE videos ADD CONSTRAINT {name} FOREIGN KEY (tenant_id, concept_id)
  REFERENCES concepts (tenant_id, id) NOT VALID;
"""


def silent(_what: str, _done: int, _total: int | None) -> None:
    """Show nothing."""


async def test_a_backfill_reaches_every_row_batch_by_batch(
    url: ServerUrl, filled: AsyncConnection
) -> None:
    before = await read_catalog(filled)
    await filled.rollback()
    told: list[tuple[str, int, int | None]] = []

    async with owner_connection(url) as connection:
        done = await backfill(
            connection,
            "videos",
            assign="status = 'failed'",
            where="status <> 'failed'",
            progress=lambda what, done, total: told.append((what, done, total)),
            batch=90,
        )

    assert 202 == done
    assert [("backfill of videos", n, 202) for n in (90, 180, 202)] == told
    assert 202 == await filled.scalar(text("SELECT count(*) FROM videos WHERE status = 'failed'"))
    assert [] == differences(before, await read_catalog(filled))


async def test_a_backfill_that_would_not_end_is_stopped(
    url: ServerUrl, filled: AsyncConnection
) -> None:
    async with owner_connection(url) as connection:
        with pytest.raises(MigrationFailed, match="202 rows still answer to status IS NOT NULL"):
            await backfill(
                connection,
                "videos",
                assign="status = 'failed'",
                where="status IS NOT NULL",
                progress=silent,
            )

    assert 0 == await filled.scalar(
        text("SELECT count(*) FROM pg_policy WHERE polname = 'migration_pass'")
    )


@pytest.mark.usefixtures("filled")
async def test_without_the_pass_a_miss_raises(url: ServerUrl) -> None:
    async with owner_connection(url) as connection:
        async with rls_suspended(connection, "videos"), connection.begin():
            seen = await connection.scalar(text("SELECT count(*) FROM videos"))
        with pytest.raises(Exception, match="would be affected by row-level security"):
            await connection.scalar(text("SELECT count(*) FROM videos"))

    assert 202 == seen


async def test_work_that_nobody_committed_is_refused(
    url: ServerUrl, filled: AsyncConnection
) -> None:
    async with owner_connection(url) as connection:
        with pytest.raises(MigrationFailed, match="left a transaction open"):
            async with rls_suspended(connection, "videos"):
                await connection.execute(text("UPDATE videos SET status = 'failed'"))

    assert 0 == await filled.scalar(text("SELECT count(*) FROM videos WHERE status = 'failed'"))


async def test_a_pass_that_a_crash_left_is_taken_away_by_the_next_deploy(
    url: ServerUrl, admin: AsyncConnection
) -> None:
    before = await read_catalog(admin)
    await admin.execute(text("CREATE POLICY migration_pass ON videos TO viral_owner USING (true)"))
    await admin.commit()

    await migrate.deploy(url)

    assert [] == differences(before, await read_catalog(admin))


async def test_a_step_in_python_that_does_not_commit_is_refused(
    url: ServerUrl, history: Path
) -> None:
    body = 'await connection.execute(text("CREATE TABLE lost (id integer)"))'
    add_python_step(history, "open", body)

    with pytest.raises(MigrationFailed, match="left a transaction open"):
        await migrate.deploy(url, history=history)


async def test_a_foreign_key_is_validated_against_the_rows_of_all_tenants(
    url: ServerUrl, history: Path, filled: AsyncConnection
) -> None:
    name = await filled.scalar(
        text(
            "SELECT conname FROM pg_constraint WHERE contype = 'f'"
            " AND conrelid = 'videos'::regclass AND confrelid = 'concepts'::regclass"
        )
    )
    for statement in ORPHAN.format(name=name).split(";\n"):
        await filled.execute(text(statement))
    await filled.commit()
    up = f"-- Every row is looked at.\nALTER TABLE videos VALIDATE CONSTRAINT {name};\n"
    add_revision(history, "valid", up=up)

    with pytest.raises(MigrationFailed, match="violates foreign key constraint"):
        await migrate.deploy(url, history=history)
    await filled.execute(
        text(
            "UPDATE videos AS v SET concept_id ="
            " (SELECT c.id FROM concepts AS c WHERE c.tenant_id = v.tenant_id LIMIT 1)"
        )
    )
    await filled.commit()

    assert ["valid"] == await migrate.deploy(url, history=history)
    assert await filled.scalar(
        text("SELECT convalidated FROM pg_constraint WHERE conname = :name"), {"name": name}
    )
