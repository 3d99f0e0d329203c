"""Erasure: nothing of the tenant stays, nobody else loses a row, and no restore undoes it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from clusters import Cluster, superuser
from factories import TestTenant, fill_every_table, make_tenant
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.encryption.keys import KeyRing, new_key
from viral.database.engine import Database
from viral.database.tombstones import (
    FILE_NAME,
    Tombstone,
    put_tombstone,
    read_tombstones,
    slug_hash,
)
from viral.database.urls import ServerUrl, parse_url
from viral.errors import BadSetting, LockNotObtained, NotFound, SchemaError, TenantContextUnknown
from viral.features import erasure
from viral.features.erasure import apply_tombstones, count_rows, erase_tenant
from viral.features.users.members import add_member
from viral.postgres.backup.logical import dump_file, restore_logical
from viral.postgres.dump import dump
from viral.runtime import open_runtime
from viral.schema.tables import METADATA
from viral.schema.tenants import User
from viral.settings import Settings

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOWHERE = parse_url("postgresql://viral_migrator:secret@127.0.0.1:1/viral")

# What the whole database holds, partitions on their own: a tenant's id may stand anywhere.
LEAVES = text("""
SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname IN ('public', 'viral') ORDER BY 1
""")

# The process dies at a moment that no signal from outside hits: the file is written, COMMIT or the
# file's last change is still to come.
KILLED = """
import asyncio, os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID
from viral.database.urls import parse_url
from viral.features import erasure

put, fatal = erasure.put_tombstone, sys.argv[4]

def put_and_die(home, tombstone):
    if fatal == "before done" and tombstone.state == "done":
        os.kill(os.getpid(), signal.SIGKILL)
    put(home, tombstone)
    if fatal == "before commit":
        os.kill(os.getpid(), signal.SIGKILL)

