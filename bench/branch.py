"""Measures how fast a branch is: python bench/branch.py [--scale 64] [--rounds 5] [--reflink].

A pgbench database (scale 64 is about 1 GB) is copied in turns by the product's own clone and by
CREATE DATABASE with STRATEGY WAL_LOG, in the same server of its own, which archives nothing: that
favours WAL_LOG. Beside them the same files are copied and then flushed by this program, one after
the other, without a server. With --reflink, as root, the server lies on an XFS of a loop device
instead, which shares blocks between copies.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from viral.database.secrets import Secrets
from viral.postgres.backup.restore import remove_server
from viral.postgres.binaries import find_binaries
from viral.postgres.bootstrap import bootstrap
from viral.postgres.branches.clone import administering, clone_database, drop_database
from viral.postgres.branches.registry import Held, Registry
from viral.postgres.installation import load_or_create_installation
from viral.postgres.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viral.database.urls import ServerUrl

LEAST_RATIO = 3.0
IMAGE_GB = 8
PIECE_BYTES = 1 << 20


async def main() -> int:
    """Print each time and the ratio; 1 when the clone is not three times as fast."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reflink", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="viral-bench-", dir=Path.cwd()) as folder:
        home = Path(folder) / "home"
        server = Server(home=home, secrets=Secrets.load_or_create(home))
        try:
            async with contextlib.AsyncExitStack() as stack:
                if arguments.reflink:
                    state = load_or_create_installation(home).state
                    stack.enter_context(_xfs(Path(folder), state))
                await server.start()
                stack.push_async_callback(server.stop)
                return await _measure(server, arguments.scale, arguments.rounds)
        finally:
            await remove_server(server)


async def _measure(server: Server, scale: int, rounds: int) -> int:
    admin, registry = server.socket_url("viral_admin"), Registry(server.home)
    await bootstrap(admin, server.secrets)
    await _fill(server, scale)
    source = await _folder_of(server)

    async def log() -> None:
        async with administering(admin) as connection:
            await connection.execute("CREATE DATABASE logged TEMPLATE viral STRATEGY WAL_LOG")

    async def branch() -> None:
        await clone_database(admin, registry, None, source=Held("viral"), target="branch")

    async def copy() -> None:
        await asyncio.to_thread(_copy, source, server.data_dir.with_name("copy"))

    times: dict[str, list[float]] = {"WAL_LOG": [], "branch": [], "plain copy": []}
    for number in range(rounds):
        for name, make in zip(times, (log, branch, copy), strict=True):
            # Each pays for its own writes, and not for those of the one before.
            await _settle(admin)
            begun = perf_counter()
            await make()
            times[name].append(perf_counter() - begun)
        shutil.rmtree(server.data_dir.with_name("copy"))
        for name in ("logged", "branch"):
            await drop_database(admin, name)
        shown = "  ".join(f"{name} {taken[-1]:.2f} s" for name, taken in times.items())
        sys.stdout.write(f"round {number + 1}: {shown}\n")
    logged, made, copied = (median(taken) for taken in times.values())
    sys.stdout.write(
        f"a branch is made {logged / made:.1f} times as fast as by WAL_LOG, in {made / copied:.1f}"
        " times the time of a plain copy and flush of its files\n"
    )
    return 0 if logged / made >= LEAST_RATIO else 1


async def _folder_of(server: Server) -> Path:
    async with administering(server.socket_url("viral_admin")) as connection:
        number = await connection.fetchval("SELECT oid FROM pg_database WHERE datname = 'viral'")
    return server.data_dir / "base" / str(number)


def _copy(source: Path, folder: Path) -> None:
    """Copy in the kernel, then flush each file, as PostgreSQL does."""
    folder.mkdir()
    copies = []
    for file in sorted(source.iterdir()):
        with file.open("rb") as whole:
            copy = (folder / file.name).open("wb")
            while os.copy_file_range(whole.fileno(), copy.fileno(), PIECE_BYTES):
                pass
            copies.append(copy)
    for copy in copies:
        with copy:
            os.fsync(copy.fileno())


async def _settle(admin: ServerUrl) -> None:
    async with administering(admin) as connection:
        await connection.execute("CHECKPOINT")
    await asyncio.to_thread(os.sync)


async def _fill(server: Server, scale: int) -> None:
    admin = server.socket_url("viral_admin", "viral")
    await asyncio.to_thread(
        subprocess.run,
        [
            find_binaries(None).program("pgbench"),
            "--initialize",
            "--quiet",
            f"--scale={scale}",
            f"--host={admin.host}",
            f"--port={admin.port}",
            f"--username={admin.user}",
            admin.database,
        ],
        check=True,
        env={"PGPASSWORD": admin.password, "LC_ALL": "C.UTF-8"},
        stderr=subprocess.DEVNULL,
    )
    async with administering(admin) as connection:
        size = await connection.fetchval("SELECT pg_database_size('viral')")
    sys.stdout.write(f"the database has {size / 1e6:,.0f} MB\n")


@contextlib.contextmanager
def _xfs(folder: Path, state: Path) -> Iterator[None]:
    image = folder / "xfs.img"
    with image.open("wb") as file:
        file.truncate(IMAGE_GB << 30)
    _run("mkfs.xfs", "-q", "-m", "reflink=1", str(image))
    state.mkdir(parents=True, exist_ok=True)
    _run("mount", "-o", "loop", str(image), str(state))
    try:
        yield
    finally:
        _run("umount", str(state))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603 - our own words


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
