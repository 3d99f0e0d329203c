"""The servers that branches live in: the main one, and those with a folder of their own."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from viral.errors import ServerError
from viral.postgres.backup.restore import remove_server
from viral.postgres.branches.clone import administering
from viral.postgres.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from viral.database.urls import ServerUrl

_SIZES = "SELECT datname, pg_database_size(oid) AS size FROM pg_database WHERE datallowconn"


@dataclass(frozen=True, slots=True)
class Servers:
    """Finds the server of a folder; None is the main one."""

    main: Server

    @property
    def main_home(self) -> Path:
        """The folder of the installation."""
        return self.main.home

    def at(self, home: Path | None) -> Server:
        """Return a server, whether it runs or not."""
        if home is None:
            return self.main
        return Server(home=home, secrets=self.main.secrets, bindir=self.main.bindir)

    def is_there(self, home: Path | None) -> bool:
        """Say whether a server still has its folder."""
        return home is None or home.is_dir()

    def admin(self, home: Path | None) -> ServerUrl:
        """Give the superuser's address, over the server's own socket."""
        return self.at(home).socket_url("viral_admin")

    @asynccontextmanager
    async def running(self, home: Path | None) -> AsyncIterator[ServerUrl]:
        """Have a server for the length of the block; give its superuser's address."""
        server = self.at(home)
        async with server.used():
            if not await server.is_answering():
                await server.start(stays=False)
            yield self.admin(home)

    async def sizes(self, home: Path | None) -> dict[str, int]:
        """Return the size of each database in bytes; none of a server that does not run."""
        if not await self.at(home).is_answering():
            return {}
        async with administering(self.admin(home)) as server:
            return {row["datname"]: row["size"] for row in await server.fetch(_SIZES)}

    async def remove(self, home: Path) -> None:
        """Stop a server and remove its folders; nothing happens where it is gone."""
        await remove_server(self.at(home))
        # Without what is remembered of a server: a restore was killed at its beginning.
        await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
        if self.is_there(home):
            raise ServerError(
                f"{home} cannot be removed.",
                hint="Remove it by hand; `viral branch list` then forgets the branch.",
            )
