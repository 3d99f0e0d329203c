"""The passwords and keys of one installation, in one file that only its owner reads."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fcntl import LOCK_EX, flock
from functools import partial
from typing import TYPE_CHECKING

from viral.errors import BadSetting, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
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
# Before `context_key` and `context_key_id`, in the order of the fields of ContextKeys.
_CONTEXT = ("", "coming_", "former_")


@dataclass(frozen=True, slots=True)
class ContextKey:
    """What tenants' tokens are derived with; `id` stands beside each token's hash."""

    id: int
    material: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ContextKeys:
    """The context key in force; during a change also the one that comes, or the one that was."""

    current: ContextKey
    coming: ContextKey | None = None
    former: ContextKey | None = None


@dataclass(frozen=True, slots=True)
class RolePasswords:
    """The passwords of the database's roles; those that come, during a change; those that were."""

    current: Mapping[str, str] = field(repr=False)
    coming: Mapping[str, str] | None = field(repr=False, default=None)
    former: Mapping[str, str] | None = field(repr=False, default=None)
    changed_at: datetime | None = None

    def of(self, role: str) -> tuple[str, ...]:
        """List what a server may know a role by, the likeliest first."""
        known = (self.current, self.coming or {}, self.former or {})
        return tuple(dict.fromkeys(words[role] for words in known if role in words))


class Secrets:
    """What one installation must keep to itself; printing it shows nothing.

    The context keys and the passwords are those of the file at the moment of asking: another
    process may change them. All else is as it was loaded. Fields of the file that this version does
    not know are kept when the file is written again.
    """

    __slots__ = ("_context", "_fields", "_path", "_roles", "_seen", "pepper", "word_key")

    def __init__(
        self, path: Path, fields: dict[str, object], *, seen: tuple[int, int, int]
    ) -> None:
        self._path = path
        self._seen = seen
        self._fields = fields
        self._roles = _roles_in(fields)
        self._context = _context_in(fields)
        self.word_key = _key_in(fields, "word_key")
        self.pepper = _key_in(fields, "pepper")

    def __repr__(self) -> str:
        return "Secrets(...)"

    @classmethod
    def load(cls, home: Path) -> Secrets:
        """Read the file of an installation; refuse one that others can read."""
        with explained(home / FILE_NAME):
            return _read(home / FILE_NAME)

    @classmethod
    def load_or_create(cls, home: Path) -> Secrets:
        """Read the file, or make it; of two processes that make it at once, both get the same."""
        with explained(home / FILE_NAME):
            if not home.is_dir():
                home.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(_lock_of(home / FILE_NAME)):
                return _load_or_create(home / FILE_NAME)

    @property
    def context(self) -> ContextKeys:
        """The context keys, of one read of the file."""
        self._look_again()
        return self._context

    @property
    def context_key(self) -> bytes:
        """The bytes of the context key in force."""
        return self.context.current.material

    @property
    def roles(self) -> RolePasswords:
        """The passwords, of one read of the file."""
        self._look_again()
        return self._roles

    @property
    def roles_lock(self) -> Path:
        """The file whose lock is held while servers are told passwords."""
        return self._path.with_name("roles.lock")

    def change_context(self, change: Callable[[ContextKeys], ContextKeys]) -> ContextKeys:
        """Put into the file what `change` makes of the context keys there; return what it made.

        It is on the disk when this returns. Of two processes one waits for the other.
        """
        with explained(self._path), locked(_lock_of(self._path)):
            found = _read(self._path)
            keys = change(found.context)
            if keys != found.context:
                _save(self._path, _with_context(found._fields, keys))
        return keys

    def change_roles(self, change: Callable[[RolePasswords], RolePasswords]) -> RolePasswords:
        """Put into the file what `change` makes of the passwords, as `change_context` does."""
        with explained(self._path), locked(_lock_of(self._path)):
            found = _read(self._path)
            roles = change(found.roles)
            if roles != found.roles:
                _save(self._path, _with_roles(found._fields, roles))
        return roles

    def password(self, role: str) -> str:
        """Give the password of a database role."""
        if (known := self.roles.of(role)) == ():
            raise NotFound(f"There is no password for a role {role!r}.")
        return known[0]

    def login(self, role: str, password: str) -> Callable[[], tuple[str, ...]] | None:
        """Return what tells the passwords to try for a role; None where `password` is not ours.

        A program that was started with a password of ours, also a former one, follows its changes.
        """
        if password not in self.roles.of(role):
            return None
        return partial(self._passwords_of, role)

    def _passwords_of(self, role: str) -> tuple[str, ...]:
        return self.roles.of(role)

    def _look_again(self) -> None:
        with explained(self._path):
            if (seen := _identity(self._path)) != self._seen:
                found = _read(self._path)
                self._context, self._roles, self._seen = found.context, found.roles, seen


