"""What is asked of the API: kept in memory, written in batches, beside the requests."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from itertools import islice
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from viral.database.engine import Database
from viral.database.faults import DRIVER_ERRORS
from viral.errors import ViralError
from viral.schema.base import uuid7

_COLUMNS = (
    "id",
    "tenant_id",
    "user_id",
    "key_id",
    "request_id",
    "endpoint",
    "method",
    "status",
    "took_ms",
)
log = structlog.get_logger(__name__)

EVERY_S = 2.0
BATCH = 500
# A lost database stays lost for a while; about 10 MB.
MOST_WAITING = 20_000
LAST_CALL_S = 5.0

# By the database's clock, and for tenants that are still there.
_INSERT = text("""
INSERT INTO api_usage (id, tenant_id, user_id, api_key_id, request_id, endpoint, method,
                       status_code, response_time_ms, requested_at)
SELECT u.id, t.id, u.user_id, u.key_id, u.request_id, u.endpoint, u.method, u.status, u.took_ms,
       now() - make_interval(secs => u.age_s)
FROM unnest(
  CAST(:id AS uuid[]), CAST(:tenant_id AS uuid[]), CAST(:user_id AS uuid[]),
  CAST(:key_id AS uuid[]), CAST(:request_id AS text[]), CAST(:endpoint AS text[]),
  CAST(:method AS text[]), CAST(:status AS integer[]), CAST(:took_ms AS integer[]),
  CAST(:age_s AS double precision[])
) AS u (id, tenant_id, user_id, key_id, request_id, endpoint, method, status, took_ms, age_s)
JOIN tenants AS t ON t.id = u.tenant_id
""")
_TOUCH = text("""
UPDATE api_keys AS k
SET last_used_at = greatest(k.last_used_at, now() - make_interval(secs => u.age_s))
FROM (
  SELECT key_id, min(age_s) AS age_s
  FROM unnest(CAST(:key_id AS uuid[]), CAST(:age_s AS double precision[])) AS each (key_id, age_s)
  GROUP BY key_id
) AS u
WHERE k.id = u.key_id
""")


class Use(msgspec.Struct, frozen=True):
    """One answered request: whose, with which key, to which route, and how it ended.

    `endpoint` is the route's template; `ended_s` is when, on the monotonic clock.
    """

    tenant_id: UUID
    user_id: UUID
    key_id: UUID | None
    request_id: str
    endpoint: str
    method: str
    status: int
    took_ms: int
    id: UUID = msgspec.field(default_factory=uuid7)
    ended_s: float = msgspec.field(default_factory=time.monotonic)


class Usage:
    """What waits to be written: so much at most, what is more is dropped and counted."""

    def __init__(self, *, most: int = MOST_WAITING) -> None:
        self._most = most
        self._waiting: deque[Use] = deque()
        self._dropped = 0
        self._is_due = asyncio.Event()
        self._writing = asyncio.Lock()

    def add(self, use: Use) -> None:
        """Keep a request until it is written; never waits, never fails."""
        if len(self._waiting) >= self._most:
            self._dropped += 1
            return
        self._waiting.append(use)
        if len(self._waiting) >= BATCH:
            self._is_due.set()

    @contextlib.asynccontextmanager
    async def written_to(self, system: Database) -> AsyncIterator[None]:
        """Write as the system role for the length of the block, and at its end what is left."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._keep_writing(system, stop))
        try:
            yield
        finally:
            stop.set()
            self._is_due.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_CALL_S):
                    await task
            if left := len(self._waiting):
                log.error("usage.lost", requests=left)

    async def write(self, system: Database) -> bool:
        """Write what waits, a batch a transaction; False when the database refuses: it waits on.

        What comes meanwhile goes with the next ones: a few rows cost as much as a batch.
        """
        async with self._writing:
            left = len(self._waiting)
            while left > 0:
                batch = list(islice(self._waiting, min(BATCH, left)))
                try:
                    await _insert(system, batch)
                except (ViralError, SQLAlchemyError, *DRIVER_ERRORS) as error:
                    log.warning(
                        "usage.waits",
                        requests=len(self._waiting),
                        dropped=self._dropped,
                        error=type(error).__name__,
                    )
                    return False
                # Others are added behind them meanwhile, never before them.
                for _ in batch:
                    self._waiting.popleft()
                left -= len(batch)
            if self._dropped:
                log.error("usage.dropped", requests=self._dropped)
                self._dropped = 0
        return True

    async def _keep_writing(self, system: Database, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await _wait(self._is_due)
            self._is_due.clear()
            if not await self.write(system):
                await _wait(stop)
        await self.write(system)


async def _insert(system: Database, batch: Sequence[Use]) -> None:
    now_s = time.monotonic()
    columns = {name: [getattr(each, name) for each in batch] for name in _COLUMNS}
    columns["age_s"] = [now_s - each.ended_s for each in batch]
    async with system.session_without_tenant() as session:
        await session.execute(_INSERT, columns)
        await session.execute(_TOUCH, {name: columns[name] for name in ("key_id", "age_s")})


async def _wait(event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(EVERY_S):
            await event.wait()
