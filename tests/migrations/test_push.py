"""Push brings a database to the models: all of it or nothing, and no loss uncounted."""

from __future__ import annotations

import re
from dataclasses import replace

import asyncpg
import pytest
from clusters import Cluster, superuser
from schema_changes import BY_MIGRATION
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrations.histories import held
from viral.database.catalog import Catalog, differences, read_catalog
from viral.database.compare import compare_schemas
from viral.database.drift import catalog_of_models, without_bookkeeping
from viral.database.push import converge, push
from viral.database.shadow import shadow_database
from viral.database.urls import ServerUrl
from viral.errors import DataLossRefused, DraftIncomplete, LockNotObtained, ServerRefused

EXTRA = "ALTER TABLE videos ADD COLUMN extra text DEFAULT 'kept'"
# What only a superuser can do is for a superuser to take back.
UNDONE = [change for change in BY_MIGRATION if not change[0].startswith("references")][::5]
LOST = {"values of public.videos.extra": 202}


async def change(admin: AsyncConnection, *statements: str) -> None:
    for statement in statements:
        await admin.execute(text(statement))
    await admin.commit()


async def script(admin: AsyncConnection, sql: str) -> None:
    driver = (await admin.get_raw_connection()).driver_connection
    assert isinstance(driver, asyncpg.Connection)
    await driver.execute(sql)


async def catalog(admin: AsyncConnection) -> Catalog:
    found = await read_catalog(admin)
    await admin.rollback()
    return found


class Copies:
    """Remembers each copy that was asked for, and whether the column was still there."""

    def __init__(self, admin: AsyncConnection, *then: str) -> None:
        self.made: list[tuple[str, bool]] = []
        self._admin = admin
        self._then = then

    async def __call__(self, name: str) -> str:
        there = "column public.videos.extra" in await catalog(self._admin)
        self.made.append((name, there))
        await change(self._admin, *self._then)
        return f"/backups/{name}"


@pytest.fixture(scope="module")
async def wanted(cluster: Cluster, module_database: str) -> Catalog:
    url = cluster.url("viral_migrator", module_database)
    await cluster.execute_as_admin(module_database, "SELECT viral.make_partitions()")
    return without_bookkeeping(await catalog_of_models(url))


@pytest.mark.parametrize(("titles", "sql"), UNDONE)
async def test_a_change_past_the_migrations_is_undone(
    url: ServerUrl, wanted: Catalog, admin: AsyncConnection, titles: str, sql: str
) -> None:
    owner = "viral_auth" if re.search(r"\bviral\b", titles) else "viral_owner"
    await script(admin, f"SELECT viral.make_partitions(); SET ROLE {owner}")
    await script(admin, sql.format(database=url.database))

    pushed = await converge(url, wanted)

    assert pushed.steps, titles
    assert [] == differences(wanted, without_bookkeeping(await catalog(admin)))


@pytest.mark.usefixtures("filled")
async def test_a_pushed_database_is_as_the_models_and_a_second_push_does_nothing(
    url: ServerUrl, admin: AsyncConnection
) -> None:
    await change(admin, EXTRA, "DROP INDEX ix_videos_tenant_id_status", "DROP TABLE audit_log")

    first = await push(url, accept_data_loss=True)
    second = await push(url)

    assert LOST == first.losses
    assert ([], {}) == (second.steps, second.losses)
    assert [] == (await compare_schemas(url, start="database", end="models")).differences


async def test_a_push_makes_the_whole_schema_in_an_empty_database(url: ServerUrl) -> None:
    async with shadow_database(url) as empty:
        pushed = await push(empty.url)
        rest = await compare_schemas(empty.url, start="database", end="migrations")

    assert pushed.steps
    assert {} == pushed.losses
    assert [] == rest.differences


async def test_a_rehearsal_says_what_would_be_and_changes_nothing(
    url: ServerUrl, filled: AsyncConnection
) -> None:
    await change(filled, EXTRA)
    before = await catalog(filled)
    copies = Copies(filled)

    rehearsed = await push(url, is_rehearsal=True, restore_point=copies)

    assert (LOST, 1, []) == (rehearsed.losses, len(rehearsed.steps), copies.made)
    assert before == await catalog(filled)


async def test_a_loss_that_nobody_accepted_is_counted_over_all_tenants_and_refused(
    url: ServerUrl, filled: AsyncConnection
) -> None:
    await change(filled, EXTRA, "DROP INDEX ix_videos_tenant_id_status")
    before = await catalog(filled)
    copies = Copies(filled)

    with pytest.raises(DataLossRefused) as caught:
        await push(url, restore_point=copies)

    assert "This would be lost: values of public.videos.extra: 202." == caught.value.message
    assert [] == copies.made
    assert before == await catalog(filled)


