"""Memory in place of the disk for what the tests write.

A copy of a database is five hundred files. ext4 gives the number of a deleted file to nobody for a
minute and passes over such numbers one by one (`recently_deleted` in fs/ext4/ialloc.c), so that
tests that make and drop databases spend most of their time there. A tmpfs has no such numbers.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from pathlib import Path

from viral.postgres.account import ROOT_STATE, runs_as_root

_SHARED_MEMORY = Path("/dev/shm")
# The whole suite needs about half of it.
_ROOM_BYTES = 4 << 30
# sched.h and sys/mount.h
_CLONE_NEWNS = 0x20000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000


def write_into_memory() -> None:
    """Have this process and those that it starts write into memory, where there is room.

    Who set TMPDIR has chosen a place: then everything stays where it is.
    """
    if os.environ.get("TMPDIR") or not _has_room():
        return
    os.environ["TMPDIR"] = str(_SHARED_MEMORY)
    # It was looked up, and kept, before.
    tempfile.tempdir = None
    if runs_as_root():
        _mount_servers()


def _has_room() -> bool:
    return _SHARED_MEMORY.is_mount() and shutil.disk_usage(_SHARED_MEMORY).free > _ROOM_BYTES


def _mount_servers() -> None:
    """Mount a tmpfs where root's servers lie: in a namespace that ends with these processes.

    A container may forbid it; then they stay on the disk.
    """
    ROOT_STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    libc = ctypes.CDLL(None)
    # Private first, so that the mount is not passed on to other processes.
    if libc.unshare(_CLONE_NEWNS) == 0 and (
        libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) == 0
    ):
        libc.mount(b"viral", bytes(ROOT_STATE), b"tmpfs", 0, b"mode=755")
