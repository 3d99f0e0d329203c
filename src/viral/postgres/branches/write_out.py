"""Files of a copy go to the disk while PostgreSQL is still copying, and not only at its end.

Without reflinks `file_copy_method = clone` fills the page cache first and then flushes one file
after the other: the disk waits for the copy, then the copy for the disk. The advice that a file's
pages are not needed has the kernel write them and give their memory back, which the copy takes
again; on a virtual machine new memory can cost more than the disk. It is advice alone: PostgreSQL
flushes every file itself before the database is there, and no report of a failed write is lost to
it, as with a flush of ours.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager, suppress
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LOOK_S = 0.005
# Smaller ones are on the disk within moments anyway.
LEAST_BYTES = 1 << 20


@asynccontextmanager
async def written_out(data_dir: Path) -> AsyncIterator[None]:
    """Write out the databases that appear in a data folder within the block, as they grow.

    A folder that cannot be read, and what the server removes meanwhile, is passed over.
    """
    base, done = data_dir / "base", Event()
    known = await asyncio.to_thread(_folders, base)
    writing = asyncio.create_task(asyncio.to_thread(_write_out, base, known, done))
    try:
        yield
    finally:
        done.set()
        await writing


def _write_out(base: Path, known: set[Path], done: Event) -> None:
    sizes: dict[str, int] = {}
    while not done.wait(LOOK_S):
        for folder in _folders(base) - known:
            with suppress(OSError):
                _advise_grown(folder, sizes)


def _folders(base: Path) -> set[Path]:
    with suppress(OSError):
        return set(base.iterdir())
    return set()


def _advise_grown(folder: Path, sizes: dict[str, int]) -> None:
    with os.scandir(folder) as entries:
        grown = [(entry.path, entry.stat().st_size) for entry in entries]
    for path, size in grown:
        if size < LEAST_BYTES or sizes.get(path) == size:
            continue
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if sys.platform == "linux":
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
        sizes[path] = size
