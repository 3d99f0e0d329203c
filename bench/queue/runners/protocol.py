"""What every queue of the comparison does, so that all are measured by the same lines.

A runner is a program: `run_x.py COMMAND NUMBER`, with the database in BENCH_URL. Its last line on
stdout is the answer as JSON. runner.mjs is the same in JavaScript: who changes one changes both.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Handler = Callable[[int], None]

CLIENTS = 16
# The share of a backlog that is drained before the clock starts: connections, caches and
# compilers are warm by then.
WARM_UP = 0.1
# The one job of B; those of A are counted from 0.
OF_B = -1


class Queue(Protocol):
    """One queue with its own fastest sensible settings."""

    async def open(self) -> None:
        """Connect, with as many connections as CLIENTS need."""

    async def setup(self) -> None:
        """Make the tables, once for a database."""

    async def clear(self) -> None:
        """Empty the tables."""

    async def keep_finished(self, count: int) -> None:
        """Store `count` finished jobs the way this queue keeps them; nothing if it keeps none."""

    async def enqueue(self, n: int) -> None:
        """Commit a job with the payload {"n": n}, that of tenant B if it is OF_B."""

    async def enqueue_many(self, numbers: Sequence[int]) -> None:
        """Commit jobs by the way meant for many."""

    async def start(self, handler: Handler) -> None:
        """Start one worker in this process; it calls the handler with each payload's number."""

    async def is_drained(self) -> bool:
        """Say whether the database knows every job as done."""


@dataclass(slots=True)
class Backlog:
    """Counts handlers; `begun` is when the warm-up was over."""

    count: int
    done: int = 0
    begun: float = 0
    is_warm: asyncio.Event = field(default_factory=asyncio.Event)
    is_done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def warm_up(self) -> int:
        return int(self.count * WARM_UP)

    def handle(self, _n: int) -> None:
        self.done += 1
        if self.done == self.warm_up:
            self.begun = perf_counter()
            self.is_warm.set()
        elif self.done == self.count:
            self.is_done.set()


async def enqueue_single(queue: Queue, count: int) -> float:
    """Enqueue one after the other; return the jobs per second."""
    return await _enqueue(queue, count, clients=1)


async def enqueue_concurrent(queue: Queue, count: int) -> float:
    """Enqueue by CLIENTS at the same time; return the jobs per second."""
    return await _enqueue(queue, count, clients=CLIENTS)


async def _enqueue(queue: Queue, count: int, *, clients: int) -> float:
    async def client(numbers: range) -> None:
        for n in numbers:
            await queue.enqueue(n)

    shares = [range(first, count, clients) for first in range(clients)]
    # Every connection has met the statement before.
    await asyncio.gather(*(client(share[:10]) for share in shares))
    begun = perf_counter()
    await asyncio.gather(*(client(share) for share in shares))
    return count / (perf_counter() - begun)


async def enqueue_bulk(queue: Queue, count: int) -> float:
    """Enqueue many at once; return the jobs per second."""
    await queue.enqueue_many(range(10))
    begun = perf_counter()
    await queue.enqueue_many(range(count))
    return count / (perf_counter() - begun)


async def drain(queue: Queue, count: int) -> float:
    """Run the backlog of `count` jobs; return the jobs per second of all but the warm-up.

    They end when the database knows all as done, not with the last handler.
    """
    backlog = Backlog(count)
    await queue.start(backlog.handle)
    await backlog.is_done.wait()
    while not await queue.is_drained():  # noqa: ASYNC110 - only the database knows
        await asyncio.sleep(0.002)
    return (count - backlog.warm_up) / (perf_counter() - backlog.begun)


async def pickup(queue: Queue, count: int) -> list[float]:
    """Enqueue for an idle worker; return the milliseconds until each handler began."""
    arrived: asyncio.Queue[float] = asyncio.Queue()
    await queue.start(lambda _n: arrived.put_nowait(perf_counter()))
    times = []
    for n in range(-10, count):
        await asyncio.sleep(random.uniform(0.02, 0.06))  # noqa: S311 - a pause, no secret
        begun = perf_counter()
        await queue.enqueue(abs(n))
        times.append((await arrived.get() - begun) * 1000)
    return times[10:]


async def fair(queue: Queue, count: int) -> dict[str, float]:
    """Enqueue a job of B while a backlog of `count` jobs of A is at work.

    Return how many of A began between its commit and its handler, and B's wait from before its
    enqueue, in milliseconds.
    """
    backlog, arrived = Backlog(count), asyncio.Event()
    end, done_at_end = 0.0, 0

    def handle(n: int) -> None:
        nonlocal end, done_at_end
        if n != OF_B:
            backlog.handle(n)
            return
        end, done_at_end = perf_counter(), backlog.done
        arrived.set()

    await queue.start(handle)
    await backlog.is_warm.wait()
    begun = perf_counter()
    await queue.enqueue(OF_B)
    done_at_commit = backlog.done
    await arrived.wait()
    return {"jobs_before": max(0, done_at_end - done_at_commit), "wait_ms": (end - begun) * 1000}


async def _fill(queue: Queue, count: int) -> None:
    await queue.clear()
    await queue.enqueue_many(range(count))


async def _setup(queue: Queue, _count: int) -> None:
    await queue.setup()


async def _finished(queue: Queue, count: int) -> None:
    await queue.keep_finished(count)


COMMANDS: dict[str, Callable[[Queue, int], Awaitable[object]]] = {
    "setup": _setup,
    "fill": _fill,
    "finished": _finished,
    "single": enqueue_single,
    "concurrent": enqueue_concurrent,
    "bulk": enqueue_bulk,
    "drain": drain,
    "pickup": pickup,
    "fair": fair,
}


def url() -> str:
    """Give the address of the database, with its password: argv would show it to everybody."""
    return os.environ["BENCH_URL"]


async def answer(queue: Queue) -> None:
    """Do what argv says, print the answer and end the process.

    Nothing is stopped in order: how a worker stops is not measured.
    """
    command, number = sys.argv[1:]
    await queue.open()
    found = await COMMANDS[command](queue, int(number))
    print(json.dumps(found), flush=True)
    os._exit(0)
