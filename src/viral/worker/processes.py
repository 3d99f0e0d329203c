"""Processes of their own for handlers that compute: one job each, and ended with it if need be."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

from viral.errors import WorkFailed

if TYPE_CHECKING:
    from collections.abc import Callable


class Processes:
    """Idle processes, ready for the next job. A crash or a time limit costs one of them."""

    def __init__(self) -> None:
        self._idle: list[tuple[ProcessPoolExecutor, int]] = []

    async def run(self, function: Callable[..., object], *arguments: object) -> object:
        """Run a function of a module in another process; raise WorkFailed when that dies."""
        loop = asyncio.get_running_loop()
        pool, pid = self._idle.pop() if self._idle else await self._started(loop)
        work = loop.run_in_executor(pool, function, *arguments)
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError:
            _end(pool, pid)
            raise
        if isinstance(work.exception(), BrokenExecutor):
            _end(pool, pid)
            raise WorkFailed("The process of this job ended in the middle of it.")
        self._idle.append((pool, pid))
        return work.result()

    def close(self) -> None:
        """End the idle processes; those at work end with their jobs."""
        for pool, pid in self._idle:
            _end(pool, pid)
        self._idle.clear()

    @staticmethod
    async def _started(loop: asyncio.AbstractEventLoop) -> tuple[ProcessPoolExecutor, int]:
        # Forked, it would share this process's connections.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(1, mp_context=context, initializer=_belong_to_worker)
        return pool, await loop.run_in_executor(pool, os.getpid)


def _belong_to_worker() -> None:
    """End with the worker, however it ends, and by nobody else's signal.

    Signals to the whole group, as of Ctrl-C, are for the worker: what runs may finish.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    Thread(target=_end_with_worker, daemon=True).start()


def _end_with_worker() -> None:
    worker = multiprocessing.parent_process()
    assert worker is not None
    worker.join()
    os._exit(1)


def _end(pool: ProcessPoolExecutor, pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    pool.shutdown(wait=False, cancel_futures=True)
