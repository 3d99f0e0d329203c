"""The data folder: made whole or not at all, and furnished with our settings."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import struct
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from viral.database.secrets import sync_folder, write_private
from viral.errors import ServerError
from viral.postgres.account import run_program
from viral.postgres.configuration import ACCESS_RULES, INCLUDE, SETTINGS_FILE, server_settings
from viral.postgres.installation import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from viral.postgres.account import Account
    from viral.postgres.binaries import Binaries
    from viral.postgres.installation import Installation

INITDB_TIMEOUT_S = 600
FIRST_WITH_BUILTIN_LOCALE = 17
# From here on unless initdb is told otherwise.
FIRST_WITH_CHECKSUMS = 18
PASSWORD_FILE = ".password"  # noqa: S105 - the name of a file
UNFINISHED = "data.new"
# Whole, and about to take the place of the data folder: an upgraded or a restored one.
UPGRADED = "data.upgraded"
# Where an upgrade makes the data folder of the other version, and keeps a password meanwhile.
WORKSPACE = "upgrade"


async def make_data_folder(
    installation: Installation, *, binaries: Binaries, account: Account, admin_password: str
) -> None:
    """Make the data folder if there never was one; what an interrupted attempt left goes.

    Raises ServerError where it was there once: an empty database would take the place of the data.
    """
    data_dir = installation.data_dir
    with explained(data_dir):
        for leftover in installation.state.glob(f"{PASSWORD_FILE}-*"):
            leftover.unlink()
        for leftover in installation.state.glob(f"{UNFINISHED}-*"):
            # An initdb whose starter was killed may still write there, for as long as it can.
            shutil.rmtree(leftover, ignore_errors=True)
        settle_exchange(installation)
        # A server of a killed upgrade ends by itself when its folder is gone.
        shutil.rmtree(installation.state / WORKSPACE, ignore_errors=True)
        if data_dir.exists():
            _check_version(data_dir, binaries)
            return
        _refuse_loss(installation)
        unfinished = installation.state / f"{UNFINISHED}-{secrets.token_hex(4)}"
        unfinished.mkdir(mode=0o700)
        os.chown(unfinished, account.uid, account.gid)
        await initialize(unfinished, binaries=binaries, account=account, password=admin_password)
        furnish(unfinished, owner=(account.uid, account.gid))
        unfinished.rename(data_dir)
        sync_folder(installation.state)


def exchange(installation: Installation, coming: Path, *, kept: Path) -> None:
    """Put another folder in the place of the data folder, which is kept if it is still there.

    To be called under the lock. Killed in it, the former data stay, or the next start ends it.
    """
    settle_exchange(installation)
    coming.rename(installation.state / UPGRADED)
    sync_folder(installation.state)
    with suppress(FileNotFoundError):
        installation.data_dir.rename(kept)
    finish_exchange(installation)


def finish_exchange(installation: Installation) -> None:
    """Put the coming folder in its place, where who was killed had no time to."""
    upgraded = installation.state / UPGRADED
    if upgraded.exists() and not installation.data_dir.exists():
        upgraded.rename(installation.data_dir)
        sync_folder(installation.state)


def settle_exchange(installation: Installation) -> None:
    """Finish an exchange, or throw the coming folder away; to be called under the lock."""
    finish_exchange(installation)
    if installation.data_dir.exists():
        shutil.rmtree(installation.state / UPGRADED, ignore_errors=True)


def system_of(data_dir: Path) -> str | None:
    """Read the system identifier, by which PostgreSQL tells servers apart (pg_control.h)."""
    try:
        head = (data_dir / "global" / "pg_control").read_bytes()
        return str(struct.unpack_from("=Q", head)[0])
    except (OSError, struct.error):
        return None


def furnish(data_dir: Path, *, owner: tuple[int, int]) -> None:
    """Have a fresh data folder read our settings file."""
    configuration = data_dir / "postgresql.conf"
    text = configuration.read_text(encoding="utf-8") + INCLUDE
    write_private(configuration, text, owner=owner)


def version_of(data_dir: Path) -> int:
    """Tell which major version made a data folder."""
    try:
        return int((data_dir / "PG_VERSION").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise ServerError(
            f"{data_dir} is not a data folder of PostgreSQL.",
            hint="Move it away to start with an empty database, or restore a backup.",
        ) from error


def write_configuration(
    installation: Installation, *, port: int, binaries: Binaries, account: Account, archives: bool
) -> None:
    """Write our settings and access rules into the data folder."""
    settings = server_settings(
        port=port,
        socket_dir=installation.socket_dir,
        major=binaries.major,
        spool=installation.spool if archives else None,
    )
    owner = (account.uid, account.gid)
    with explained(installation.data_dir):
        write_private(installation.data_dir / SETTINGS_FILE, settings, owner=owner)
        write_private(installation.data_dir / "pg_hba.conf", ACCESS_RULES, owner=owner)


def clear_stale_files(installation: Installation) -> None:
    """Remove what a killed server left; to be called when none of its processes lives.

    PostgreSQL believes a file whose pid is alive: that of another program since, or of a dead
    server that nobody waits for, as in a container without an init process.
    """
    with explained(installation.data_dir):
        (installation.data_dir / "postmaster.pid").unlink(missing_ok=True)
        for file in installation.socket_dir.glob(".s.PGSQL.*"):
            file.unlink()


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn what the file system refuses into an error that says what to do."""
    try:
        yield
    except OSError as error:
        raise ServerError(
            f"{error.filename or folder} cannot be used: {error.strerror}.",
            hint=_hint_for(os.strerror(error.errno or 0), folder),
        ) from error


