"""A copy of a database in one file, by PostgreSQL's own `pg_dump`."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from asyncio.subprocess import PIPE
from contextlib import contextmanager
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from typing import TYPE_CHECKING

from viral.errors import BinariesMissing, ServerError
from viral.postgres.binaries import find_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from viral.database.urls import ServerUrl

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


async def dump(url: ServerUrl, folder: Path, *, name: str, bindir: Path | None = None) -> Path:
    """Write the whole database into a file of its own, readable by its owner alone.

    `url` is a role that passes row security, or the copy would lack rows: `pg_dump` refuses then.
    """
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    target = folder / f"{_UNSAFE.sub('-', name.lower()).strip('-')}-{moment}.dump"
    program = _program(url, bindir)
    try:
        with _unfinished(target) as file:
            await _write(url, program, file)
    except OSError as error:
        raise ServerError(
            f"No copy of {url} could be made: {error.strerror} ({error.filename}).",
            hint="Nothing was changed. Without a copy: --without-restore-point.",
        ) from error
    return target


@contextmanager
def _unfinished(target: Path) -> Iterator[BinaryIO]:
    """Give a file that gets its name once it is whole; a killed process leaves no other for long.

    Whoever writes it, `pg_dump` too, holds its lock.
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
            os.fsync(file.fileno())
        path.rename(target)
    finally:
        path.unlink(missing_ok=True)


async def _write(url: ServerUrl, program: str, file: BinaryIO) -> None:
    process = await asyncio.create_subprocess_exec(
        program,
        "--format=custom",
        "--no-password",
        "--lock-wait-timeout=60s",
        f"--dbname={url.libpq(password=False)}",
        env={"LC_ALL": "C.UTF-8", "PGPASSWORD": url.password, "PGCONNECT_TIMEOUT": "10"},
        stdout=file,
        stderr=PIPE,
    )
    try:
        _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise _refusal(url, errors.decode(errors="replace"))


def _refusal(url: ServerUrl, errors: str) -> ServerError:
    """Make one line of what `pg_dump` says in several."""
    found = _SAID.search(errors)
    first = errors.strip().partition("\n")[0].removeprefix("pg_dump: error: ")
    reason = found[1] if found else first
    hint = next(words for pattern, words in _HINTS if pattern.search(errors))
    return ServerError(
        f"No copy of {url} could be made: {reason.rstrip('.') or 'pg_dump was stopped'}.",
        hint=f"{hint} Without a copy: --without-restore-point.",
    )


def _program(url: ServerUrl, bindir: Path | None) -> str:
    if dict(url.tls).get("sslmode") in _WITHOUT_TLS:
        return find_binaries(bindir).program("pg_dump")
    # The packaged programs speak no TLS.
    found = shutil.which("pg_dump", path=str(bindir) if bindir else None)
    if found is None:
        raise BinariesMissing(
            "There is no pg_dump on this machine that speaks TLS.",
            hint="Install your system's PostgreSQL client, or name its folder in VIRAL_PG_BINDIR.",
        )
    return found
