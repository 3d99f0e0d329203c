"""Servers of this machine that stand for the outside, and a client that takes them for it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from viral.adapters.outgoing import Outgoing

PUBLIC = "93.184.216.34"
OTHER = "1.1.1.1"
# Trusts nobody; the authorities of this machine take 20 ms to read.
TRUSTING_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

Reply = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Fake:
    """A server that keeps what it was sent."""

    port: int = 0
    requests: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def serving(reply: Reply, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Fake]:
    """Serve one request a connection."""
    fake = Fake()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = head.lower().partition("content-length: ")[2].split("\r\n")[0]
            fake.requests.append(head + (await reader.readexactly(int(length or 0))).decode())
            fake.times.append(asyncio.get_running_loop().time())
            await reply(fake.requests[-1], writer)
            await writer.drain()
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    fake.port = server.sockets[0].getsockname()[1]
    async with server:
        yield fake


def replying(*answers: str | bytes, status: str = "200 OK", head: str = "") -> Reply:
    """Give each answer in turn, and the last one for ever; a text is a body with status 200."""
    left = list(answers)

    async def reply(_request: str, writer: asyncio.StreamWriter) -> None:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, str):
            answer = (
                f"HTTP/1.1 {status}\r\n{head}content-length: {len(answer)}\r\n\r\n{answer}"
            ).encode()
        writer.write(answer)

    return reply


def answering(status: str, head: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{head}content-length: 0\r\n\r\n".encode()


@asynccontextmanager
async def calling(
    *vendors: Fake,
    names: dict[str, list[str]] | None = None,
    found: dict[str, Fake] | None = None,
    timeout_s: float = 5.0,
    retries: int = 2,
    tls: ssl.SSLContext = TRUSTING_NOBODY,
) -> AsyncIterator[Outgoing]:
    """Call vendors as they are; other names as in `names`, whose addresses are at `found`."""

    async def resolve(host: str, _port: int) -> list[str]:
        assert names is not None, f"{host} was looked up"
        return names[host]

    def reach(address: str, port: int) -> tuple[str, int]:
        assert found is not None, f"{address}:{port} was called"
        return "127.0.0.1", found[address].port

    outgoing = Outgoing(
        vendors=[fake.url for fake in vendors],
        timeout_s=timeout_s,
        retries=retries,
        resolve=resolve,
        reach=reach,
        tls=tls,
    )
    try:
        yield outgoing
    finally:
        await outgoing.close()