async def initialize(
    folder: Path,
    *,
    binaries: Binaries,
    account: Account,
    password: str,
    has_checksums: bool | None = None,
) -> None:
    """Run initdb in an empty folder; None leaves it to the version whether pages have checksums."""
    password_file = folder.with_name(f"{PASSWORD_FILE}-{secrets.token_hex(4)}")
    try:
        write_private(password_file, password + "\n", owner=(account.uid, account.gid))
        finished = await run_program(
            account,
            binaries.program("initdb"),
            f"--pgdata={folder}",
            "--username=viral_admin",
            "--auth-local=scram-sha-256",
            "--auth-host=scram-sha-256",
            f"--pwfile={password_file}",
            "--encoding=UTF8",
            *_locale_options(binaries),
            *_checksum_options(binaries, has_checksums=has_checksums),
            timeout_s=INITDB_TIMEOUT_S,
        )
    finally:
        password_file.unlink(missing_ok=True)
    if finished.code != 0:
        reason = _reason_in(finished.output)
        raise ServerError(
            f"The data folder {folder} cannot be made: {reason}.", hint=_hint_for(reason, folder)
        )


def _locale_options(binaries: Binaries) -> tuple[str, ...]:
    if binaries.major >= FIRST_WITH_BUILTIN_LOCALE:
        return "--locale-provider=builtin", "--builtin-locale=C.UTF-8"
    return ("--locale=C.UTF-8",)


def _checksum_options(binaries: Binaries, *, has_checksums: bool | None) -> tuple[str, ...]:
    is_default = binaries.major >= FIRST_WITH_CHECKSUMS
    if has_checksums is None or has_checksums == is_default:
        return ()
    return ("--data-checksums",) if has_checksums else ("--no-data-checksums",)


def _reason_in(output: str) -> str:
    """Pick the line that says why initdb gave up; the others tell its progress."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    reasons = [line for line in lines if "FATAL:" in line or "PANIC:" in line or "error:" in line]
    return (reasons or lines[-1:] or ["initdb said nothing"])[0].rstrip(".")


def _hint_for(reason: str, folder: Path) -> str:
    if os.strerror(errno.ENOSPC) in reason or os.strerror(errno.EDQUOT) in reason:
        return f"Free some space on the disk of {folder.parent}; a fresh database takes 50 MB."
    if os.strerror(errno.EACCES) in reason or os.strerror(errno.EROFS) in reason:
        return f"Let this user write to {folder.parent}, or set VIRAL_HOME to another folder."
    return f"See what is wrong with {folder.parent}, then start again."


def _refuse_loss(installation: Installation) -> None:
    """Tell a server that was never started, and has no port, from one whose data are gone."""
    if installation.port is None:
        return
    raise ServerError(
        f"The data folder {installation.data_dir} is gone: it was there when this server started"
        " last.",
        hint="Restore it: `viral backup restore --in-place`. To begin anew with an empty database,"
        f" remove {installation.home / FILE_NAME}.",
    )


def _check_version(data_dir: Path, binaries: Binaries) -> None:
    made_by = version_of(data_dir)
    if made_by == binaries.major:
        return
    keep = f"set VIRAL_PG_BINDIR to the programs of PostgreSQL {made_by}"
    raise ServerError(
        f"{data_dir} was made by PostgreSQL {made_by}; the programs are of "
        f"PostgreSQL {binaries.major} ({binaries.folder}).",
        hint=f"Move the data to it: `viral server upgrade`. To stay, {keep}."
        if made_by < binaries.major
        else f"{keep[0].upper()}{keep[1:]}.",
    )
