"""A server as it was at a moment: all that was committed before, nothing of what came later."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pasts import ROWS, History, execute, one, silent
from servers import Homes, ask

from viral.database.encryption.keys import KeyFile
from viral.database.engine import Database
from viral.database.urls import parse_url
from viral.errors import BackupBroken, RestoreRefused
from viral.postgres.backup.catalogue import list_backups
from viral.postgres.backup.recovery import read_archive
from viral.postgres.backup.restore import remove_server, restore_cluster
from viral.postgres.backup.wal import ship, switch, wal_folder
from viral.postgres.bootstrap import bootstrap
from viral.postgres.server import Server

pytest_plugins = ["servers", "pasts"]


@pytest.fixture(scope="module")
async def copy(history: History, homes: Homes) -> AsyncIterator[Server]:
    """Restore the second before the disasters; the tests of it share the copy."""
    server = await history.restore(homes.new(), at=history.moment)
    yield server
    await remove_server(server)


async def names_in(history: History) -> set[str]:
    listed = await history.target.list(wal_folder(history.server.installation.id))
    return {stored.name for stored in listed}


async def test_all_rows_before_the_moment_are_there_and_none_later(copy: Server) -> None:
    assert await one(copy, "SELECT count(*) FROM kept") == ROWS
    assert await one(copy, "SELECT min(n) FROM kept") == 1
    assert await one(copy, "SELECT to_regclass('later')") is None


async def test_a_database_cloned_past_the_wal_is_restored(copy: Server) -> None:
    assert await one(copy, "SELECT count(*) FROM kept", database="clone") == ROWS + 1


async def test_the_copy_archives_nothing_and_recovers_no_more(
    copy: Server, history: History
) -> None:
    before = await names_in(history)

    await execute(copy, "CREATE TABLE written AS SELECT 1")
    await switch(copy)
    await ship(copy, history.target, history.ring)

    assert await names_in(history) == before
    assert await one(copy, "SHOW recovery_target_time") == ""


async def test_tenants_work_in_the_copy_and_an_erased_one_stays_erased(
    copy: Server, history: History
) -> None:
    app = Database(parse_url(copy.url("viral_app")), context_key=copy.secrets.context_key)
    async with app.tenant_session(history.bob.id) as session:
        assert (await session.connection()) is not None
    await app.close()

    assert await one(copy, "SELECT array_agg(slug::text) FROM tenants") == ["bob"]
    assert await one(copy, "SELECT array_agg(slug::text) FROM tenants", database="clone") is None


async def test_a_moment_past_the_last_commit_is_the_last_commit(
    history: History, homes: Homes
) -> None:
    """The server of the copy dies at the end of the WAL, after it was there for all to see."""
    server = await history.restore(homes.new(), at=datetime.now(UTC))

    assert await one(server, "SELECT to_regclass('later')") is not None
    assert await one(server, "SELECT to_regclass('kept')") is None
    assert "recovery ended before" in server.log_file.read_text()
    await remove_server(server)


async def test_a_moment_before_the_end_of_the_first_backup_is_refused(
    history: History, homes: Homes
) -> None:
    home = homes.new()

    with pytest.raises(RestoreRefused, match="the earliest moment there is") as refused:
        await history.restore(home, at=history.before)

    assert not home.exists()
    catalogue = await list_backups(history.target, history.server.installation.id, history.ring)
    named = datetime.fromisoformat(refused.value.hint.split()[3])
    assert timedelta() <= named - catalogue.physical[0].stopped_at <= timedelta(seconds=1)


async def test_a_backup_can_be_restored_as_it_was(history: History, homes: Homes) -> None:
    catalogue = await list_backups(history.target, history.server.installation.id, history.ring)

    server = await history.restore(homes.new(), backup_id=catalogue.physical[0].id)

    assert await one(server, "SELECT count(*) FROM kept") == 1000
    await remove_server(server)


async def test_no_server_is_restored_over_another(history: History, copy: Server) -> None:
    with pytest.raises(RestoreRefused, match="holds a server already"):
        await history.restore(copy.home, at=history.moment)

    assert await ask(copy, "SELECT 1") == [(1,)]


async def test_a_missing_segment_is_named_and_nothing_is_left(
    history: History, homes: Homes
) -> None:
    home = homes.new()
    server, identity = history.server, history.server.installation.id
    catalogue = await list_backups(history.target, identity, history.ring)
    archive = await read_archive(history.target, identity, history.ring)
    after_backup = archive.names_from(catalogue.physical[1].stop_lsn, 1)
    next(after_backup)
    missing = next(after_backup)
    await execute(server, "CREATE TABLE IF NOT EXISTS more()")
    await switch(server)

    with (
        away(history.stored / "wal" / "00000001" / f"{missing}.sealed"),
        # The server keeps the newest itself.
        away(server.data_dir / "pg_wal" / missing),
        pytest.raises(RestoreRefused, match=missing),
    ):
        await history.restore(home, at=datetime.now(UTC))

    assert not home.exists()


async def test_another_key_and_a_changed_file_are_told(history: History, homes: Homes) -> None:
    home = homes.new()
    other = KeyFile.load_or_create(homes.new().parent / "keys", may_create=True)
    with pytest.raises(RestoreRefused, match="2 are broken"):
        await restore_cluster(
            history.server,
            history.target,
            other,
            home=home,
            at=history.moment,
            prepare=lambda server: bootstrap(server.socket_url("viral_admin"), server.secrets),
            advance=silent,
        )

    base = min(history.stored.glob("backups/*/base.tar.sealed"))
    with flipped(base), pytest.raises(BackupBroken, match=f"{base.parent.name}/{base.name}"):
        await history.restore(home, at=history.moment)

    assert not home.exists()


@contextmanager
def away(path: Path) -> Iterator[None]:
    aside = path.with_suffix(".aside")
    path.rename(aside)
    try:
        yield
    finally:
        aside.rename(path)


@contextmanager
def flipped(path: Path) -> Iterator[None]:
    content = path.read_bytes()
    path.write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])
    try:
        yield
    finally:
        path.write_bytes(content)
