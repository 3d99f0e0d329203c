"""The texts that run at this moment, so that their owners can stop them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar
from uuid import UUID

from viral.database.console.answers import Refusal

T = TypeVar("T")
# Each has connections of its own.
MOST_AT_ONCE = 4


class Runs:
    """What runs in this process, by who started it and the name that their page gave it."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[UUID, str], asyncio.Task[object]] = {}

    async def run(self, owner: UUID, name: str, work: Coroutine[object, object, T]) -> T | Refusal:
        """Do the work, unless its owner cancels it meanwhile."""
        if len(self._tasks) >= MOST_AT_ONCE or (owner, name) in self._tasks:
            work.close()
            return Refusal(
                f"{MOST_AT_ONCE} texts run already.", "Wait for one of them, or cancel it."
            )
        task = asyncio.create_task(work)
        self._tasks[owner, name] = task
        try:
            await asyncio.wait([task])
        finally:
            del self._tasks[owner, name]
            # The request itself may have been given up.
            task.cancel()
        if task.cancelled():
            return Refusal("Cancelled.", "The server has ended it; nothing was stored.")
        return task.result()

    def cancel(self, owner: UUID, name: str) -> bool:
        """Cancel what somebody runs under a name; once, so that it can clean up after itself."""
        task = self._tasks.get((owner, name))
        if task is None or task.cancelling():
            return False
        return task.cancel()
