"""`viral up` as people run it: it answers, survives a killed database, leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import asyncpg
import pytest
from clusters import free_port

from viral.database.faults import DRIVER_ERRORS
from viral.database.secrets import Secrets
from viral.postgres.account import ROOT_STATE
from viral.postgres.server import Server

pytestmark = pytest.mark.timeout(180)
READY_WITHIN_S = 90
BACK_WITHIN_S = 30


class Up:
    """A running `viral up` in a home of its own."""

    def __init__(self, home: Path, port: int) -> None:
        self.environment = {
            "PATH": os.environ["PATH"],
            "VIRAL_HOME": str(home),
            "VIRAL_PORT": str(port),
            "VIRAL_STUDIO_PORT": str(free_port()),
        }
        self.home = home
        self.port = port
        self.log = home.parent / "up.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "viral", "up"],
                env=self.environment,
                stdout=log,
                stderr=log,
                cwd=home.parent,
                start_new_session=True,
            )

    def viral(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "viral", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.home.parent,
        )

    def postmaster(self) -> int:
        return int(json.loads(self.viral("server", "status", "--json").stdout)["pid"])

    def is_healthy(self) -> bool:
        try:
            return {200} == {self.status_of(port) for port in self.ports}
        except OSError:
            return False

    @property
    def ports(self) -> list[str]:
        """The dashboard's and Studio's."""
        return [self.environment["VIRAL_PORT"], self.environment["VIRAL_STUDIO_PORT"]]

    def status_of(self, port: str) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as page:
            return int(page.status)

    def processes(self) -> list[str]:
        """Every live process that names this home: ours, and the server's."""
        found = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                environment = (folder / "environ").read_bytes()
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if f"VIRAL_HOME={self.home}".encode() in environment and command:
                found.append(command.replace(b"\0", b" ").decode())
        return found


class Writer(threading.Thread):
    """Commits one row after the other until the server is gone; keeps what was acknowledged."""

    def __init__(self, home: Path) -> None:
        super().__init__(daemon=True)
        self.home = home
        self.acknowledged: set[str] = set()

    def run(self) -> None:
        with suppress(*DRIVER_ERRORS):
            asyncio.run(self.write())

    async def write(self) -> None:
        connection = await connected(self.home)
        for number in count():
            name = f"row {number}"
            await connection.execute(
                "INSERT INTO trends (id, source, external_id, topic, category, score)"
                " VALUES (gen_random_uuid(), 'test', $1, $1, 'food', 1)",
                name,
            )
            self.acknowledged.add(name)


async def connected(home: Path) -> asyncpg.Connection[asyncpg.Record]:
    server = Server(home=home, secrets=Secrets.load(home))
    return await asyncpg.connect(server.url("viral_system"))


async def stored(home: Path) -> set[str]:
    connection = await connected(home)
    rows = await connection.fetch("SELECT topic FROM trends WHERE source = 'test'")
    await connection.close()
    return {row["topic"] for row in rows}


@pytest.fixture
def up(short_folder: Path) -> Iterator[Up]:
    folder = short_folder / "up"
    (folder / "home").mkdir(parents=True)
    running = Up(folder / "home", free_port())
    wait_until(running.is_healthy, READY_WITHIN_S)
    yield running
    if running.process.poll() is None:
        running.process.send_signal(signal.SIGINT)
        running.process.wait(30)
    installation = json.loads((folder / "home" / "installation.json").read_text())
    shutil.rmtree(ROOT_STATE / installation["id"], ignore_errors=True)
    shutil.rmtree(folder)


def _is_child(command: str) -> bool:
    return any(f" {name}" in command for name in ("web", "worker", "studio"))


def wait_until(is_true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.2)


def test_the_product_survives_its_database_and_leaves_nothing_behind(up: Up) -> None:
    second = up.viral("up")
    assert 0 == second.returncode
    assert f"pid {up.process.pid}" in second.stdout
    studio = up.viral("studio")
    assert f"http://127.0.0.1:{up.ports[1]}/sign-in?token=" in studio.stdout
    assert "token=" not in (up.home / "logs" / "studio.log").read_text()

    writer = Writer(up.home)
    writer.start()
    wait_until(lambda: len(writer.acknowledged) > 50, 20)
    killed = up.postmaster()
    os.kill(killed, signal.SIGKILL)
    writer.join(20)
    wait_until(lambda: up.is_healthy() and up.postmaster() != killed, BACK_WITHIN_S)
    assert writer.acknowledged <= asyncio.run(stored(up.home))

    up.process.send_signal(signal.SIGINT)
    assert 0 == up.process.wait(30)
    wait_until(lambda: not up.processes(), 10)
    assert "Traceback" not in up.log.read_text()


def test_a_killed_supervisor_takes_its_children_along_and_the_next_one_joins(up: Up) -> None:
    os.kill(up.process.pid, signal.SIGKILL)
    up.process.wait()
    wait_until(lambda: not any(_is_child(each) for each in up.processes()), 15)

    again = Up(up.home, up.port)
    up.process = again.process

    wait_until(again.is_healthy, READY_WITHIN_S)
    assert "demo studio" not in again.log.read_text()
