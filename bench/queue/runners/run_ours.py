"""Ours, as the product runs it: viral_app, row security, the tenant's context, one worker.

It has one command more: `tenants`, the ring with many of them.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import asyncpg
import msgspec
import uvloop
from protocol import CLIENTS, COMMANDS, OF_B, WARM_UP, answer

from viral.database.engine import Database
from viral.features.jobs.queue import enqueue_many, enqueue_now
from viral.features.jobs.types import JobType
from viral.features.tenants import create_tenant
from viral.postgres.server import Server
from viral.runtime import open_runtime
from viral.settings import Settings
from viral.worker.handling import AtWork, job
from viral.worker.loop import Worker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from protocol import Handler

BULK = 5000
LARGEST_BACKLOG = 10_000
# A tenant with so few jobs is a small one, that comes while the others are served.
SMALL = 10
_CLEAR = "TRUNCATE job_queue, job_effects, job_reservations, job_workers"
_FINISHED = """
INSERT INTO job_queue (id, tenant_id, job_type, status, payload, result, attempts, started_at,
                       completed_at)
SELECT uuidv7(), $2::uuid, 'noop', 'completed', jsonb_build_object('n', n), '{}', 1, now(), now()
FROM generate_series(1, $1::int) AS n
"""
# By the indexes that hold such jobs alone: to read a million finished ones takes longer than to
# drain some thousands.
_LEFT = """
SELECT EXISTS (SELECT FROM job_queue WHERE status = 'pending' AND is_due AND crashes = 0)
    OR EXISTS (SELECT FROM job_queue WHERE status = 'pending' AND is_due AND crashes > 0)
    OR EXISTS (SELECT FROM job_queue WHERE status = 'running')
"""
_RING = "SELECT id FROM tenants WHERE slug LIKE 'ring-%' ORDER BY id"
# A claim is a transaction, and `started_at` its moment: a tenant had as many turns as there are
# such moments among its jobs. What a small tenant waited is the most turns that another one had
# between the small one's first enqueue and the claim of that job.
_ROUNDS = """
WITH turns AS MATERIALIZED (
  SELECT DISTINCT tenant_id, started_at FROM job_queue WHERE started_at IS NOT NULL
), first_jobs AS (
  SELECT DISTINCT ON (tenant_id) tenant_id, created_at, started_at FROM job_queue
  WHERE tenant_id = ANY ($1::uuid[]) ORDER BY tenant_id, id
), counted AS (
  SELECT count(*) AS turns FROM first_jobs AS f
  JOIN turns AS t ON t.started_at > f.created_at AND t.started_at < f.started_at
  GROUP BY f.tenant_id, t.tenant_id
)
SELECT coalesce(max(turns), 0) FROM counted
"""


class Noop(msgspec.Struct):
    n: int


NOOP = JobType("noop", payload=Noop)


class Ours:
    def __init__(self) -> None:
        # To the end of the process.
        self._stack = AsyncExitStack()
        self._settings = Settings(home=Path(os.environ["BENCH_HOME"]), archive=False)

    async def open(self) -> None:
        self._runtime = await self._stack.enter_async_context(open_runtime(self._settings))
        runtime = self._runtime
        url = runtime.urls.for_role("viral_app", runtime.secrets)
        self._app = Database(
            replace(url, pool_size=CLIENTS), context_key=lambda: runtime.secrets.context_key
        )
        server = Server(home=self._settings.home, secrets=runtime.secrets)
        admin = server.socket_url("viral_admin", url.database)
        self._admin = await asyncpg.connect(
            host=admin.host,
            port=admin.port,
            user=admin.user,
            password=admin.password,
            database=admin.database,
        )
        # The planner would look for one of the many that waited at the last ANALYZE.
        await self._admin.execute("SET enable_seqscan = off")
        found = await self._admin.fetch("SELECT slug, id FROM tenants WHERE slug IN ('a', 'b')")
        self._tenants = {row["slug"]: row["id"] for row in found}

    async def setup(self) -> None:
        await self._make_tenants(["a", "b"])

    async def clear(self) -> None:
        await self._admin.execute(_CLEAR)

    async def keep_finished(self, count: int) -> None:
        await self._admin.execute(_FINISHED, count, self._tenants["a"])

    async def enqueue(self, n: int) -> None:
        tenant_id = self._tenants["b" if n == OF_B else "a"]
        await enqueue_now(self._app, tenant_id, NOOP, [Noop(n)])

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        await self._enqueue_for(self._tenants["a"], numbers)

    async def start(self, handler: Handler) -> None:
        @job(NOOP)
        async def noop(_at_work: AtWork, payload: Noop) -> None:
            handler(payload.n)

        self._worker = asyncio.create_task(Worker(self._runtime).run(asyncio.Event()))

    async def is_drained(self) -> bool:
        return not await self._admin.fetchval(_LEFT)

    async def tenants(self, count: int) -> int:
        """Return the longest wait of a small tenant's first job, in rounds of the ring.

        Most tenants have their jobs when the worker starts; the small ones come one by one.
        """
        rng = Random(count)  # noqa: S311 - how many jobs each has, no secret
        ids = [row["id"] for row in await self._admin.fetch(_RING)]
        if not ids:
            ids = await self._make_tenants([f"ring-{number}" for number in range(count)])
        # As many between 1 and 10 as between 1,000 and 10,000.
        largest = min(LARGEST_BACKLOG, count * SMALL)
        backlogs = {tenant_id: int(largest ** rng.random()) for tenant_id in ids}
        small = [tenant_id for tenant_id, jobs in backlogs.items() if jobs <= SMALL]
        for tenant_id in backlogs.keys() - set(small):
            await self._enqueue_for(tenant_id, range(backlogs[tenant_id]))
        waiting, all_came = set(range(len(small))), asyncio.Event()
        is_warm = asyncio.Event()
        done = 0

        def handle(n: int) -> None:
            nonlocal done
            done += 1
            if done > WARM_UP * largest:
                is_warm.set()
            waiting.discard(-1 - n)
            if not waiting:
                all_came.set()

        await self.start(handle)
        await is_warm.wait()
        for number, tenant_id in enumerate(small):
            await asyncio.sleep(rng.uniform(0, 0.02))
            rest = range(1, backlogs[tenant_id])
            await self._enqueue_for(tenant_id, [-1 - number, *rest])
        await all_came.wait()
        return int(await self._admin.fetchval(_ROUNDS, small))

    async def _make_tenants(self, slugs: Sequence[str]) -> list[UUID]:
        async with self._runtime.system.session_without_tenant() as session:
            return [
                await create_tenant(session, slug=slug, secrets=self._runtime.secrets)
                for slug in slugs
            ]

    async def _enqueue_for(self, tenant_id: UUID, numbers: Sequence[int]) -> None:
        for first in range(0, len(numbers), BULK):
            some = [Noop(n) for n in numbers[first : first + BULK]]
            async with self._app.tenant_session(tenant_id) as session:
                await enqueue_many(session, NOOP, some)


if __name__ == "__main__":
    ours = Ours()
    COMMANDS["tenants"] = lambda _queue, count: ours.tenants(count)
    uvloop.run(answer(ours))
