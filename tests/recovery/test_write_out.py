"""Files of a copy are written out while they grow; nothing that happens to them matters."""

from __future__ import annotations

import asyncio
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

    def fsync(descriptor: int) -> None:
        files.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "fsync", fsync)
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


async def test_a_copy_that_fails_under_it_is_not_its_business(
    tmp_path: Path, written: list[str]
) -> None:
    made = tmp_path / "base" / "2"
    made.parent.mkdir()

    async with written_out(tmp_path):
        for number in range(20):
            made.mkdir()
            (made / str(number)).write_bytes(bytes(LEAST_BYTES))
            await asyncio.sleep(0.002)
            shutil.rmtree(made)

    assert set(written) <= {str(number) for number in range(20)}


async def test_a_folder_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    async with written_out(tmp_path / "elsewhere"):
        await asyncio.sleep(0.02)
