"""Files of a backup: compressed, and encrypted so that any change of them is found.

A sealed file is a header and one or more sealed chunks. The header: magic (8 bytes), id of the
field key (4), salt (32). A chunk: its length (4, big-endian), then AES-256-GCM over one zstd frame
of at most 1 MiB of content. The key is HKDF-SHA-256 (RFC 5869) of the field key and the salt, so
that each file has its own. The nonce is the STREAM construction (Hoang, Reyhanitabar, Rogaway,
Vizar, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015): the
chunk's number (11 bytes) and whether it is the last (1): a chunk that is left out, moved or cut off
does not open. Header and name are authenticated with every chunk: a file put under the name of
another does not open either.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from viral.errors import BackupBroken, DecryptionFailed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from viral.database.encryption.keys import FieldKey, KeyRing

MAGIC = b"VIRALBK1"
KEY_ID_BYTES = 4
SALT_BYTES = 32
HEADER_BYTES = len(MAGIC) + KEY_ID_BYTES + SALT_BYTES
LENGTH_BYTES = 4
CHUNK_BYTES = 1 << 20
# What zstd and the tag may add to a chunk that cannot be compressed.
LARGEST_SEALED_BYTES = CHUNK_BYTES + (CHUNK_BYTES >> 7) + 512
LEVEL = 1
# Chunks at work at once, so that reading, compressing and storing go on side by side.
WINDOW = 4
_PURPOSE = b"viral backup file 1"
_MAC_PURPOSE = b"viral backup manifest 1"


async def seal(
    chunks: AsyncIterator[bytes], key: FieldKey, *, name: str
) -> AsyncGenerator[bytes, None]:
    """Compress and encrypt a stream under a key, to be stored under a name."""
    header = MAGIC + bytes.fromhex(key.id) + secrets.token_bytes(SALT_BYTES)
    cipher, place = _cipher(key, header), header + name.encode()
    yield header

    def job(number: int, piece: bytes, *, is_last: bool) -> Callable[[], bytes]:
        return lambda: _seal_piece(cipher, _nonce(number, is_last=is_last), piece, place)

    async def jobs() -> AsyncIterator[Callable[[], bytes]]:
        number, held = 0, b""
        async for piece in _pieces(chunks):
            if held:
                yield job(number, held, is_last=False)
                number += 1
            held = piece
        yield job(number, held, is_last=True)

    async for sealed in _in_order(jobs()):
        yield sealed


async def unseal(
    chunks: AsyncGenerator[bytes, None], ring: KeyRing, *, name: str
) -> AsyncGenerator[bytes, None]:
    """Open a sealed stream; BackupBroken names the file if it is not what was stored under it."""
    # Whoever stops reading in the middle leaves no file open.
    async with aclosing(chunks):
        incoming = _Incoming(chunks)
        header = await incoming.take(HEADER_BYTES)
        cipher, place = _cipher(_key_of(header, ring, name), header), header + name.encode()

        def job(number: int, sealed: bytes, *, is_last: bool) -> Callable[[], bytes]:
            nonce = _nonce(number, is_last=is_last)
            return lambda: _open_piece(cipher, nonce, sealed, place, name=name)

        async def jobs() -> AsyncIterator[Callable[[], bytes]]:
            number = 0
            while True:
                sealed = await _sealed_piece(incoming, name)
                is_last = await incoming.is_at_end()
                yield job(number, sealed, is_last=is_last)
                if is_last:
                    return
                number += 1

        async for piece in _in_order(jobs()):
            yield piece


async def key_id_of(chunks: AsyncGenerator[bytes, None], *, name: str) -> str:
    """Read in the header of a sealed file which field key it is under."""
    async with aclosing(chunks):
        header = await _Incoming(chunks).take(HEADER_BYTES)
    return _key_id_in(header, name)


def manifest_mac(document: bytes, key: FieldKey) -> str:
    """Compute what proves that a manifest was written by a holder of the key."""
    derived = HKDF(SHA256(), length=32, salt=None, info=_MAC_PURPOSE).derive(key.material)
    return hmac.new(derived, document, hashlib.sha256).hexdigest()


def _cipher(key: FieldKey, header: bytes) -> AESGCM:
    salt = header[-SALT_BYTES:]
    return AESGCM(HKDF(SHA256(), length=32, salt=salt, info=_PURPOSE).derive(key.material))


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11) + bytes([is_last])


def _key_id_in(header: bytes, name: str) -> str:
    if len(header) != HEADER_BYTES or not header.startswith(MAGIC):
        raise BackupBroken(f"{name} is no sealed file of a backup.")
    return header[len(MAGIC) : len(MAGIC) + KEY_ID_BYTES].hex()


def _key_of(header: bytes, ring: KeyRing, name: str) -> FieldKey:
    key_id = _key_id_in(header, name)
    try:
        return ring.find(key_id)
    except DecryptionFailed as error:
        raise BackupBroken(
            f"{name} is under the field key {key_id}, which is not here.", hint=error.hint
        ) from error


def _seal_piece(cipher: AESGCM, nonce: bytes, piece: bytes, place: bytes) -> bytes:
    # A compressor each: one is not to be used by two threads.
    frame = zstandard.ZstdCompressor(level=LEVEL).compress(piece)
    sealed = cipher.encrypt(nonce, frame, place)
    return len(sealed).to_bytes(LENGTH_BYTES) + sealed


def _open_piece(cipher: AESGCM, nonce: bytes, sealed: bytes, place: bytes, *, name: str) -> bytes:
    try:
        frame = cipher.decrypt(nonce, sealed, place)
        if zstandard.frame_content_size(frame) > CHUNK_BYTES:
            raise BackupBroken(f"{name} holds more in a chunk than fits into one.")
        return zstandard.ZstdDecompressor().decompress(frame)
    except (InvalidTag, zstandard.ZstdError) as error:
        raise BackupBroken(
            f"{name} is damaged, incomplete, stored under a wrong name, or under another key."
        ) from error


async def _sealed_piece(incoming: _Incoming, name: str) -> bytes:
    prefix = await incoming.take(LENGTH_BYTES)
    length = int.from_bytes(prefix)
    if len(prefix) == LENGTH_BYTES and length <= LARGEST_SEALED_BYTES:
        sealed = await incoming.take(length)
        if len(sealed) == length:
            return sealed
    raise BackupBroken(f"{name} is damaged or incomplete.")


class _Incoming:
    """A stream from which exact numbers of bytes are taken."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._held = bytearray()

    async def take(self, count: int) -> bytes:
        """Take so many bytes, fewer at the end."""
        while len(self._held) < count and await self._read():
            pass
        taken = bytes(memoryview(self._held)[:count])
        del self._held[:count]
        return taken

    async def is_at_end(self) -> bool:
        """Say whether nothing follows."""
        while not self._held:
            if not await self._read():
                return True
        return False

    async def _read(self) -> bool:
        chunk = await anext(self._chunks, None)
        if chunk is None:
            return False
        self._held += chunk
        return True


async def _pieces(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Cut a stream into pieces of 1 MiB; the last may be shorter."""
    incoming = _Incoming(chunks)
    while piece := await incoming.take(CHUNK_BYTES):
        yield piece


async def _in_order(jobs: AsyncIterator[Callable[[], bytes]]) -> AsyncGenerator[bytes, None]:
    """Do jobs in threads, a few at once, and give their results in the order of the jobs."""
    running: deque[asyncio.Task[bytes]] = deque()
    try:
        async for job in jobs:
            running.append(asyncio.ensure_future(asyncio.to_thread(job)))
            if len(running) == WINDOW:
                yield await running.popleft()
        while running:
            yield await running.popleft()
    finally:
        # A thread cannot be stopped; what it makes of its chunk is of no use to anybody.
        for task in running:
            task.cancel()
