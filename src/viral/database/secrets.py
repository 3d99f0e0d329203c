"""The passwords and keys of one installation, in one file that only its owner reads."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from typing import TYPE_CHECKING

from viral.errors import BadSetting, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROLES = (
    "viral_admin",
    "viral_app",
    "viral_worker",
    "viral_system",
    "viral_signin",
    "viral_readonly",
    "viral_backup",
    "viral_migrator",
)
KEY_BYTES = 32
FILE_NAME = "secrets.json"


class Secrets:
    """What one installation must keep to itself; printing it shows nothing.

    Fields of the file that this version does not know are kept when the file is written again.
    """

    __slots__ = ("_fields", "_passwords", "context_key", "context_key_id", "pepper", "word_key")

    def __init__(self, fields: dict[str, object]) -> None:
        self._fields = fields
        self._passwords = _passwords_in(fields)
        self.context_key = _key_in(fields, "context_key")
        self.context_key_id = _number_in(fields, "context_key_id")
        self.word_key = _key_in(fields, "word_key")
        self.pepper = _key_in(fields, "pepper")

    def __repr__(self) -> str:
        return "Secrets(...)"

    @classmethod
    def load(cls, home: Path) -> Secrets:
        """Read the file of an installation; refuse one that others can read."""
        with explained(home / FILE_NAME):
            return _parse(home / FILE_NAME, read_private(home / FILE_NAME))

    @classmethod
    def load_or_create(cls, home: Path) -> Secrets:
        """Read the file, or make it; of two processes that make it at once, both get the same."""
        with explained(home / FILE_NAME):
            if not home.is_dir():
                home.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(home / f"{FILE_NAME}.lock"):
                return _load_or_create(home / FILE_NAME)

    def password(self, role: str) -> str:
        """Give the password of a database role."""
        if role not in self._passwords:
            raise NotFound(f"There is no password for a role {role!r}.")
        return self._passwords[role]


def write_private(path: Path, text: str, *, owner: tuple[int, int] | None = None) -> None:
    """Replace a file at once; nobody but its owner can read it, and it survives a power cut.

    The temporary file is made with O_EXCL and renamed, so that a link someone else put into the
    folder is replaced and never followed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk; without it a rename may be lost in a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _load_or_create(path: Path) -> Secrets:
    try:
        text = read_private(path)
    except FileNotFoundError:
        fields: dict[str, object] = {
            "passwords": {role: _new_password() for role in ROLES},
            "context_key": secrets.token_hex(KEY_BYTES),
            "context_key_id": 1,
            "word_key": secrets.token_hex(KEY_BYTES),
            "pepper": secrets.token_hex(KEY_BYTES),
        }
        _save(path, fields)
        return Secrets(fields)
    return _with_all_roles(path, _parse(path, text))


def _with_all_roles(path: Path, found: Secrets) -> Secrets:
    """Add the password of a role that came with a later version; a missing key is never made up."""
    known = found._passwords  # noqa: SLF001 - the class's own module
    missing = [role for role in ROLES if role not in known]
    if not missing:
        return found
    passwords = known | {role: _new_password() for role in missing}
    fields = found._fields | {"passwords": passwords}
    _save(path, fields)
    return Secrets(fields)


def _save(path: Path, fields: dict[str, object]) -> None:
    write_private(path, json.dumps(fields, indent=2) + "\n")


def _new_password() -> str:
    return secrets.token_urlsafe(KEY_BYTES)


def read_private(path: Path) -> str:
    """Read a file; refuse one that others can read too."""
    with path.open(encoding="utf-8") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise BadSetting(
                f"{path} can be read by other users of this machine.",
                hint=f"Run `chmod 600 {path}`.",
            )
        return file.read()


def _parse(path: Path, text: str) -> Secrets:
    try:
        return Secrets(json.loads(text))
    except (KeyError, TypeError, ValueError):
        # The cause is left out: a JSON error carries the whole text, and with it the secrets.
        raise BadSetting(
            f"{path} is damaged.",
            hint="Restore it from a backup: without its keys the data cannot be opened.",
        ) from None


def _passwords_in(fields: dict[str, object]) -> dict[str, str]:
    passwords = fields["passwords"]
    if not isinstance(passwords, dict):
        raise TypeError("passwords")
    if not all(isinstance(word, str) and word for word in passwords.values()):
        raise TypeError("passwords")
    return passwords


def _key_in(fields: dict[str, object], name: str) -> bytes:
    text = fields[name]
    if not isinstance(text, str) or len(text) != KEY_BYTES * 2:
        raise TypeError(name)
    return bytes.fromhex(text)


def _number_in(fields: dict[str, object], name: str) -> int:
    number = fields[name]
    if not isinstance(number, int):
        raise TypeError(name)
    return number


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file against all processes of the machine."""
    # os.open sets close-on-exec: a server started meanwhile does not keep the lock.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        flock(descriptor, LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say what is wrong with a file of VIRAL_HOME that cannot be used."""
    try:
        yield
    except FileNotFoundError as error:
        raise BadSetting(
            f"{path.parent} holds no {path.name}.",
            hint="Start the product once with `viral up`.",
        ) from error
    except OSError as error:
        raise BadSetting(
            f"{error.filename or path.parent} cannot be used: {error.strerror}.",
            hint="Set VIRAL_HOME to a folder that you may write.",
        ) from error
    except UnicodeDecodeError:
        raise BadSetting(f"{path} is damaged.", hint="Restore it from a backup.") from None
