"""The archive of WAL: nothing is lost on the way, and a full archive never stops the app."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from servers import Homes, ask, processes_of, server_in

from viral.database.encryption.keys import KeyFile, KeyRing, new_key
from viral.errors import BackupError
from viral.postgres.backup.physical import create_backup
from viral.postgres.backup.sealing import unseal
from viral.postgres.backup.target import LocalFolder
from viral.postgres.backup.wal import (
    SEGMENT_BYTES,
    read_archiver,
    read_spool,
    segment_name,
    segment_number,
    ship,
    switch,
    wal_folder,
    wal_object,
)
from viral.postgres.backup.wal_keys import release_key
from viral.postgres.configuration import GAP, MOST_WAITING, archive_command
from viral.postgres.data_folder import system_of
from viral.postgres.server import Server

pytest_plugins = ["servers"]


@dataclass
class Archiving:
    """A server that archives, and where to."""

    server: Server
    target: LocalFolder
    ring: KeyRing

    async def stored(self) -> set[str]:
        listed = await self.target.list(wal_folder(self.server.installation.id))
        return {each.name for each in listed}

    def name(self, segment: str) -> str:
        system = system_of(self.server.data_dir)
        assert system is not None
        return wal_object(self.server.installation.id, system, segment)


@pytest.fixture(scope="module")
async def archiving(homes: Homes) -> Archiving:
    home = homes.new()
    server = Server(home=home, secrets=server_in(home).secrets, archives=True)
    await server.start()
    ring = KeyFile.load_or_create(home, may_create=True)
    await ask(server, "ALTER SYSTEM SET autovacuum = off")
    return Archiving(server, LocalFolder(home / "backups"), ring)


async def write(server: Server) -> None:
    await ask(server, "CREATE TABLE IF NOT EXISTS written (n int)")
    await ask(server, "INSERT INTO written VALUES (1)")


async def test_what_was_committed_is_in_the_target_and_leaves_the_spool(
    archiving: Archiving,
) -> None:
    await write(archiving.server)
    segment = await switch(archiving.server)

    shipped = await ship(archiving.server, archiving.target, archiving.ring)

    assert shipped.files >= 1
    name = archiving.name(segment)
    assert name in await archiving.stored()
    pieces = unseal(archiving.target.read(name), archiving.ring, name=name)
    assert sum([len(piece) async for piece in pieces]) == SEGMENT_BYTES
    assert read_spool(archiving.server.installation).waiting == 0


async def test_a_segment_of_another_data_folder_never_replaces_one_of_that_name(
    archiving: Archiving,
) -> None:
    await write(archiving.server)
    segment = await switch(archiving.server)
    waiting = archiving.server.installation.spool / segment
    ours = waiting.read_bytes()
    await ship(archiving.server, archiving.target, archiving.ring)
    # The identifier of an upgraded server, or of one begun anew, in its first page.
    waiting.write_bytes(ours[:24] + (42).to_bytes(8, sys.byteorder) + ours[32:])
    await ship(archiving.server, archiving.target, archiving.ring)

    other = wal_object(archiving.server.installation.id, "42", segment)
    assert {archiving.name(segment), other} <= await archiving.stored()
    name = archiving.name(segment)
    pieces = unseal(archiving.target.read(name), archiving.ring, name=name)
    assert b"".join([piece async for piece in pieces]) == ours


async def test_who_missed_that_a_key_was_retired_seals_nothing_with_it(
    archiving: Archiving,
) -> None:
    """Such as a worker that was started with the former VIRAL_FIELD_KEYS."""
    server, target = archiving.server, archiving.target
    former, later = new_key(datetime.now(UTC)), KeyRing([new_key(datetime.now(UTC))])
    await release_key(target, server.installation, later, former.id, advance=lambda *_: None)
    await write(server)
    segment = await switch(server)

    with pytest.raises(BackupError, match=f"{former.id} was retired"):
        await ship(server, target, KeyRing([former, later.primary]))
    with pytest.raises(BackupError, match=f"{former.id} was retired"):
        await create_backup(server, target, KeyRing([former]), advance=lambda *_: None)

    assert archiving.name(segment) not in await archiving.stored()
    await ship(server, target, later)
    assert archiving.name(segment) in await archiving.stored()


async def test_a_key_is_retired_after_what_is_shipped_with_it_just_then(
    archiving: Archiving,
) -> None:
    server, former, later = archiving.server, new_key(datetime.now(UTC)), new_key(datetime.now(UTC))
    begun, goes_on = asyncio.Event(), asyncio.Event()

    class Slow(LocalFolder):
        async def write(self, name: str, chunks: AsyncIterator[bytes]) -> int:
            begun.set()
            await goes_on.wait()
            return await super().write(name, chunks)

    target = Slow(server.home / "slow")
    await write(server)
    await switch(server)
    shipping = asyncio.create_task(ship(server, target, KeyRing([former])))
    await begun.wait()
    ring = KeyRing([later, former])
    retiring = asyncio.create_task(
        release_key(target, server.installation, ring, former.id, advance=lambda *_: None)
    )
    await asyncio.sleep(0.3)
    assert not retiring.done()
    goes_on.set()
    await shipping

    with pytest.raises(BackupError, match=f"{former.id} is needed"):
        await retiring


async def test_a_segment_archived_again_after_a_kill_is_no_error(archiving: Archiving) -> None:
    server = archiving.server
    await write(server)
    segment = await switch(server)
    # As if the server had died before it noted that the segment is archived.
    status = server.data_dir / "pg_wal" / "archive_status"
    postmaster = (await processes_of(server)).postmaster
    assert postmaster is not None
    os.kill(postmaster, 9)
    await server.stop()
    (status / f"{segment}.done").rename(status / f"{segment}.ready")

    await server.start()
    await switch(server)

    assert (await read_archiver(server)).failures == 0
    await ship(server, archiving.target, archiving.ring)
    assert archiving.name(segment) in await archiving.stored()


async def test_when_nobody_ships_the_archive_has_a_gap_and_the_app_goes_on(
    archiving: Archiving, waiting: Path
) -> None:
    await write(archiving.server)
    segment = await switch(archiving.server)

    spool = read_spool(archiving.server.installation)

    assert spool.gap == segment
    assert not (waiting / segment).exists()
    assert spool.waiting == MOST_WAITING


@pytest.fixture
async def waiting(archiving: Archiving) -> AsyncIterator[Path]:
    """Fill the spool; empty segments do for that."""
    await switch(archiving.server)
    await ship(archiving.server, archiving.target, archiving.ring)
    spool = archiving.server.installation.spool
    for number in range(MOST_WAITING):
        (spool / segment_name(9, number)).touch()
    yield spool
    for file in spool.iterdir():
        file.unlink()


@pytest.fixture
def full_disk(archiving: Archiving) -> Iterator[Path]:
    """Put a tiny file system where the archive is."""
    spool = archiving.server.installation.spool
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=1m,mode=0777", "viral-test", str(spool)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small file system here")
    yield spool
    subprocess.run(["/bin/umount", str(spool)], check=True)


async def test_a_full_disk_of_the_archive_is_seen_and_the_app_goes_on(
    archiving: Archiving, full_disk: Path
) -> None:
    before = await ask(archiving.server, "SELECT pg_walfile_name(pg_current_wal_lsn())")
    await write(archiving.server)
    await ask(archiving.server, "SELECT pg_switch_wal()")
    for _ in range(200):
        archiver = await read_archiver(archiving.server)
        if archiver.is_failing:
            break
        await ask(archiving.server, "SELECT pg_sleep(0.05)")

    assert archiver.is_failing
    assert archiver.last_failed is not None
    assert segment_number(archiver.last_failed) >= segment_number(str(before[0][0]))
    await write(archiving.server)
    assert not any(path.name.startswith(".") for path in full_disk.iterdir())


def test_a_segment_is_dropped_when_the_spool_takes_none_and_too_many_wait(tmp_path: Path) -> None:
    """Run the command as the server does, in a data folder, into a spool that takes nothing."""
    spool = tmp_path / "it's a 100% spool"
    spool.mkdir()
    status = tmp_path / "pg_wal" / "archive_status"
    status.mkdir(parents=True)
    segment = segment_name(1, 7)
    # No copy of it can be made: there is none.
    command = _command(spool, segment)

    assert subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, check=False).returncode == 1
    for number in range(MOST_WAITING):
        (status / f"{segment_name(1, number)}.ready").touch()
    assert subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, check=False).returncode == 0
    assert (spool / GAP).read_text().strip() == segment
    os.utime(spool / GAP, (0, 0))
    dropped = ["/bin/sh", "-c", _command(spool, segment_name(1, 8))]
    assert subprocess.run(dropped, cwd=tmp_path, check=False).returncode == 0
    # It names the first, and its time is that of the last.
    assert (spool / GAP).read_text().strip() == segment
    assert (spool / GAP).stat().st_mtime > 0


def test_a_segment_is_archived_whole_and_never_replaced_by_another(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    (tmp_path / "pg_wal").mkdir()
    segment = segment_name(1, 7)
    (tmp_path / "pg_wal" / segment).write_bytes(b"one")

    for content, code in ((b"one", 0), (b"one", 0), (b"two", 1)):
        (tmp_path / "pg_wal" / segment).write_bytes(content)
        ended = subprocess.run(
            ["/bin/sh", "-c", _command(spool, segment)], cwd=tmp_path, check=False
        )
        assert ended.returncode == code

    assert [path.name for path in spool.iterdir()] == [segment]
    assert (spool / segment).read_bytes() == b"one"


def _command(spool: Path, segment: str) -> str:
    """Fill the command in as PostgreSQL does."""
    command = archive_command(spool).replace("%p", f"pg_wal/{segment}").replace("%f", segment)
    return command.replace("%%", "%")
