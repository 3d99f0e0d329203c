"""What an installation remembers of its server: its id and its port; and where things lie."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import stat
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from viral.database.secrets import write_private
from viral.errors import BadSetting, ServerNotOurs
from viral.postgres.account import ROOT_STATE, runs_as_root

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from viral.postgres.account import Account

FILE_NAME = "installation.json"
ID_BYTES = 6
LOCK_POLL_S = 0.05
# sockaddr_un holds 108 bytes with the closing zero (unix(7)).
SOCKET_PATH_BYTES = 107
LONGEST_SOCKET_NAME = ".s.PGSQL.65535"
# pg_ctl passes its paths through a shell, between double quotes.
SHELL_CHARACTERS = set('"$`\\\n')


class Owner(NamedTuple):
    """Whom the files of the server belong to."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Installation:
    """One VIRAL_HOME and the folders of its server.

    Started by an ordinary user, everything lies in VIRAL_HOME. Started by root, the server's files
    lie under /var/lib/viral, because its user cannot reach a folder below root's home.
    """

    home: Path
    id: str
    port: int | None

    @property
    def state(self) -> Path:
        return ROOT_STATE / self.id if runs_as_root() else self.home / "postgres"

    @property
    def data_dir(self) -> Path:
        return self.state / "data"

    @property
    def log_file(self) -> Path:
        return self.state / "log" / "postgres.log"

    @property
    def spool(self) -> Path:
        """Where WAL waits until it is in the backups' target."""
        return self.state / "archive"

    @property
    def lock_file(self) -> Path:
        return self.state / "server.lock"

    @property
    def socket_dir(self) -> Path:
        """A folder whose socket's path fits into the 107 bytes that Unix allows."""
        folder = self.state / "run"
        if len(os.fsencode(folder / LONGEST_SOCKET_NAME)) <= SOCKET_PATH_BYTES:
            return folder
        # Not $XDG_RUNTIME_DIR: it vanishes, and its sockets with it, when the person logs out.
        return Path("/tmp") / f"viral-{os.geteuid()}-{self.id}"  # noqa: S108 - made 0700, owner checked


def load_installation(home: Path) -> Installation | None:
    """Read what is remembered, or nothing if the server was never started."""
    path = home / FILE_NAME
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        # The id becomes the name of a folder that root makes: nothing but hexadecimal digits.
        identity = bytes.fromhex(fields["id"]).hex()
        port = None if fields["port"] is None else int(fields["port"])
        is_of_root = bool(fields["is_of_root"])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    except (KeyError, TypeError, ValueError) as error:
        raise BadSetting(
            f"{path} is damaged.", hint="Restore it from a backup; it tells where the data lie."
        ) from error
    if is_of_root != runs_as_root():
        raise ServerNotOurs(
            f"The server of {home} was made by {'root' if is_of_root else 'an ordinary user'}.",
            hint="Start it as that user, or set VIRAL_HOME to another folder.",
        )
    return Installation(home=home, id=identity, port=port)


def load_or_create_installation(home: Path) -> Installation:
    """Read what is remembered; of two processes that begin at once, both get the same."""
    if (found := load_installation(home)) is not None:
        return found
    path = home / FILE_NAME
    draft = path.with_name(f".{FILE_NAME}.{secrets.token_hex(4)}")
    try:
        if not home.is_dir():
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        _save(draft, Installation(home=home, id=secrets.token_hex(ID_BYTES), port=None))
        # A link is refused where the name is taken: the first process wins.
        with suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    except OSError as error:
        raise _unusable(path, error) from error
    return load_or_create_installation(home)


def keep_port(installation: Installation, port: int) -> Installation:
    """Remember the port for later starts and for other processes."""
    if installation.port == port:
        return installation
    kept = replace(installation, port=port)
    _save(installation.home / FILE_NAME, kept)
    return kept


def make_state_folder(installation: Installation, account: Account) -> None:
    """Make the folder that holds the lock and all else."""
    if SHELL_CHARACTERS & set(str(installation.state)):
        raise BadSetting(
            f"{installation.home} has a character in its name that PostgreSQL's tools mistake.",
            hint='Set VIRAL_HOME to a folder without ", $, ` and \\.',
        )
    owner = Owner(account.uid, account.gid)
    if account.is_separate:
        # The server's user must pass through; it may write into the folders below them only.
        _make_folder(ROOT_STATE, mode=0o755, owner=Owner(0, 0))
        _make_folder(ROOT_STATE / "postgres", mode=0o755, owner=Owner(0, 0))
        _make_folder(installation.state, mode=0o755, owner=Owner(0, 0))
    else:
        _make_folder(installation.state, mode=0o700, owner=owner)


def make_server_folders(installation: Installation, account: Account) -> None:
    """Make the folders that the server writes to; to be called under the lock."""
    owner = Owner(account.uid, account.gid)
    _make_folder(installation.log_file.parent, mode=0o700, owner=owner)
    _make_folder(installation.socket_dir, mode=0o700, owner=owner)
    _make_folder(installation.spool, mode=0o700, owner=owner)


@asynccontextmanager
async def locked(installation: Installation) -> AsyncIterator[None]:
    """Start and stop one at a time, over all processes of the machine."""
    async with locked_file(installation.lock_file):
        yield


@asynccontextmanager
async def locked_file(path: Path) -> AsyncIterator[None]:
    """Hold the lock of a file; who waits for it lets other tasks go on."""
    # os.open sets close-on-exec: the server does not inherit the lock.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while True:
            try:
                flock(descriptor, LOCK_EX | LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _make_folder(folder: Path, *, mode: int, owner: Owner) -> None:
    """Make a folder; one that exists is checked and never opened wider."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        os.chown(folder, *owner)
        folder.chmod(mode)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {owner.uid, os.geteuid()}:
        raise ServerNotOurs(
            f"{folder} belongs to someone else.", hint="Move it away, then start again."
        )
    if found.st_uid != owner.uid:
        # Made by a start that was interrupted at that point.
        os.chown(folder, *owner)


def _save(path: Path, installation: Installation) -> None:
    fields = {
        "id": installation.id,
        "port": installation.port,
        "is_of_root": runs_as_root(),
    }
    write_private(path, json.dumps(fields, indent=2) + "\n")


def _unusable(path: Path, error: OSError) -> BadSetting:
    return BadSetting(
        f"{path} cannot be used: {error.strerror}.",
        hint="Set VIRAL_HOME to a folder that you may read and write.",
    )
