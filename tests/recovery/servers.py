"""Servers for the tests of this folder, and what is asked of them.

PYTEST_DONT_REWRITE: it is imported by name before pytest takes it as a plugin.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from viral.database.secrets import Secrets
from viral.errors import (
    ServerNotOurs,
)
from viral.postgres.account import server_account
from viral.postgres.installation import load_installation
from viral.postgres.processes import ServerProcesses, server_processes
from viral.postgres.server import Server

NOBODY = pwd.getpwnam("nobody").pw_uid

PREAMBLE = """
import asyncio, json, os, sys
from pathlib import Path
from viral.database.secrets import Secrets
from viral.errors import ViralError
from viral.postgres.server import Server
home = Path(sys.argv[1])
server = Server(home=home, secrets=Secrets.load_or_create(home))
"""
START = PREAMBLE + "print(asyncio.run(server.start()).port)"


@dataclass
class Homes:
    """Makes VIRAL_HOMEs outside root's reach and removes all that was put into and beside them."""

    root: Path
    made: list[Path]

    def new(self, name: str = "home", *, owner: int | None = None) -> Path:
        folder = self.root / f"{len(self.made)}"
        folder.mkdir()
        if owner is not None:
            os.chown(folder, owner, -1)
        self.made.append(folder / name)
        return folder / name


async def discard(home: Path) -> None:
    try:
        installation = load_installation(home)
    except ServerNotOurs:
        return
    if installation is None:
        return
    await server_in(home).stop()
    shutil.rmtree(installation.state, ignore_errors=True)
    shutil.rmtree(installation.socket_dir, ignore_errors=True)


@pytest.fixture(scope="session")
def root() -> Iterator[Path]:
    # Not pytest's tmp_path: an ordinary user cannot open root's.
    with tempfile.TemporaryDirectory(prefix="viral-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
async def homes(root: Path) -> AsyncIterator[Homes]:
    homes = Homes(root, [])
    try:
        yield homes
    finally:
        for home in homes.made:
            await discard(home)


@pytest.fixture(scope="session")
async def running(homes: Homes) -> Server:
    """Give a server that is up; tests leave it so."""
    server = server_in(homes.new())
    await server.start()
    return server


@pytest.fixture
async def pristine(homes: Homes) -> AsyncIterator[Server]:
    """Give one test a started server of its own, with a committed row in it."""
    server = server_in(homes.new())
    await server.start()
    connection = await as_admin(server)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    await connection.close()
    yield server
    await discard(server._home)


def server_in(home: Path, *, bindir: Path | None = None, port: int | None = None) -> Server:
    secrets = Secrets.load_or_create(home)
    return Server(home=home, secrets=secrets, bindir=bindir, port=port)


async def as_admin(server: Server) -> asyncpg.Connection[asyncpg.Record]:
    installation = server._installation()
    return await asyncpg.connect(
        host=str(installation.socket_dir),
        port=installation.port or 0,
        user="viral_admin",
        password=server._secrets.password("viral_admin"),
        database="postgres",
    )


async def ask(server: Server, sql: str) -> list[tuple[object, ...]]:
    connection = await as_admin(server)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def has_its_row(server: Server) -> bool:
    return await ask(server, "SELECT answer FROM kept") == [(42,)]


async def processes_of(server: Server) -> ServerProcesses:
    return await server_processes(server.data_dir, account=server_account())


@pytest.fixture(scope="session")
def nobody() -> int:
    """Give the id of an ordinary user who can run the product from this checkout."""
    try:
        subprocess.run(
            [sys.executable, "-B", "-c", "import viral.postgres.server"],
            capture_output=True,
            check=True,
            cwd="/",
            extra_groups=[],
            user=NOBODY,
        )
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("an ordinary user cannot reach this checkout or its Python")
    return NOBODY


def run_script(
    script: str, home: Path, *, user: int | None = None, stdin: int | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-B", "-c", script, str(home)],
        cwd="/",
        env={"PATH": os.environ["PATH"]},
        extra_groups=None if user is None else [],
        stdin=stdin,
        stdout=subprocess.PIPE,
        text=True,
        user=user,
    )


def output_of(script: subprocess.Popen[str]) -> str:
    output, _ = script.communicate(timeout=50)
    assert script.returncode == 0
    return output.strip()


@contextmanager
def listener(port: int = 0) -> Iterator[int]:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        yield other.getsockname()[1]
