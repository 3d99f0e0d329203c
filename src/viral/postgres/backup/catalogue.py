"""The backups of an installation in a target: what each is, and which belong together.

<installation>/backups/<backup>/base.tar.sealed          a physical backup, with its own WAL
<installation>/backups/<backup>/backup_manifest.sealed   what the next incremental builds on
<installation>/backups/<backup>/dump.sealed              a logical backup
<installation>/backups/<backup>/manifest.json            written last: without it, no backup
<installation>/wal/<system>/<timeline>/<segment>.sealed  the archive of a data folder
<installation>/verified/<backup>.json                    what the last verification found
"""

from __future__ import annotations

import hmac
import json
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from viral.errors import BackupBroken, BackupError, DecryptionFailed, NotFound
from viral.postgres.backup.sealing import manifest_mac
from viral.postgres.backup.target import one_chunk, read_small

if TYPE_CHECKING:
    from collections.abc import Iterable

    from viral.database.encryption.keys import KeyRing
    from viral.postgres.backup.target import Stored, Target

Kind = Literal["full", "incremental", "logical"]

BASE = "base.tar.sealed"
SERVER_MANIFEST = "backup_manifest.sealed"
DUMP = "dump.sealed"
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One sealed file of a backup, as it lies in the target."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup. Times are of the server's clock; LSNs as PostgreSQL writes them, `0/3000028`.

    A physical backup is consistent from `stop_lsn` on: it serves moments after `stopped_at`. What
    only a physical one has is empty in a logical one.
    """

    id: str
    kind: Kind
    parent_id: str | None
    started_at: datetime
    stopped_at: datetime
    start_lsn: str
    stop_lsn: str
    timeline: int
    server_version: str
    system_identifier: str
    database: str
    files: dict[str, StoredFile]
    plain_bytes: int
    key_id: str
    facts: dict[str, object] = field(default_factory=dict)

    @property
    def stored_bytes(self) -> int:
        """What its files take in the target."""
        return sum(file.size_bytes for file in self.files.values())


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The backups with a good manifest, oldest first; and by id what is wrong with the others."""

    backups: tuple[Backup, ...]
    broken: dict[str, BackupBroken] = field(default_factory=dict)

    def __contains__(self, backup_id: str) -> bool:
        """Say whether an id is taken."""
        return backup_id in self.broken or any(each.id == backup_id for each in self.backups)

    @property
    def physical(self) -> tuple[Backup, ...]:
        """The backups that a server is restored from."""
        return tuple(each for each in self.backups if each.kind != "logical")

    def find(self, backup_id: str) -> Backup:
        """Return a backup by its id; NotFound, or BackupBroken where it is not what it was."""
        if backup_id in self.broken:
            raise self.broken[backup_id]
        for backup in self.backups:
            if backup.id == backup_id:
                return backup
        raise NotFound(f"There is no backup {backup_id!r}.", hint="See `viral backup list`.")

    def chain(self, backup: Backup) -> tuple[Backup, ...]:
        """Return what a backup is restored from: the full one first, itself last."""
        links = [backup]
        while links[0].parent_id is not None:
            parents = [each for each in self.backups if each.id == links[0].parent_id]
            if not parents or parents[0] in links:
                raise BackupBroken(f"{links[0].id} builds on {links[0].parent_id}, which is gone.")
            links.insert(0, parents[0])
        return tuple(links)

    def refuse_retirement(self, key_id: str) -> None:
        """Raise BackupError while a backup is under a field key: without it, it is lost.

        Rows in it and the WAL after it are under the key too.
        """
        held = [backup.id for backup in self.backups if backup.key_id == key_id]
        if held:
            raise BackupError(
                f"The key {key_id} is needed: of the kept backups {len(held)} are under it, at last"
                f" {held[-1]}.",
                hint="It can go when they are gone: `viral backup create --full`, and in time"
                " `viral backup prune`.",
            )


def new_id(moment: datetime, kind: Kind) -> str:
    """Name a backup by its moment; two of a second are told apart by waiting."""
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}-{kind}"


def backup_folder(installation_id: str, backup_id: str = "") -> str:
    """Name the folder of a backup, or of all; with the closing slash."""
    folder = f"{installation_id}/backups/"
    return f"{folder}{backup_id}/" if backup_id else folder


def verified_name(installation_id: str, backup_id: str) -> str:
    """Name what the last verification of a backup found."""
    return f"{installation_id}/verified/{backup_id}.json"


