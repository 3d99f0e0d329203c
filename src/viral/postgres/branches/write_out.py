"""Files of a copy go to the disk while PostgreSQL is still copying, and not only at its end.

Without reflinks `file_copy_method = clone` fills the page cache first and then flushes one file
after the other: the disk waits for the copy, then the copy for the disk. Nothing is left to us:
PostgreSQL flushes every file itself before the database is there.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOOK_S = 0.005
# Smaller ones are on the disk within moments anyway.
LEAST_BYTES = 1 << 20


@asynccontextmanager
async def written_out(data_dir: Path) -> AsyncIterator[None]:
    """Write out the databases that appear in a data folder within the block, as they grow."""
    base, done = data_dir / "base", Event()
    try:
        known = set(await asyncio.to_thread(os.listdir, base))
    except OSError:
        # A folder that we may not read is the server's own business.
        yield
        return
    writing = asyncio.create_task(asyncio.to_thread(_write_out, base, known, done))
    try:
        yield
    finally:
        done.set()
        await writing


def _write_out(base: Path, known: set[str], done: Event) -> None:
    sizes: dict[str, int] = {}
    while not done.wait(LOOK_S):
        for name in set(os.listdir(base)) - known:
            # The copy may fail, and be removed under us.
            try:
                _flush_grown(base / name, sizes)
            except OSError:
                continue


def _flush_grown(folder: Path, sizes: dict[str, int]) -> None:
    for entry in os.scandir(folder):
        size = entry.stat().st_size
        if size < LEAST_BYTES or sizes.get(entry.path) == size:
            continue
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        sizes[entry.path] = size