async def test_an_accepted_loss_has_one_copy_made_before_it(
    url: ServerUrl, filled: AsyncConnection
) -> None:
    await change(filled, EXTRA, "ALTER TABLE videos ADD COLUMN more integer DEFAULT 1")
    copies = Copies(filled)

    pushed = await push(url, accept_data_loss=True, restore_point=copies)

    assert [("before-push", True)] == copies.made
    assert "/backups/before-push" == pushed.restore_point
    assert LOST | {"values of public.videos.more": 202} == pushed.losses


async def test_nothing_to_lose_needs_neither_consent_nor_copy(
    url: ServerUrl, filled: AsyncConnection
) -> None:
    await change(filled, "ALTER TABLE videos ADD COLUMN extra text")
    copies = Copies(filled)

    pushed = await push(url, restore_point=copies)

    assert ([], None, {}) == (copies.made, pushed.restore_point, pushed.losses)
    assert "column public.videos.extra" not in await catalog(filled)


async def test_what_came_after_the_count_is_not_lost(
    url: ServerUrl, filled: AsyncConnection
) -> None:
    await change(filled, EXTRA, "ALTER TABLE videos ADD COLUMN late text")
    copies = Copies(filled, "UPDATE videos SET late = 'x'")

    with pytest.raises(DataLossRefused, match=r"lost: values of public\.videos\.late: 202\."):
        await push(url, accept_data_loss=True, restore_point=copies)

    assert 202 == await filled.scalar(text("SELECT count(*) FROM videos WHERE extra = 'kept'"))


async def test_a_copy_that_fails_keeps_everything(url: ServerUrl, filled: AsyncConnection) -> None:
    await change(filled, EXTRA)

    async def fail(_name: str) -> str:
        raise ServerRefused("no room")

    with pytest.raises(ServerRefused):
        await push(url, accept_data_loss=True, restore_point=fail)

    assert "column public.videos.extra" in await catalog(filled)


async def test_a_statement_that_fails_takes_all_others_back(
    url: ServerUrl, filled: AsyncConnection
) -> None:
    await change(
        filled,
        "DROP INDEX ix_trends_observed_at",
        "ALTER TABLE videos DROP CONSTRAINT ck_videos_status",
        "UPDATE videos SET status = 'secret word'",
    )
    before = await catalog(filled)

    with pytest.raises(DraftIncomplete, match="ck_videos_status") as caught:
        await push(url)

    assert "secret word" not in caught.value.message
    assert before == await catalog(filled)


async def test_what_no_statement_can_change_is_named(
    url: ServerUrl, admin: AsyncConnection
) -> None:
    await change(admin, "CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int)")

    with pytest.raises(DraftIncomplete, match=r"aggregate public\.total"):
        await push(url)


async def test_the_rows_of_hidden_and_of_partitioned_tables_are_counted(
    url: ServerUrl, filled: AsyncConnection
) -> None:
    await change(
        filled,
        "ALTER TABLE viral.tenant_contexts ADD COLUMN extra text DEFAULT 'x'",
        "ALTER TABLE analytics_snapshots ADD COLUMN extra text DEFAULT 'x'",
        "CREATE TABLE films (id integer)",
        "ALTER TABLE films OWNER TO viral_auth",
        "INSERT INTO films SELECT generate_series(1, 3)",
    )

    pushed = await push(url, accept_data_loss=True)

    assert {
        "values of viral.tenant_contexts.extra": 2,
        "values of public.analytics_snapshots.extra": 2,
        "rows of public.films": 3,
    } == pushed.losses
    assert [] == (await compare_schemas(url, start="database", end="models")).differences


async def test_a_foreign_key_sees_the_rows_of_all_tenants(
    url: ServerUrl, filled: AsyncConnection
) -> None:
    await change(
        filled,
        "ALTER TABLE videos DROP CONSTRAINT fk_videos_tenant_id_concept_id",
        "UPDATE videos SET concept_id = gen_random_uuid() "
        "WHERE ctid = (SELECT max(ctid) FROM videos)",
    )

    with pytest.raises(DraftIncomplete, match="fk_videos_tenant_id_concept_id"):
        await push(url)


async def test_a_table_in_use_is_waited_for_and_then_told(
    cluster: Cluster,
    url: ServerUrl,
    database_name: str,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("viral.database.lock_patience._PAUSES_S", (0.1, 0.1))
    await change(admin, EXTRA)

    async with superuser(cluster, database_name) as reader:
        async with held(reader, "LOCK TABLE videos IN ACCESS SHARE MODE"):
            with pytest.raises(LockNotObtained, match="lock timeout"):
                await push(url)
        pushed = await push(url)

    assert 1 == len(pushed.steps)


async def test_a_push_with_nothing_to_do_needs_no_table(
    cluster: Cluster, url: ServerUrl, database_name: str
) -> None:
    async with (
        superuser(cluster, database_name) as reader,
        held(reader, "LOCK TABLE videos IN ACCESS SHARE MODE"),
    ):
        assert [] == (await push(url)).steps


async def test_a_push_through_a_pooler_is_refused(url: ServerUrl) -> None:
    with pytest.raises(ServerRefused, match="pooler"):
        await converge(replace(url, is_pooled=True), {})
