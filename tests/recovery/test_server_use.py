"""Who uses a server may rely on it; the last one whom it was started for stops it."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from servers import PREAMBLE, Homes, processes_of, run_script, server_in

from viral.cli.supervisor import _start_again
from viral.errors import ServerError
from viral.postgres.installation import locked
from viral.postgres.server import Server

pytest_plugins = ["servers"]

USE = (
    PREAMBLE
    + """
from viral.servers import running_main_server
from viral.settings import Settings
async def use():
    async with running_main_server(Settings(home=home)):
        print("in", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
asyncio.run(use())
"""
)


@pytest.fixture
async def server(homes: Homes) -> Server:
    """Give a server that was stopped in order."""
    server = server_in(homes.new())
    await server.start()
    await server.stop()
    return server


@contextmanager
def command(server: Server) -> Iterator[subprocess.Popen[str]]:
    """Run another process that uses the server until it is told to end."""
    process = run_script(USE, server.home, stdin=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=20)
    assert process.returncode == 0


async def test_the_last_of_two_commands_stops_what_the_first_one_started(server: Server) -> None:
    with command(server) as first, command(server) as second:
        await asyncio.to_thread(end, first)
        assert await server.is_answering()

        await asyncio.to_thread(end, second)

    assert not (await processes_of(server)).all


async def test_what_was_started_to_stay_stays_and_what_a_killed_one_left_goes(
    server: Server,
) -> None:
    with command(server) as first:
        await server.start()
        await asyncio.to_thread(end, first)
    assert await server.is_answering()
    await server.stop()

    with command(server) as killed:
        killed.kill()
        killed.wait()
    assert await server.is_answering()
    with command(server) as following:
        await asyncio.to_thread(end, following)
    assert not await server.is_answering()


async def test_who_ends_a_server_leaves_it_to_another_user(server: Server) -> None:
    async with server.used(ends_within_s=5):
        await server.start()
        with command(server) as other:
            async with server.used(ends_within_s=5):
                pass
            assert await server.is_answering()
            await asyncio.to_thread(end, other)
        assert await server.is_answering()

    assert not await server.is_answering()


async def test_ctrl_c_works_while_another_command_is_at_work_on_the_server(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = asyncio.Event()

    async with locked(server.installation):
        starting = asyncio.create_task(_start_again("PostgreSQL", server, stop))
        await asyncio.sleep(0.2)
        assert not starting.done()
        stop.set()
        ended, _ = await asyncio.wait({starting}, timeout=10)
        assert ended
        with pytest.raises(ServerError, match="was not stopped"):
            async with server.used(ends_within_s=0.2):
                pass

    assert "back" not in capsys.readouterr().err
    assert not await server.is_answering()
