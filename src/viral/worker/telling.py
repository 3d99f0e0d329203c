"""Progress out of functions that cannot wait: said at once, handed in beside the work."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from viral.worker.handling import AtWork


@asynccontextmanager
async def told(at_work: AtWork) -> AsyncIterator[Callable[[int], None]]:
    """Give a function that takes percents; of many in a row only the last is handed in.

    What it raised, as when the job was lost, is raised at the end of the block.
    """
    latest, is_over = 0, False
    is_news = asyncio.Event()

    def tell(percent: int) -> None:
        nonlocal latest
        latest = percent
        is_news.set()

    async def hand_in() -> None:
        while not is_over:
            await is_news.wait()
            is_news.clear()
            await at_work.progress(latest)

    beside = asyncio.create_task(hand_in())
    try:
        yield tell
    finally:
        is_over = True
        is_news.set()
        await beside
