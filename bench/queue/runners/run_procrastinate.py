"""procrastinate: ten jobs at a time, each fetched and finished by a statement of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import procrastinate  # type: ignore[import-not-found]  # in the benchmark's own environment
import uvloop
from protocol import CLIENTS, answer, url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol import Handler

CONCURRENCY = 10
BULK = 5000
_FINISHED = """
WITH jobs AS (
  INSERT INTO procrastinate_jobs (queue_name, task_name, args, status, attempts)
  SELECT 'default', 'noop', jsonb_build_object('n', n), 'succeeded', 1
  FROM generate_series(1, %(count)s) AS n
  RETURNING id
)
INSERT INTO procrastinate_events (job_id, type)
SELECT id, type::procrastinate_job_event_type
FROM jobs, unnest(ARRAY['deferred', 'started', 'succeeded']) AS type
"""
_LEFT = """
SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing')) AS "left"
"""


class Procrastinate:
    def __init__(self) -> None:
        self._handler: Handler | None = None
        self._connector = procrastinate.PsycopgConnector(
            conninfo=url(), min_size=CLIENTS, max_size=CLIENTS + CONCURRENCY
        )
        self._app = procrastinate.App(connector=self._connector)
        self._task = self._app.task(name="noop")(self._noop)

    async def _noop(self, n: int) -> None:
        assert self._handler
        self._handler(n)

    async def open(self) -> None:
        await self._app.open_async()

    async def setup(self) -> None:
        await self._app.schema_manager.apply_schema_async()

    async def clear(self) -> None:
        await self._connector.execute_query_async(
            "TRUNCATE procrastinate_jobs, procrastinate_events, procrastinate_periodic_defers"
        )

    async def keep_finished(self, count: int) -> None:
        await self._connector.execute_query_async(_FINISHED, count=count)

    async def enqueue(self, n: int) -> None:
        await self._task.defer_async(n=n)

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        for first in range(0, len(numbers), BULK):
            await self._task.batch_defer_async(*({"n": n} for n in numbers[first : first + BULK]))

    async def start(self, handler: Handler) -> None:
        self._handler = handler
        self._worker = asyncio.create_task(
            self._app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False)
        )

    async def is_drained(self) -> bool:
        found = await self._connector.execute_query_one_async(_LEFT)
        return not found["left"]


if __name__ == "__main__":
    uvloop.run(answer(Procrastinate()))
