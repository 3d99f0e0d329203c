"""Deploy, undo, resolve: what is applied, what is remembered of it, and what a failure says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from clusters import Cluster
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrations.histories import (
    FIVE_STEPS,
    add_five_steps,
    add_python_step,
    add_revision,
    edit,
    head,
    revisions,
)
from viral.database import migrate
from viral.database.catalog import differences, read_catalog
from viral.database.history import read_history
from viral.database.urls import ServerUrl
from viral.errors import BadInput, MigrationFailed, ServerRefused

TWO_STEPS = """-- step: paint
CREATE TABLE paint (id integer);
INSERT INTO paint VALUES (1), (1);
-- step: brush
CREATE TABLE brush (id integer);
ALTER TABLE paint ADD UNIQUE (id);
"""
TWO_BACK = """-- step: no brush
DROP TABLE brush;
-- step: no paint
SELECT 1 / (SELECT count(*) FROM canvas);
DROP TABLE paint;
"""


async def exists(admin: AsyncConnection, table: str) -> bool:
    found = await admin.scalar(text("SELECT to_regclass(:table) IS NOT NULL"), {"table": table})
    await admin.rollback()
    return bool(found)


async def change(admin: AsyncConnection, statement: str) -> None:
    await admin.execute(text(statement))
    await admin.commit()


@pytest.fixture
async def half_applied(url: ServerUrl, history: Path) -> str:
    """A revision whose second step failed on the rows of the first."""
    add_revision(history, "two", up=TWO_STEPS, down=TWO_BACK)
    with pytest.raises(MigrationFailed):
        await migrate.deploy(url, history=history)
    return "two"


@pytest.fixture
async def half_undone(url: ServerUrl, history: Path, admin: AsyncConnection) -> str:
    """A revision whose way back failed in its second step."""
    up = TWO_STEPS.replace(", (1)", "")
    add_revision(history, "two", up=up, down=TWO_BACK)
    await migrate.deploy(url, history=history)
    await change(admin, "CREATE TABLE canvas (id integer)")
    await change(admin, "GRANT SELECT ON canvas TO viral_owner")
    with pytest.raises(MigrationFailed, match=r"no paint\).*division by zero"):
        await migrate.undo(url, history=history, accept_data_loss=True)
    return "two"


async def test_a_deploy_remembers_what_it_did(url: ServerUrl, history: Path) -> None:
    add_five_steps(history)
    told: list[tuple[str, int, int | None]] = []

    def progress(what: str, done: int, total: int | None) -> None:
        told.append((what.partition(": ")[2], done, total))

    applied = await migrate.deploy(url, history=history, progress=progress)
    status = await migrate.status(url, history=history)

    record = status.records[-1]
    assert ["five"] == applied
    assert [(step, number, 5) for number, step in enumerate(FIVE_STEPS)] == told[:5]
    assert ("five", [], None, []) == (
        status.current,
        status.pending,
        status.half_done,
        status.broken,
    )
    assert ("applied", 5, 5, None) == (
        record.state,
        record.steps_done,
        record.steps_total,
        record.step,
    )
    assert record.duration_s is not None
    assert "@" in record.applied_by
    assert [] == await migrate.deploy(url, history=history)


async def test_a_failed_step_is_named_and_the_next_deploy_goes_on_there(
    url: ServerUrl, history: Path, admin: AsyncConnection, half_applied: str
) -> None:
    between = await migrate.status(url, history=history)
    brush = await exists(admin, "brush")
    await change(admin, "TRUNCATE paint")

    applied = await migrate.deploy(url, history=history)

    assert not brush
    assert "at step 2 of 2 (brush): could not create unique index" in str(between.half_done)
    assert [half_applied] == between.pending
    assert [half_applied] == applied
    assert await exists(admin, "brush")


async def test_a_failure_says_where_why_what_is_kept_and_what_to_do(
    url: ServerUrl, history: Path
) -> None:
    add_revision(history, "two", up=TWO_STEPS)

    with pytest.raises(MigrationFailed) as caught:
        await migrate.deploy(url, history=history)

    assert caught.value.message == (
        "2026_12_01_two_test stopped in step 2 of 2 (brush): could not create unique index"
        ' "paint_id_key" [23505]. Steps 1 to 1 are kept; nothing of this step is.'
    )
    assert "it goes on at step 2" in caught.value.hint


async def test_a_failure_shows_no_values(
    url: ServerUrl, history: Path, admin: AsyncConnection
) -> None:
    add_revision(history, "two", up="SELECT 's3cret'::integer;")

    with pytest.raises(MigrationFailed) as caught:
        await migrate.deploy(url, history=history)

    assert "invalid input syntax for type integer [22P02]" in caught.value.message
    assert "s3cret" not in caught.value.message
    kept = await admin.scalar(text("SELECT error FROM viral.migrations WHERE revision = 'two'"))
    assert "invalid input syntax for type integer [22P02]" == kept


async def test_a_step_is_kept_with_its_count_or_not_at_all(
    url: ServerUrl, history: Path, admin: AsyncConnection
) -> None:
    up = """-- step: uncounted
