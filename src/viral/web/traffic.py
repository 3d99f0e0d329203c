"""How fast requests of all kinds are answered: counted by the minute, kept as a measurement."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from viral.database.engine import Database
from viral.database.faults import DRIVER_ERRORS
from viral.errors import ViralError
from viral.features.usage.measurements import Minute, keep_minutes

log = structlog.get_logger(__name__)

EVERY_S = 10.0
# What waits for a lost database: older minutes are let go.
MOST_WAITING = 60


class Traffic:
    """The requests of this process since `started_at`; a minute is written once it is over."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self.started_at = clock()
        self._minutes: deque[Minute] = deque(maxlen=MOST_WAITING)

    def add(self, *, status: int, took_ms: int) -> None:
        """Count a request in the minute of its answer; never waits, never fails."""
        at = self._clock().replace(second=0, microsecond=0)
        if not self._minutes or self._minutes[-1].at != at:
            self._minutes.append(Minute(at))
        self._minutes[-1].add(status=status, took_ms=took_ms)

    @contextlib.asynccontextmanager
    async def written_to(self, system: Database) -> AsyncIterator[None]:
        """Write as the system role for the length of the block, and at its end what is left."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._keep_writing(system, stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def write(self, system: Database, *, is_over: bool = False) -> None:
        """Write the minutes that have passed, and with `is_over` the one that has not."""
        this = None if is_over else self._clock().replace(second=0, microsecond=0)
        due = [each for each in self._minutes if each.at != this]
        if not due:
            return
        try:
            async with system.session_without_tenant() as session:
                await keep_minutes(session, due)
        except (ViralError, SQLAlchemyError, *DRIVER_ERRORS) as error:
            log.warning("traffic.waits", minutes=len(due), error=type(error).__name__)
            return
        for each in due:
            # While it was written, the oldest may have made room for a new one.
            with contextlib.suppress(ValueError):
                self._minutes.remove(each)

    async def _keep_writing(self, system: Database, stop: asyncio.Event) -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await stop.wait()
            await self.write(system, is_over=stop.is_set())
