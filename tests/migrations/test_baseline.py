"""A database is adopted when it is as its migrations make it, and starts anew when asked to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from clusters import Cluster, count_rows
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrations.histories import add_revision, head
from viral.database import migrate
from viral.database.baseline import baseline, reset
from viral.database.drift import find_drift
from viral.database.history import read_history
from viral.database.shadow import Shadow, shadow_database
from viral.database.urls import ServerUrl
from viral.errors import (
    AlreadyExists,
    HistoryBroken,
    MigrationFailed,
    NotFound,
    SchemaDrift,
    ServerRefused,
)
from viral.schema.tables import SCHEMA

PAINT = "CREATE TABLE paint (id integer);"


@pytest.fixture
async def built(cluster: Cluster) -> AsyncIterator[Shadow]:
    """A database that the models made, and that knows no migrations."""
    async with shadow_database(cluster.url("viral_migrator", "postgres")) as shadow:
        await shadow.run(SCHEMA.statements())
        yield shadow


async def change(admin: AsyncConnection, *statements: str) -> None:
    for statement in statements:
        await admin.execute(text(statement))
    await admin.commit()


def ids(history: Path) -> Sequence[str]:
    return [each.id for each in read_history(history).revisions]


async def test_a_database_of_the_models_is_adopted(built: Shadow, history: Path) -> None:
    before = await migrate.status(built.url, history=history)

    adopted = await baseline(built.url, history=history)

    after = await migrate.status(built.url, history=history)
    assert (None, ids(history)) == (before.current, before.pending)
    assert ids(history) == adopted == after.applied
    assert ([], [], head(history)) == (after.pending, after.broken, after.current)
    assert [] == await find_drift(built.url, history=history)
    assert [] == await migrate.deploy(built.url, history=history)


async def test_a_database_of_an_earlier_migration_is_adopted_there(
    built: Shadow, history: Path
) -> None:
    earlier = head(history)
    add_revision(history, "paint", up=PAINT)

    with pytest.raises(SchemaDrift, match=r"paint_test makes it:\n  table public\.paint: missing"):
        await baseline(built.url, history=history)
    adopted = await baseline(built.url, history=history, revision=earlier)

    assert earlier == adopted[-1]
    assert ["paint"] == await migrate.deploy(built.url, history=history)


async def test_a_database_that_differs_is_refused_and_stays_as_it_is(
    built: Shadow, history: Path
) -> None:
    await built.run(["ALTER TABLE videos NO FORCE ROW LEVEL SECURITY"])
    before = await built.catalog()

    with pytest.raises(SchemaDrift) as caught:
        await baseline(built.url, history=history)

    assert caught.value.message.splitlines()[1:] == [
        "  table public.videos: force row security is off, should be on"
    ]
    assert before == await built.catalog()


async def test_a_database_that_knows_its_migrations_is_not_adopted(
    url: ServerUrl, history: Path
) -> None:
    with pytest.raises(AlreadyExists, match=f"it is at {head(history)}"):
        await baseline(url, history=history)


async def test_a_database_in_the_middle_of_its_first_migration_is_not_adopted(
    url: ServerUrl, history: Path, admin: AsyncConnection
) -> None:
    await change(
        admin,
        "DELETE FROM viral.alembic_version",
        "UPDATE viral.migrations SET state = 'applying', finished_at = NULL",
    )

    with pytest.raises(AlreadyExists, match="the first of them"):
        await baseline(url, history=history)


async def test_a_migration_that_is_not_there_is_told_with_those_there_are(
    built: Shadow, history: Path
) -> None:
    with pytest.raises(NotFound, match="no migration 9999") as caught:
        await baseline(built.url, history=history, revision="9999")

    assert head(history) in caught.value.hint


async def test_a_broken_history_adopts_nothing(built: Shadow, history: Path) -> None:
    add_revision(history, "one", up=PAINT)
    add_revision(history, "two", up=PAINT, parent=ids(history)[0])

    with pytest.raises(HistoryBroken):
        await baseline(built.url, history=history)


class Copies:
    """Remembers how many videos were there when a copy was asked for."""

    def __init__(self, admin: AsyncConnection) -> None:
        self.made: list[tuple[str, int]] = []
        self._admin = admin

    async def __call__(self, name: str) -> str:
        self.made.append((name, await count_rows(self._admin, "videos")))
        await self._admin.rollback()
        return f"/backups/{name}"


async def test_a_reset_copies_drops_and_migrates(
    url: ServerUrl, history: Path, filled: AsyncConnection
) -> None:
    await change(filled, "CREATE TABLE stray (id integer)", "ALTER TABLE stray OWNER TO viral_auth")
    copies = Copies(filled)

    copy, applied = await reset(url, history=history, restore_point=copies)

    assert [("before-reset", 202)] == copies.made
    assert ("/backups/before-reset", ids(history)) == (copy, applied)
    assert 0 == await count_rows(filled, "videos")
    assert [] == await find_drift(url, history=history)
    status = await migrate.status(url, history=history)
    assert applied == [each.revision for each in status.records]


async def test_no_copy_no_reset(url: ServerUrl, history: Path, filled: AsyncConnection) -> None:
    async def fail(_name: str) -> str:
        raise ServerRefused("no room")

    with pytest.raises(ServerRefused):
        await reset(url, history=history, restore_point=fail)

    assert 202 == await count_rows(filled, "videos")


async def test_nothing_is_dropped_for_migrations_that_do_not_work(
    url: ServerUrl, history: Path, filled: AsyncConnection
) -> None:
    add_revision(history, "wrong", up="SELECT 1 / 0;")

    with pytest.raises(MigrationFailed, match="division by zero"):
        await reset(url, history=history)

    assert 202 == await count_rows(filled, "videos")


async def test_a_reset_that_stops_before_it_migrates_is_ended_by_a_deploy(
    url: ServerUrl, history: Path, admin: AsyncConnection
) -> None:
    def stop(_what: str, _done: int, _total: int | None) -> None:
        raise ZeroDivisionError

    await change(admin, "CREATE TABLE stray (id integer)", "ALTER TABLE stray OWNER TO viral_owner")
    with pytest.raises(ZeroDivisionError):
        await reset(url, history=history, progress=stop)
    between = await migrate.status(url, history=history)

    applied = await migrate.deploy(url, history=history)

    assert ids(history) == between.pending == applied
    assert [] == await find_drift(url, history=history)
