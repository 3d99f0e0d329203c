"""A sealed file opens as it was stored, under its name and key, and in no other way."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pytest

from viral.database.encryption.keys import FieldKey, KeyRing, new_key
from viral.errors import BackupBroken
from viral.postgres.backup.sealing import CHUNK_BYTES, HEADER_BYTES, seal, unseal

NAME = "installation/backups/one/base.tar.sealed"
KEY = new_key(datetime(2026, 11, 23, tzinfo=UTC))
RING = KeyRing([KEY])


async def stream(content: bytes, *, step: int = 300_007) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(content), step):
        yield content[start : start + step]


async def sealed(content: bytes, *, name: str = NAME, key: FieldKey = KEY) -> bytes:
    return b"".join([chunk async for chunk in seal(stream(content), key, name=name)])


async def opened(content: bytes, *, name: str = NAME, ring: KeyRing = RING) -> bytes:
    return b"".join([chunk async for chunk in unseal(stream(content), ring, name=name)])


def chunks_of(content: bytes) -> list[bytes]:
    """Cut a sealed file into its header and its chunks with their lengths."""
    parts, at = [content[:HEADER_BYTES]], HEADER_BYTES
    while at < len(content):
        end = at + 4 + int.from_bytes(content[at : at + 4])
        parts.append(content[at:end])
        at = end
    return parts


@pytest.mark.parametrize("size_bytes", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 6 * CHUNK_BYTES])
async def test_what_was_sealed_is_opened(size_bytes: int) -> None:
    content = os.urandom(size_bytes)

    assert await opened(await sealed(content)) == content


async def test_a_text_becomes_small_and_is_nowhere_to_be_read() -> None:
    content = b"a secret sentence. " * 100_000

    stored = await sealed(content)

    assert len(stored) < len(content) / 10
    assert b"secret" not in stored


async def test_the_same_content_is_sealed_otherwise_each_time() -> None:
    first, second = await sealed(b"content"), await sealed(b"content")

    assert first[HEADER_BYTES:] != second[HEADER_BYTES:]


async def test_every_flipped_byte_is_found() -> None:
    stored = await sealed(os.urandom(100))

    for place in range(len(stored)):
        changed = bytearray(stored)
        changed[place] ^= 1
        with pytest.raises(BackupBroken, match=NAME):
            await opened(bytes(changed))


async def test_a_file_cut_off_anywhere_is_found() -> None:
    stored = await sealed(os.urandom(3 * CHUNK_BYTES))
    header, *chunks = chunks_of(stored)
    assert len(chunks) == 3

    whole = [header + b"".join(chunks[:count]) for count in range(3)]
    for rest in [b"", header[:-1], *whole, stored[:-1], stored + b"\0"]:
        with pytest.raises(BackupBroken, match=NAME):
            await opened(rest)


async def test_chunks_moved_doubled_or_left_out_are_found() -> None:
    header, first, second, third = chunks_of(await sealed(os.urandom(3 * CHUNK_BYTES)))

    for order in [
        (second, first, third),
        (first, third),
        (first, first, second, third),
        (first, second, third, third),
        (third,),
    ]:
        with pytest.raises(BackupBroken, match=NAME):
            await opened(header + b"".join(order))


async def test_a_chunk_of_another_file_is_found() -> None:
    header, first, second = chunks_of(await sealed(os.urandom(2 * CHUNK_BYTES)))
    _, _, other = chunks_of(await sealed(os.urandom(2 * CHUNK_BYTES)))

    with pytest.raises(BackupBroken, match=NAME):
        await opened(header + first + other)
    assert await opened(header + first + second)


async def test_a_file_under_the_name_of_another_is_found() -> None:
    stored = await sealed(b"content", name="installation/backups/two/base.tar.sealed")

    with pytest.raises(BackupBroken, match=NAME):
        await opened(stored)


async def test_a_key_that_is_not_here_is_named() -> None:
    stored = await sealed(b"content", key=new_key(datetime.now(UTC)))

    with pytest.raises(BackupBroken, match=rf"{NAME} is under the field key \w{{8}}, which is not"):
        await opened(stored)


async def test_a_wrong_key_of_the_same_id_is_found() -> None:
    wrong = KeyRing([FieldKey(KEY.id, os.urandom(32))])

    with pytest.raises(BackupBroken, match="under another key"):
        await opened(await sealed(b"content"), ring=wrong)


async def test_a_former_key_opens_what_is_under_it() -> None:
    ring = KeyRing([new_key(datetime.now(UTC)), KEY])

    assert await opened(await sealed(b"content"), ring=ring) == b"content"
