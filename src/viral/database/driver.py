"""A connection of one's own: for what goes past the pools, or must not go through them."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import asyncpg

from viral.database.faults import DRIVER_ERRORS, connecting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from viral.database.urls import ServerUrl

CLOSE_TIMEOUT_S = 5


@asynccontextmanager
async def driver_connection(
    url: ServerUrl,
    *,
    connection_class: type[asyncpg.Connection] = asyncpg.Connection,
    settings: Mapping[str, str] | None = None,
    command_timeout_s: float | None = None,
) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Be connected for the block, with `settings` for the session.

    Raises ServerError where it cannot connect; what goes wrong in the block stays as it is.
    """
    arguments = url.connect_args
    arguments["server_settings"].update(settings or {})
    with connecting(url):
        connection = await asyncpg.connect(
            host=url.host,
            port=url.port,
            user=url.user,
            password=url.password,
            database=url.database,
            connection_class=connection_class,
            command_timeout=command_timeout_s,
            **arguments,
        )
    try:
        yield connection
    finally:
        # A statement that was interrupted is cancelled at the server, and its work undone. A server
        # that says nothing to that, or is gone, is left; the driver drops the connection itself.
        with suppress(*DRIVER_ERRORS):
            await connection.close(timeout=CLOSE_TIMEOUT_S)
