"""Pages as they were last made: one is sent again while its rows are the same versions.

Of whoever asks the version is looked up as their tenant, each time. So nothing is sent that is not
what the database holds, and nothing that it would not give them; what is saved is to make the JSON
of it, and to carry that over.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable

# What an address costs beside its page: there may be many short ones.
ADDRESS_BYTES = 1_000


class PageCache:
    """The pages that were asked for last, in `most_bytes` of memory."""

    def __init__(self, *, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        # The version and the page of an address; who was not asked for the longest is first.
        self._kept: OrderedDict[Hashable, tuple[bytes, bytes]] = OrderedDict()

    async def get(
        self,
        address: Hashable,
        version: Callable[[], Awaitable[bytes]],
        make: Callable[[], Awaitable[bytes]],
    ) -> bytes:
        """Return the page of an address, which names its tenant: the one before, or a new one."""
        if self._most_bytes == 0:
            return await make()
        # Before the page: of rows that change in between, it is newer than it says, and is made
        # once more.
        current = await version()
        known, page = self._kept.get(address, (None, b""))
        if known == current:
            self._kept.move_to_end(address)
            return page
        page = await make()
        self._keep(address, current, page)
        return page

    def _keep(self, address: Hashable, version: bytes, page: bytes) -> None:
        if address in self._kept:
            self._forget(address)
        self._kept[address] = version, page
        self._bytes += ADDRESS_BYTES + len(page)
        while self._bytes > self._most_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, address: Hashable) -> None:
        _, page = self._kept.pop(address)
        self._bytes -= ADDRESS_BYTES + len(page)
