"""The stream of `pg_basebackup`: one tar archive, with the WAL that makes it consistent."""

from __future__ import annotations

import asyncio
import re
import subprocess
import tempfile
from contextlib import asynccontextmanager
from typing import IO, TYPE_CHECKING

from viral.errors import BackupError
from viral.postgres.backup.target import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from viral.database.urls import ServerUrl

LONGEST_REASON_BYTES = 4_000
_REASON = re.compile(r"(?:FATAL|ERROR): +(.*)|pg_basebackup: error: (.*)")


@asynccontextmanager
async def base_backup(
    program: str, url: ServerUrl, *, label: str, parent_manifest: IO[bytes] | None
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Run `pg_basebackup`; yields the archive, whose end says that the server is done with it.

    With `parent_manifest` it holds what changed since that backup. BackupError tells why it failed.
    """
    passed = () if parent_manifest is None else (parent_manifest.fileno(),)
    command = [
        program,
        "--pgdata=-",
        "--format=tar",
        # As the archive goes to a pipe, WAL comes at its end and not beside it.
        "--wal-method=fetch",
        "--checkpoint=fast",
        "--no-password",
        f"--label={label}",
        *(f"--incremental=/dev/fd/{number}" for number in passed),
    ]
    # A file, because nobody reads a pipe while the archive is read.
    with tempfile.TemporaryFile() as errors:
        process = _start(command, url, passed=passed, errors=errors)
        try:
            yield _chunks(process, errors)
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)
            assert process.stdout is not None
            process.stdout.close()


def failed(reason: str) -> BackupError:
    """Say that no backup was made, and why."""
    return BackupError(
        f"No backup was made: {reason.strip().rstrip('.') or 'pg_basebackup was stopped'}.",
        hint="Nothing is listed of it. Correct the cause, then `viral backup create` again.",
    )


def _start(
    command: list[str], url: ServerUrl, *, passed: tuple[int, ...], errors: IO[bytes]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            env={
                "LC_ALL": "C.UTF-8",
                "PGCONNECT_TIMEOUT": "10",
                "PGHOST": url.host,
                "PGPASSWORD": url.password,
                "PGPORT": str(url.port),
                "PGUSER": url.user,
            },
            pass_fds=passed,
            pipesize=CHUNK_BYTES,
            # A Ctrl-C is for us: we end it, and say why.
            start_new_session=True,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
    except OSError as error:
        raise failed(f"{command[0]} cannot be started: {error.strerror}") from error


async def _chunks(process: subprocess.Popen[bytes], errors: IO[bytes]) -> AsyncIterator[bytes]:
    assert process.stdout is not None
    while chunk := await asyncio.to_thread(process.stdout.read, CHUNK_BYTES):
        yield chunk
    if await asyncio.to_thread(process.wait):
        errors.seek(0)
        raise failed(_reason(errors.read(LONGEST_REASON_BYTES).decode(errors="replace")))


def _reason(words: str) -> str:
    """Pick what the server said, else what the program says; lines of either follow warnings."""
    found = _REASON.search(words)
    return (found[1] or found[2]) if found else words.strip().partition("\n")[0]
