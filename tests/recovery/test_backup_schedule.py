"""When a backup is due, and that WAL is shipped without anybody asking."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from servers import Homes, ask, server_in

from viral.database.encryption.keys import KeyFile
from viral.postgres.backup.catalogue import Backup, Kind, list_backups
from viral.postgres.backup.wal import (
    Spool,
    close_gap,
    read_spool,
    switch,
    wal_folder,
    wal_object,
)
from viral.postgres.bootstrap import bootstrap
from viral.postgres.configuration import GAP
from viral.postgres.data_folder import system_of
from viral.postgres.server import Server
from viral.servers import backup_target
from viral.settings import Settings
from viral.worker import backups

pytest_plugins = ["servers"]

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
EMPTY = Spool(0, 0, None, None)


def made(kind: Kind, hours_ago: float, *, plain_bytes: int = 1) -> Backup:
    moment = NOW - timedelta(hours=hours_ago)
    return Backup(
        id=f"{moment:%Y%m%dT%H%M%SZ}-{kind}",
        kind=kind,
        parent_id=None,
        started_at=moment,
        stopped_at=moment,
        start_lsn="0/2000028",
        stop_lsn="0/2000120",
        timeline=1,
        server_version="18.6",
        system_identifier="1",
        database="viral",
        files={},
        plain_bytes=plain_bytes,
        key_id="00000000",
    )


@pytest.mark.parametrize(
    ("existing", "spool", "expected"),
    [
        ([], EMPTY, "due"),
        ([made("full", 23)], EMPTY, "not due"),
        ([made("full", 25), made("incremental", 1)], EMPTY, "due"),
        ([made("full", 25, plain_bytes=11 << 30)], EMPTY, "not due"),
        ([made("full", 24 * 8, plain_bytes=11 << 30)], EMPTY, "due"),
        ([made("full", 2)], Spool(0, 0, "a segment", NOW - timedelta(hours=1)), "due"),
        ([made("full", 2)], Spool(0, 0, "a segment", NOW - timedelta(hours=3)), "not due"),
    ],
)
def test_a_full_backup_is_due_when_there_is_no_young_one_without_a_gap_after_it(
    existing: list[Backup], spool: Spool, expected: str
) -> None:
    found = "due" if backups.is_due(existing, spool, now=NOW) else "not due"
    assert found == expected


def test_an_incremental_one_is_due_after_six_hours() -> None:
    assert not backups.is_incremental_due([made("full", 5)], now=NOW)
    assert backups.is_incremental_due([made("full", 20), made("incremental", 7)], now=NOW)


async def test_the_worker_ships_and_backs_up_and_closes_the_gap(
    homes: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = homes.new()
    settings = Settings(home=home)
    server = Server(home=home, secrets=server_in(home).secrets, archives=True)
    ring = KeyFile.load_or_create(home, may_create=True)
    await server.start()
    await bootstrap(server.socket_url("viral_admin"), server.secrets)
    await ask(server, "SELECT pg_switch_wal()")
    (server.installation.spool / GAP).write_text("000000010000000000000001")
    monkeypatch.setattr(backups, "FIRST_AFTER_S", 0)
    monkeypatch.setattr(backups, "SHIP_EVERY_S", 0.1)
    stop = asyncio.Event()

    work = asyncio.create_task(backups.keep_backups(settings, stop))
    target, identity = backup_target(settings), server.installation.id
    async with asyncio.timeout(50):
        while not (await list_backups(target, identity, ring)).backups or (
            read_spool(server.installation).gap is not None
        ):
            await asyncio.sleep(0.1)
        await ask(server, "CREATE TABLE written()")
        system = system_of(server.data_dir) or ""
        name = wal_object(identity, system, await switch(server))
        while name not in {each.name for each in await target.list(wal_folder(identity))}:
            await asyncio.sleep(0.1)
    stop.set()
    await work

    assert read_spool(server.installation).waiting == 0
    await server.stop()


async def test_wal_is_shipped_while_a_backup_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, shipped = asyncio.Event(), asyncio.Event()

    async def ship_it(_settings: Settings) -> None:
        if is_under_way:
            shipped.set()

    async def back_up(_settings: Settings) -> None:
        is_under_way.append(True)
        await shipped.wait()
        stop.set()

    is_under_way: list[bool] = []
    monkeypatch.setattr(backups, "_ship", ship_it)
    monkeypatch.setattr(backups, "_back_up", back_up)
    monkeypatch.setattr(backups, "FIRST_AFTER_S", 0)
    monkeypatch.setattr(backups, "SHIP_EVERY_S", 0.01)

    async with asyncio.timeout(10):
        await backups.keep_backups(Settings(home=tmp_path), stop)

    assert shipped.is_set()


async def test_a_gap_that_came_after_the_backup_began_stays(homes: Homes) -> None:
    home = homes.new()
    server = Server(home=home, secrets=server_in(home).secrets)
    await server.start()
    (server.installation.spool / GAP).touch()

    close_gap(server.installation, before=datetime.now(UTC) - timedelta(hours=1))

    assert read_spool(server.installation).gap == "a segment"
    await server.stop()
