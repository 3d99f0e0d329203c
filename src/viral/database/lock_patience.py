"""Short waits for locks, repeated: who waits for a table's lock makes all others wait behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
from sqlalchemy.exc import DBAPIError

from viral.database.faults import sqlstate_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# A request that queues behind a migration waits this long and no longer.
LOCK_TIMEOUT = "1s"
# CONCURRENTLY waits for transactions that are open already; nobody waits behind it.
LOCK_TIMEOUT_CONCURRENTLY = "5min"
_PAUSES_S = (0.5, 1, 2, 4)
# lock_not_available, deadlock_detected
_WORTH_ANOTHER_TRY = {"55P03", "40P01"}


async def patiently(attempt: Callable[[], Awaitable[None]]) -> None:
    """Try until the locks are obtained, with growing pauses; the last failure is the caller's."""
    for pause_s in _PAUSES_S:
        try:
            return await attempt()
        except (DBAPIError, asyncpg.PostgresError) as error:
            if sqlstate_of(error) not in _WORTH_ANOTHER_TRY:
                raise
        await asyncio.sleep(pause_s)
    return await attempt()
