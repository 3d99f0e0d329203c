"""The key ring: the first key closes, every key opens; from a private file or the environment."""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from viral.database.secrets import explained, locked, read_private, write_private
from viral.errors import BadInput, BadSetting, DecryptionFailed, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FILE_NAME = "field_keys.json"
VARIABLE = "VIRAL_FIELD_KEYS"
KEY_BYTES = 32
_ID = re.compile(r"[0-9a-f]{8}")
_MAKE_ONE = "$(openssl rand -hex 4):$(openssl rand -base64 32)"


@dataclass(frozen=True, slots=True)
class FieldKey:
    """One key; `id`, eight hexadecimal digits, stands in every value that is under it."""

    id: str
    material: bytes = field(repr=False)
    created_at: datetime | None = None

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id) or len(self.material) != KEY_BYTES:
            raise ValueError("a key has an id of 8 hexadecimal digits, and 32 bytes")


class KeyRing:
    """The keys of an installation, newest first; printing it shows no key."""

    def __init__(self, keys: Sequence[FieldKey]) -> None:
        if not keys or len({key.id for key in keys}) != len(keys):
            raise ValueError("a ring has keys, each with an id of its own")
        self._keys = tuple(keys)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(key.id for key in self._keys)})"

    @property
    def keys(self) -> tuple[FieldKey, ...]:
        """All keys that can open; the first is the primary."""
        return self._keys

    @property
    def primary(self) -> FieldKey:
        """The key that everything is sealed with."""
        return self.keys[0]

    def find(self, key_id: str) -> FieldKey:
        """Return a key by its id; raise DecryptionFailed when the ring lacks it."""
        for key in self.keys:
            if key.id == key_id:
                return key
        raise DecryptionFailed(
            f"There is no field key {key_id} here.",
            hint=f"Put the {FILE_NAME} or {VARIABLE} back that had it.",
        )


class KeyFile(KeyRing):
    """A ring in a file; a change by another process is seen at the next use.

    A process that went on sealing with a key after its rotation would bring it back, and lose the
    value once the key is retired.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / FILE_NAME
        self._seen = self._identity()
        super().__init__(_read(self._path))

    @classmethod
    def load_or_create(cls, home: Path, *, may_create: bool) -> KeyFile:
        """Open the file; make it with a first key where that is allowed, else say what to set."""
        with explained(home / FILE_NAME):
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(home / f"{FILE_NAME}.lock"):
                path = home / FILE_NAME
                if not path.exists():
                    if not may_create:
                        raise _no_keys(path)
                    _write(path, [new_key(datetime.now(UTC))])
            return cls(home)

    @property
    def keys(self) -> tuple[FieldKey, ...]:
        """All keys of the file as it is at this moment."""
        with explained(self._path):
            if (identity := self._identity()) != self._seen:
                self._keys, self._seen = _read(self._path), identity
        return self._keys

    def add_primary(self, key: FieldKey) -> None:
        """Put a key first; the others go on opening what is under them."""
        with locked(self._path.with_name(f"{FILE_NAME}.lock")):
            _write(self._path, [key, *self.keys])

    def remove(self, key_id: str) -> None:
        """Take a key out for good; what is under it can never be opened again."""
        with locked(self._path.with_name(f"{FILE_NAME}.lock")):
            _write(self._path, [key for key in self.keys if key.id != key_id])

    def _identity(self) -> tuple[int, int, int]:
        # The file is replaced and never edited: another inode, or at least another time.
        with explained(self._path):
            found = self._path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size


def new_key(now: datetime) -> FieldKey:
    """Make a key."""
    return FieldKey(secrets.token_hex(4), secrets.token_bytes(KEY_BYTES), now)


def parse_keys(text: str) -> KeyRing:
    """Read `id:base64,id:base64`, the primary first; the message never shows the value."""
    try:
        pairs = [part.strip().split(":", 1) for part in text.split(",")]
        keys = [FieldKey(name, base64.b64decode(key, validate=True)) for name, key in pairs]
        return KeyRing(keys)
    except (ValueError, binascii.Error):
        raise BadSetting(
            f"{VARIABLE} is no list of keys.",
            hint=f'Write id:base64,id:base64 with the primary first; a key: "{_MAKE_ONE}".',
        ) from None


def retirable(keys: KeyRing, key_id: str) -> FieldKey:
    """Return a key that may go: one that the ring has, and not its primary."""
    for key in keys.keys:
        if key.id == key_id:
            if key == keys.primary:
                raise BadInput(
                    f"{key_id} is the primary key: everything is written with it.",
                    hint="Make another one first: `viral keys rotate`.",
                )
            return key
    raise NotFound(f"There is no field key {key_id!r}.", hint="See `viral keys status`.")


def _read(path: Path) -> tuple[FieldKey, ...]:
    try:
        entries = json.loads(read_private(path))["keys"]
        ring = KeyRing(
            [
                FieldKey(
                    entry["id"],
                    bytes.fromhex(entry["key"]),
                    datetime.fromisoformat(entry["created_at"]),
                )
                for entry in entries
            ]
        )
    except (KeyError, TypeError, ValueError):
        # The cause is left out: a JSON error carries the whole text, and with it the keys.
        raise BadSetting(
            f"{path} is damaged.",
            hint="Restore it from a backup: without its keys the secrets cannot be opened.",
        ) from None
    return ring.keys


def _write(path: Path, keys: Sequence[FieldKey]) -> None:
    entries = [
        {
            "id": key.id,
            "created_at": key.created_at.isoformat() if key.created_at else None,
            "key": key.material.hex(),
        }
        for key in keys
    ]
    write_private(path, json.dumps({"keys": entries}, indent=2) + "\n")


def _no_keys(path: Path) -> BadSetting:
    return BadSetting(
        f"There is no key for encrypted fields: {VARIABLE} is not set, and {path} does not exist.",
        hint=f"Put the installation's {FILE_NAME} back. For a first start in production: set"
        f' {VARIABLE}="{_MAKE_ONE}", and keep a copy apart from the backups.',
    )
