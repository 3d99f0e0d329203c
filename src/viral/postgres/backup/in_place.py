"""A restored copy takes the place of the server that it was made of."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from viral.postgres.backup.restore import remove_server

if TYPE_CHECKING:
    from pathlib import Path

    from viral.postgres.backup.catalogue import Backup
    from viral.postgres.backup.restore import Restored
    from viral.postgres.server import Server


@dataclass(frozen=True, slots=True)
class SetBack:
    """A server that was set back: where its former data are, and the backup made after it.

    There are no former data where they were lost. `problem` says why there is no backup yet.
    """

    kept: Path | None
    backup: Backup | None
    problem: str = ""


async def take_over(server: Server, restored: Restored) -> Path | None:
    """Put the copy's data in place of the server's; return where those are kept. It is stopped."""
    copy = restored.server
    await copy.stop()
    _have_archived(copy.data_dir, former=restored.timeline)
    moment = datetime.now(UTC)
    kept = await server.replace_data(copy.data_dir, kept_as=f"data.before-{moment:%Y%m%dT%H%M%SZ}")
    await remove_server(copy)
    return kept


def _have_archived(data_dir: Path, *, former: int) -> None:
    """Let the archive take the timeline that the copy began: it was told to drop its WAL.

    With the timeline's history in the archive no later restore begins one of the same number.
    """
    status = data_dir / "pg_wal" / "archive_status"
    for done in list(status.glob("*.done")):
        with suppress(ValueError):
            if int(done.name[:8], 16) > former:
                done.rename(done.with_suffix(".ready"))
