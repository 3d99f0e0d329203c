"""A server as it was at a moment: all that was committed before, nothing of what came later."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from pasts import ROWS, History, execute, one, silent
from servers import Homes, ask

from viral.database.encryption.keys import KeyFile
from viral.database.engine import Database
from viral.database.urls import parse_url
from viral.errors import AlreadyExists, BackupBroken, BackupError, RestoreRefused
from viral.postgres.backup import restore
from viral.postgres.backup.catalogue import list_backups
from viral.postgres.backup.recovery import read_archive
from viral.postgres.backup.restore import remove_server, restore_cluster
from viral.postgres.backup.target import LocalFolder
from viral.postgres.backup.wal import ship, switch, wal_folder
from viral.postgres.bootstrap import bootstrap
from viral.postgres.branches.registry import MAIN
from viral.postgres.disk import SPARE_BYTES
from viral.postgres.server import Server
from viral.servers import local_branches

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


async def test_a_backup_is_restored_into_a_branch(history: History) -> None:
    branches = local_branches(history.settings)
    catalogue = await list_backups(history.target, history.server.installation.id, history.ring)
    backup = catalogue.physical[0]

    restored = await branches.bring_back("rescue", at=None, backup_id=backup.id, advance=silent)

    made = branches.registry.get("rescue")
    assert (made.state, made.home, made.parent_id) == ("ready", restored.server.home, MAIN.id)
    assert made.parent_at == (restored.recovered_to or backup.stopped_at)
    assert await one(restored.server, "SELECT count(*) FROM kept") == 1000
    with pytest.raises(AlreadyExists):
        await branches.bring_back("rescue", at=None, backup_id=backup.id, advance=silent)
    await branches.delete(made)
    assert not restored.server.home.exists()


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
    system = catalogue.physical[1].system_identifier
    archive = await read_archive(history.target, identity, history.ring, system=system)
    after_backup = archive.names_from(catalogue.physical[1].stop_lsn, 1)
    next(after_backup)
    missing = next(after_backup)
    for _ in range(2):
        await execute(server, "CREATE TABLE IF NOT EXISTS more()", "DROP TABLE more")
        await switch(server)
    await ship(server, history.target, history.ring)

    with (
        away(history.stored / "wal" / system / "00000001" / f"{missing}.sealed"),
        # The server keeps the newest itself.
        away(server.data_dir / "pg_wal" / missing),
        pytest.raises(RestoreRefused, match=missing),
    ):
        await history.restore(home, at=datetime.now(UTC))

    assert not home.exists()


class ReadOnly(LocalFolder):
    """A target whose quota is used up."""

    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> int:  # noqa: ARG002 - the target's
        raise BackupError(f"{name} cannot be stored.")


async def restored_from(target: LocalFolder, history: History, home: Path) -> Server:
    restored = await restore_cluster(
        history.server,
        target,
        history.ring,
        home=home,
        at=datetime.now(UTC),
        prepare=lambda server: bootstrap(server.socket_url("viral_admin"), server.secrets),
        advance=silent,
    )
    return restored.server


async def test_wal_that_nobody_shipped_is_restored_from_the_spool_and_a_hole_in_it_is_told(
    history: History, homes: Homes
) -> None:
    server, target = history.server, ReadOnly(Path(history.target.location))
    await ship(server, history.target, history.ring)
    segments = []
    for name in ("spooled", "after"):
        await execute(server, f"CREATE TABLE {name}()")
        segments.append(await switch(server))
    # A promotion after the moment, whose history nobody stored: its number is taken.
    fork = server.installation.spool / "00000002.history"
    fork.write_text("1\t0/1000000\tby hand\n")
    later = datetime.now(UTC) + timedelta(hours=1)
    os.utime(fork, (later.timestamp(), later.timestamp()))
    spooled = server.installation.spool / segments[0]

    # The server has used the file for a later segment.
    with away(server.data_dir / "pg_wal" / segments[0]):
        with away(spooled), pytest.raises(RestoreRefused, match=segments[0]):
            await restored_from(target, history, homes.new())
        copy = await restored_from(target, history, homes.new())

    assert await one(copy, "SELECT to_regclass('spooled')") is not None
    assert await one(copy, "SELECT to_regclass('after')") is not None
    assert await one(copy, "SELECT timeline_id FROM pg_control_checkpoint()") == 3
    await remove_server(copy)
    fork.unlink()
    await ship(server, history.target, history.ring)


async def test_wal_counts_for_the_space_and_a_refusal_leaves_nothing(
    history: History, homes: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = homes.new()
    catalogue = await list_backups(history.target, history.server.installation.id, history.ring)
    newest = catalogue.physical[-1]
    without_wal = sum(each.plain_bytes for each in catalogue.chain(newest))
    without_wal += catalogue.chain(newest)[0].plain_bytes + SPARE_BYTES
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=without_wal))

    with pytest.raises(RestoreRefused, match="The restore needs"):
        await history.restore(home)
    # It is given to the server, and replayed in that one's own folder.
    monkeypatch.setattr(restore, "wal_bytes", lambda *_, until: 48 << 20)  # noqa: ARG005
    needed = (without_wal >> 20) + 2 * 48
    with pytest.raises(RestoreRefused, match=f"needs {needed:,} MB"):
        await history.restore(home)

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
