"""One file picked out of a tar archive that streams by (POSIX.1-2017, pax, "ustar format")."""

from __future__ import annotations

from viral.errors import BackupError

BLOCK_BYTES = 512
_NAME = slice(0, 100)
_SIZE = slice(124, 136)
_BASE_256 = 0x80


class TarMember:
    """Watches an archive for a member and keeps its content; the rest is passed over."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._content = bytearray()
        self._header = bytearray()
        self._is_wanted = False
        self._is_found = False
        self._left = 0
        self._padding = 0

    @property
    def content(self) -> bytes:
        """The member's bytes; an archive without it is not what it should be."""
        if not self._is_found or self._left:
            raise BackupError(f"The server's backup holds no whole {self._name.decode()}.")
        return bytes(self._content)

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes of the archive."""
        view = memoryview(chunk)
        while view:
            if self._left:
                part = view[: self._left]
                if self._is_wanted:
                    self._content += part
                self._left -= len(part)
            elif self._padding:
                part = view[: self._padding]
                self._padding -= len(part)
            else:
                part = view[: BLOCK_BYTES - len(self._header)]
                self._header += part
                if len(self._header) == BLOCK_BYTES:
                    self._begin(bytes(self._header))
                    self._header.clear()
            view = view[len(part) :]

    def _begin(self, header: bytes) -> None:
        self._left = _size(header[_SIZE])
        self._padding = -self._left % BLOCK_BYTES
        self._is_wanted = header[_NAME].rstrip(b"\0") == self._name
        self._is_found |= self._is_wanted


def _size(digits: bytes) -> int:
    if digits[0] & _BASE_256:
        # GNU's form for files of 8 GiB and more.
        return int.from_bytes(bytes([digits[0] & ~_BASE_256]) + digits[1:])
    return int(digits.rstrip(b"\0 ") or b"0", 8)
