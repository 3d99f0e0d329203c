"""Sealed backups of a real server: whole, and where something breaks, none at all."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from servers import PREAMBLE, Homes, as_admin, ask, processes_of, run_script, server_in
from shell import Answer, Shell

from viral.database.encryption.keys import KeyFile, KeyRing, new_key
from viral.database.secrets import Secrets
from viral.errors import BackupError, ServerRefused
from viral.postgres.backup.catalogue import Backup, Catalogue, Kind, list_backups, publish
from viral.postgres.backup.claim import claimed
from viral.postgres.backup.physical import create_backup
from viral.postgres.backup.sealing import unseal
from viral.postgres.backup.target import LocalFolder, Target
from viral.postgres.backup.wal import read_spool, wal_folder
from viral.postgres.binaries import find_binaries
from viral.postgres.bootstrap import bootstrap
from viral.postgres.configuration import GAP, SETTINGS_FILE
from viral.postgres.server import Server

pytest_plugins = ["servers"]

SECRET = "a sentence that nobody else may read"
HALF_WAY_BYTES = 2 << 20

STOPPED_HALF_WAY = (
    PREAMBLE
    + f"""
from viral.database.encryption.keys import KeyFile
from viral.postgres.backup.physical import create_backup
from viral.postgres.backup.target import LocalFolder
class Slow(LocalFolder):
    async def write(self, name, chunks):
        async def slow():
            done = 0
            async for chunk in chunks:
                yield chunk
                done += len(chunk)
                if done > {HALF_WAY_BYTES}:
                    print("half-way", flush=True)
                    await asyncio.sleep(60)
        return await super().write(name, slow())
