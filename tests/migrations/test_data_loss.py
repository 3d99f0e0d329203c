"""What a migration would lose is counted first, refused, or lost after a restore point."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrations.histories import add_revision, head, revisions
from viral.database import migrate
from viral.database.urls import ServerUrl
from viral.errors import DataLossRefused, MigrationFailed

MODELS = (
    "-- at risk: values of videos.provider_job_id: SELECT count(*) FROM videos AS v, concepts AS c"
    " WHERE provider_job_id IS NOT NULL AND (c.tenant_id, c.id) = (v.tenant_id, v.concept_id)\n"
)
DROP = f"""-- step: prepare
CREATE TABLE prepared (id integer);
-- step: drop
{MODELS}ALTER TABLE videos DROP COLUMN provider_job_id;
"""


async def columns(admin: AsyncConnection) -> bool:
    found = await admin.scalar(
        text(
            "SELECT true FROM pg_attribute"
            " WHERE attrelid = 'videos'::regclass AND attname = 'provider_job_id'"
        )
    )
    await admin.rollback()
    return bool(found)


async def policies(admin: AsyncConnection) -> int:
    found = await admin.scalar(
        text("SELECT count(*) FROM pg_policy WHERE polname = 'migration_pass'")
    )
    await admin.rollback()
    return int(found or 0)


class RestorePoints:
    """Remembers what was asked for, and what was there at that moment."""

    def __init__(self, admin: AsyncConnection) -> None:
        self.made: list[tuple[str, bool]] = []
        self._admin = admin

    async def __call__(self, name: str) -> str:
        self.made.append((name, await columns(self._admin)))
        return f"/backups/{name}"


async def test_a_loss_that_nobody_accepted_is_counted_and_refused_before_anything_is_done(
    url: ServerUrl, history: Path, filled: AsyncConnection
) -> None:
    add_revision(history, "early", up="CREATE TABLE early (id integer);")
    add_revision(history, "drop", up=DROP)

    with pytest.raises(DataLossRefused) as caught:
        await migrate.deploy(url, history=history)

    status = await migrate.status(url, history=history)
    assert "This would be lost: values of videos.provider_job_id: 202." == caught.value.message
    assert (head(), None, ["early", "drop"]) == (status.current, status.half_done, status.pending)
    assert 0 == await policies(filled)


async def test_an_accepted_loss_has_one_restore_point_made_before_it(
    url: ServerUrl, history: Path, filled: AsyncConnection
) -> None:
    points = RestorePoints(filled)
    add_revision(history, "drop", up=DROP)

    await migrate.deploy(url, history=history, accept_data_loss=True, restore_point=points)

    assert [("before-drop", True)] == points.made
    assert not await columns(filled)
    assert 0 == await policies(filled)


async def test_nothing_to_lose_needs_no_consent(
    url: ServerUrl, history: Path, admin: AsyncConnection
) -> None:
    points = RestorePoints(admin)
    add_revision(history, "drop", up=DROP)

    await migrate.deploy(url, history=history, restore_point=points)

    assert [] == points.made
    assert not await columns(admin)


async def test_a_loss_that_shows_only_at_its_step_is_refused_there(
    url: ServerUrl, history: Path
) -> None:
    up = """-- step: make
CREATE TABLE paint (id integer);
INSERT INTO paint VALUES (1), (2), (3);
-- step: unmake
-- at risk: rows of paint: SELECT count(*) FROM paint
DROP TABLE paint;
"""
    add_revision(history, "paint", up=up)

    with pytest.raises(DataLossRefused, match="rows of paint: 3"):
        await migrate.deploy(url, history=history)

    half_done = (await migrate.status(url, history=history)).half_done
    assert half_done is not None
    assert (2, "unmake") == (half_done.step_number, half_done.step)
    assert ["paint"] == await migrate.deploy(url, history=history, accept_data_loss=True)


async def test_the_way_back_counts_as_well(
    url: ServerUrl, history: Path, filled: AsyncConnection
) -> None:
    add_revision(history, "back", up="SELECT 1;", down=DROP)
    await migrate.deploy(url, history=history)
    points = RestorePoints(filled)

    with pytest.raises(DataLossRefused, match="202"):
        await migrate.undo(url, history=history)
    undone = await migrate.undo(url, history=history, accept_data_loss=True, restore_point=points)

    assert (["back"], [("before-undo-back", True)]) == (undone, points.made)


async def test_a_failure_after_the_loss_names_the_restore_point(
    url: ServerUrl, history: Path, filled: AsyncConnection
) -> None:
    add_revision(history, "drop", up=f"{DROP}-- step: fail\nSELECT 1 / 0;\n")

    with pytest.raises(MigrationFailed) as caught:
        await migrate.deploy(
            url, history=history, accept_data_loss=True, restore_point=RestorePoints(filled)
        )

    assert "Restore point: /backups/before-drop." in caught.value.hint


async def test_the_way_back_counts_the_tables_that_it_drops(
    url: ServerUrl, history: Path, filled: AsyncConnection
) -> None:
    points = RestorePoints(filled)
    for _ in revisions()[1:]:
        await migrate.undo(url, history=history, accept_data_loss=True, restore_point=points)

    with pytest.raises(DataLossRefused) as caught:
        await migrate.undo(url, history=history)

    assert "rows of videos: 202" in caught.value.message
    assert "rows of viral.tenant_contexts: 2" in caught.value.message
    assert "0001" == (await migrate.status(url, history=history)).current
    assert 0 == await policies(filled)