CREATE TABLE paint (id integer);
ALTER TABLE viral.migrations ADD CONSTRAINT uncounted CHECK (steps_done = 0) NOT VALID;
-- step: never
SELECT 1;
"""
    add_revision(history, "paint", up=up)

    with pytest.raises(MigrationFailed, match='violates check constraint "uncounted"'):
        await migrate.deploy(url, history=history)

    assert not await exists(admin, "paint")


async def test_a_database_older_than_the_bookkeeping_is_adopted(
    url: ServerUrl, admin: AsyncConnection, history: Path
) -> None:
    await change(admin, "DROP TABLE viral.migrations")
    before = await migrate.status(url, history=history)

    applied = await migrate.deploy(url, history=history)
    after = await migrate.status(url, history=history)

    assert (revisions(), []) == (before.applied, before.records)
    assert [] == applied
    assert [(each.id, each.checksum) for each in read_history(history).revisions] == [
        (record.revision, record.checksum) for record in after.records
    ]


async def test_an_older_release_sees_a_newer_database_as_complete(
    url: ServerUrl, history: Path
) -> None:
    add_revision(history, "later", up="SELECT 1;")
    await migrate.deploy(url, history=history)

    status = await migrate.status(url)

    assert ("later", []) == (status.current, status.pending)
    assert ["2026_12_01_later_test was applied here, and its file is missing."] == status.broken


async def test_a_revision_without_steps_is_applied(url: ServerUrl, history: Path) -> None:
    edit(add_revision(history, "idle"), 'run_script(_SCRIPTS / "up.sql")', "pass")

    await migrate.deploy(url, history=history)

    assert "idle" == (await migrate.status(url, history=history)).current


async def test_a_step_leaves_no_setting_to_the_next(
    url: ServerUrl, history: Path, admin: AsyncConnection
) -> None:
    up = """-- step: as somebody else
SET ROLE viral_auth; SET row_security = on; SET search_path = viral; SET lock_timeout = 0;
-- step: as the owner
CREATE TABLE public.seen AS SELECT current_user AS role, current_setting('row_security') AS rows,
  current_setting('search_path') AS path, current_setting('lock_timeout') AS wait;
"""
    add_revision(history, "settings", up=up)

    await migrate.deploy(url, history=history)

    seen = (await admin.execute(text("SELECT * FROM seen"))).one()
    assert ("viral_owner", "off", '"$user", public', "1s") == tuple(seen)


async def test_outside_a_transaction_what_is_done_already_counts(
    url: ServerUrl, history: Path, admin: AsyncConnection
) -> None:
    await change(admin, "CREATE TYPE viral.shade AS ENUM ('dark')")
    await change(admin, "ALTER TYPE viral.shade OWNER TO viral_owner")
    await change(admin, "CREATE INDEX ix_there ON videos (tenant_id, status)")
    up = """-- step: make, outside a transaction
