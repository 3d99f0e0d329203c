"""Where backups go: a folder, or whatever else keeps named objects."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from viral.database.secrets import sync_folder
from viral.errors import BackupBroken, BackupError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

CHUNK_BYTES = 1 << 20
UNFINISHED = ".part"


@dataclass(frozen=True, slots=True)
class Stored:
    """An object of a target; the time is of the target's clock."""

    name: str
    size_bytes: int
    modified_at: datetime


class Target(Protocol):
    """A store of named objects. All but `list` name one; every failure is a BackupError."""

    @property
    def location(self) -> str:
        """Where it is, for people; it holds no secret."""
        ...

    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        """Store an object, which appears whole or not at all; return its bytes.

        A former object of the name is replaced.
        """
        ...

    def read(self, name: str) -> AsyncGenerator[bytes, None]:
        """Read an object; BackupBroken says that it is missing."""
        ...

    async def list(self, prefix: str) -> list[Stored]:
        """List the objects whose names begin so, by name; none is no error."""
        ...

    async def delete(self, name: str) -> None:
        """Delete an object; one that is gone is no error."""
        ...


class LocalFolder:
    """A folder of this machine; an object is a file that only its owner reads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def location(self) -> str:
        """The path of the folder."""
        return str(self._folder)

    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        """Write a file beside its name, bring it to the disk, and give it the name."""
        path = self._path(name)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
        size_bytes = 0
        try:
            with self._explained(name):
                await asyncio.to_thread(_make_folders, path.parent, above=self._folder)
                descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                async for chunk in chunks:
                    with self._explained(name):
                        await asyncio.to_thread(_write_all, file.fileno(), chunk)
                    size_bytes += len(chunk)
                with self._explained(name):
                    await asyncio.to_thread(os.fsync, file.fileno())
            with self._explained(name):
                draft.replace(path)
                await asyncio.to_thread(sync_folder, path.parent)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        return size_bytes

    async def read(self, name: str) -> AsyncGenerator[bytes, None]:
        """Read a file in chunks of 1 MiB."""
        with self._explained(name):
            try:
                file = self._path(name).open("rb", buffering=0)
            except FileNotFoundError as error:
                raise missing(name, self.location) from error
        with file:
            while True:
                with self._explained(name):
                    chunk = await asyncio.to_thread(file.read, CHUNK_BYTES)
                if not chunk:
                    return
                yield chunk

    async def list(self, prefix: str) -> list[Stored]:
        """List files, also what killed runs left unfinished: it is to be swept."""
        with self._explained(prefix):
            return await asyncio.to_thread(_files_below, self._folder, prefix)

    async def delete(self, name: str) -> None:
        """Delete a file, and the folders that it leaves empty."""
        path = self._path(name)
        with self._explained(name):
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self._folder:
                    break
                try:
                    folder.rmdir()
                except OSError:
                    break

    def _path(self, name: str) -> Path:
        parts = name.split("/")
        if not all(parts) or {".", ".."} & set(parts):
            raise BackupError(f"{name!r} is no name of a stored file.")
        return self._folder.joinpath(*parts)

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BackupError(
                f"{name} cannot be used in {self.location}: {error.strerror}.",
                hint=f"See to the space and the permissions of {self.location}, then try again.",
            ) from error


async def read_small(target: Target, name: str, *, largest_bytes: int = 64 << 20) -> bytes:
    """Read a whole object that is known to be small; a large one is not what it should be."""
    content = bytearray()
    async for chunk in target.read(name):
        content += chunk
        if len(content) > largest_bytes:
            raise BackupBroken(f"{name} is larger than such a file can be.")
    return bytes(content)


async def one_chunk(content: bytes) -> AsyncIterator[bytes]:
    """Give content at hand in the form that `write` takes."""
    yield content


def missing(name: str, location: str) -> BackupBroken:
    """Say that an object is not there."""
    return BackupBroken(f"{name} is missing in {location}.")


def _files_below(folder: Path, prefix: str) -> list[Stored]:
    found = []
    # Only the folder that can hold such names is walked: the archive beside it may be large.
    for parent, _, names in os.walk(folder / prefix.rpartition("/")[0]):
        for path in (Path(parent) / name for name in names):
            name = path.relative_to(folder).as_posix()
            if name.startswith(prefix):
                # A file may go while its folder is read.
                with suppress(FileNotFoundError):
                    status = path.stat()
                    modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
                    found.append(Stored(name, status.st_size, modified_at))
    return sorted(found, key=lambda stored: stored.name)


def _make_folders(folder: Path, *, above: Path) -> None:
    """Make the folders down to one, each for its owner alone, and bring their names to the disk."""
    if folder.is_dir():
        return
    if folder == above:
        folder.parent.mkdir(parents=True, exist_ok=True)
    else:
        _make_folders(folder.parent, above=above)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def _write_all(descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