ring = KeyFile.load_or_create(home, may_create=True)
asyncio.run(create_backup(server, Slow(home / "backups"), ring, advance=lambda *_: None))
"""
)


@pytest.fixture(scope="module")
async def server(homes: Homes) -> Server:
    """Give a server with the roles of the product, and rows that a backup has to hold."""
    server = server_in(homes.new())
    await server.start()
    secrets = Secrets.load(server.home)
    # Durability is not what is tested here.
    await ask(server, "ALTER SYSTEM SET fsync = off")
    await ask(server, "SELECT pg_reload_conf()")
    await bootstrap(server.socket_url("viral_admin"), secrets)
    await ask(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    await ask(server, f"CREATE TABLE texts AS SELECT '{SECRET}' AS text")
    return server


@pytest.fixture
def ring(server: Server) -> KeyRing:
    return KeyFile.load_or_create(server.home, may_create=True)


@pytest.fixture
def target(server: Server) -> Iterator[LocalFolder]:
    folder = server.home / "backups"
    yield LocalFolder(folder)
    shutil.rmtree(folder, ignore_errors=True)


async def back_up(
    server: Server, target: Target, ring: KeyRing, kind: Kind | None = None
) -> Backup:
    return await create_backup(server, target, ring, kind=kind, advance=lambda *_: None)


async def listed(server: Server, target: Target, ring: KeyRing) -> Catalogue:
    return await list_backups(target, server.installation.id, ring)


async def content(
    server: Server, target: Target, ring: KeyRing, backup: Backup, file: str
) -> bytes:
    name = f"{server.installation.id}/backups/{backup.id}/{file}"
    async with aclosing(unseal(target.read(name), ring, name=name)) as chunks:
        return b"".join([chunk async for chunk in chunks])


def stored_files(target: LocalFolder) -> list[Path]:
    return [path for path in Path(target.location).rglob("*") if path.is_file()]


async def test_a_full_backup_is_whole_by_itself(
    server: Server, target: LocalFolder, ring: KeyRing, tmp_path: Path
) -> None:
    backup = await back_up(server, target, ring)
    archive = await content(server, target, ring, backup, "base.tar.sealed")

    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(tmp_path, filter="data")
    # It also reads the WAL from the start to the stop of the backup.
    checked = subprocess.run(
        [find_binaries(None).program("pg_verifybackup"), tmp_path],
        capture_output=True,
        check=False,
        text=True,
    )
    assert checked.stdout.strip() == "backup successfully verified", checked.stderr
    manifest = await content(server, target, ring, backup, "backup_manifest.sealed")
    assert manifest == (tmp_path / "backup_manifest").read_bytes()
    [wal] = json.loads(manifest)["WAL-Ranges"]
    assert (backup.start_lsn, backup.stop_lsn) == (wal["Start-LSN"], wal["End-LSN"])
    assert (backup.kind, backup.timeline, backup.plain_bytes) == ("full", 1, len(archive))
    assert (await listed(server, target, ring)).backups == (backup,)


async def test_nothing_of_a_backup_lies_there_in_the_clear(
    server: Server, target: LocalFolder, ring: KeyRing
) -> None:
    backup = await back_up(server, target, ring)

    archive = await content(server, target, ring, backup, "base.tar.sealed")
    assert SECRET.encode() in archive
    for path in stored_files(target):
        assert SECRET.encode() not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0


async def test_the_second_backup_builds_on_the_first(
    server: Server, target: LocalFolder, ring: KeyRing
) -> None:
    first = await back_up(server, target, ring)
    second = await back_up(server, target, ring)
    third = await back_up(server, target, ring)
    full = await back_up(server, target, ring, "full")

    assert [each.kind for each in (first, second, third, full)] == [
        "full",
        "incremental",
        "incremental",
        "full",
    ]
    catalogue = await listed(server, target, ring)
    assert catalogue.chain(third) == (first, second, third)
    assert catalogue.chain(full) == (full,)
    assert second.stored_bytes < first.stored_bytes / 10


async def test_progress_counts_every_byte(
    server: Server, target: LocalFolder, ring: KeyRing
) -> None:
    seen: list[tuple[int, int]] = []

    def advance(step: str, done: int, total: int | None) -> None:
        assert step == "Backing up"
        assert total is not None
        seen.append((done, total))

    backup = await create_backup(server, target, ring, advance=advance)

    assert seen[-1][0] == backup.plain_bytes
    assert all(done <= total for done, total in seen)
    assert seen == sorted(seen)


async def test_an_incremental_backup_needs_a_full_one(
    server: Server, target: LocalFolder, ring: KeyRing
) -> None:
    with pytest.raises(BackupError, match="there is no full one to build on"):
        await back_up(server, target, ring, "incremental")


async def test_what_cannot_be_built_on_leads_to_a_full_backup(
    server: Server, target: LocalFolder, ring: KeyRing
) -> None:
    first = await back_up(server, target, ring)

    for change, reason in [
        (replace(first, started_at=first.started_at - timedelta(days=7)), "of the last 7 days"),
        (replace(first, system_identifier="1"), "before it was restored or replaced"),
        (replace(first, parent_id="gone"), "builds on gone, which is gone"),
        (replace(first, timeline=2), "before it was restored or replaced"),
    ]:
        await publish(target, server.installation.id, change, ring)
        with pytest.raises(BackupError, match=reason):
            await back_up(server, target, ring, "incremental")

    assert (await back_up(server, target, ring)).kind == "full"


async def test_the_server_keeps_the_wal_of_a_backup_until_it_is_sent(
    server: Server, ring: KeyRing, target: LocalFolder
) -> None:
    slots: list[tuple[object, ...]] = []

    class Watching(LocalFolder):
        async def write(self, name: str, chunks: AsyncIterator[bytes]) -> int:
            slots.extend(
                await ask(
                    server, "SELECT restart_lsn IS NOT NULL, temporary FROM pg_replication_slots"
                )
            )
            return await super().write(name, chunks)

    await back_up(server, Watching(Path(target.location)), ring)

    assert slots[0] == (True, True)
    assert await ask(server, "SELECT count(*) FROM pg_replication_slots") == [(0,)]


async def test_a_long_backup_outlives_the_limit_of_slots(
    server: Server, target: LocalFolder, ring: KeyRing
) -> None:
    """The usual limit binds again after it; a smaller one than ours shows the same sooner."""
    path = server.data_dir / SETTINGS_FILE
    path.write_text(path.read_text().replace("keep_size = '1GB'", "keep_size = '16MB'"))
    await ask(server, "SELECT pg_reload_conf()")
    kept: list[tuple[object, ...]] = []

    class Slow(LocalFolder):
        async def write(self, name: str, chunks: AsyncIterator[bytes]) -> int:
            if name.endswith("base.tar.sealed"):
                for number in range(7):
                    await ask(server, f"CREATE TABLE written_{number}()")
                    await ask(server, "SELECT pg_switch_wal()")
                await ask(server, "CHECKPOINT")
                kept.extend(await ask(server, "SELECT wal_status FROM pg_replication_slots"))
            return await super().write(name, chunks)

    await back_up(server, Slow(Path(target.location)), ring)

    assert kept == [("reserved",)]
    assert await ask(server, "SHOW max_slot_wal_keep_size") == [("16MB",)]
    assert path.read_text().count("max_slot_wal_keep_size") == 1


async def test_a_full_backup_closes_the_gap_and_sweeps_what_a_killed_shipping_left(
    server: Server, target: LocalFolder, ring: KeyRing
) -> None:
    spool = server.installation.spool
    folder = Path(target.location) / wal_folder(server.installation.id) / "1" / "00000001"
    folder.mkdir(parents=True)
    part = folder / f".{'0' * 24}.sealed.1a2b3c4d.part"
    part.touch()
    (spool / GAP).touch()

    await back_up(server, target, ring, "full")

    assert read_spool(server.installation).gap is None
    assert not part.exists()
    (spool / GAP).touch()
    await back_up(server, target, ring, "incremental")
    assert read_spool(server.installation).gap is not None
    (spool / GAP).unlink()


async def test_one_backup_runs_at_a_time(
    server: Server, target: LocalFolder, ring: KeyRing
) -> None:
    with (
        claimed(server.home, "viral backup prune"),
        pytest.raises(BackupError, match=rf"in use: viral backup prune, process {os.getpid()}"),
    ):
        await back_up(server, target, ring)

    assert stored_files(target) == []


async def test_a_process_killed_half_way_leaves_nothing_listed_and_the_next_is_clean(
    server: Server, target: LocalFolder, ring: KeyRing
) -> None:
    with run_script(STOPPED_HALF_WAY, server.home) as script:
        assert script.stdout is not None
        assert script.stdout.readline() == "half-way\n"
        os.kill(script.pid, signal.SIGKILL)
    assert [path.suffix for path in stored_files(target)] == [".part"]
    assert (await listed(server, target, ring)).backups == ()

    backup = await back_up(server, target, ring)

    assert (await listed(server, target, ring)).backups == (backup,)
    assert {path.parent.name for path in stored_files(target)} == {backup.id}
    assert len(stored_files(target)) == 3
    assert await ask(server, "SELECT count(*) FROM pg_replication_slots") == [(0,)]


async def test_a_server_killed_half_way_is_said_and_nothing_is_listed(
    server: Server, target: LocalFolder, ring: KeyRing
) -> None:
    class Murderous(LocalFolder):
        async def write(self, name: str, chunks: AsyncIterator[bytes]) -> int:
            async def killing() -> AsyncIterator[bytes]:
                is_dead = False
                async for chunk in chunks:
                    if not is_dead:
                        for pid in (await processes_of(server)).all:
                            os.kill(pid, signal.SIGKILL)
                        is_dead = True
                    yield chunk

            return await super().write(name, killing())

    with pytest.raises(BackupError, match=r"No backup was made: .*closed") as caught:
        await back_up(server, Murderous(Path(target.location)), ring)
    assert "\n" not in caught.value.message
    await server.start()

    assert (await listed(server, target, ring)).backups == ()
    assert stored_files(target) == []
    assert (await back_up(server, target, ring)).kind == "full"


async def test_a_backup_gives_up_before_it_fills_the_servers_disk(
    server: Server, target: LocalFolder, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("viral.postgres.disk.SPARE_BYTES", 1 << 60)
        with pytest.raises(BackupError, match="free on the disk of") as caught:
            await back_up(server, target, ring)

    assert "VIRAL_BACKUP_URL" in str(caught.value.hint)
    assert stored_files(target) == []
    assert await ask(server, "SELECT count(*) FROM pg_replication_slots") == [(0,)]
    assert (await back_up(server, target, ring)).kind == "full"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 1 MB, which only root can."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a disk that is soon full")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def test_a_full_disk_is_said_and_leaves_nothing(
    server: Server, small_disk: Path, target: LocalFolder, ring: KeyRing
) -> None:
    with pytest.raises(BackupError, match="No space left on device") as caught:
        await back_up(server, LocalFolder(small_disk), ring)

    assert "base.tar.sealed cannot be used" in caught.value.message
    assert not [path for path in small_disk.rglob("*") if path.is_file()]
    assert (await back_up(server, target, ring)).kind == "full"


async def test_a_wrong_password_is_said(server: Server, target: LocalFolder, ring: KeyRing) -> None:
    connection = await as_admin(server)
    [[verifier]] = await ask(
        server, "SELECT rolpassword FROM pg_authid WHERE rolname = 'viral_backup'"
    )
    await connection.execute("ALTER ROLE viral_backup PASSWORD 'another'")
    try:
        with pytest.raises(ServerRefused, match="the password of viral_backup is wrong"):
            await back_up(server, target, ring)
    finally:
        await connection.execute(f"ALTER ROLE viral_backup PASSWORD '{verifier}'")
        await connection.close()

    assert stored_files(target) == []


async def test_a_backup_that_lost_a_file_is_told_and_not_listed(
    server: Server, target: LocalFolder, ring: KeyRing
) -> None:
    backup = await back_up(server, target, ring)
    base, manifest = (
        next(path for path in stored_files(target) if path.name == name) for name in backup.files
    )

    os.truncate(base, base.stat().st_size - 1)
    shorter = await listed(server, target, ring)
    os.truncate(base, base.stat().st_size + 1)
    manifest.unlink()
    missing = await listed(server, target, ring)

    assert shorter.backups == missing.backups == ()
    assert "base.tar.sealed has" in shorter.broken[backup.id].message
    assert "backup_manifest.sealed is missing" in missing.broken[backup.id].message


async def test_a_backup_under_a_former_key_is_built_on(
    server: Server, target: LocalFolder, ring: KeyRing
) -> None:
    first = await back_up(server, target, ring)
    changed = KeyRing([new_key(first.stopped_at), *ring.keys])

    second = await back_up(server, target, changed)

    assert (second.kind, second.parent_id) == ("incremental", first.id)
    catalogue = await listed(server, target, changed)
    for backup in (first, second):
        with pytest.raises(BackupError, match=f"1 are under it.*{backup.id}"):
            catalogue.refuse_retirement(backup.key_id)
    catalogue.refuse_retirement("00000000")
    assert await content(server, target, changed, second, "backup_manifest.sealed")


@pytest.mark.usefixtures("target")
async def test_the_commands_make_list_and_prune(server: Server, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "VIRAL_HOME": str(server.home)}
    shell = Shell(environment, tmp_path)

    made = await asyncio.to_thread(shell.viral, "backup", "create", "--json")
    found = await asyncio.to_thread(shell.viral, "backup", "list", "--json")
    pruned = await asyncio.to_thread(shell.viral, "backup", "prune", "--json", "--keep", "30d")

    assert (made.code, found.code, pruned.code) == (0, 0, 0)
    assert made.document["kind"] == "full"
    assert [backup["id"] for backup in found.document["backups"]] == [made.document["id"]]
    assert pruned.document == {
        "backups": [],
        "wal_segments": 0,
        "freed_bytes": 0,
        "is_dry_run": False,
    }


async def test_the_command_deletes_a_broken_backup_and_none_that_another_builds_on(
    server: Server, target: LocalFolder, ring: KeyRing, tmp_path: Path
) -> None:
    shell = Shell({"PATH": os.environ["PATH"], "VIRAL_HOME": str(server.home)}, tmp_path)
    full = await back_up(server, target, ring)
    above = await back_up(server, target, ring)

    def delete(backup_id: str, typed: str) -> Answer:
        return shell.viral("backup", "delete", backup_id, "--confirm", typed)

    refused = await asyncio.to_thread(delete, full.id, full.id)
    mistyped = await asyncio.to_thread(delete, above.id, full.id)
    unknown = await asyncio.to_thread(delete, "..", "..")
    assert f"{above.id} builds on {full.id}" in refused.err
    assert 0 not in {refused.code, mistyped.code, unknown.code}
    assert (await listed(server, target, ring)).backups == (full, above)

    assert (await asyncio.to_thread(delete, above.id, above.id)).code == 0
    next(path for path in stored_files(target) if path.name == "base.tar.sealed").unlink()
    assert full.id in (await listed(server, target, ring)).broken
    assert (await asyncio.to_thread(delete, full.id, full.id)).code == 0
    assert stored_files(target) == []
