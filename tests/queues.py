"""The job queue in tests: types of jobs with handlers of the test's own, and workers that end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from uuid import UUID

import msgspec

from viral.features.jobs.queue import Wish, enqueue
from viral.features.jobs.types import JobType
from viral.runtime import Runtime
from viral.schema.base import uuid7
from viral.worker.attempts import Answer, Claim, Ending, Exchange
from viral.worker.handling import HANDLERS, AtWork, Handled
from viral.worker.loop import Worker

Handler = Callable[..., object]
# What waits for its moment is not open, nor what waits for another job.
OPEN = "status = 'running' OR (status = 'pending' AND is_due)"


class Numbered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A payload."""

    n: int


NUMBERED = JobType("numbered", payload=Numbered)
PLAIN = JobType("plain")


@contextmanager
def handled(job_type: JobType, function: Handler) -> Iterator[None]:
    """Have a type of jobs done by a function, until the block ends."""
    HANDLERS[job_type.name] = Handled(job_type, function)
    try:
        yield
    finally:
        del HANDLERS[job_type.name]


async def done(_at_work: AtWork, *_payload: object) -> dict[str, object]:
    """Do nothing."""
    return {}


async def add(
    runtime: Runtime,
    tenant_id: UUID,
    job_type: JobType = PLAIN,
    payload: msgspec.Struct | None = None,
    wish: Wish | None = None,
) -> UUID:
    """Put a job into a tenant's queue."""
    async with runtime.app.tenant_session(tenant_id) as session:
        made = await enqueue(
            session, job_type, payload, tenant_id=tenant_id, wish=Wish() if wish is None else wish
        )
    assert made is not None
    return made


class Claimant:
    """A worker that claims and ends by hand."""

    def __init__(
        self, runtime: Runtime, queue: str = "default", limits: JobType | None = None
    ) -> None:
        self.id = uuid7()
        self._runtime = runtime
        self._exchange = Exchange(runtime.worker, self.id, queue, limits)

    async def claim(self, wanted: int = 1, *, is_short: bool = False) -> list[Claim]:
        """Take up to `wanted` jobs, after taking back what dead workers left."""
        return (await self.exchange([], wanted, is_short=is_short)).claims

    async def end(self, claim: Claim, **how: object) -> bool:
        """End an attempt; tell whether that was taken."""
        ending = Ending(claim, **how)  # type: ignore[arg-type]  # those of Ending
        return not (await self.exchange([ending], 0)).refused

    async def exchange(
        self, endings: list[Ending], wanted: int, *, is_short: bool = False
    ) -> Answer:
        """Do both at once."""
        await self._runtime.worker.call("SELECT viral.heartbeat($1)", self.id)
        await self.reap()
        if not is_short:
            return await self._exchange(endings, wanted)
        handed_in = await self._exchange(endings, 0) if endings else None
        reserved = await self._exchange.reserve(wanted, may_suspect=True)
        return replace(reserved, refused=handed_in.refused) if handed_in else reserved

    async def reap(self) -> int:
        """Take back what dead workers left."""
        rows = await self._runtime.worker.call("SELECT viral.reap_jobs($1, '10 s')", self.id)
        return int(rows[0][0])


@asynccontextmanager
async def working(runtime: Runtime, concurrency: int = 4) -> AsyncIterator[Worker]:
    """Have a worker work until the block ends."""
    stop = asyncio.Event()
    worker = Worker(runtime, concurrency=concurrency)
    task = asyncio.create_task(worker.run(stop))
    try:
        yield worker
    finally:
        stop.set()
        await task


async def until(condition: Callable[[], Awaitable[bool]], within_s: float = 30.0) -> None:
    """Wait until something is so; fail when it is not in time."""
    async with asyncio.timeout(within_s):
        while not await condition():
            await asyncio.sleep(0.02)


async def work_off(runtime: Runtime, tenant_id: UUID, concurrency: int = 4) -> None:
    """Have a worker do all that a tenant has waiting now."""

    async def is_idle() -> bool:
        rows = await runtime.worker.call(
            "SELECT FROM viral.job_stats() WHERE tenant_id = $1 AND"
            " (status = 'running' OR (status = 'pending' AND oldest_s IS NOT NULL))",
            tenant_id,
        )
        return not rows

    async with working(runtime, concurrency):
        await until(is_idle)
