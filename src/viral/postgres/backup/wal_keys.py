"""The field keys that the archive of WAL is under: a key that goes must not be needed for it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from viral.errors import BackupError
from viral.postgres.backup.retired_keys import note_retired
from viral.postgres.backup.sealing import key_id_of, seal, unseal
from viral.postgres.backup.target import one_chunk
from viral.postgres.backup.wal import HISTORY, LOCK_FILE, SEGMENT, wal_folder
from viral.postgres.installation import locked_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from viral.database.encryption.keys import KeyRing
    from viral.postgres.backup.target import Target
    from viral.postgres.installation import Installation

    Advance = Callable[[str, int, int | None], None]

# A target elsewhere answers each after a while.
AT_ONCE = 16


async def release_key(
    target: Target, installation: Installation, ring: KeyRing, key_id: str, *, advance: Advance
) -> None:
    """See that no WAL in a target is under a key, nor will be; BackupError while a segment is.

    Histories of timelines are kept for ever: those under it are put under the primary key.
    """
    note_retired(installation.home, key_id)
    if installation.state.is_dir():
        async with locked_file(installation.state / LOCK_FILE):
            # What was being shipped by then is found below.
            pass
    names: dict[str, list[str]] = {"history": [], "segment": []}
    for stored in await target.list(wal_folder(installation.id)):
        file = stored.name.rpartition("/")[2].removesuffix(".sealed")
        if HISTORY.fullmatch(file):
            names["history"].append(stored.name)
        elif SEGMENT.fullmatch(file):
            names["segment"].append(stored.name)
    for name in names["history"]:
        if await key_id_of(target.read(name), name=name) == key_id:
            await _seal_again(target, ring, name)
    await _refuse_segments(target, names["segment"], key_id, advance=advance)


async def _seal_again(target: Target, ring: KeyRing, name: str) -> None:
    async with aclosing(unseal(target.read(name), ring, name=name)) as opened:
        # It is replaced once all of it is read, and found to be whole.
        content = b"".join([piece async for piece in opened])
    await target.write(name, seal(one_chunk(content), ring.primary, name=name))


async def _refuse_segments(
    target: Target, names: list[str], key_id: str, *, advance: Advance
) -> None:
    for begin in range(0, len(names), AT_ONCE):
        some = names[begin : begin + AT_ONCE]
        found = await asyncio.gather(*(key_id_of(target.read(name), name=name) for name in some))
        if key_id in found:
            raise BackupError(
                f"The key {key_id} is needed: WAL in the archive is under it, such as"
                f" {some[found.index(key_id)]}.",
                hint="It can go when that WAL is gone: `viral backup create --full`, and in time"
                " `viral backup prune`.",
            )
        advance("Looking at WAL", begin + len(some), len(names))
