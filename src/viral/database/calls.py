"""Calls of the schema's functions: one statement, one round trip, one transaction of its own.

A session costs its BEGIN and its COMMIT, and a good deal of Python. What happens many times a
second has a function in the schema instead, and its caller needs no more than the driver.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import asyncpg

from viral.database.faults import (
    DRIVER_ERRORS,
    connecting,
    connection_fault,
    is_wrong_password,
    isolation_error,
    pool_exhausted,
    sqlstate_of,
)
from viral.database.tenancy import TenantConnection, learn_role, read_once
from viral.errors import ServerRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from viral.database.urls import ServerUrl


class Calls:
    """A small pool of driver connections of one role; it connects when it is first used."""

    def __init__(self, url: ServerUrl, *, passwords: Callable[[], Sequence[str]] | None) -> None:
        self._url = url
        self._passwords = passwords
        self._opening = asyncio.Lock()
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Run one statement; raise ServerError, or IsolationError for the functions' own codes.

        A value that belongs to a setting of the transaction is the function's to set: nothing of
        a call is left on the connection.
        """
        async with self._connected() as connection:
            return await connection.fetch(statement, *arguments)

    async def read(
        self, context: Callable[[], str], statement: str, *arguments: object
    ) -> list[asyncpg.Record]:
        """Run one statement that reads with a tenant's context, which is asked for once it can."""
        async with self._connected() as proxy:
            connection = cast("TenantConnection", proxy)  # it has all of the connection's methods
            return await read_once(connection, context(), statement, *arguments)

    async def run(self, statements: str) -> None:
        """Run statements that are not worth preparing, as they will not come again."""
        async with self._connected() as connection:
            await connection.execute(statements)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[PoolConnectionProxy[asyncpg.Record]]:
        pool = await self._opened()
        try:
            async with self._borrowed(pool) as connection:
                yield connection
        except DRIVER_ERRORS as error:
            ours = isolation_error(sqlstate_of(error)) or connection_fault(error, self._url)
            if ours is None:
                raise
            raise ours from error

    @asynccontextmanager
    async def _borrowed(
        self, pool: asyncpg.Pool[asyncpg.Record]
    ) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy[asyncpg.Record]]:
        try:
            connection = await pool.acquire(timeout=self._url.pool_timeout_s)
        except TimeoutError as error:
            if pool.get_size() < pool.get_max_size():
                # It was being made.
                raise
            raise pool_exhausted(self._url, pool.get_max_size()) from error
        try:
            yield connection
        finally:
            await pool.release(connection)

    async def close(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            await self._pool.close()

    async def _opened(self) -> asyncpg.Pool[asyncpg.Record]:
        async with self._opening:
            if self._pool is None:
                # Beside the sessions' pool: half of what the URL allows. Each is busy for a
                # millisecond, and more than a few at once wait for the same processors.
                self._pool = await asyncpg.create_pool(
                    min_size=0,
                    max_size=max(1, self._url.pool_size // 2),
                    connect=self._connect,
                    reset=_keep,
                )
            return self._pool

    async def _connect(self, *_: object, **_options: object) -> asyncpg.Connection[asyncpg.Record]:
        """Connect with the passwords in turn: in the middle of a change the server has either."""
        passwords = self._passwords() if self._passwords is not None else [self._url.password]
        for password in passwords:
            try:
                with connecting(self._url):
                    connection = await asyncpg.connect(
                        host=self._url.host,
                        port=self._url.port,
                        user=self._url.user,
                        password=password,
                        database=self._url.database,
                        connection_class=TenantConnection,
                        **self._url.connect_args,
                    )
                    try:
                        await learn_role(connection)
                    except BaseException:
                        connection.terminate()
                        raise
                    return connection
            except ServerRefused as error:
                if not is_wrong_password(error) or password == passwords[-1]:
                    raise
        raise AssertionError("there is always a password to try")


async def _keep(_connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Nothing to reset: a call's settings end with its transaction."""
