"""Tombstones: which tenants are erased, kept outside the database, where no restore undoes them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime  # noqa: TC003 - msgspec reads annotations at run time
from hashlib import sha256
from typing import TYPE_CHECKING, Literal
from uuid import UUID  # noqa: TC003 - the same

import msgspec

from viral.database.secrets import explained, locked, read_private, write_private
from viral.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE_NAME = "tombstones.json"


@dataclass(frozen=True, slots=True)
class Tombstone:
    """One erased tenant. It does not name the client: the slug stands here as its hash.

    `pending` is written before the rows are gone, `done` after. `rows` counts them by table.
    `restored_by` is the entry of the audit log that a restore of the tenant commits with its rows.
    """

    tenant_id: UUID
    slug_sha256: str
    erased_at: datetime
    state: Literal["pending", "done"]
    rows: dict[str, int]
    restored_by: UUID | None = None


@dataclass(frozen=True, slots=True)
class _Document:
    tombstones: list[Tombstone]


def slug_hash(slug: str) -> str:
    """Return what a tombstone keeps of a slug."""
    return sha256(slug.encode()).hexdigest()


def read_tombstones(home: Path) -> list[Tombstone]:
    """List the tombstones of an installation; none where nothing was erased yet.

    A file that cannot be read is refused with BadSetting: without it, erased tenants could return.
    """
    path = home / FILE_NAME
    if not path.exists():
        return []
    with explained(path):
        text = read_private(path)
    try:
        return msgspec.json.decode(text, type=_Document).tombstones
    except msgspec.DecodeError as error:
        raise BadSetting(
            f"{path} is damaged: {error}.",
            hint="Restore it from a copy: it keeps erased tenants erased.",
        ) from error


def put_tombstone(home: Path, tombstone: Tombstone) -> None:
    """Add a tombstone, or replace the one of the same tenant; on the disk when this returns."""
    with _opened(home) as path:
        others = [each for each in read_tombstones(home) if each.tenant_id != tombstone.tenant_id]
        _write(path, [*others, tombstone])


def renew_tombstone(home: Path, tombstone: Tombstone) -> bool:
    """Replace the tombstone of the same tenant; False where the tenant may live again."""
    with _opened(home) as path:
        there = read_tombstones(home)
        if not any(_is_of(tombstone, each) for each in there):
            return False
        others = [each for each in there if each.tenant_id != tombstone.tenant_id]
        _write(path, [*others, tombstone])
    return True


def drop_tombstone(home: Path, tombstone: Tombstone) -> None:
    """Remove a tombstone, unless it became another one."""
    with _opened(home) as path:
        _write(path, [each for each in read_tombstones(home) if not _is_of(tombstone, each)])


@contextmanager
def tombstone_removed(home: Path, tenant_id: UUID, *, entry_id: UUID) -> Iterator[None]:
    """Let a tenant live again: the block commits its rows, and its tombstone goes then.

    Whoever sees the rows and wants to erase them again finds no tombstone any more: it is looked
    for under the lock that the block holds. Where that ends in between, the entry of the audit log
    that is committed with the rows says that they are to live.
    """
    if not any(each.tenant_id == tenant_id for each in read_tombstones(home)):
        yield
        return
    with _opened(home) as path:
        marked = [
            replace(each, restored_by=entry_id) if each.tenant_id == tenant_id else each
            for each in read_tombstones(home)
        ]
        _write(path, marked)
        yield
        _write(path, [each for each in marked if each.tenant_id != tenant_id])


@contextmanager
def _opened(home: Path) -> Iterator[Path]:
    """Be the only one who changes the file."""
    path = home / FILE_NAME
    with explained(path), locked(path.with_name(f"{FILE_NAME}.lock")):
        yield path


def _is_of(tombstone: Tombstone, other: Tombstone) -> bool:
    """Whether both are of one tenant, and no restore of it came between them."""
    return (tombstone.tenant_id, tombstone.restored_by) == (other.tenant_id, other.restored_by)


def _write(path: Path, tombstones: list[Tombstone]) -> None:
    document = msgspec.json.encode(_Document(tombstones))
    write_private(path, msgspec.json.format(document, indent=2).decode() + "\n")
