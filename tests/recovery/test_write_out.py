"""Files of a copy are written out while they grow; nothing that happens to them matters."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from viral.postgres.branches.write_out import LEAST_BYTES, written_out


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which files go to the disk: whether they got there is the kernel's secret."""
    files: list[str] = []

    def advised(descriptor: int, *_advice: int) -> None:
        files.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "posix_fadvise", advised)
    return files


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.005)


async def test_files_of_a_new_database_are_written_out_each_time_they_grew(
    tmp_path: Path, written: list[str]
) -> None:
    other, made = tmp_path / "base" / "1", tmp_path / "base" / "2"
    other.mkdir(parents=True)
    (other / "100").write_bytes(bytes(LEAST_BYTES))

    async with written_out(tmp_path):
        made.mkdir()
        (made / "small").write_bytes(b"1")
        (made / "200").write_bytes(bytes(LEAST_BYTES))
        await until(lambda: bool(written))
        with (made / "200").open("ab") as file:
            file.write(b"more")
        await until(lambda: len(written) > 1)
        await asyncio.sleep(0.05)

    assert written == ["200", "200"]


async def test_what_cannot_be_written_out_is_left_to_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a file of a copy that failed, and that the server removes."""
    made, asked = tmp_path / "base" / "2", asyncio.Event()
    loop = asyncio.get_running_loop()

    def advised(_descriptor: int, *_advice: int) -> None:
        loop.call_soon_threadsafe(asked.set)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "posix_fadvise", advised)
    made.parent.mkdir()

    async with written_out(tmp_path):
        made.mkdir()
        (made / "200").write_bytes(bytes(LEAST_BYTES))
        await asyncio.wait_for(asked.wait(), 10)
        shutil.rmtree(made)
        await asyncio.sleep(0.02)

    assert asked.is_set()


async def test_a_folder_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    missing = tmp_path / "elsewhere"

    async with written_out(missing):
        await asyncio.sleep(0.02)

    assert not missing.exists()
