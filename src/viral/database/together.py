"""Calls of many callers that go as one: a statement and a commit cost as much for one as for ten.

Who comes first is sent at once. Who comes while that is on its way waits for it, and goes with all
others that came meanwhile: nobody waits for company.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Generic, TypeVar

from viral.database.faults import DRIVER_ERRORS
from viral.errors import ServerError, ViralError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Sequence

LARGEST = 500
T = TypeVar("T")


class Together(Generic[T]):
    """Sends items of the same kind together; each caller hears how its own fared."""

    def __init__(self) -> None:
        self._busy: set[Hashable] = set()
        self._waiting: defaultdict[Hashable, list[tuple[Sequence[T], asyncio.Future[None]]]]
        self._waiting = defaultdict(list)
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(
        self, kind: Hashable, items: Sequence[T], send: Callable[[Sequence[T]], Awaitable[object]]
    ) -> None:
        """Have `send` called with these items, and perhaps with others of the same kind before.

        What fails together is sent again one caller at a time, so an error is the caller's own.
        """
        if kind in self._busy:
            sent = asyncio.get_running_loop().create_future()
            self._waiting[kind].append((items, sent))
            await sent
            return
        self._busy.add(kind)
        try:
            await send(items)
        finally:
            # Also for those who wait for a caller that was canceled.
            if self._waiting.get(kind):
                task = asyncio.create_task(self._send_waiting(kind, send))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                self._rest(kind)

    async def _send_waiting(
        self, kind: Hashable, send: Callable[[Sequence[T]], Awaitable[object]]
    ) -> None:
        waiting = self._waiting[kind]
        try:
            while waiting:
                some, size = [], 0
                while waiting and size < LARGEST:
                    some.append(waiting.pop(0))
                    size += len(some[-1][0])
                await self._send_some(some, send)
        finally:
            for _, sent in waiting:
                sent.cancel()
            self._rest(kind)

    async def _send_some(
        self,
        some: Sequence[tuple[Sequence[T], asyncio.Future[None]]],
        send: Callable[[Sequence[T]], Awaitable[object]],
    ) -> None:
        try:
            await send([item for items, _ in some for item in items])
            for _, sent in some:
                if not sent.done():
                    sent.set_result(None)
        except (ViralError, *DRIVER_ERRORS) as error:
            if len(some) > 1 and not isinstance(error, ServerError):
                # Rolled back as a whole: only the caller whose items were refused is to know.
                for each in some:
                    await self._send_some([each], send)
                return
            for _, sent in some:
                if not sent.done():
                    sent.set_exception(error)
        finally:
            for _, sent in some:
                sent.cancel()

    def _rest(self, kind: Hashable) -> None:
        self._busy.discard(kind)
        self._waiting.pop(kind, None)
