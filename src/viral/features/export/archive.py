"""The file of an export: a zip of JSON lines, one file a table, and a manifest at its end.

manifest.json     what it is, of whom, of when; of each table its columns, rows and SHA-256
concepts.jsonl    one row a line, as PostgreSQL's row_to_json writes it, in the order of the key

The same rows give the same bytes: no file of the zip carries a time.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - msgspec reads annotations at run time
from typing import TYPE_CHECKING, Literal
from uuid import UUID  # noqa: TC003 - the same

import msgspec

from viral.errors import BadFile
from viral.postgres.backup.sealing import unseal
from viral.postgres.backup.target import LocalFolder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path
    from typing import IO

    from viral.database.encryption.keys import KeyRing

MANIFEST = "manifest.json"
FORMAT: Literal[1] = 1
# Authenticated with a sealed export in place of its file's name, which people change.
SEALED_NAME = "tenant export"
# A row a batch at least; more while they fit.
BATCH_ROWS = 500
BATCH_BYTES = 4 << 20
LARGEST_MANIFEST = 1 << 20
# The first moment that a zip can name.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_ONLY_OWNER = 0o600 << 16


@dataclass(frozen=True, slots=True)
class Contents:
    """What the archive holds of one table; `months` are those of a partitioned one, `2026-11`."""

    name: str
    columns: list[str]
    rows: int
    sha256: str
    months: list[str]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive is: of which tenant, when it was taken out, from which schema."""

    format: Literal[1]
    tenant_id: UUID
    slug: str
    exported_at: datetime
    revision: str
    tables: list[Contents]

    @property
    def rows(self) -> int:
        """All rows of all tables."""
        return sum(table.rows for table in self.tables)


class ArchiveWriter:
    """Writes an archive piece by piece; `take` gives the bytes that are ready."""

    def __init__(self) -> None:
        self._outlet = _Outlet()
        # Written as to a pipe, so that the bytes can go on at once.
        self._zip = zipfile.ZipFile(self._outlet, "w")  # type: ignore[call-overload]  # any object with write() does
        self._tables: list[Contents] = []

    def take(self) -> bytes:
        """Return what was written since the last call."""
        return self._outlet.take()

    def open_table(self, name: str) -> TableWriter:
        """Begin the file of a table; one at a time."""
        return TableWriter(self._zip.open(_info(f"{name}.jsonl"), "w", force_zip64=True))

    def close_table(
        self, table: TableWriter, name: str, columns: Sequence[str], months: Sequence[str]
    ) -> None:
        """End the file of a table, and note what is in it."""
        table.file.close()
        self._tables.append(
            Contents(name, list(columns), table.rows, table.digest.hexdigest(), list(months))
        )

    def finish(
        self, *, tenant_id: UUID, slug: str, exported_at: datetime, revision: str
    ) -> Manifest:
        """Write the manifest and end the archive."""
        manifest = Manifest(FORMAT, tenant_id, slug, exported_at, revision, self._tables)
        document = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        self._zip.writestr(_info(MANIFEST), document + b"\n")
        self._zip.close()
        return manifest


class TableWriter:
    """The file of one table while it is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.rows = 0
        self.digest = hashlib.sha256()

    def add(self, lines: Sequence[str]) -> None:
        """Append rows."""
        content = "".join(f"{line}\n" for line in lines).encode()
        self.digest.update(content)
        self.file.write(content)
        self.rows += len(lines)


class ArchiveReader:
    """Reads an archive; what is not as its manifest says raises BadFile."""

    def __init__(self, file: IO[bytes], *, name: str) -> None:
        self._name = name
        try:
            self._zip = zipfile.ZipFile(file)
            with self._zip.open(MANIFEST) as manifest:
                document = manifest.read(LARGEST_MANIFEST)
            self.manifest = msgspec.json.decode(document, type=Manifest)
        except (zipfile.BadZipFile, KeyError, EOFError, msgspec.DecodeError) as error:
            raise BadFile(
                f"{name} is no export of a tenant, or is damaged: {error}.",
                hint="Take the file that `viral tenant export` wrote.",
            ) from error

    def batches(self, contents: Contents) -> Iterator[list[bytes]]:
        """Give the rows of a table, some at a time; the last only if all were as they should be."""
        digest, rows, size = hashlib.sha256(), 0, 0
        batch: list[bytes] = []
        try:
            with self._zip.open(f"{contents.name}.jsonl") as file:
                for line in file:
                    digest.update(line)
                    rows += 1
                    size += len(line)
                    batch.append(line)
                    if len(batch) >= BATCH_ROWS or size >= BATCH_BYTES:
                        yield batch
                        batch, size = [], 0
        except (zipfile.BadZipFile, KeyError, EOFError) as error:
            raise self._damaged(contents.name) from error
        if rows != contents.rows or digest.hexdigest() != contents.sha256:
            raise self._damaged(contents.name)
        if batch:
            yield batch

    def _damaged(self, table: str) -> BadFile:
        return BadFile(
            f"The rows of {table} in {self._name} are not those that were exported.",
            hint="Take another copy of the file; nothing was changed.",
        )


@asynccontextmanager
async def open_archive(path: Path, ring: KeyRing, *, home: Path) -> AsyncIterator[ArchiveReader]:
    """Open an export, sealed or not.

    A zip is read from its end: a sealed one is opened into a file of VIRAL_HOME that has no name
    and is gone with this process. What it holds goes from there into the database in any case.
    """
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                yield ArchiveReader(file, name=str(path))
                return
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}.") from error
    with tempfile.TemporaryFile(dir=home) as plain:
        async for chunk in unseal(LocalFolder(path.parent).read(path.name), ring, name=SEALED_NAME):
            plain.write(chunk)
        yield ArchiveReader(plain, name=str(path))


class _Outlet:
    """Holds what zipfile writes until it is taken."""

    def __init__(self) -> None:
        self._held = bytearray()

    def flush(self) -> None:
        """Do nothing: it goes no further by itself."""

    def write(self, content: bytes) -> int:
        """Hold bytes."""
        self._held += content
        return len(content)

    def take(self) -> bytes:
        """Return what is held, and hold it no longer."""
        taken = bytes(self._held)
        self._held.clear()
        return taken


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _NO_TIME)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = _ONLY_OWNER
    return info
