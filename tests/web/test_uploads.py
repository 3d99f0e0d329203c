"""Uploaded files are read by their format, and leave nothing behind."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from litestar.datastructures import UploadFile

from viral.errors import BadFile
from viral.web.uploads import read_upload

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CSV = b"id,platform,published_at,views\nv1,tiktok,2026-01-02,5\n"
JSON = b'[{"id": "v1", "platform": "tiktok", "published_at": "2026-01-02", "views": 5}]'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content"),
    [("r.csv", CSV), ("R.JSON", JSON), ("r.jsonl", JSON[1:-1]), ("r", CSV), ("r.exe", CSV)],
)
async def test_the_name_says_the_format(folder: Path, name: str, content: bytes) -> None:
    file = UploadFile("text/plain", name, content)

    found = await read_upload(file, now=NOW)
    await file.close()

    assert [row.external_id for row in found.rows] == ["v1"]
    assert list(folder.iterdir()) == []


async def test_a_bad_file_leaves_nothing_behind_and_names_no_path(folder: Path) -> None:
    file = UploadFile("text/plain", "../../etc/passwd.json", b"{")

    with pytest.raises(BadFile, match=r"^The file is no JSON") as raised:
        await read_upload(file, now=NOW)
    await file.close()

    assert str(folder) not in raised.value.message
    assert list(folder.iterdir()) == []
