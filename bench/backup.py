"""Measure what encryption costs a backup: throughput beside plain `pg_basebackup`, in one run.

    python bench/backup.py --scale 64 --rounds 3

One server of its own, filled by pgbench (scale 64 is about 1 GB), backed up in turn: to a folder,
to a tar file, and sealed. The rounds are interleaved, so that other work on the machine meets all
alike; the fastest of each counts. The aim is 0.7 of plain `pg_basebackup`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from viral.database.encryption.keys import KeyFile, KeyRing
from viral.database.secrets import Secrets
from viral.postgres.backup.physical import create_backup
from viral.postgres.backup.target import LocalFolder
from viral.postgres.binaries import find_binaries
from viral.postgres.bootstrap import DATABASE, bootstrap
from viral.postgres.server import Server

if TYPE_CHECKING:
    from viral.database.urls import ServerUrl

AIM = 0.7


def run(program: str, url: ServerUrl, *arguments: str) -> None:
    """Run a program of PostgreSQL against the server."""
    subprocess.run(  # noqa: S603 - programs of our own installation
        [find_binaries(None).program(program), *arguments],
        check=True,
        capture_output=True,
        env={
            "PATH": os.environ["PATH"],
            "PGDATABASE": url.database,
            "PGHOST": url.host,
            "PGPASSWORD": url.password,
            "PGPORT": str(url.port),
            "PGUSER": url.user,
        },
    )


def plain(url: ServerUrl, folder: Path, *options: str) -> float:
    """Time a plain backup, which brings its files to the disk as ours does."""
    begun = time.perf_counter()
    run(
        "pg_basebackup",
        url,
        f"--pgdata={folder}",
        "--wal-method=fetch",
        "--checkpoint=fast",
        *options,
    )
    taken = time.perf_counter() - begun
    shutil.rmtree(folder)
    return taken


async def sealed(server: Server, folder: Path, ring: KeyRing) -> tuple[float, int, int]:
    """Time an encrypted full backup; also its bytes before and after."""
    begun = time.perf_counter()
    backup = await create_backup(
        server, LocalFolder(folder), ring, kind="full", advance=lambda *_: None
    )
    taken = time.perf_counter() - begun
    shutil.rmtree(folder)
    return taken, backup.plain_bytes, backup.stored_bytes


async def measure(home: Path, *, scale: int, rounds: int) -> None:
    """Fill a server, and print the table."""
    secrets = Secrets.load_or_create(home)
    server = Server(home=home, secrets=secrets)
    ring = KeyFile.load_or_create(home, may_create=True)
    await server.start()
    try:
        admin = server.socket_url("viral_admin", DATABASE)
        await bootstrap(server.socket_url("viral_admin"), secrets)
        await asyncio.to_thread(run, "pgbench", admin, "-i", "-q", "-s", str(scale))
        url = server.socket_url("viral_backup", DATABASE)
        times: dict[str, list[float]] = {"folder": [], "tar": [], "sealed": []}
        plain_bytes = stored_bytes = 0
        for number in range(1, rounds + 1):
            times["folder"].append(await asyncio.to_thread(plain, url, home / "plain"))
            tar = await asyncio.to_thread(plain, url, home / "tar", "--format=tar")
            times["tar"].append(tar)
            taken, plain_bytes, stored_bytes = await sealed(server, home / "sealed", ring)
            times["sealed"].append(taken)
            row = ", ".join(f"{name} {each[-1]:.2f} s" for name, each in times.items())
            print(f"round {number}: {row}", flush=True)
    finally:
        await server.stop()
        shutil.rmtree(server.installation.state)
    best = {name: min(each) for name, each in times.items()}
    print(f"{plain_bytes / 1e6:,.0f} MB, sealed as {stored_bytes / 1e6:,.0f} MB")
    for name, taken in best.items():
        print(f"{name:8} {plain_bytes / 1e6 / taken:6,.0f} MB/s")
    beside = {name: taken / best["sealed"] for name, taken in best.items()}
    print(f"sealed beside folder: {beside['folder']:.2f} (aim {AIM}), tar: {beside['tar']:.2f}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="What encryption costs a backup.")
    parser.add_argument("--scale", type=int, default=64, help="of pgbench; 64 is about 1 GB")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="viral-bench-") as folder:
        asyncio.run(measure(Path(folder), scale=options.scale, rounds=options.rounds))


if __name__ == "__main__":
    main()
