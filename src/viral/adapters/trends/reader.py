"""Which module reads which kind of source, and the client that they share."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from viral.adapters.outgoing import Outgoing
from viral.adapters.trends import feeds, gnews, reddit, tables, youtube
from viral.adapters.trends.desk import Desk, TrendKeys
from viral.features.trends.kinds import kinds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from viral.features.trends.fetching import Asked, Reading
    from viral.features.trends.kinds import Kind

TIMEOUT_S = 15.0
NO_KEYS = TrendKeys()
_READERS: Mapping[str, Callable[[Asked, Desk], Awaitable[Reading]]] = {
    "youtube": youtube.read,
    "reddit": reddit.read,
    "gnews": gnews.read,
    "google-trends": feeds.read_feed,
    "feed": feeds.read_feed,
    "csv": tables.read,
}


class TrendReader:
    """Asks sources of every kind over one client."""

    def __init__(self, outgoing: Outgoing, keys: TrendKeys, kinds: Mapping[str, Kind]) -> None:
        """Open nothing yet."""
        self._desks = {name: Desk(outgoing, keys, kind) for name, kind in kinds.items()}

    async def read(self, asked: Asked) -> Reading:
        """Ask a source for its trends; a ViralError says why there are none."""
        return await _READERS[asked.kind](asked, self._desks[asked.kind])


@asynccontextmanager
async def open_reader(keys: TrendKeys = NO_KEYS) -> AsyncIterator[TrendReader]:
    """Open the way to all sources.

    Vendors with a key are called where they are; the rest of the web is reached through the guard,
    which keeps every address inside out of reach.
    """
    vendors = [each.url.partition("?")[0] for each in kinds().values() if each.needs]
    vendors += [each.token_url for each in kinds().values() if each.token_url]
    places = [each.partition("/{")[0] for each in vendors]
    # Once more at once, for a lost connection; what lasts longer is the back-off's.
    outgoing = Outgoing(vendors=places, timeout_s=TIMEOUT_S, retries=1)
    try:
        yield TrendReader(outgoing, keys, kinds())
    finally:
        await outgoing.close()
