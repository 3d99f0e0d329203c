"""A role's own connection, past the product, as an intruder in its process would have it."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING

import asyncpg

from viral.database.driver import driver_connection
from viral.database.faults import connecting, connection_fault
from viral.features.verification.verdicts import rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from viral.database.urls import ServerUrl

# An attack that gets through must not hold up the installation. They are set after connecting, so
# that the role's own defaults stay readable in pg_settings.
_PATIENCE = "SET statement_timeout = '5s'; SET lock_timeout = '1s'"
_COUNT = re.compile(r"\d+\Z")
# Locks, time limits and conflicts with others at work: they say nothing about the wall.
_BUSY = {"40001", "40P01", "53300", "55P03", "57014"}


# The connection ended, or the server did.
_ENDED = ("08", "57P")


class Undecided(Exception):
    """The server was busy: the attempt says nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a statement ended: its rows, how many it touched, or the SQLSTATE that stopped it."""

    rows: tuple[tuple[object, ...], ...] = ()
    touched: int = 0
    state: str | None = None

    @property
    def value(self) -> object:
        """The first value of the first row."""
        return self.rows[0][0] if self.rows and self.rows[0] else None

    @property
    def words(self) -> str:
        """How it ended, without a value of it."""
        return f"refused with {self.state}" if self.state else rows(self.touched)


class Probe:
    """One connection of a role; whatever is asked is rolled back unless said otherwise."""

    def __init__(self, url: ServerUrl, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._url = url
        self.connection = connection

    async def ask(self, *statements: str, context: str | None = None) -> Answer:
        """Run statements in a transaction that is undone; answer the last, or the one that failed.

        `context` is a tenant's token. A role that only reads by default tries to write as well.
        """
        async with self._undone():
            return await self._run(statements, context)

    async def keep(self, *statements: str, context: str | None = None) -> Answer:
        """Run statements in a transaction that is committed when all of them passed."""
        async with self._undone():
            try:
                answer = await self._run(statements, context)
            except Undecided as busy:
                return Answer(state=str(busy))
            if answer.state is None:
                await self.connection.execute("COMMIT")
            return answer

    async def copy_out(self, sql: str, *, context: str) -> bytes | str:
        """Return what COPY of a query or a table gives, or the SQLSTATE that stopped it."""
        sink = BytesIO()
        async with self._undone():
            try:
                await self._name(context)
                await self.connection.copy_from_query(sql, output=sink)
            except asyncpg.PostgresError as error:
                return self._state(error)
        return sink.getvalue()

    async def copy_in(self, schema: str, table: str, *, context: str) -> str | None:
        """Begin COPY FROM with no row; None when it was accepted, else the SQLSTATE."""
        async with self._undone():
            try:
                await self._name(context)
                await self.connection.copy_to_table(table, schema_name=schema, source=BytesIO())
            except asyncpg.PostgresError as error:
                return self._state(error)
        return None

    @asynccontextmanager
    async def _undone(self) -> AsyncIterator[None]:
        with connecting(self._url):
            await self.connection.execute("BEGIN READ WRITE")
            try:
                yield
            finally:
                if _is_open(self.connection):
                    await self.connection.execute("ROLLBACK")

    async def _run(self, statements: Sequence[str], context: str | None) -> Answer:
        answer = Answer()
        try:
            if context is not None:
                await self._name(context)
            for statement in statements:
                answer = await self._one(statement)
        except asyncpg.PostgresError as error:
            return Answer(state=self._state(error))
        return answer

    async def _one(self, statement: str) -> Answer:
        prepared = await self.connection.prepare(statement)
        rows = tuple(tuple(row) for row in await prepared.fetch())
        tag = _COUNT.search(prepared.get_statusmsg() or "")
        return Answer(rows, int(tag[0]) if tag else len(rows))

    async def _name(self, context: str) -> None:
        # A parameter: a literal could be seen in pg_stat_activity.
        await self.connection.execute("SELECT set_config('app.tenant', $1, true)", context)

    def _state(self, error: asyncpg.PostgresError) -> str:
        """Return what stopped a statement, if that was the wall and not the server's condition."""
        state = str(error.sqlstate)
        if state in _BUSY:
            raise Undecided(state) from error
        if state.startswith(_ENDED):
            raise connection_fault(error, self._url) or error from error
        return state


@asynccontextmanager
async def open_probe(url: ServerUrl) -> AsyncIterator[Probe]:
    """Connect as the role of an address."""
    # A statement that an attack prepared or threw away must not meet the driver's own.
    async with driver_connection(replace(url, statement_cache_size=0)) as connection:
        try:
            await connection.execute(_PATIENCE)
            yield Probe(url, connection)
        finally:
            if _is_open(connection):
                # Cut off in the middle of a statement: there is no end to wait for.
                connection.terminate()


def _is_open(connection: asyncpg.Connection[asyncpg.Record]) -> bool:
    """Tell whether a transaction is open; the driver keeps saying so of one that was lost."""
    return not connection.is_closed() and connection.is_in_transaction()
