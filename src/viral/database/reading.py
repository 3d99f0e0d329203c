"""Reads that may be answered elsewhere: by a replica that has all that was committed before.

The primary is asked how far its log is on the disk, and the replica is used once it has replayed
that far. No position travels with people, so it holds over any number of processes: whatever was
committed anywhere before a read began is in it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from viral.database.faults import DRIVER_ERRORS, sqlstate_of
from viral.errors import IsolationError, ServerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.database.engine import Database

Answer = TypeVar("Answer")
log = structlog.get_logger(__name__)

# How long a read waits for the replica to replay; it is usually there within a millisecond.
PATIENCE_S = 0.2
POLL_S = 0.002
# All before the read itself: a machine that vanished answers nothing at all.
OPENING_S = 1.0
READ_S = 10.0
LEFT_ALONE_S = 5.0
READ_ONLY = "25006"
FAULTS = (ServerError, IsolationError, DBAPIError, *DRIVER_ERRORS)

# Which data these are. Branches share a server, so the database counts; a restored copy has the
# identifier of its source, and another timeline.
_IDENTITY = """
SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system()),
       (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()),
"""
# What a commit waited for is flushed. The end of the log is not asked for: others' unfinished work
# is there, which the replica gets up to 0.2 s later. Unless nobody waits for the disk.
_PRIMARY = text(f"""
{_IDENTITY} left(pg_walfile_name(p.lsn), 8), CAST(p.lsn - '0/0' AS bigint), 0.0
FROM (SELECT CASE current_setting('synchronous_commit')
             WHEN 'off' THEN pg_current_wal_insert_lsn()
             ELSE pg_current_wal_flush_lsn() END AS lsn) AS p
""")
# A server that was promoted is nobody's replica: it gets no timeline here.
_REPLICA = text(f"""
{_IDENTITY} CASE WHEN pg_is_in_recovery() THEN upper(lpad(to_hex(c.timeline_id), 8, '0')) END,
       coalesce(CAST(pg_last_wal_replay_lsn() - '0/0' AS bigint), 0),
       coalesce(EXTRACT(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 0.0)
FROM pg_catalog.pg_control_checkpoint() AS c
""")


class Position(NamedTuple):
    """Which data a server holds, and how far: bytes of log, and the age of its newest commit."""

    system: int
    database: int
    timeline: str | None
    lsn: int
    age_s: float

    @property
    def data(self) -> tuple[int, int, str | None]:
        return self.system, self.database, self.timeline


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """A replica as an operator sees it; without a reason reads go there."""

    reason: str | None
    lag_bytes: int | None = None
    lag_s: float | None = None


class _Unfit(Exception):
    """Why the replica cannot answer this read."""


class Reading:
    """Where reads that change nothing are answered; nobody sees an error of the replica.

    A replica that fails, lags or holds other data is left alone for some seconds.
    """

    def __init__(self, primary: Database, replica: Database | None = None) -> None:
        self._primary = primary
        self._replica = replica
        self._left_alone_until = 0.0
        self.from_replica = 0

    async def read(
        self, tenant_id: UUID, work: Callable[[AsyncSession], Awaitable[Answer]]
    ) -> Answer:
        """Run `work` in a session of the tenant, where everything committed before is seen.

        It must not write, which the replica refuses (25006); it runs again on the primary when the
        replica gives way in the middle.
        """
        if self._replica is not None and time.monotonic() >= self._left_alone_until:
            try:
                return await self._on_replica(self._replica, tenant_id, work)
            except (_Unfit, *FAULTS) as error:
                if sqlstate_of(error) == READ_ONLY:
                    raise
                self._leave_alone(error)
        async with self._primary.tenant_session(tenant_id) as session:
            return await work(session)

    async def _on_replica(
        self,
        replica: Database,
        tenant_id: UUID,
        work: Callable[[AsyncSession], Awaitable[Answer]],
    ) -> Answer:
        async with asyncio.timeout(READ_S), AsyncExitStack() as stack:
            async with asyncio.timeout(OPENING_S):
                wanted = await self._wanted()
                session = await stack.enter_async_context(replica.tenant_session(tenant_id))
                await self._wait_for(wanted, session)
            answer = await work(session)
        self.from_replica += 1
        return answer

    async def _wanted(self) -> Position:
        async with self._primary.session_without_tenant() as session:
            return await _position(session, of_primary=True)

    async def _wait_for(self, wanted: Position, session: AsyncSession) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = await _position(session, of_primary=False)
            if found.data != wanted.data:
                raise _Unfit(_difference(wanted, found))
            if found.lsn >= wanted.lsn:
                break
            if time.monotonic() > deadline:
                raise _Unfit(f"it lags by {wanted.lsn - found.lsn:,} bytes")
            await asyncio.sleep(POLL_S)
        if found.lsn > wanted.lsn and found.lsn > (await self._wanted()).lsn:
            # As after a restore in place, until the replica is made again.
            raise _Unfit("it is ahead of the primary, so it holds another history")

    def _leave_alone(self, error: BaseException) -> None:
        self._left_alone_until = time.monotonic() + LEFT_ALONE_S
        log.warning("replica.left_alone", reason=_reason_of(error), for_s=LEFT_ALONE_S)


async def examine_replica(primary: Database, replica: Database) -> ReplicaView:
    """Say whether reads go to a replica, and how far it is behind; errors of the primary pass."""
    async with primary.session_without_tenant() as session:
        wanted = await _position(session, of_primary=True)
    try:
        async with asyncio.timeout(OPENING_S), replica.session_without_tenant() as session:
            found = await _position(session, of_primary=False)
    except FAULTS as error:
        return ReplicaView(_reason_of(error))
    if found.data != wanted.data:
        return ReplicaView(_difference(wanted, found))
    lag = max(0, wanted.lsn - found.lsn)
    return ReplicaView(None, lag, found.age_s if lag else 0.0)


async def _position(session: AsyncSession, *, of_primary: bool) -> Position:
    # Not by the session itself, which would name its tenant in the statement.
    connection = await session.connection()
    row = (await connection.execute(_PRIMARY if of_primary else _REPLICA)).one()
    system, database, timeline, lsn, age_s = row
    return Position(system, database, timeline, lsn, float(age_s))


def _difference(wanted: Position, found: Position) -> str:
    if found.timeline is None:
        return "it is no replica (any more): it takes writes of its own"
    if found.system != wanted.system:
        return "it is a replica of another server"
    if found.database != wanted.database:
        return "it shows another database of the server"
    return "it follows another timeline, as after a restore"


def _reason_of(error: BaseException) -> str:
    """Say why, without a statement and its values."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, DBAPIError):
        return f"{type(error.orig).__name__} ({sqlstate_of(error)})"
    return str(error) or type(error).__name__
