"""What lines of A01 to A50 ask for beyond the product's own verification."""

from __future__ import annotations

import asyncio
import subprocess

import asyncpg
import pytest
from clusters import Cluster
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tenancy import TENANTS, small
from ways import about_the_direct_way

from security.conftest import Pair
from security.looks import LITERAL, Raw, doors_that_open, shown_to_its_like
from viral.database.engine import Database
from viral.database.faults import sqlstate_of
from viral.database.lint.linter import lint_revision
from viral.database.validate.live import validate_database
from viral.features.verification.relations import ATTACKERS
from viral.postgres.binaries import find_binaries
from viral.schema.security import APP, MIGRATOR

BACKUP = "viral_backup"
LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


async def name_tenant(raw: Raw, cluster: Cluster, pair: Pair) -> None:
    """Work for Alice on a connection past the product."""
    await raw.execute(f"SET app.tenant = '{cluster.token(pair.alice.id)}'")


async def test_a09_the_setting_is_gone_when_the_transaction_is(
    cluster: Cluster, module_database: str, pair: Pair
) -> None:
    narrow = Database(
        small(cluster.url(APP, module_database)), context_key=cluster.secrets.context_key
    )
    async with narrow.tenant_session(pair.bob.id) as session:
        assert [pair.bob.id] == list(await session.scalars(TENANTS))

    async with narrow.session_without_tenant() as session:
        left = await session.scalar(text("SELECT current_setting('app.tenant', true)"))
        sources = list(await session.scalars(text("SELECT prosrc FROM pg_catalog.pg_proc")))

    await narrow.close()
    assert "" == left
    assert not any(cluster.token(pair.bob.id) in source for source in sources)


async def test_a11_no_other_role_lets_the_apps_password_in(cluster: Cluster) -> None:
    assert [] == await doors_that_open(cluster)


@about_the_direct_way
async def test_a27_notices_hold_nothing_of_others(
    intruder: Raw, cluster: Cluster, pair: Pair
) -> None:
    heard: list[str] = []
    intruder.add_log_listener(lambda _connection, message: heard.append(str(message)))
    await name_tenant(intruder, cluster, pair)
    await intruder.execute("SET client_min_messages = debug5")

    await intruder.execute(
        "DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM concepts LOOP"
        " RAISE NOTICE '%', r; END LOOP; END $$"
    )

    said = "".join(heard)
    assert str(pair.rows_of_alice["concepts"]["id"]) in said
    assert str(pair.rows_of_bob["concepts"]["id"]) not in said
    assert str(pair.bob.id) not in said


async def test_a28_no_index_needs_an_operator_that_could_tell(
    cluster: Cluster, module_database: str
) -> None:
    findings = await validate_database(cluster.url(MIGRATOR, module_database))

    assert [] == [each.object for each in findings if each.rule == "index-not-leakproof"]


@pytest.mark.parametrize("path", ["pg_temp, viral, public", "viral, public", "'$user', public"])
async def test_a29_a_search_path_of_ones_own_shadows_nothing(
    intruder: Raw, cluster: Cluster, pair: Pair, path: str
) -> None:
    async with intruder.transaction():
        await intruder.execute(f"SET LOCAL app.tenant = '{cluster.token(pair.alice.id)}'")
        await intruder.execute(f"SET LOCAL search_path = {path}")

        assert [pair.alice.id] == await intruder.fetchval("SELECT array_agg(id) FROM tenants")


async def test_a35_a_statement_of_the_app_is_not_shown_to_its_like(
    cluster: Cluster, module_database: str, intruder: Raw
) -> None:
    shown = await shown_to_its_like(cluster, module_database, intruder)

    assert LITERAL not in shown


async def test_a44_the_backup_role_copies_everything(
    cluster: Cluster, module_database: str, pair: Pair
) -> None:
    program = find_binaries(None).program("pg_dump")
    url = cluster.server.url(BACKUP, module_database)

    done = await asyncio.to_thread(
        subprocess.run, [program, "--data-only", url], capture_output=True, check=False, timeout=30
    )

    missing = [
        table
        for rows in (pair.rows_of_alice, pair.rows_of_bob)
        for table, row in rows.items()
        if "id" in row and str(row["id"]).encode() not in done.stdout
    ]
    assert 0 == done.returncode
    assert [] == missing


async def test_a45_a_table_that_is_added_without_row_security_is_found_and_closed(
    cluster: Cluster, database_name: str
) -> None:
    sql = "CREATE TABLE notes (tenant_id uuid NOT NULL, id uuid, PRIMARY KEY (tenant_id, id));"
    await cluster.execute_as_admin(database_name, f"SET ROLE viral_owner; {sql}")

    linted = {each.rule for each in lint_revision({"notes.sql": sql})}
    found = await validate_database(cluster.url(MIGRATOR, database_name))
    states = {}
    for role in ATTACKERS:
        connection = await cluster.connect(role, database_name)
        with pytest.raises(asyncpg.PostgresError) as refused:
            await connection.fetch("SELECT 1 FROM notes")
        states[role] = refused.value.sqlstate
        await connection.close()

    assert "row-security-missing" in linted
    assert {"row-security-off"} <= {each.rule for each in found if each.object == "public.notes"}
    assert set(states.values()) == {"42501"}


@pytest.mark.parametrize("role", ATTACKERS)
async def test_a50_no_lock_and_no_idling_goes_on_for_ever(
    cluster: Cluster, module_database: str, role: str
) -> None:
    connection = await cluster.connect(role, module_database)

    limits = [
        int(await connection.fetchval("SELECT reset_val FROM pg_settings WHERE name = $1", name))
        for name in LIMITS
    ]

    await connection.close()
    assert all(0 < limit <= 600_000 for limit in limits)


async def test_a50_who_waits_for_anothers_lock_is_let_go(
    cluster: Cluster, module_database: str, intruder: Raw, pair: Pair
) -> None:
    product = cluster.database(APP, module_database)

    async def count() -> int:
        async with product.tenant_session(pair.bob.id) as session:
            await session.execute(text("SET LOCAL lock_timeout = '50ms'"))
            return int(await session.scalar(text("SELECT count(*) FROM concepts")) or 0)

    async with intruder.transaction():
        await intruder.execute("LOCK TABLE concepts IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DBAPIError) as let_go:
            await count()

    assert "55P03" == sqlstate_of(let_go.value)
    assert 1 == await count()
    await product.close()
