"""A copy holds every row of every tenant, shows no password, and leaves nothing half made."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from clusters import TEMPLATE, Cluster, count_rows, superuser
from factories import TestTenant, fill_every_table
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.encryption.keys import FieldKey, KeyRing
from viral.database.urls import ServerUrl
from viral.errors import BackupBroken, ServerError
from viral.postgres.backup.logical import dump_file, restore_logical
from viral.postgres.dump import dump as dump_sealed
from viral.schema.tables import METADATA

KEY = FieldKey("0123abcd", bytes(range(32)))
_DUMP = """
import asyncio, sys
from pathlib import Path
from viral.database.encryption.keys import FieldKey
from viral.database.urls import parse_url
from viral.postgres.dump import dump
key = FieldKey("0123abcd", bytes(range(32)))
asyncio.run(dump(parse_url(sys.argv[1]), Path(sys.argv[2]), name="killed", key=key))
"""


async def dump(url: ServerUrl, folder: Path, *, name: str) -> Path:
    return await dump_sealed(url, folder, name=name, key=KEY)


@pytest.fixture
def url(cluster: Cluster, database_name: str) -> ServerUrl:
    return cluster.url("viral_backup", database_name)


@pytest.fixture
async def filled(admin: AsyncConnection, alice: TestTenant, bob: TestTenant) -> AsyncConnection:
    await fill_every_table(admin, alice)
    await fill_every_table(admin, bob)
    return admin


@asynccontextmanager
async def stalled(admin: AsyncConnection) -> AsyncIterator[None]:
    """Hold a lock that keeps every copy of this database waiting."""
    await admin.execute(text("LOCK TABLE videos IN ACCESS EXCLUSIVE MODE"))
    yield
    await admin.rollback()


async def pid_of_dump(database: str) -> int:
    """Find the program at work, once it is."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            words = path.read_bytes() if path.exists() else b""
            place = path.with_name("environ")
            if b"pg_dump\0" in words and f"PGDATABASE={database}\0".encode() in place.read_bytes():
                return int(path.parent.name)
        await asyncio.sleep(0.05)
    raise AssertionError("no pg_dump came")


async def waiting(admin_elsewhere: AsyncConnection, database: str) -> None:
    deadline = time.monotonic() + 30
    query = text(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = :database"
        " AND application_name = 'pg_dump' AND wait_event_type = 'Lock'"
    )
    while not await admin_elsewhere.scalar(query, {"database": database}):
        await admin_elsewhere.rollback()
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await admin_elsewhere.rollback()


async def test_a_copy_holds_the_rows_of_all_tenants_in_every_table(
    cluster: Cluster, url: ServerUrl, tmp_path: Path, filled: AsyncConnection
) -> None:
    tables = [str(table) for table in METADATA.sorted_tables]
    expected = {table: await count_rows(filled, table) for table in tables}

    copy = await dump(url, tmp_path, name="before a test!")

    chunks = dump_file(copy, KeyRing([KEY]))
    await restore_logical(
        chunks,
        cluster.admin,
        cluster.secrets,
        database="restored",
        bindir=None,
        advance=lambda *_: None,
    )
    try:
        async with superuser(cluster, "restored") as restored:
            found = {table: await count_rows(restored, table) for table in tables}
    finally:
        await cluster.execute_as_admin("postgres", "DROP DATABASE restored WITH (FORCE)")
    assert expected == found
    assert min(expected.values()) > 0
    assert expected["videos"] == 2


