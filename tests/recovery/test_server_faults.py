"""The embedded server: killed, robbed and misled, it comes back with its rows."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import asyncpg
import pytest
from servers import as_admin, has_its_row, processes_of

from viral.errors import (
    ServerError,
)
from viral.postgres import processes
from viral.postgres import server as server_module
from viral.postgres.account import server_account
from viral.postgres.server import Server

pytest_plugins = ["servers"]


async def kill_postmaster(server: Server) -> int:
    pid = (await processes_of(server)).postmaster
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


@contextmanager
def sleeper() -> Iterator[int]:
    """Run a process of the server's user that is no server."""
    account = server_account()
    user = account.uid if account.is_separate else None
    with subprocess.Popen(["sleep", "60"], user=user, cwd="/") as process:
        try:
            yield process.pid
            assert process.poll() is None, "the other program was hurt"
        finally:
            process.kill()


@pytest.mark.parametrize("fault", ["server", "server and children"])
async def test_a_killed_server_comes_back_with_its_rows(pristine: Server, fault: str) -> None:
    connection = await as_admin(pristine)
    before = await processes_of(pristine)
    await kill_postmaster(pristine)
    if fault == "server and children":
        for pid in before.all:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    assert not await pristine.is_answering()
    address = await pristine.start()

    assert address.socket_dir.joinpath(f".s.PGSQL.{address.port}").is_socket()
    assert await has_its_row(pristine)
    assert not set((await processes_of(pristine)).all) & set(before.all)
    connection.terminate()


async def test_a_busy_child_of_a_killed_server_does_not_block_the_start(
    pristine: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "ORPHAN_GRACE_S", 0.5)
    connection = await as_admin(pristine)
    sql = "DO $$ DECLARE n int8 := 0; BEGIN WHILE true LOOP n := n + 1; END LOOP; END $$"
    busy = asyncio.create_task(connection.execute(sql))
    await asyncio.sleep(0.2)
    await kill_postmaster(pristine)

    await pristine.start()

    assert await has_its_row(pristine)
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await busy


async def test_a_pid_file_that_names_another_live_process_does_not_matter(
    pristine: Server,
) -> None:
    pid_file = pristine.data_dir / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    before = await processes_of(pristine)
    await kill_postmaster(pristine)
    await processes.wait_for_end(before.all, account=server_account(), timeout_s=5)

    with sleeper() as pid:
        pid_file.write_text("\n".join([str(pid), *lines[1:]]) + "\n")
        os.chown(pid_file, server_account().uid, -1)
        assert not await pristine.is_answering()
        await pristine.stop()
        await pristine.start()

    assert await has_its_row(pristine)


async def test_a_server_whose_socket_was_swept_away_is_started_again(
    pristine: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "LOST_SOCKET_GRACE_S", 0.2)
    address = await pristine.start()
    shutil.rmtree(address.socket_dir)

    await pristine.start()

    assert await has_its_row(pristine)


async def test_a_server_that_is_still_starting_is_waited_for(pristine: Server) -> None:
    pid = (await processes_of(pristine)).postmaster
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    joining = asyncio.create_task(pristine.start())
    await asyncio.sleep(0.5)
    os.kill(pid, signal.SIGCONT)

    await joining

    assert (await processes_of(pristine)).postmaster == pid


async def test_a_failed_start_says_why(pristine: Server) -> None:
    await pristine.stop()
    with (pristine.data_dir / "postgresql.auto.conf").open("a") as file:
        file.write("shared_preload_libraries = 'no_such_library'\n")

    with pytest.raises(ServerError, match="no_such_library") as caught:
        await pristine.start()

    assert str(pristine.log_file) in caught.value.hint
