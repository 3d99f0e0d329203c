"""What a running backup still has to send, the server keeps: as much as the disk allows."""

from __future__ import annotations

import asyncio
import re
import shutil
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from viral.database.faults import DRIVER_ERRORS
from viral.database.secrets import write_private
from viral.errors import ServerError
from viral.postgres.account import server_account
from viral.postgres.bootstrap import admin_connection
from viral.postgres.configuration import SETTINGS_FILE
from viral.postgres.data_folder import explained
from viral.postgres.installation import locked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from viral.postgres.server import Server

LEAST_MB = 1 << 10
_NOTE = "# For the length of a backup:\n"
_LIMIT = re.compile(rf"{_NOTE}max_slot_wal_keep_size = .*\n")


@asynccontextmanager
async def wal_kept(server: Server) -> AsyncIterator[None]:
    """Lift the limit of replication slots for the block, to half of what the disk has free.

    The usual limit is for a replica that is gone: a backup of an hour writes past it, and loses the
    WAL that makes it whole. It is lifted in the file that each start writes anew, so that nothing
    of it outlives a process that is killed, and no copy has it.
    """
    free_mb = shutil.disk_usage(server.data_dir).free >> 20
    await _write(server, f"{_NOTE}max_slot_wal_keep_size = '{max(free_mb // 2, LEAST_MB)}MB'\n")
    try:
        yield
    finally:
        # A server that died meanwhile is no fault of its own: its next start writes the file.
        with suppress(ServerError, *DRIVER_ERRORS):
            await _write(server, "")


async def _write(server: Server, limit: str) -> None:
    installation = server.installation
    account = await asyncio.to_thread(server_account)
    path = installation.data_dir / SETTINGS_FILE
    # A start writes the whole file under this lock.
    async with locked(installation):
        with explained(path):
            settings = _LIMIT.sub("", path.read_text("utf-8"))
            write_private(path, settings + limit, owner=(account.uid, account.gid))
    async with admin_connection(server.socket_url("viral_admin")) as connection:
        await connection.execute("SELECT pg_reload_conf()")