erasure.put_tombstone = put_and_die
asyncio.run(erasure.erase_tenant(
    parse_url(sys.argv[1]), Path(sys.argv[2]),
    tenant_id=UUID(sys.argv[3]), slug="alice", now=datetime.now(UTC),
))
"""


@pytest.fixture
def home(cluster: Cluster, tmp_path: Path) -> Path:
    """An installation of the test's own on the shared server: its tombstones are nobody else's."""
    shutil.copy(cluster.home / "secrets.json", tmp_path)
    return tmp_path


@pytest.fixture
def migrator(cluster: Cluster, database_name: str) -> ServerUrl:
    return cluster.url("viral_migrator", database_name)


@pytest.fixture
def settings(cluster: Cluster, database_name: str, home: Path) -> Settings:
    return Settings(
        home=home,
        database_url=cluster.server.url("viral_app", database_name),
        direct_url=cluster.server.url("viral_migrator", database_name),
    )


@pytest.fixture
async def filled(admin: AsyncConnection, alice: TestTenant, bob: TestTenant) -> AsyncConnection:
    await fill_every_table(admin, alice)
    await fill_every_table(admin, bob)
    return admin


async def erase(migrator: ServerUrl, home: Path, tenant: TestTenant) -> Tombstone:
    return await erase_tenant(migrator, home, tenant_id=tenant.id, slug=tenant.slug, now=NOW)


async def rows_that_name(admin: AsyncConnection, *words: object) -> dict[str, list[str]]:
    """Find the rows, in every table and partition, that hold one of the words anywhere."""
    found = {}
    await admin.rollback()
    for table in list(await admin.scalars(LEAVES)):
        rows = await admin.scalars(
            text(f"SELECT t::text FROM {table} AS t WHERE t::text LIKE ANY (:words) ORDER BY 1"),
            {"words": [f"%{word}%" for word in words]},
        )
        if lines := list(rows):
            found[table] = lines
    await admin.rollback()
    return found


async def people(admin: AsyncConnection) -> set[str]:
    await admin.rollback()
    return set(await admin.scalars(text("SELECT email FROM users")))


async def test_nothing_of_an_erased_tenant_stays_and_nobody_else_loses_a_row(
    filled: AsyncConnection, migrator: ServerUrl, home: Path, alice: TestTenant, bob: TestTenant
) -> None:
    before = await rows_that_name(filled, bob.id, bob.user_id)
    owned = {str(table) for table in METADATA.tables.values() if "tenant_id" in table.columns}
    named = await rows_that_name(filled, alice.id, alice.user_id)
    partitions = {each for each in named if each.startswith("api_usage_")}

    await erase(migrator, home, alice)

    assert owned - named.keys() <= {"api_usage", "analytics_snapshots"}
    assert partitions
    assert {} == await rows_that_name(filled, alice.id, alice.user_id)
    assert before == await rows_that_name(filled, bob.id, bob.user_id)


async def test_the_count_before_and_the_tombstone_say_what_there_was(
    filled: AsyncConnection,
    migrator: ServerUrl,
    home: Path,
    app: Database,
    system: Database,
    alice: TestTenant,
) -> None:
    expected = {"tenants": 1, "users": 1}
    for table in METADATA.tables.values():
        if "tenant_id" in table.columns and table.name != "users":
            query = text(f"SELECT count(*) FROM {table} WHERE tenant_id = :id")
            expected[str(table)] = await filled.scalar(query, {"id": alice.id}) or 0
    await filled.rollback()
    steps: list[tuple[str, int, int | None]] = []

    counted = await count_rows(app, system, alice.id, advance=lambda *step: steps.append(step))
    tombstone = await erase(migrator, home, alice)

    assert expected == tombstone.rows
    # Its token's hash is no role's to read.
    assert {"viral.tenant_contexts": 1} == dict(expected.items() - counted.items())
    assert counted.keys() <= expected.keys()
    assert [(n, len(expected) - 3) for n in range(1, len(steps) + 1)] == [s[1:] for s in steps]


async def test_people_stay_with_those_who_let_them_in(
    admin: AsyncConnection,
    app: Database,
    system: Database,
    migrator: ServerUrl,
    home: Path,
    alice: TestTenant,
    bob: TestTenant,
) -> None:
    async with system.session_without_tenant() as session:
        for name, tenants, is_operator in (
            ("lonely", [alice], False),
            ("shared", [alice, bob], False),
            ("left-bob", [alice, bob], False),
            ("operator", [alice], True),
            ("bobs", [bob], False),
        ):
            user = User(email=f"{name}@x.org", is_operator=is_operator, tenant_id=alice.id)
            session.add(user)
            await session.flush()
            for tenant in tenants:
                member = await add_member(
                    session, tenant_id=tenant.id, user_id=user.id, role="MEMBER"
                )
                member.ended_at = NOW if (name, tenant) == ("left-bob", bob) else None
        session.add(User(email="waiting@x.org", tenant_id=alice.id))
        session.add(User(email="nobodys@x.org"))
    everybody = await people(admin)

    counted = await count_rows(app, system, alice.id, advance=lambda *_: None)
    tombstone = await erase(migrator, home, alice)

    gone = {"alice@example.com", "lonely@x.org", "waiting@x.org"}
    assert everybody - gone == await people(admin)
    assert (3, 3) == (counted["users"], tombstone.rows["users"])


async def test_a_tombstone_is_private_and_does_not_name_the_client(
    migrator: ServerUrl, home: Path, alice: TestTenant
) -> None:
    tombstone = await erase(migrator, home, alice)

    path = home / FILE_NAME
    assert [tombstone] == read_tombstones(home)
    assert ("done", NOW, alice.id) == (tombstone.state, tombstone.erased_at, tombstone.tenant_id)
    assert slug_hash("alice") == tombstone.slug_sha256
    assert "alice" not in path.read_text().lower()
    assert 0o600 == path.stat().st_mode & 0o777


async def test_a_second_erasure_finds_nothing_and_keeps_the_tombstone(
    migrator: ServerUrl, home: Path, alice: TestTenant
) -> None:
    first = await erase(migrator, home, alice)

    with pytest.raises(NotFound):
        await erase(migrator, home, alice)

    assert [first] == read_tombstones(home)


async def test_a_restored_backup_is_erased_again_before_anybody_is_served(
    cluster: Cluster,
    filled: AsyncConnection,
    migrator: ServerUrl,
    settings: Settings,
    alice: TestTenant,
    bob: TestTenant,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = await rows_that_name(filled, bob.id, bob.user_id)
    key = new_key(NOW)
    copy = await dump(
        cluster.url("viral_backup", migrator.database), settings.home, name="before", key=key
    )
    tombstone = await erase(migrator, settings.home, alice)
    await filled.close()
    await cluster.execute_as_admin("postgres", f"DROP DATABASE {migrator.database} WITH (FORCE)")
    await restore_logical(
        dump_file(copy, KeyRing([key])),
        cluster.admin,
        cluster.secrets,
        database=migrator.database,
        bindir=None,
        advance=lambda *_: None,
    )
    async with superuser(cluster, migrator.database) as admin:
        came_back = await rows_that_name(admin, alice.id)

        async with open_runtime(settings) as runtime:
            with pytest.raises(TenantContextUnknown):
                async with runtime.app.tenant_session(alice.id) as session:
                    await session.execute(text("SELECT count(*) FROM concepts"))
            async with runtime.app.tenant_session(bob.id) as session:
                assert 1 == await session.scalar(text("SELECT count(*) FROM concepts"))

        assert {"tenants", "concepts", "viral.tenant_contexts"} <= came_back.keys()
        assert {} == await rows_that_name(admin, alice.id, alice.user_id)
        assert before == await rows_that_name(admin, bob.id, bob.user_id)
    said = capsys.readouterr()
    assert "" == said.out
    assert "tenant.erased_again" in said.err
    assert str(alice.id) in said.err
    assert [tombstone] == read_tombstones(settings.home)


async def test_what_is_killed_before_its_commit_is_finished_at_the_next_start(
    filled: AsyncConnection, migrator: ServerUrl, settings: Settings, alice: TestTenant
) -> None:
    before = await rows_that_name(filled, alice.id)

    await asyncio.to_thread(kill, migrator, settings.home, alice.id, "before commit")
    (pending,) = read_tombstones(settings.home)
    after_kill = await rows_that_name(filled, alice.id)
    async with open_runtime(settings):
        left = await rows_that_name(filled, alice.id, alice.user_id)

    assert before == after_kill
    assert ("pending", {}) == (pending.state, left)
    (done,) = read_tombstones(settings.home)
    assert ("done", pending.rows) == (done.state, done.rows)


async def test_what_is_killed_after_its_commit_is_noted_at_the_next_start(
    filled: AsyncConnection, migrator: ServerUrl, settings: Settings, alice: TestTenant
) -> None:
    await asyncio.to_thread(kill, migrator, settings.home, alice.id, "before done")
    (pending,) = read_tombstones(settings.home)
    left = await rows_that_name(filled, alice.id, alice.user_id)

    async with open_runtime(settings):
        (done,) = read_tombstones(settings.home)

    assert ("pending", {}) == (pending.state, left)
    assert ("done", pending.rows) == (done.state, done.rows)
    assert 1 == done.rows["concepts"]


def kill(migrator: ServerUrl, home: Path, tenant_id: UUID, moment: str) -> None:
    address = migrator.libpq(password=True)
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, address, home, str(tenant_id), moment], check=False
    )
    assert -9 == ended.returncode


async def test_without_tombstones_nothing_is_asked_of_the_database(home: Path) -> None:
    assert [] == await apply_tombstones(NOWHERE, home)


async def test_a_damaged_file_of_tombstones_lets_nobody_in(settings: Settings) -> None:
    put_tombstone(settings.home, Tombstone(UUID(int=7), slug_hash("x"), NOW, "done", {}))
    path = settings.home / FILE_NAME
    path.write_text(path.read_text().replace("done", "perhaps"))

    with pytest.raises(BadSetting, match=r"tombstones\.json is damaged"):
        async with open_runtime(settings):
            pytest.fail("the product opened")


async def test_a_tenant_of_the_same_slug_lives(
    cluster: Cluster, system: Database, settings: Settings, migrator: ServerUrl, alice: TestTenant
) -> None:
    await erase(migrator, settings.home, alice)
    again = await make_tenant(system, cluster.secrets, slug="alice")

    async with open_runtime(settings) as runtime, runtime.app.tenant_session(again.id) as session:
        assert "alice" == await session.scalar(text("SELECT slug FROM tenants"))


async def test_rows_and_people_that_are_just_coming_go_too(
    cluster: Cluster,
    admin: AsyncConnection,
    system: Database,
    migrator: ServerUrl,
    home: Path,
    alice: TestTenant,
) -> None:
    async with system.session_without_tenant() as session:
        late = User(email="late@x.org")
        session.add(late)
        await session.flush()
        await add_member(session, tenant_id=alice.id, user_id=late.id, role="MEMBER")
        erasing = asyncio.create_task(erase(migrator, home, alice))
        await until_somebody_waits(cluster, migrator.database)

    tombstone = await erasing

    assert (2, 2) == (tombstone.rows["memberships"], tombstone.rows["users"])
    assert {} == await rows_that_name(admin, alice.id, late.id)


async def until_somebody_waits(cluster: Cluster, database: str) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'"
    connection = await cluster.connect_as_admin("postgres")
    async with asyncio.timeout(15):
        while not await connection.fetchval(query, database):
            await asyncio.sleep(0.05)
    await connection.close()


async def test_a_lock_that_stays_ends_it_and_nothing_was_erased(
    admin: AsyncConnection,
    app: Database,
    migrator: ServerUrl,
    home: Path,
    alice: TestTenant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quickly = [each.replace("'30s'", "'50ms'") for each in erasure._SETTINGS]
    monkeypatch.setattr(erasure, "_SETTINGS", quickly)
    monkeypatch.setattr("viral.database.lock_patience._PAUSES_S", (0.01,))
    async with app.tenant_session(alice.id) as session:
        await session.execute(text("UPDATE tenants SET name = 'busy'"))

        with pytest.raises(LockNotObtained, match="nothing was erased"):
            await erase(migrator, home, alice)

    assert [] == read_tombstones(home)
    assert "tenants" in await rows_that_name(admin, alice.id)


async def test_of_two_tenants_erased_at_once_the_people_of_both_go(
    admin: AsyncConnection,
    system: Database,
    migrator: ServerUrl,
    home: Path,
    alice: TestTenant,
    bob: TestTenant,
) -> None:
    async with system.session_without_tenant() as session:
        user = User(email="shared@x.org")
        session.add(user)
        await session.flush()
        for tenant in (alice, bob):
            await add_member(session, tenant_id=tenant.id, user_id=user.id, role="MEMBER")

    await asyncio.gather(erase(migrator, home, alice), erase(migrator, home, bob))

    assert set() == await people(admin)
    assert {"done"} == {each.state for each in read_tombstones(home)}
    assert 2 == len(read_tombstones(home))


async def test_starts_at_the_same_time_erase_once(
    filled: AsyncConnection, migrator: ServerUrl, home: Path, alice: TestTenant
) -> None:
    put_tombstone(home, Tombstone(alice.id, slug_hash("alice"), NOW, "done", {}))

    erased = await asyncio.gather(*(apply_tombstones(migrator, home) for _ in range(3)))

    assert [[], [], [alice.id]] == sorted(erased)
    assert {} == await rows_that_name(filled, alice.id, alice.user_id)


async def test_a_table_made_by_hand_is_emptied_and_stays_closed(
    admin: AsyncConnection,
    migrator: ServerUrl,
    home: Path,
    alice: TestTenant,
    bob: TestTenant,
) -> None:
    await make_table(admin, "viral_owner", alice.id, bob.id)

    tombstone = await erase(migrator, home, alice)

    rows = list(await admin.scalars(text('SELECT tenant_id FROM "By hand"')))
    forced = text("SELECT relforcerowsecurity FROM pg_class WHERE relname = 'By hand'")
    assert [bob.id] == rows
    assert 1 == tombstone.rows['"By hand"']
    assert await admin.scalar(forced)


async def test_a_table_that_cannot_be_emptied_is_named_and_nothing_was_erased(
    admin: AsyncConnection, migrator: ServerUrl, home: Path, alice: TestTenant
) -> None:
    await make_table(admin, "viral_admin", alice.id)

    with pytest.raises(SchemaError, match=r"By hand.*nothing was erased"):
        await erase(migrator, home, alice)

    assert [] == read_tombstones(home)
    assert "tenants" in await rows_that_name(admin, alice.id)


async def make_table(admin: AsyncConnection, owner: str, *tenant_ids: UUID) -> None:
    """Make a table that knows nothing of tenants, but holds rows of them."""
    for statement in (
        'CREATE TABLE "By hand" (tenant_id uuid, note text)',
        'ALTER TABLE "By hand" ENABLE ROW LEVEL SECURITY',
        'ALTER TABLE "By hand" FORCE ROW LEVEL SECURITY',
        f'ALTER TABLE "By hand" OWNER TO {owner}',
    ):
        await admin.execute(text(statement))
    for tenant_id in tenant_ids:
        await admin.execute(text('INSERT INTO "By hand" VALUES (:id)'), {"id": tenant_id})
    await admin.commit()
