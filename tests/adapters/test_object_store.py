"""The targets of backups keep one contract: a folder, and a bucket over a real socket."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fakes.s3 import ACCESS_KEY, SECRET_KEY, FakeS3

from viral.adapters import object_store
from viral.adapters.object_store import ObjectStore
from viral.errors import BackupBroken, BackupError, BadSetting
from viral.postgres.backup.target import LocalFolder, Target, one_chunk

MIB = 1 << 20


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeS3]:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    with FakeS3() as fake:
        yield fake


@pytest.fixture(params=["folder", "bucket"])
def target(request: pytest.FixtureRequest, tmp_path: Path, s3: FakeS3) -> Target:
    return LocalFolder(tmp_path / "backups") if request.param == "folder" else ObjectStore(s3.url)


async def content_of(target: Target, name: str) -> bytes:
    return b"".join([chunk async for chunk in target.read(name)])


async def chunks_of(content: bytes, *, fails: bool = False) -> AsyncIterator[bytes]:
    for start in range(0, len(content), MIB):
        yield content[start : start + MIB]
    if fails:
        raise BackupError("The server stopped.")


@pytest.mark.parametrize("size_bytes", [0, 1, 2 * MIB + 1])
async def test_what_was_written_is_read(target: Target, size_bytes: int) -> None:
    content = os.urandom(size_bytes)

    written = await target.write("a/b/c.sealed", chunks_of(content))

    assert written == size_bytes
    assert await content_of(target, "a/b/c.sealed") == content


async def test_an_upload_in_parts_becomes_one_object(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    # S3 takes parts of 5 MiB and more.
    monkeypatch.setattr(object_store, "PART_BYTES", 5 * MIB)
    content = os.urandom(12 * MIB + 7)

    written = await ObjectStore(s3.url).write("large", chunks_of(content))

    assert written == len(content)
    assert s3.objects["some/prefix/large"][0] == content
    assert not s3.uploads


async def test_a_stream_that_fails_leaves_nothing_and_says_why(target: Target) -> None:
    with pytest.raises(BackupError, match="The server stopped"):
        await target.write("a/half", chunks_of(os.urandom(2 * MIB), fails=True))

    assert await target.list("a/") == []


async def test_an_upload_in_parts_that_fails_is_ended(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "PART_BYTES", 5 * MIB)

    with pytest.raises(BackupError, match="The server stopped"):
        await ObjectStore(s3.url).write("half", chunks_of(os.urandom(12 * MIB), fails=True))

    assert not s3.objects
    assert not s3.uploads


async def test_a_list_holds_all_pages_and_only_the_prefix(target: Target) -> None:
    names = [f"a/backups/{number}" for number in range(7)]
    for name in [*names, "a/backups-of-others/1", "b/backups/1"]:
        await target.write(name, one_chunk(b"twelve bytes"))

    found = await target.list("a/backups/")

    assert [stored.name for stored in found] == names
    assert {stored.size_bytes for stored in found} == {12}
    assert await target.list("nothing/") == []


async def test_writing_again_replaces(target: Target) -> None:
    await target.write("name", one_chunk(b"former"))
    await target.write("name", one_chunk(b"latter"))

    assert await content_of(target, "name") == b"latter"
    assert len(await target.list("")) == 1


async def test_what_is_deleted_is_gone_and_twice_is_no_error(target: Target) -> None:
    await target.write("a/name", one_chunk(b"content"))

    await target.delete("a/name")
    await target.delete("a/name")

    assert await target.list("") == []
    with pytest.raises(BackupBroken, match="a/name is missing"):
        await content_of(target, "a/name")


@pytest.mark.parametrize("name", ["../outside", "a//b", "/etc/passwd", "a/./b", ""])
async def test_a_folder_keeps_to_itself(tmp_path: Path, name: str) -> None:
    with pytest.raises(BackupError, match="no name of a stored file"):
        await LocalFolder(tmp_path / "backups").write(name, one_chunk(b"content"))


async def test_a_folder_and_its_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    await LocalFolder(tmp_path / "backups").write("a/name", one_chunk(b"content"))

    modes = {path.stat().st_mode & 0o777 for path in [tmp_path / "backups", tmp_path / "backups/a"]}
    assert modes == {0o700}
    assert (tmp_path / "backups/a/name").stat().st_mode & 0o777 == 0o600


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(BackupError, match=r"a/name cannot be used in .*file: File exists"):
        await LocalFolder(tmp_path / "file").write("a/name", one_chunk(b"content"))


@pytest.mark.parametrize("method", ["PUT", "GET"])
async def test_a_bucket_that_refuses_says_its_code_and_no_secret(s3: FakeS3, method: str) -> None:
    s3.instead[method] = (403, "AccessDenied")
    store = ObjectStore(s3.url)

    work = (
        store.write("a/name", one_chunk(b"content"))
        if method == "PUT"
        else content_of(store, "a/name")
    )

    with pytest.raises(BackupError, match=r"refuses us at a/name \(AccessDenied\)") as caught:
        await work

    assert "AWS_SECRET_ACCESS_KEY" in caught.value.hint
    assert SECRET_KEY not in caught.value.message + caught.value.hint
    assert "Signature" not in caught.value.message


async def test_a_bucket_that_is_not_there_is_said(s3: FakeS3) -> None:
    store = ObjectStore(s3.url.replace("s3://bucket/", "s3://other/"))

    with pytest.raises(BackupError, match="cannot be used in s3://other/some/prefix"):
        await store.write("name", one_chunk(b"content"))


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket?endpoint=http://10.0.0.1:9000",
        "s3://bucket?endpoint=http://localhost.example",
        "s3://bucket?endpoint=ftp://127.0.0.1",
        "s3://bucket?endpoint=",
    ],
)
def test_plain_http_leaves_this_machine_never(url: str) -> None:
    with pytest.raises(BadSetting, match="is not https"):
        ObjectStore(url)


async def test_an_endpoint_of_the_environment_is_never_plain(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url.partition("endpoint=")[2])
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")

    with pytest.raises(BackupError, match="cannot be used"):
        await ObjectStore("s3://bucket").write("name", one_chunk(b"content"))

    assert not s3.calls


@pytest.mark.parametrize("url", ["s3://", "s3://key:secret@bucket", "s3://bucket?secret=x"])
def test_a_url_with_anything_but_a_bucket_is_refused_unseen(url: str) -> None:
    with pytest.raises(BadSetting, match="names no bucket") as caught:
        ObjectStore(url)

    assert "key:secret" not in caught.value.message + caught.value.hint
