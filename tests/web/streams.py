"""Readers of GET /live over real sockets, as browsers' EventSource reads it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

# Of the deadline: what changed is told within a second.
DEADLINE_S = 1.0


@dataclass(frozen=True)
class Event:
    """One event of a stream."""

    id: str
    name: str
    data: dict[str, Any]


@dataclass
class Listening:
    """An open stream."""

    status: int
    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    text: str = ""

    async def next(self, within_s: float = DEADLINE_S) -> Event:
        """Wait for the next event; heartbeats are none."""
        async with asyncio.timeout(within_s):
            while True:
                fields = dict(line.split(": ", 1) for line in await self._block() if ": " in line)
                if "event" in fields:
                    return Event(fields["id"], fields["event"], json.loads(fields["data"]))

    async def ended(self, within_s: float) -> bool:
        """Wait for the end of the stream; False when it goes on."""
        tail = b""
        try:
            async with asyncio.timeout(within_s):
                while not tail.endswith(b"0\r\n\r\n") and (more := await self.reader.read(65536)):
                    tail = more
        except TimeoutError:
            return False
        return True

    async def is_quiet(self, for_s: float = 0.2) -> bool:
        """Tell whether no event comes."""
        try:
            await self.next(for_s)
        except TimeoutError:
            return True
        return False

    async def _block(self) -> list[str]:
        while "\n\n" not in self.text:
            # Chunked coding puts sizes between (RFC 9112, section 7.1).
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            self.text += (await self.reader.readexactly(size + 2))[:-2].decode()
            if size == 0:
                raise EOFError
        block, _, self.text = self.text.partition("\n\n")
        return block.splitlines()

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


async def refused(port: int, cookie: str, **headers: str) -> Listening:
    """Ask for a stream that is not given; the answer."""
    stream = await opened(port, cookie, **headers)
    await stream.close()
    return stream


@asynccontextmanager
async def listening(
    port: int, cookie: str, *, after: str = "", **headers: str
) -> AsyncIterator[Listening]:
    """Open a stream, and close it at the end of the block."""
    stream = await opened(port, cookie, after=after, **headers)
    try:
        yield stream
    finally:
        await stream.close()


async def opened(port: int, cookie: str, *, after: str = "", **headers: str) -> Listening:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = {"Accept": "text/event-stream", "Cookie": cookie, **headers}
    lines = [f"GET /live?after={after} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in sent.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    answered = dict(line.lower().split(": ", 1) for line in rest if line)
    return Listening(int(first.split()[1]), answered, reader, writer)