async def list_backups(target: Target, installation_id: str, ring: KeyRing) -> Catalogue:
    """Read the manifests of all backups; one that is damaged or forged is told, never listed."""
    folder = backup_folder(installation_id)
    backups: list[Backup] = []
    broken: dict[str, BackupBroken] = {}
    for backup_id, stored in _by_backup(await target.list(folder), folder).items():
        if any(each.name.endswith(f"/{MANIFEST}") for each in stored):
            try:
                backups.append(await _read(target, installation_id, backup_id, stored, ring))
            except BackupBroken as error:
                broken[backup_id] = error
    backups.sort(key=lambda each: (each.stopped_at, each.id))
    return Catalogue(tuple(backups), broken)


async def publish(target: Target, installation_id: str, backup: Backup, ring: KeyRing) -> None:
    """Write the manifest of a backup whose files are all stored: from then on it is listed."""
    document = _encoded(installation_id, backup)
    mac = manifest_mac(document.encode(), ring.find(backup.key_id))
    manifest = json.dumps({"key_id": backup.key_id, "mac": mac, "document": document}, indent=2)
    name = f"{backup_folder(installation_id, backup.id)}{MANIFEST}"
    await target.write(name, one_chunk(manifest.encode() + b"\n"))


async def delete_backup(target: Target, installation_id: str, backup_id: str) -> int:
    """Delete a backup, its manifest first, so that no half of one is ever listed; its bytes."""
    stored = await target.list(backup_folder(installation_id, backup_id))
    for each in sorted(stored, key=lambda each: not each.name.endswith(f"/{MANIFEST}")):
        await target.delete(each.name)
    return sum(each.size_bytes for each in stored)


async def sweep(target: Target, installation_id: str) -> list[str]:
    """Delete what stopped runs left; to be called by the one run that holds the lock."""
    folder = backup_folder(installation_id)
    swept = []
    for backup_id, stored in _by_backup(await target.list(folder), folder).items():
        is_whole = any(each.name.endswith(f"/{MANIFEST}") for each in stored)
        left = [each for each in stored if not is_whole or each.name.endswith(".part")]
        for each in left:
            await target.delete(each.name)
        if left:
            swept.append(backup_id)
    return swept


def _by_backup(stored: Iterable[Stored], folder: str) -> dict[str, list[Stored]]:
    found: defaultdict[str, list[Stored]] = defaultdict(list)
    for each in stored:
        backup_id, slash, _ = each.name.removeprefix(folder).partition("/")
        if slash:
            found[backup_id].append(each)
    return found


async def _read(
    target: Target, installation_id: str, backup_id: str, stored: list[Stored], ring: KeyRing
) -> Backup:
    folder = backup_folder(installation_id, backup_id)
    name = f"{folder}{MANIFEST}"
    content = await read_small(target, name)
    try:
        manifest = json.loads(content)
        document, key_id, mac = (str(manifest[each]) for each in ("document", "key_id", "mac"))
        expected = manifest_mac(document.encode(), ring.find(key_id))
        if not hmac.compare_digest(mac, expected):
            raise BackupBroken(f"{name} was changed, or is under another key.")
        backup = _decoded(document, installation_id)
    except DecryptionFailed as error:
        raise BackupBroken(f"{name} cannot be checked: {error.message}", hint=error.hint) from error
    except (KeyError, TypeError, ValueError) as error:
        raise BackupBroken(f"{name} is damaged.") from error
    if backup.id != backup_id:
        raise BackupBroken(f"{name} is the manifest of {backup.id}, put there.")
    _check_files(backup, folder, {each.name: each.size_bytes for each in stored})
    return backup


def _check_files(backup: Backup, folder: str, sizes: dict[str, int]) -> None:
    """See that each file is there in its size; whether it is unchanged is for `verify`."""
    for file, expected in backup.files.items():
        size_bytes = sizes.get(folder + file)
        if size_bytes is None:
            raise BackupBroken(f"{folder}{file} is missing, so {folder}{MANIFEST} is not listed.")
        if size_bytes != expected.size_bytes:
            raise BackupBroken(
                f"{folder}{file} has {size_bytes:,} bytes and not {expected.size_bytes:,}, so"
                f" {folder}{MANIFEST} is not listed."
            )


def _encoded(installation_id: str, backup: Backup) -> str:
    fields = asdict(backup) | {
        "installation": installation_id,
        "started_at": backup.started_at.astimezone(UTC).isoformat(),
        "stopped_at": backup.stopped_at.astimezone(UTC).isoformat(),
    }
    return json.dumps(fields, sort_keys=True, ensure_ascii=True)


def _decoded(document: str, installation_id: str) -> Backup:
    fields = json.loads(document)
    if fields.pop("installation") != installation_id:
        raise ValueError("a manifest of another installation")
    for name in ("started_at", "stopped_at"):
        fields[name] = datetime.fromisoformat(fields[name])
    files = {name: StoredFile(**file) for name, file in fields.pop("files").items()}
    return Backup(**fields, files=files)
