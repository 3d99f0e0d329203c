"""What is left free for the server, which stops on a full disk."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from viral.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

# What it writes while a copy is made, and until somebody has made space.
SPARE_BYTES = 256 << 20


async def leaving_space(chunks: AsyncIterator[bytes], beside: Path) -> AsyncGenerator[bytes, None]:
    """Pass a stream on; raise BackupError once the disk of `beside` has less than 256 MB free.

    How much a backup will take is not known before: it is compressed on its way. Kept WAL fills
    the server's disk as well, wherever the backup goes.
    """
    async for chunk in chunks:
        free = shutil.disk_usage(beside).free
        if free < SPARE_BYTES:
            raise BackupError(
                f"No backup was made: {free >> 20:,} MB are free on the disk of {beside}, and the"
                f" last {SPARE_BYTES >> 20:,} MB are the server's.",
                hint="Free some space there, or let VIRAL_BACKUP_URL lead to another disk.",
            )
        yield chunk
