"""A step sees the rows of all tenants in the tables that it names, and in no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrations.histories import add_revision
from viral.database import migrate
from viral.database.urls import ServerUrl
from viral.errors import MigrationFailed

COPY = "CREATE TABLE seen AS SELECT tenant_id, id FROM {table};"
ORPHANS = (
    "ALTER TABLE analytics_snapshots ADD CONSTRAINT fk FOREIGN KEY (tenant_id, id)"
    " REFERENCES videos (tenant_id, id)"
)
VALIDATE = "ALTER TABLE analytics_snapshots VALIDATE CONSTRAINT fk"


async def scalar(admin: AsyncConnection, query: str) -> object:
    found = await admin.scalar(text(query))
    await admin.rollback()
    return found


async def test_a_step_sees_all_rows_of_what_it_names(
    url: ServerUrl, history: Path, filled: AsyncConnection
) -> None:
    up = f"-- step: copy\n-- in sight: videos\n{COPY.format(table='videos')}"
    add_revision(history, "copy", up=up)

    await migrate.deploy(url, history=history)

    assert 202 == await scalar(filled, "SELECT count(*) FROM seen")
    assert 0 == await scalar(
        filled, "SELECT count(*) FROM pg_policy WHERE polname = 'migration_pass'"
    )


async def test_a_step_that_names_nothing_raises_where_it_would_pass_over_rows(
    url: ServerUrl, history: Path, filled: AsyncConnection
) -> None:
    add_revision(history, "copy", up=COPY.format(table="videos"))

    with pytest.raises(MigrationFailed, match="would be affected by row-level security policy"):
        await migrate.deploy(url, history=history)

    assert await scalar(filled, "SELECT to_regclass('seen') IS NULL")


async def test_the_step_after_it_sees_nothing_again(
    url: ServerUrl, history: Path, filled: AsyncConnection
) -> None:
    up = (
        f"-- step: one\n-- in sight: videos\nSELECT 1;\n-- step: two\n{COPY.format(table='videos')}"
    )
    add_revision(history, "copy", up=up)

    with pytest.raises(MigrationFailed, match=r"in step 2 of 2 \(two\): query would be affected"):
        await migrate.deploy(url, history=history)

    assert await scalar(filled, "SELECT to_regclass('seen') IS NULL")


@pytest.mark.parametrize(
    "up",
    [
        f"-- step: add\n-- in sight: analytics_snapshots, videos\n{ORPHANS};",
        f"-- step: add\n{ORPHANS} NOT VALID;\n-- step: validate\n{VALIDATE};",
    ],
    ids=["at once", "validated"],
)
async def test_orphans_in_partitions_are_seen(
    url: ServerUrl, history: Path, filled: AsyncConnection, up: str
) -> None:
    add_revision(history, "refer", up=up)

    with pytest.raises(MigrationFailed, match='violates foreign key constraint "fk"'):
        await migrate.deploy(url, history=history)

    assert 0 == await scalar(
        filled, "SELECT count(*) FROM pg_policy WHERE polname = 'migration_pass'"
    )