CREATE INDEX CONCURRENTLY ix_there ON public.videos (tenant_id, status);
-- step: drop, outside a transaction
DROP INDEX CONCURRENTLY ix_never_there;
-- step: add, outside a transaction
-- It reads well.
ALTER TYPE viral.shade ADD VALUE 'dark';
"""
    add_revision(history, "again", up=up)

    assert ["again"] == await migrate.deploy(url, history=history)


async def test_undo_goes_back_by_one(url: ServerUrl, history: Path, admin: AsyncConnection) -> None:
    before = await read_catalog(admin)
    await admin.rollback()
    for name in ("paint", "brush"):
        up, down = f"CREATE TABLE {name} (id integer);", f"DROP TABLE {name};"
        add_revision(history, name, up=up, down=down)
    await migrate.deploy(url, history=history)

    first = await migrate.undo(url, history=history)
    between = (await exists(admin, "paint"), await exists(admin, "brush"))
    second = await migrate.undo(url, history=history)

    assert (["brush"], ["paint"]) == (first, second)
    assert (True, False) == between
    assert [] == differences(before, await read_catalog(admin))
    assert ["paint", "brush"] == (await migrate.status(url, history=history)).pending


async def test_a_revision_without_a_way_back_says_why(url: ServerUrl, history: Path) -> None:
    add_python_step(history, "forward", "pass")
    await migrate.deploy(url, history=history)

    with pytest.raises(MigrationFailed, match="cannot be undone: a test does not go back"):
        await migrate.undo(url, history=history)

    assert "forward" == (await migrate.status(url, history=history)).current


async def test_from_the_middle_of_a_revision_there_is_no_way_back(
    url: ServerUrl, history: Path, half_applied: str
) -> None:
    with pytest.raises(MigrationFailed, match=f"{half_applied}_test is half applied") as caught:
        await migrate.undo(url, history=history)

    assert "viral migrate resolve two" in caught.value.hint


async def test_a_half_undone_revision_is_undone_by_the_next_undo(
    url: ServerUrl, history: Path, admin: AsyncConnection, half_undone: str
) -> None:
    between = await migrate.status(url, history=history)
    await change(admin, "INSERT INTO canvas VALUES (1)")

    undone = await migrate.undo(url, history=history, accept_data_loss=True)

    assert "two_test is half undone, at step 2 of 2 (no paint): division" in str(between.half_done)
    assert ([half_undone], revisions()) == (between.pending, between.applied)
    assert [half_undone] == undone
    assert not await exists(admin, "paint")
    assert head() == (await migrate.status(url, history=history)).current


async def test_a_deploy_undoes_a_half_undone_revision_and_applies_it_again(
    url: ServerUrl, history: Path, admin: AsyncConnection, half_undone: str
) -> None:
    await change(admin, "INSERT INTO canvas VALUES (1)")

    applied = await migrate.deploy(url, history=history, accept_data_loss=True)

    assert [half_undone] == applied
    assert await exists(admin, "brush")


@pytest.mark.parametrize(("outcome", "current"), [("applied", "two"), ("rolled back", head())])
async def test_a_revision_that_was_ended_by_hand_is_resolved(
    url: ServerUrl, history: Path, half_applied: str, outcome: str, current: str
) -> None:
    assert outcome in {"applied", "rolled back"}
    await migrate.resolve(url, half_applied, outcome=outcome, history=history)  # type: ignore[arg-type]  # one of the two

    status = await migrate.status(url, history=history)
    assert (current, None, []) == (status.current, status.half_done, status.broken)


async def test_only_a_half_done_revision_can_be_resolved(
    url: ServerUrl, history: Path, half_applied: str
) -> None:
    with pytest.raises(BadInput, match="0001 is not half done") as caught:
        await migrate.resolve(url, "0001", outcome="applied", history=history)

    assert f"Half done is: {half_applied}." == caught.value.hint


async def test_nobody_can_go_back_to_what_is_not_applied(url: ServerUrl) -> None:
    with pytest.raises(BadInput, match="9999 is not applied"):
        await migrate.downgrade(url, "9999")


async def test_a_deploy_through_a_pooler_is_refused(url: ServerUrl) -> None:
    with pytest.raises(ServerRefused, match="goes through a pooler") as caught:
        await migrate.deploy(replace(url, is_pooled=True))

    assert "DIRECT_URL" in caught.value.hint


async def test_nobody_but_the_owner_reads_the_bookkeeping(
    cluster: Cluster, database_name: str
) -> None:
    for role in ("viral_app", "viral_system", "viral_worker", "viral_readonly", "viral_signin"):
        connection = await cluster.connect(role, database_name)
        with pytest.raises(Exception, match="permission denied for table migrations"):
            await connection.fetch("SELECT * FROM viral.migrations")
        await connection.close()


async def test_alembic_takes_its_version_table_as_ours(admin: AsyncConnection) -> None:
    from alembic.migration import MigrationContext

    def ours_and_theirs(connection: object) -> list[list[tuple[object, ...]]]:
        query = """
        SELECT attname, format_type(atttypid, atttypmod), attnotnull,
               (SELECT conname FROM pg_constraint WHERE conrelid = attrelid AND contype = 'p')
        FROM pg_attribute WHERE attrelid = 'viral.alembic_version'::regclass AND attnum > 0
        """
        ours = connection.execute(text(query)).all()  # type: ignore[attr-defined]  # a Connection
        connection.execute(text("DROP TABLE viral.alembic_version"))  # type: ignore[attr-defined]  # as above
        context = MigrationContext.configure(
            connection,  # type: ignore[arg-type]  # as above
            opts={"version_table_schema": "viral"},
        )
        context._ensure_version_table()
        return [ours, connection.execute(text(query)).all()]  # type: ignore[attr-defined]  # as above

    ours, theirs = await admin.run_sync(ours_and_theirs)

    assert ours == theirs
