"""A copy of a database by PostgreSQL's own `pg_dump`; restore points are such copies, sealed."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from typing import TYPE_CHECKING

from viral.errors import BinariesMissing, ServerError
from viral.postgres.backup.sealing import seal
from viral.postgres.binaries import find_binaries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path
    from typing import IO, BinaryIO

    from viral.database.encryption.keys import FieldKey
    from viral.database.urls import ServerUrl

ENDING = ".dump.sealed"
CHUNK_BYTES = 1 << 20
_LONGEST_ERRORS = 64 << 10
_UNSAFE = re.compile(r"[^a-z0-9-]+")
_WITHOUT_TLS = {None, "disable", "allow", "prefer"}
# What the server says, within what `pg_dump` makes of it.
_SAID = re.compile(r"(?:ERROR|FATAL): +(.*)")
# The first that fits.
_HINTS = (
    (
        re.compile(r"row-level security|permission denied"),
        "viral_backup needs BYPASSRLS and pg_read_all_data: `viral server bootstrap` gives them.",
    ),
    (
        re.compile(r"version mismatch"),
        "Name the folder of programs as new as the server in VIRAL_PG_BINDIR.",
    ),
    (
        re.compile(r"password|authentication"),
        "`viral server bootstrap` sets the password of viral_backup to the one of this machine.",
    ),
    (re.compile(""), "Nothing was changed. Correct the cause and try again."),
)


async def dump(
    url: ServerUrl, folder: Path, *, name: str, key: FieldKey, bindir: Path | None = None
) -> Path:
    """Write the whole database into a sealed file of its own, readable by its owner alone.

    `url` is a role that passes row security, or the copy would lack rows: `pg_dump` refuses then.
    The file is sealed under its own name.
    """
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    target = folder / f"{_UNSAFE.sub('-', name.lower()).strip('-')}-{moment}{ENDING}"
    try:
        with _unfinished(target) as file:
            async with (
                dumped(url, bindir=bindir) as chunks,
                aclosing(seal(chunks, key, name=target.name)) as sealed,
            ):
                async for chunk in sealed:
                    await asyncio.to_thread(file.write, chunk)
    except OSError as error:
        raise ServerError(
            f"No copy of {url} could be made: {error.strerror} ({error.filename}).",
            hint="Nothing was changed. Without a copy: --without-restore-point.",
        ) from error
    except ServerError as error:
        error.hint = f"{error.hint} Without a copy: --without-restore-point."
        raise
    return target


@asynccontextmanager
async def dumped(url: ServerUrl, *, bindir: Path | None) -> AsyncIterator[AsyncIterator[bytes]]:
    """Run `pg_dump`; yields a copy in its own format, whose end says that it is whole.

    Not compressed, because what is sealed is compressed then. ServerError tells why it failed.
    """
    command = [
        client_program("pg_dump", url, bindir),
        "--format=custom",
        "--compress=0",
        "--no-password",
        "--lock-wait-timeout=60s",
    ]
    # A file, because nobody reads a pipe while the copy is read.
    with tempfile.TemporaryFile() as errors:
        process = _start(command, url, errors)
        try:
            yield _chunks(process, url, errors)
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)
            assert process.stdout is not None
            process.stdout.close()


def client_program(name: str, url: ServerUrl, bindir: Path | None) -> str:
    """Return the path of a program that can talk to a server: with TLS where that is asked for."""
    if dict(url.tls).get("sslmode") in _WITHOUT_TLS:
        return find_binaries(bindir).program(name)
    # The packaged programs speak no TLS.
    found = shutil.which(name, path=str(bindir) if bindir else None)
    if found is None:
        raise BinariesMissing(
            f"There is no {name} on this machine that speaks TLS.",
            hint="Install your system's PostgreSQL client, or name its folder in VIRAL_PG_BINDIR.",
        )
    return found


def client_environment(url: ServerUrl) -> dict[str, str]:
    """Return where a client program connects to, and all else that it gets to see.

    Not among its arguments, which every user of the machine can read.
    """
    return {
        "LC_ALL": "C.UTF-8",
        "PGHOST": url.host,
        "PGPORT": str(url.port),
        "PGUSER": url.user,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.database,
        "PGCONNECT_TIMEOUT": "10",
        # sslmode is PGSSLMODE, ssl_min_protocol_version is PGSSLMINPROTOCOLVERSION.
        **{f"PG{name.upper().replace('_', '')}": value for name, value in url.tls},
    }


@contextmanager
def _unfinished(target: Path) -> Iterator[BinaryIO]:
    """Give a file that gets its name once it is whole; a killed process leaves no other for long.

    Whoever writes it holds its lock.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in target.parent.glob("*.part"):
        with path.open("rb") as left_over:
            try:
                flock(left_over, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                continue
            path.unlink(missing_ok=True)
    path = target.with_suffix(".part")
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "wb") as file:
            flock(file, LOCK_EX)
            yield file
            file.flush()
            os.fsync(file.fileno())
        path.rename(target)
    finally:
        path.unlink(missing_ok=True)


def _start(command: list[str], url: ServerUrl, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=client_environment(url),
        # A Ctrl-C is for us: we end it, and say why.
        start_new_session=True,
        stderr=errors,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )


async def _chunks(
    process: subprocess.Popen[bytes], url: ServerUrl, errors: IO[bytes]
) -> AsyncIterator[bytes]:
    assert process.stdout is not None
    while chunk := await asyncio.to_thread(process.stdout.read, CHUNK_BYTES):
        yield chunk
    if await asyncio.to_thread(process.wait):
        errors.seek(0)
        raise _refusal(url, errors.read(_LONGEST_ERRORS).decode(errors="replace"))


def _refusal(url: ServerUrl, errors: str) -> ServerError:
    """Make one line of what `pg_dump` says in several."""
    found = _SAID.search(errors)
    first = errors.strip().partition("\n")[0].removeprefix("pg_dump: error: ")
    reason = found[1] if found else first
    hint = next(words for pattern, words in _HINTS if pattern.search(errors))
    return ServerError(
        f"No copy of {url} could be made: {reason.rstrip('.') or 'pg_dump was stopped'}.",
        hint=hint,
    )
