"""Who uses a server: it is stopped by the last of those it was started for, under nobody else.

Each user holds a shared lock of one file, which the kernel takes back when the process ends. What
the file says is written under the server's own lock: whether the server goes with its last user.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from typing import TYPE_CHECKING

from viral.postgres.installation import LOCK_POLL_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from viral.postgres.installation import Installation

FILE_NAME = "users.lock"
_GOES = b"It is stopped when nobody uses it any more.\n"


@dataclass(frozen=True, slots=True)
class Use:
    """One who uses a server."""

    descriptor: int

    def may_end_it(self) -> bool:
        """Say whether the server goes with its last user."""
        return bool(os.pread(self.descriptor, 1, 0))

    def is_last(self) -> bool:
        """Say, under the server's lock, whether the server goes now; the use is over then.

        Who comes while it is being stopped waits for this one's end.
        """
        return self.may_end_it() and _obtained(self.descriptor, LOCK_EX)


@asynccontextmanager
async def using(installation: Installation) -> AsyncIterator[Use]:
    """Be one who uses the server; who waits for its end lets other tasks go on."""
    # os.open sets close-on-exec: the server does not inherit the lock.
    descriptor = os.open(_file(installation), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while True:
            if _obtained(descriptor, LOCK_SH):
                break
            await asyncio.sleep(LOCK_POLL_S)
        yield Use(descriptor)
    finally:
        os.close(descriptor)


def let_go_with_last(installation: Installation, *, goes: bool) -> None:
    """Decide, under the server's lock, whether the server goes with its last user or stays."""
    file = _file(installation)
    if goes or file.exists():
        # In place: the locks are of this file, not of its name.
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, 0)
            if goes:
                os.pwrite(descriptor, _GOES, 0)
        finally:
            os.close(descriptor)


def _file(installation: Installation) -> Path:
    return installation.state / FILE_NAME


def _obtained(descriptor: int, kind: int) -> bool:
    try:
        flock(descriptor, kind | LOCK_NB)
    except BlockingIOError:
        return False
    return True