def new_password() -> str:
    """Make a password of 256 bits."""
    return secrets.token_urlsafe(KEY_BYTES)


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
        found = _read(path)
    except FileNotFoundError:
        _save(
            path,
            {
                "passwords": {role: new_password() for role in ROLES},
                "passwords_changed_at": datetime.now(UTC).isoformat(),
                "context_key": secrets.token_hex(KEY_BYTES),
                "context_key_id": 1,
                "word_key": secrets.token_hex(KEY_BYTES),
                "pepper": secrets.token_hex(KEY_BYTES),
            },
        )
        return _read(path)
    return _with_all_roles(path, found)


def _with_all_roles(path: Path, found: Secrets) -> Secrets:
    """Add the password of a role that came with a later version; a missing key is never made up."""
    known = dict(found.roles.current)
    missing = [role for role in ROLES if role not in known]
    if not missing:
        return found
    passwords = known | {role: new_password() for role in missing}
    _save(path, found._fields | {"passwords": passwords})
    return _read(path)


def _save(path: Path, fields: dict[str, object]) -> None:
    owner = None
    if os.geteuid() == 0 and path.exists():
        # What the product runs as has to read it, whoever is at work here.
        former = path.stat()
        owner = (former.st_uid, former.st_gid)
    write_private(path, json.dumps(fields, indent=2) + "\n", owner=owner)


def read_private(path: Path) -> str:
    """Read a file; refuse one that others can read too."""
    with path.open(encoding="utf-8") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise BadSetting(
                f"{path} can be read by other users of this machine.",
                hint=f"Run `chmod 600 {path}`.",
            )
        return file.read()


def _identity(path: Path) -> tuple[int, int, int]:
    # The file is replaced and never edited: another inode, or at least another time.
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _read(path: Path) -> Secrets:
    # Before the text: what is replaced in between is then read again.
    seen = _identity(path)
    text = read_private(path)
    try:
        return Secrets(path, json.loads(text), seen=seen)
    except (KeyError, TypeError, ValueError):
        # The cause is left out: a JSON error carries the whole text, and with it the secrets.
        raise BadSetting(
            f"{path} is damaged.",
            hint="Restore it from a backup: without its keys the data cannot be opened.",
        ) from None


def _roles_in(fields: dict[str, object]) -> RolePasswords:
    current = _passwords_in(fields, "passwords")
    if current is None:
        raise TypeError("passwords")
    changed_at = fields.get("passwords_changed_at")
    return RolePasswords(
        current,
        _passwords_in(fields, "coming_passwords"),
        _passwords_in(fields, "former_passwords"),
        None if changed_at is None else datetime.fromisoformat(str(changed_at)).astimezone(UTC),
    )


def _passwords_in(fields: dict[str, object], name: str) -> dict[str, str] | None:
    if name not in fields:
        return None
    passwords = fields[name]
    if not isinstance(passwords, dict):
        raise TypeError(name)
    if not all(isinstance(word, str) and word for word in passwords.values()):
        raise TypeError(name)
    return passwords


def _with_roles(fields: dict[str, object], roles: RolePasswords) -> dict[str, object]:
    names = {"passwords", "coming_passwords", "former_passwords", "passwords_changed_at"}
    written = {name: value for name, value in fields.items() if name not in names}
    written["passwords"] = dict(roles.current)
    if roles.changed_at is not None:
        written["passwords_changed_at"] = roles.changed_at.isoformat()
    if roles.coming is not None:
        written["coming_passwords"] = dict(roles.coming)
    if roles.former is not None:
        written["former_passwords"] = dict(roles.former)
    return written


def _key_in(fields: dict[str, object], name: str) -> bytes:
    text = fields[name]
    if not isinstance(text, str) or len(text) != KEY_BYTES * 2:
        raise TypeError(name)
    return bytes.fromhex(text)


def _context_in(fields: dict[str, object]) -> ContextKeys:
    current, coming, former = (_context_key_in(fields, prefix) for prefix in _CONTEXT)
    if current is None:
        raise TypeError("context_key")
    return ContextKeys(current, coming, former)


def _context_key_in(fields: dict[str, object], prefix: str) -> ContextKey | None:
    name = f"{prefix}context_key"
    if name not in fields:
        return None
    number = fields[f"{name}_id"]
    if not isinstance(number, int):
        raise TypeError(name)
    return ContextKey(number, _key_in(fields, name))


def _with_context(fields: dict[str, object], keys: ContextKeys) -> dict[str, object]:
    names = {f"{prefix}context_key{suffix}" for prefix in _CONTEXT for suffix in ("", "_id")}
    written = {name: value for name, value in fields.items() if name not in names}
    for prefix, key in zip(_CONTEXT, (keys.current, keys.coming, keys.former), strict=True):
        if key is not None:
            written[f"{prefix}context_key"] = key.material.hex()
            written[f"{prefix}context_key_id"] = key.id
    return written


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
