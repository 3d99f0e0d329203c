"""A wire between a worker and PostgreSQL that a test can cut at a chosen byte, or hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

# Where a connection is cut: before what was asked is passed on, when half of it is, when half of
# the answer is, and before any of the answer is. Or it stands, and the answer never comes.
Place = Literal["before", "in the request", "in the answer", "after", "never"]


@dataclass
class Wire:
    """Passes bytes on between clients and a server, until it is told otherwise."""

    host: str
    server_port: int
    port: int = 0
    cuts: int = 0
    _marker: bytes = b""
    _place: Place | None = None
    _is_whole: bool = True
    _flows: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut_at(self, marker: bytes, place: Place) -> None:
        """Cut one connection, once: the next one that carries these bytes.

        Before the answer and in it, the bytes may stand in the request or in the answer.
        """
        self._marker, self._place = marker, place

    def cut(self) -> None:
        """End all connections, and let nobody through."""
        self._is_whole = False
        for writer in self._writers:
            writer.transport.abort()

    def heal(self) -> None:
        """Let everybody through again, and deliver what was held."""
        self._is_whole = True
        self._flows.set()

    def hold(self) -> None:
        """Deliver nothing, and tell nobody."""
        self._flows.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        if not self._is_whole:
            writer.transport.abort()
            return
        up_reader, up_writer = await asyncio.open_connection(self.host, self.server_port)
        ends = {writer, up_writer}
        self._writers |= ends
        asked = asyncio.Event()
        await asyncio.gather(
            self._carry_requests(reader, up_writer, writer, asked),
            self._carry_answers(up_reader, writer, up_writer, asked),
        )
        self._writers -= ends

    async def _carry_requests(
        self,
        reader: asyncio.StreamReader,
        up: asyncio.StreamWriter,
        down: asyncio.StreamWriter,
        asked: asyncio.Event,
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                await self._flows.wait()
                if self._place is not None and self._marker in data:
                    if self._place in {"before", "in the request"}:
                        await self._break(up, data if self._place != "before" else b"", down)
                        return
                    asked.set()
                up.write(data)
                await up.drain()
        up.close()

    async def _carry_answers(
        self,
        reader: asyncio.StreamReader,
        down: asyncio.StreamWriter,
        up: asyncio.StreamWriter,
        asked: asyncio.Event,
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                await self._flows.wait()
                is_marked = asked.is_set() or self._marker in data
                if self._place == "never" and is_marked:
                    self._place = None
                    self.cuts += 1
                    await down.wait_closed()
                    return
                if self._place in {"in the answer", "after"} and is_marked:
                    await self._break(down, data if self._place != "after" else b"", up)
                    return
                down.write(data)
                await down.drain()
        down.close()

    async def _break(
        self, onwards: asyncio.StreamWriter, data: bytes, back: asyncio.StreamWriter
    ) -> None:
        self._place = None
        self.cuts += 1
        onwards.write(data[: len(data) // 2])
        with suppress(ConnectionError):
            await onwards.drain()
        onwards.close()
        back.transport.abort()


@asynccontextmanager
async def wired(host: str, port: int) -> AsyncIterator[Wire]:
    """Put a wire before a server."""
    wire = Wire(host, port)
    wire.heal()
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        wire.heal()
        wire.cut()
        server.close()
        await server.wait_closed()
