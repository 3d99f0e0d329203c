"""One piece of work on the backups of an installation at a time."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from typing import TYPE_CHECKING

from viral.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE_NAME = "backup.lock"
_LONGEST_BYTES = 200


@contextmanager
def claimed(home: Path, what: str) -> Iterator[None]:
    """Hold the backups of VIRAL_HOME for the block; whoever comes second is told who is at work.

    The lock ends with the process, however it ends.
    """
    # os.open sets close-on-exec: a program started meanwhile does not keep the lock.
    descriptor = os.open(home / FILE_NAME, os.O_RDWR | os.O_CREAT, 0o600)
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
