"""Whether a copy of a database fits: on a full disk the whole server would stop."""

from __future__ import annotations

import shutil
import tempfile
from fcntl import ioctl
from typing import TYPE_CHECKING

from viral.errors import BranchRefused
from viral.postgres.disk import SPARE_BYTES

if TYPE_CHECKING:
    from pathlib import Path

# Up to `max_wal_size` in pg_wal, and as much in the spool of the archive.
MOST_WAL_BYTES = 2 << 30
# FICLONE of linux/fs.h: one file becomes a copy of another that shares its blocks.
_SHARE = 0x40049409


def refuse_without_space(
    data_dir: Path, database: str, size_bytes: int, *, by_files: bool, is_logged: bool
) -> None:
    """Raise BranchRefused where a copy and its WAL do not fit on the server's disk.

    `by_files` says that the server can copy by reflinks, which take nothing.
    """
    needed = SPARE_BYTES
    if not (by_files and _shares_blocks(data_dir.parent)):
        needed += size_bytes
    if is_logged:
        needed += min(2 * size_bytes, MOST_WAL_BYTES)
    free = shutil.disk_usage(data_dir).free
    if free < needed:
        raise BranchRefused(
            f"A copy of {database} needs {needed >> 20:,} MB on the disk of {data_dir}, and"
            f" {free >> 20:,} MB are free.",
            hint="Free some space: without reflinks a branch takes as much as its parent, and its"
            " log comes on top while a backup is made.",
        )


def _shares_blocks(folder: Path) -> bool:
    """Try it, as the file system's name does not tell; no means also that we may not try."""
    try:
        with (
            tempfile.TemporaryFile(dir=folder) as source,
            tempfile.TemporaryFile(dir=folder) as copy,
        ):
            source.write(bytes(4096))
            source.flush()
            ioctl(copy.fileno(), _SHARE, source.fileno())
    except OSError:
        return False
    return True
