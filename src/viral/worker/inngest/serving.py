"""The address that Inngest calls: one path of a small HTTP server on 127.0.0.1."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import uvicorn

from viral.adapters.inngest import LARGEST_CALL_BYTES, Answer
from viral.errors import PortInUse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from litestar.types import HTTPScope, Receive, Send

    Answering = Callable[[str, Mapping[str, str], Mapping[str, str], bytes], Awaitable[Answer]]

HOST = "127.0.0.1"
PATH = "/api/inngest"
_NOT_FOUND = Answer(404, {"content-type": "application/json"}, b'{"message": "Not found"}')


class _Server(uvicorn.Server):
    """A server in a process that has its own way to end."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the worker."""
        yield


def listen(port: int) -> socket.socket:
    """Take the port, or raise PortInUse."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise PortInUse(
            f"Inngest's calls cannot be taken: port {port} is in use, perhaps by another worker.",
            hint="Give this one a port of its own, VIRAL_INNGEST_PORT, and have what stands"
            " before it pass calls on to each.",
        ) from error


async def serve(listener: socket.socket, answer: Answering, stop: asyncio.Event) -> None:
    """Give requests to `answer` until `stop`, and end when all that came before is answered."""

    async def application(scope: HTTPScope, receive: Receive, send: Send) -> None:
        is_ours = scope["path"] == PATH
        await _send(await _answered(scope, receive, answer) if is_ours else _NOT_FOUND, send)

    configuration = uvicorn.Config(
        application,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    server = _Server(configuration)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await stop.wait()
    server.should_exit = True
    await serving


async def _answered(scope: HTTPScope, receive: Receive, answer: Answering) -> Answer:
    body = b""
    # What is larger is refused for that, unread.
    while len(body) <= LARGEST_CALL_BYTES:
        message = await receive()
        if message["type"] != "http.request":
            break
        body += message["body"]
        if not message["more_body"]:
            break
    query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return await answer(scope["method"], query, headers, body)


async def _send(answer: Answer, send: Send) -> None:
    headers = {**answer.headers, "content-length": str(len(answer.body))}
    written = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": written})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
