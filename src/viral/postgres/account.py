"""The system user that the server runs as, and programs run as that user."""

from __future__ import annotations

import asyncio
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from viral.errors import ServerError

NAME = "viral"
# Data and programs of a server that root starts: no home folder has to be opened for them.
ROOT_STATE = Path("/var/lib/viral")
USERADD = ("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin")
USERADD_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Account:
    """A system user; `is_separate` when it is not the one we run as."""

    uid: int
    gid: int
    is_separate: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program left behind; output and errors are one text."""

    code: int
    output: str


def runs_as_root() -> bool:
    """Say whether we are root, as whom PostgreSQL refuses to run."""
    return os.geteuid() == 0


def server_account() -> Account:
    """Give the user for the server: ourselves, or for root the user `viral`, made if missing."""
    if not runs_as_root():
        return Account(uid=os.geteuid(), gid=os.getegid(), is_separate=False)
    entry = _find_user() or _make_user()
    if entry.pw_uid == 0:
        raise ServerError(
            f"The system user {NAME} has the rights of root; PostgreSQL does not run as root.",
            hint=f"Rename that user, so that an unprivileged user {NAME} can be made.",
        )
    return Account(uid=entry.pw_uid, gid=entry.pw_gid, is_separate=True)


async def run_program(account: Account, *command: str, timeout_s: float) -> Finished:
    """Run a program as a user, with nothing of ours: no environment, files, groups or terminal."""
    # In a thread, because uvloop's own subprocesses cannot change the user.
    return await asyncio.to_thread(_run, account, command, timeout_s)


def _run(account: Account, command: tuple[str, ...], timeout_s: float) -> Finished:
    try:
        done = subprocess.run(
            command,
            check=False,
            close_fds=True,
            cwd="/",
            env={"LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            errors="replace",
            extra_groups=[] if account.is_separate else None,
            group=account.gid if account.is_separate else None,
            start_new_session=True,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=timeout_s,
            umask=0o077,
            user=account.uid if account.is_separate else None,
        )
    except subprocess.TimeoutExpired as error:
        raise ServerError(
            f"{command[0]} did not end within {timeout_s:.0f} seconds.",
            hint="The machine may be short of disk or memory; then try again.",
        ) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise ServerError(
            f"{command[0]} cannot be started as user {account.uid}: {error}.",
            hint="Every folder above it must be open to that user (`chmod o+x`).",
        ) from error
    return Finished(code=done.returncode, output=done.stdout)


def _find_user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(NAME)
    except KeyError:
        return None


def _make_user() -> pwd.struct_passwd:
    command = [*USERADD, "--home-dir", str(ROOT_STATE), NAME]
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, text=True, timeout=USERADD_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _no_user(str(error), command) from error
    # Another process may have made it in between: then useradd fails and all is well.
    if (entry := _find_user()) is None:
        raise _no_user(done.stderr.strip(), command)
    return entry


def _no_user(reason: str, command: list[str]) -> ServerError:
    return ServerError(
        f"PostgreSQL does not run as root, and the system user {NAME} cannot be made: {reason}.",
        hint=f"Run `{' '.join(command)}` by hand, or start the product as an ordinary user.",
    )
