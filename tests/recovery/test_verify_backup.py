"""A backup that is not what was stored is found, and the file is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from servers import Homes, ask, server_in

from viral.cli import recovery
from viral.database.encryption.keys import KeyFile
from viral.errors import BackupBroken, BackupError, NotFound
from viral.postgres.account import server_account
from viral.postgres.backup.claim import claimed
from viral.postgres.backup.look import Sight, compare_sights
from viral.postgres.backup.physical import create_backup
from viral.postgres.backup.target import LocalFolder
from viral.postgres.backup.verify import Verifier, read_verified
from viral.postgres.backup.wal import ship, switch
from viral.postgres.backup.wal_status import read_wal_status
from viral.postgres.bootstrap import admin_connection, bootstrap
from viral.postgres.installation import load_or_create_installation, make_state_folder
from viral.postgres.server import Server
from viral.servers import main_server
from viral.settings import Settings

pytest_plugins = ["servers"]

ROWS = 5_000


@dataclass
class Backups:
    """A server with a chain of two backups and WAL after them."""

    server: Server
    verifier: Verifier
    full: str
    incremental: str

    @property
    def folder(self) -> Path:
        return self.server.home / "backups" / self.server.installation.id


@pytest.fixture(scope="module")
async def backups(homes: Homes) -> Backups:
    home = homes.new()
    server = Server(home=home, secrets=server_in(home).secrets, archives=True)
    target, ring = LocalFolder(home / "backups"), KeyFile.load_or_create(home, may_create=True)
    await server.start()
    await ask(server, "ALTER SYSTEM SET fsync = off")
    await ask(server, "ALTER SYSTEM SET autovacuum = off")
    await ask(server, "SELECT pg_reload_conf()")
    await bootstrap(server.socket_url("viral_admin"), server.secrets)
    full = await create_backup(server, target, ring, kind="full", advance=silent)
    await execute(server, "CREATE TABLE kept (n int PRIMARY KEY)")
    await execute(server, f"INSERT INTO kept SELECT generate_series(1, {ROWS})")
    incremental = await create_backup(server, target, ring, kind="incremental", advance=silent)
    await switch(server)
    await execute(server, "CREATE TABLE later()")
    await switch(server)
    await execute(server, "CREATE TABLE last()")
    await switch(server)
    await ship(server, target, ring)
    verifier = Verifier(server, target, ring, clock=lambda: datetime.now(UTC), advance=silent)
    return Backups(server, verifier, full.id, incremental.id)


def silent(_step: str, _done: int, _total: int | None) -> None:
    """Show no progress."""


async def execute(server: Server, sql: str) -> None:
    async with admin_connection(server.socket_url("viral_admin", "viral")) as connection:
        await connection.execute(sql)


@contextmanager
def changed(path: Path, content: bytes | None) -> Iterator[None]:
    """Replace a file, or take it away."""
    former = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(former)


def with_a_flipped_bit(path: Path) -> bytes:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    return bytes(content)


async def test_a_whole_chain_is_whole(backups: Backups) -> None:
    verified = await backups.verifier.verify(None)

    assert verified.problems == ()
    assert verified.backup_id == backups.incremental
    assert verified.files == 4
    assert verified.segments >= 4


async def test_a_flipped_bit_in_any_file_is_found_and_named(backups: Backups) -> None:
    # The first segment is older than the first backup: no restore needs it.
    unneeded = "000000010000000000000001.sealed"
    files = [path for path in backups.folder.rglob("*.sealed") if path.name != unneeded]
    assert len(files) >= 8

    for path in files:
        with changed(path, with_a_flipped_bit(path)):
            verified = await backups.verifier.verify(backups.incremental)
        assert [path.name for each in verified.problems if path.name in each] == [path.name]


async def test_a_changed_manifest_is_refused(backups: Backups) -> None:
    manifest = backups.folder / "backups" / backups.full / "manifest.json"
    other = backups.folder / "backups" / backups.incremental / "manifest.json"

    for content in (with_a_flipped_bit(manifest), other.read_bytes()):
        with changed(manifest, content), pytest.raises(BackupBroken, match=manifest.name):
            await backups.verifier.verify(backups.full)


async def test_a_truncated_file_a_swapped_and_a_missing_one_are_named(backups: Backups) -> None:
    base = backups.folder / "backups" / backups.full / "base.tar.sealed"
    other = base.parents[1] / backups.incremental / base.name

    for content in (base.read_bytes()[:-1], other.read_bytes(), None):
        with changed(base, content), pytest.raises(BackupBroken, match=f"{backups.full}/base"):
            await backups.verifier.verify(backups.full)


async def test_a_missing_segment_is_named(backups: Backups) -> None:
    last, before = sorted(backups.folder.glob("wal/*/*/*.sealed"))[:-3:-1]

    with changed(before, None):
        verified = await backups.verifier.verify(None)

    assert len(verified.problems) == 1
    assert before.name in verified.problems[0]
    assert last.name not in verified.problems[0]


async def test_a_backup_that_is_not_there_is_not_verified(backups: Backups) -> None:
    with pytest.raises(NotFound):
        await backups.verifier.verify("20200101T000000Z-full")


async def test_what_a_killed_verification_left_goes_and_two_do_not_meet(homes: Homes) -> None:
    settings = Settings(home=homes.new())
    main_server(settings)
    load_or_create_installation(settings.home)
    left = load_or_create_installation(settings.home / "verifying")
    make_state_folder(left, server_account())

    with (
        claimed(settings.home, "another", file_name="verifying.lock"),
        pytest.raises(BackupError, match="in use: another"),
    ):
        await recovery._verify(settings, None, is_deep=True)
    assert left.state.exists()

    with pytest.raises(BackupError, match="no backup yet"):
        await recovery._verify(settings, None, is_deep=True)
    assert (left.home.exists(), left.state.exists()) == (False, False)


async def test_a_deep_verification_restores_counts_and_keeps_its_figures(
    backups: Backups, homes: Homes
) -> None:
    scratch = homes.new()

    verified = await backups.verifier.verify(None, scratch=scratch)

    assert verified.problems == ()
    assert verified.compared
    assert (verified.rows or 0) >= ROWS
    assert verified.recovery_s
    assert verified.recovery_point_s is not None
    assert not scratch.exists()
    identity = backups.server.installation.id
    assert await read_verified(backups.verifier.target, identity) == {verified.backup_id: verified}
    status = await read_wal_status(
        backups.server,
        backups.verifier.target,
        backups.verifier.ring,
        is_on=True,
        now=datetime.now(UTC),
    )
    assert [chain.verified for chain in status.chains] == [verified]
    assert status.problems == []


def test_rows_that_a_copy_lacks_are_told() -> None:
    source, copy = Sight({"public.a": 3, "public.b": 1}, {}), Sight({"public.a": 2}, {})

    assert [each.split()[0] for each in compare_sights(source, copy)] == ["public.a", "public.b"]
