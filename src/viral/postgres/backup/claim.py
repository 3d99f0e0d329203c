"""One piece of work on the backups of an installation at a time."""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from typing import TYPE_CHECKING

from viral.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE_NAME = "backup.lock"
IN_PLACE = "restore.lock"
POLL_S = 0.2
_LONGEST_BYTES = 200


@contextmanager
def claimed(home: Path, what: str, *, file_name: str = FILE_NAME) -> Iterator[None]:
    """Hold the backups of VIRAL_HOME for the block; whoever comes second is told who is at work.

    The lock ends with the process, however it ends.
    """
    # os.open sets close-on-exec: a program started meanwhile does not keep the lock.
    descriptor = os.open(home / file_name, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, _LONGEST_BYTES, 0).decode(errors="replace").strip()
            raise BackupError(
                f"The backups are in use: {holder or 'another process'}.",
                hint="Wait until it is done, then try again.",
            ) from error
        now = datetime.now(UTC).isoformat(timespec="seconds")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{what}, process {os.getpid()}, since {now}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


async def until_free(home: Path, what: str, *, timeout_s: float) -> None:
    """Wait for whoever holds the backups, but no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    with claimed(home, what):
                        return
                except BackupError:
                    await asyncio.sleep(POLL_S)
