"""PgQueuer: batches of 500, acknowledged in batches; done jobs leave rows in its log."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Protocol

import asyncpg
import uvloop
from pgqueuer import PgQueuer  # type: ignore[import-not-found]  # in the benchmark's own environment
from protocol import CLIENTS, answer, url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol import Handler

BATCH = 500
BULK = 5000
_FINISHED = """
INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint, aggregated)
SELECT -n, status::pgqueuer_status, 0, 'noop', true
FROM generate_series(1, $1::int) AS n, unnest(ARRAY['queued', 'picked', 'successful']) AS status
"""


class Job(Protocol):
    """What we need of the library's class."""

    payload: bytes


class Peer:
    """Named so because the library's class is PgQueuer."""

    def __init__(self) -> None:
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def open(self) -> None:
        self._pool = await asyncpg.create_pool(url(), min_size=CLIENTS, max_size=CLIENTS)
        self._application = PgQueuer.from_asyncpg_connection(await asyncpg.connect(url()))
        self._queries = PgQueuer.from_asyncpg_pool(self._pool).queries

    async def setup(self) -> None:
        await self._queries.install()

    async def clear(self) -> None:
        assert self._pool
        await self._pool.execute("TRUNCATE pgqueuer, pgqueuer_log, pgqueuer_statistics")

    async def keep_finished(self, count: int) -> None:
        assert self._pool
        await self._pool.execute(_FINISHED, count)

    async def enqueue(self, n: int) -> None:
        await self._queries.enqueue("noop", json.dumps({"n": n}).encode())

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        for first in range(0, len(numbers), BULK):
            some = numbers[first : first + BULK]
            await self._queries.enqueue(
                ["noop"] * len(some),
                [json.dumps({"n": n}).encode() for n in some],
                [0] * len(some),
            )

    async def start(self, handler: Handler) -> None:
        async def noop(job: Job) -> None:
            handler(json.loads(job.payload)["n"])

        self._application.entrypoint("noop")(noop)
        self._worker = asyncio.create_task(self._application.run(batch_size=BATCH))

    async def is_drained(self) -> bool:
        assert self._pool
        return not await self._pool.fetchval("SELECT EXISTS (SELECT FROM pgqueuer)")


if __name__ == "__main__":
    uvloop.run(answer(Peer()))
