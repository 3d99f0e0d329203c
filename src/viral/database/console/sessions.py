"""A connection for one text of a person: one role, one tenant, one transaction, then closed."""

from __future__ import annotations

import asyncio
import secrets as random
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from viral.database.console.passes import tenant_pass
from viral.database.driver import driver_connection
from viral.database.faults import connecting
from viral.database.tenancy import TenantConnection
from viral.database.values import take_values_whole
from viral.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from viral.database.tenancy import TenantTransaction
    from viral.database.urls import ServerUrl

LONGEST_S = 60
# What the server gets to end a text by itself, before its session is ended.
GRACE_S = 2
# A text may catch its own cancellation (PL/pgSQL: WHEN query_canceled). Nothing catches this.
_END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = $1 AND usename = session_user
"""
_CONTEXT = """
SELECT pg_catalog.current_setting('app.tenant', true), session_user::text, current_user::text,
       pg_catalog.current_setting('transaction_read_only')
"""


@dataclass(frozen=True, slots=True)
class Places:
    """The database, past a pooler, as each role that a run needs."""

    readonly: ServerUrl
    app: ServerUrl
    migrator: ServerUrl


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a run may take; size is that of all values together."""

    rows: int = 1_000
    seconds: float = 10
    size_bytes: int = 16_000_000


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection with its transaction, and the context that it was opened with."""

    connection: TenantConnection
    transaction: TenantTransaction
    url: ServerUrl
    context: tuple[str, str, str, str]

    async def is_as_before(self) -> bool:
        """Tell whether the transaction still is the one that was begun, for the same tenant."""
        if not self.connection.is_in_transaction():
            return False
        row = await self.connection.fetchrow(_CONTEXT)
        return row is not None and tuple(row) == self.context


@asynccontextmanager
async def opened(
    places: Places, *, tenant_id: UUID, bounds: Bounds, writes: bool
) -> AsyncIterator[Opened]:
    """Begin a transaction of a tenant; what is not committed in the block is taken back.

    A text that does not end with its time, or with a cancelled block, is ended with its session.
    """
    url = places.app if writes else places.readonly
    if url.is_pooled:
        raise BadSetting(
            f"{url.host}:{url.port} is a pooler: SQL of a person needs a connection of its own.",
            hint="Set DIRECT_URL to the server itself.",
        )
    name = f"viral console {random.token_hex(8)}"
    try:
        async with (
            tenant_pass(places.migrator, tenant_id) as token,
            _connection(url, bounds, name) as connection,
        ):
            connection.context = token
            transaction = connection.transaction(readonly=not writes)
            with connecting(url):
                await transaction.start()
            context = (token, url.user, url.user, "off" if writes else "on")
            yield Opened(connection, transaction, url, context)
    except (TimeoutError, asyncio.CancelledError):
        async with driver_connection(url) as connection:
            await connection.execute(_END, name)
        raise


@asynccontextmanager
async def _connection(url: ServerUrl, bounds: Bounds, name: str) -> AsyncIterator[TenantConnection]:
    settings = {
        "application_name": name,
        "statement_timeout": f"{round(bounds.seconds * 1000)}ms",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "30s",
    }
    async with driver_connection(
        url,
        connection_class=TenantConnection,
        settings=settings,
        command_timeout_s=bounds.seconds + GRACE_S,
    ) as connection:
        assert isinstance(connection, TenantConnection)
        await take_values_whole(connection)
        yield connection
