"""An app of a fake Inngest, served over a socket as the web server does, and its adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from fakes.inngest import FakeInngest
from outside import TRUSTING_NOBODY

from viral.adapters.inngest import Answer, Inngest, JobEvent
from viral.adapters.outgoing import Outgoing

JOB = UUID("0199c0de-0000-7000-8000-00000000000a")
OTHER_JOB = UUID("0199c0de-0000-7000-8000-00000000000b")
FIRST = JobEvent(JOB, 1)
PATH = "/api/inngest"


@dataclass
class App:
    """What was run, and the errors that the next runs end with."""

    inngest: Inngest
    url: str
    ran: list[tuple[UUID, int]] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    during: Callable[[], object] = lambda: None

    async def run(self, job_id: UUID, attempt: int) -> dict[str, object]:
        self.ran.append((job_id, attempt))
        self.during()
        if self.errors:
            raise self.errors.pop(0)
        return {"hook": "what the tenant's video says"}

    @property
    def function_url(self) -> str:
        return f"{self.url}?fnId=viral-job&stepId=step"


def make_inngest(
    engine: FakeInngest,
    outgoing: Outgoing,
    *,
    serve_url: str = "https://studio.example/api/inngest",
    signing_key: str | None = None,
    signing_key_fallback: str | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Inngest:
    return Inngest(
        event_key=engine.event_key,
        signing_key=signing_key or engine.signing_key,
        signing_key_fallback=signing_key_fallback,
        api_url=engine.url,
        event_url=engine.url,
        serve_url=serve_url,
        outgoing=outgoing,
        clock=clock,
    )


@asynccontextmanager
async def calling(engine: FakeInngest, *, retries: int = 0) -> AsyncIterator[Outgoing]:
    outgoing = Outgoing(vendors=[engine.url], retries=retries, tls=TRUSTING_NOBODY)
    try:
        yield outgoing
    finally:
        await outgoing.close()


@asynccontextmanager
async def serving(
    engine: FakeInngest,
    *,
    signing_key: str | None = None,
    signing_key_fallback: str | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncIterator[App]:
    """Serve an app that the engine does not know yet."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(_written(await _answered(app, reader)))
            await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{PATH}"
    async with server, calling(engine) as outgoing:
        inngest = make_inngest(
            engine,
            outgoing,
            serve_url=url,
            signing_key=signing_key,
            signing_key_fallback=signing_key_fallback,
            clock=clock,
        )
        app = App(inngest, url)
        yield app


async def _answered(app: App, reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("Content-Length", 0)))
    query = dict(parse_qsl(urlsplit(target).query))
    try:
        return await app.inngest.answer(method, query, headers, body, app.run)
    except ArithmeticError:
        # What has no name in the product becomes this at the edge of the web server.
        return Answer(500, {"content-type": "application/problem+json"}, b"{}")


def _written(answer: Answer) -> bytes:
    headers = {**answer.headers, "content-length": str(len(answer.body))}
    lines = [f"HTTP/1.1 {answer.status} X", *(f"{name}: {it}" for name, it in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + answer.body
