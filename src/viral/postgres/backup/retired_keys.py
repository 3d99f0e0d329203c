"""Field keys that were retired: a process that still has one seals nothing more with it.

What runs with the former VIRAL_FIELD_KEYS would go on, and nobody could open what it stores.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from viral.database.secrets import explained, read_private, write_private
from viral.errors import BackupError

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "retired-keys"


def note_retired(home: Path, key_id: str) -> None:
    """Write down that nothing is to be sealed with a key any more; it is no primary key."""
    with explained(home / FILE_NAME):
        known = _read(home) | {key_id}
        write_private(home / FILE_NAME, "".join(f"{each}\n" for each in sorted(known)))


def refuse_retired(home: Path, key_id: str) -> None:
    """Raise BackupError where a key was retired."""
    with explained(home / FILE_NAME):
        if key_id in _read(home):
            raise BackupError(
                f"The key {key_id} was retired, and this process would seal with it.",
                hint="Put the newer key first in VIRAL_FIELD_KEYS, and start again what runs.",
            )


def _read(home: Path) -> set[str]:
    with suppress(FileNotFoundError):
        return set(read_private(home / FILE_NAME).split())
    return set()
