"""A client that asks for the same pages over and over, and costs little itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
_OK = b"HTTP/1.1 200 "


@dataclass(slots=True)
class Slice:
    """What one server did in a while: how long each answer took, and how long it all took."""

    took_s: list[float] = field(default_factory=list)
    seconds: float = 0.0
    # Of the server's process, while it answered.
    cpu_s: float = 0.0


class Client(asyncio.Protocol):
    """One connection that is kept open; it sends the next request when it has its answer."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.took_s: list[float] = []
        self.body = bytearray()
        self._requests = requests
        self._until = 0.0
        self._sent = 0.0
        self._head = bytearray()
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Those of uvloop are no subclass.
        self._transport = cast("asyncio.Transport", transport)

    def begin(self, until: float) -> None:
        """Send requests until a moment of `perf_counter`; `done` is set by the last answer."""
        self._until = until
        self._send()

    def _send(self) -> None:
        self._head.clear()
        self.body.clear()
        self._missing = 0
        self._sent = perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self.body += data
            self._missing -= len(data)
        else:
            self._head += data
            end = self._head.find(_HEAD_END)
            if end < 0:
                return
            self.body += self._head[end + len(_HEAD_END) :]
            self._missing = _length_of(bytes(self._head[:end])) - len(self.body)
        if self._missing == 0:
            self._finish()

    def _finish(self) -> None:
        now = perf_counter()
        if not self._head.startswith(_OK):
            self.connection_lost(None)
            return
        self.took_s.append(now - self._sent)
        if now < self._until:
            self._send()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            said = bytes(self._head[:400]).decode(errors="replace")
            self.done.set_exception(exc or RuntimeError(f"An answer is not as it should: {said}"))


async def ask(port: int, path: str, keys: Sequence[str], *, clients: int, seconds: float) -> Slice:
    """Ask a server with so many clients at once; each goes through the keys, from its own place."""
    loop = asyncio.get_running_loop()
    everybody = []
    for number in range(clients):
        requests = _requests(path, keys, number * len(keys) // clients)
        _, client = await loop.create_connection(partial(Client, requests), "127.0.0.1", port)
        everybody.append(client)
    begun = perf_counter()
    for client in everybody:
        client.begin(begun + seconds)
    await asyncio.gather(*(client.done for client in everybody))
    took_s = [each for client in everybody for each in client.took_s]
    return Slice(took_s, perf_counter() - begun)


async def page_of(port: int, path: str, key: str) -> bytes:
    """Ask once, and return the body."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(
        partial(Client, _requests(path, [key], 0)), "127.0.0.1", port
    )
    client.begin(0)
    await client.done
    return bytes(client.body)


def _requests(path: str, keys: Sequence[str], first: int) -> Iterator[bytes]:
    sent = [
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
        f"Authorization: Bearer {key}\r\n\r\n".encode()
        for key in keys
    ]
    while True:
        yield from islice(sent, first, None)
        first = 0


def _length_of(head: bytes) -> int:
    head = head.lower()
    start = head.index(_LENGTH) + len(_LENGTH)
    return int(head[start:].split(b"\r\n", 1)[0])
