"""NOTIFY not too often: with a statement, or after the commit.

In a transaction NOTIFY takes a lock of the whole server at commit, which costs most of what many
writers could do (measured 2.7 x). At most once in 5 ms it costs nothing that can be seen: it goes
along with the first statement, which saves a round trip, and is sent for those after it. Nobody may
rely on it: who listens looks by itself from time to time.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from viral.database.faults import DRIVER_ERRORS
from viral.errors import ViralError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sized

    from viral.database.calls import Calls

PAUSE_S = 0.005
# By then nobody has come whose statement could take the call along.
LATE_S = 0.010


class Coalesced:
    """Has sent what gathers, `pause_s` apart at least; `send` takes it from where it gathers.

    What a lost server did not take is gone.
    """

    def __init__(
        self, send: Callable[[], Awaitable[None]], gathered: Sized, *, pause_s: float
    ) -> None:
        self._send = send
        self._gathered = gathered
        self._pause_s = pause_s
        self._task: asyncio.Task[None] | None = None
        self._last = -pause_s

    def soon(self) -> None:
        """Send now, or `pause_s` after the last time."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def may_go_otherwise(self, rest_s: float) -> bool:
        """Say whether nothing was sent for so long; whoever is told so sends it by itself."""
        if monotonic() - self._last < rest_s:
            return False
        self._last = monotonic()
        return True

    async def close(self) -> None:
        """Send what is left, and stop."""
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while self._gathered:
            wait_s = self._last + self._pause_s - monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
                continue
            self._last = monotonic()
            with suppress(ViralError, *DRIVER_ERRORS):
                await self._send()


class Waking:
    """Sends NOTIFY, without a payload, on the channels that are to be woken."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._channels: set[str] = set()
        self._sending = Coalesced(self._send, self._channels, pause_s=LATE_S)

    def wake(self, channel: str) -> None:
        """Wake a channel now, or 10 ms after the last time if no statement does before."""
        self._channels.add(channel)
        self._sending.soon()

    def may_ride(self, channel: str) -> bool:
        """Say whether a statement is to wake a channel by itself; whoever is told so does it."""
        if not self._sending.may_go_otherwise(PAUSE_S):
            return False
        self._channels.discard(channel)
        return True

    async def close(self) -> None:
        """Send what is left, and stop."""
        await self._sending.close()

    async def _send(self) -> None:
        await self._calls.fetch(f"NOTIFY {self._channels.pop()}")
