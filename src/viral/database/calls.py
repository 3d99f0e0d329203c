"""Calls of the schema's functions: one statement, one round trip, one transaction of its own.

A session costs its BEGIN and its COMMIT, and a good deal of Python. What happens many times a
second has a function in the schema instead, and its caller needs no more than the driver.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, TypeVar

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
    from collections.abc import Awaitable, Callable, Sequence

    from viral.database.urls import ServerUrl

CLOSE_TIMEOUT_S = 5
# Classes 57 and 08: the server shuts down, ends the connection, or gives up a statement.
_ENDINGS = (asyncpg.OperatorInterventionError, asyncpg.PostgresConnectionError)
T = TypeVar("T")


class Calls:
    """A small pool of driver connections of one role; it connects when it is first used.

    asyncpg's own pool takes as long to lend a connection as the server to answer many a call: a
    call of `SELECT 1` costs 94 us with it, 31 without.
    """

    def __init__(self, url: ServerUrl, *, passwords: Callable[[], Sequence[str]] | None) -> None:
        self._url = url
        self._passwords = passwords
        # Beside the sessions' pool: half of what the URL allows. Each is busy for a millisecond,
        # and more than a few at once wait for the same processors.
        self._size = max(1, url.pool_size // 2)
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: list[TenantConnection] = []

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Run one statement; raise ServerError, or IsolationError for the functions' own codes.

        A value that belongs to a setting of the transaction is the function's to set: nothing of
        a call is left on the connection.
        """
        return await self._with(lambda connection: connection.fetch(statement, *arguments))

    async def read(
        self, context: Callable[[], str], statement: str, *arguments: object
    ) -> list[asyncpg.Record]:
        """Run one statement that reads with a tenant's context, which is asked for once it can."""
        return await self._with(
            lambda connection: read_once(connection, context(), statement, *arguments)
        )

    async def run(self, statements: str) -> None:
        """Run statements that are not worth preparing, as they will not come again."""
        await self._with(lambda connection: connection.execute(statements))

    async def close(self) -> None:
        """Close the connections, once nobody is at work with one."""
        for _ in range(self._size):
            await self._turn()
        while self._idle:
            await self._idle.pop().close(timeout=CLOSE_TIMEOUT_S)
        for _ in range(self._size):
            self._pass_on()

    async def _with(self, act: Callable[[TenantConnection], Awaitable[T]]) -> T:
        try:
            connection = await self._take()
            try:
                return await act(connection)
            except BaseException as error:
                if not isinstance(error, asyncpg.PostgresError) or isinstance(error, _ENDINGS):
                    # An answer may still be under way, or the connection's end.
                    connection.terminate()
                raise
            finally:
                self._give_back(connection)
        except DRIVER_ERRORS as error:
            ours = isolation_error(sqlstate_of(error)) or connection_fault(error, self._url)
            if ours is None:
                raise
            raise ours from error

    async def _take(self) -> TenantConnection:
        await self._turn()
        try:
            while self._idle:
                connection = self._idle.pop()
                if not connection.is_closed():
                    return connection
            return await self._connect()
        except BaseException:
            self._pass_on()
            raise

    def _give_back(self, connection: TenantConnection) -> None:
        if not connection.is_closed():
            self._idle.append(connection)
        self._pass_on()

    async def _turn(self) -> None:
        """Wait until one may take a connection, in the order of coming; PoolExhausted in time."""
        if self._taken < self._size:
            self._taken += 1
            return
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        timer = loop.call_later(self._url.pool_timeout_s, _give_up, turn)
        try:
            await turn
        except TimeoutError as error:
            raise pool_exhausted(self._url, self._size) from error
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:
                # It came in the same moment.
                self._pass_on()
            raise
        finally:
            timer.cancel()

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken -= 1

    async def _connect(self) -> TenantConnection:
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
            except ServerRefused as error:
                if not is_wrong_password(error) or password == passwords[-1]:
                    raise
            else:
                return await _known(connection)
        raise AssertionError("there is always a password to try")


def _give_up(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_exception(TimeoutError())


async def _known(connection: TenantConnection) -> TenantConnection:
    try:
        await learn_role(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection
