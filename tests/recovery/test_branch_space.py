"""A copy that does not fit on the server's disk is refused before anybody is held off."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from viral.errors import BranchRefused
from viral.postgres.branches import space
from viral.postgres.branches.space import refuse_without_space
from viral.postgres.disk import SPARE_BYTES

SIZE = 100 << 20
as_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("mkfs.xfs") is None,
    reason="needs root and mkfs.xfs, to have a file system with reflinks",
)


def fits(
    folder: Path, free: int, monkeypatch: pytest.MonkeyPatch, *, by_files: bool, is_logged: bool
) -> bool:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free))
    try:
        refuse_without_space(folder, "viral", SIZE, by_files=by_files, is_logged=is_logged)
    except BranchRefused:
        return False
    return True


@pytest.mark.parametrize(
    ("is_logged", "needed"), [(False, SIZE), (True, 3 * SIZE)], ids=["files", "log"]
)
def test_a_copy_needs_its_size_and_its_log_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: int, *, is_logged: bool
) -> None:
    monkeypatch.setattr(space, "_shares_blocks", lambda _folder: False)
    needed += SPARE_BYTES

    assert fits(tmp_path, needed, monkeypatch, by_files=not is_logged, is_logged=is_logged)
    assert not fits(tmp_path, needed - 1, monkeypatch, by_files=not is_logged, is_logged=is_logged)


@pytest.fixture
def xfs(tmp_path: Path) -> Iterator[Path]:
    image, folder = tmp_path / "xfs.img", tmp_path / "xfs"
    with image.open("wb") as file:
        file.truncate(320 << 20)
    folder.mkdir()
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("no loop device can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@as_root
def test_a_copy_by_reflinks_needs_no_space_of_its_own(
    xfs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = xfs / "data"
    data_dir.mkdir()

    assert fits(data_dir, SPARE_BYTES, monkeypatch, by_files=True, is_logged=False)
    assert not fits(data_dir, SPARE_BYTES, monkeypatch, by_files=False, is_logged=False)
    assert not any(xfs.glob("tmp*"))