async def test_a_copy_is_named_after_its_reason_and_moment_and_is_its_owners_alone(
    url: ServerUrl, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    names = [(await dump(url, folder, name="Before 1/2")).name for _ in range(2)]

    copies = sorted(folder.iterdir())
    assert sorted(names) == [each.name for each in copies]
    assert [0o600, 0o600] == [each.stat().st_mode & 0o777 for each in copies]
    assert 0o700 == folder.stat().st_mode & 0o777
    assert all(name.startswith("before-1-2-2") and name.endswith(".dump.sealed") for name in names)


async def test_a_wrong_password_is_one_line_and_leaves_no_file(
    url: ServerUrl, tmp_path: Path
) -> None:
    wrong = url.for_role("viral_backup", "wrong-secret")

    with pytest.raises(
        ServerError, match=r"^No copy of .*password authentication failed"
    ) as caught:
        await dump(wrong, tmp_path, name="x")

    assert "\n" not in caught.value.message
    assert "secret" not in caught.value.message + caught.value.hint
    assert "sets the password of viral_backup" in caught.value.hint
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("loss", "gain", "words"),
    [
        ("ALTER ROLE viral_backup NOBYPASSRLS", "ALTER ROLE viral_backup BYPASSRLS", "row-level"),
        (
            "REVOKE pg_read_all_data FROM viral_backup",
            "GRANT pg_read_all_data TO viral_backup",
            "permission denied",
        ),
    ],
)
async def test_a_role_that_does_not_see_every_row_makes_no_copy(
    cluster: Cluster, url: ServerUrl, tmp_path: Path, loss: str, gain: str, words: str
) -> None:
    await cluster.execute_as_admin("postgres", loss)
    try:
        with pytest.raises(ServerError, match=words) as caught:
            await dump(url, tmp_path, name="x")
    finally:
        await cluster.execute_as_admin("postgres", gain)

    assert "BYPASSRLS and pg_read_all_data" in caught.value.hint
    assert [] == list(tmp_path.iterdir())


async def test_a_folder_that_cannot_be_written_is_named(url: ServerUrl, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ServerError, match=r"could be made: File exists \(.*/file\)"):
        await dump(url, tmp_path / "file", name="x")


async def test_a_copy_at_work_shows_no_password_and_ends_with_its_command(
    cluster: Cluster, url: ServerUrl, tmp_path: Path, admin: AsyncConnection
) -> None:
    async with stalled(admin), superuser(cluster, TEMPLATE) as watcher:
        copying = asyncio.create_task(dump(url, tmp_path, name="x"))
        await waiting(watcher, url.database)
        pid = await pid_of_dump(url.database)
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        names = [path.suffix for path in tmp_path.iterdir()]
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying

    assert url.password.encode() not in words
    assert [".part"] == names
    assert [] == list(tmp_path.iterdir())
    assert not Path(f"/proc/{pid}").exists()


async def test_what_a_killed_copy_leaves_goes_with_the_next_but_not_while_it_is_written(
    cluster: Cluster, url: ServerUrl, tmp_path: Path, admin: AsyncConnection
) -> None:
    other = cluster.url("viral_backup", TEMPLATE)
    address = cluster.server.url("viral_backup", url.database)
    async with stalled(admin), superuser(cluster, TEMPLATE) as watcher:
        killed = subprocess.Popen([sys.executable, "-c", _DUMP, address, tmp_path])
        await waiting(watcher, url.database)
        pid = await pid_of_dump(url.database)

        first = await dump(other, tmp_path, name="first")
        beside = sorted(path.suffix for path in tmp_path.iterdir())
        killed.kill()
        await asyncio.to_thread(killed.wait)
        second = await dump(other, tmp_path, name="second")
    while Path(f"/proc/{pid}").exists():
        await asyncio.sleep(0.05)

    assert [".part", ".sealed"] == beside
    assert {first, second} == set(tmp_path.iterdir())


@pytest.mark.usefixtures("filled")
async def test_a_restore_point_shows_no_row_and_a_changed_one_is_refused(
    cluster: Cluster, url: ServerUrl, tmp_path: Path
) -> None:
    copy = await dump(url, tmp_path, name="x")
    content = copy.read_bytes()
    copy.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    assert b"alice" not in content
    with pytest.raises(BackupBroken, match=copy.name):
        await restore_logical(
            dump_file(copy, KeyRing([KEY])),
            cluster.admin,
            cluster.secrets,
            database="never",
            bindir=None,
            advance=lambda *_: None,
        )
    async with superuser(cluster, TEMPLATE) as connection:
        assert not await connection.scalar(
            text("SELECT true FROM pg_database WHERE datname = 'never'")
        )
