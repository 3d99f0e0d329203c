"""What browser tests hold in their hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from uuid import UUID

import uvicorn
from axe_playwright_python.async_playwright import Axe
from clusters import free_port
from litestar import Litestar
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Response

from viral.database.engine import Database
from viral.features.users.members import ensure_operator
from viral.features.users.sessions import make_sign_in_link

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# Waits for what enters; a skeleton never ends.
ENTERED = """Promise.all(document.getAnimations()
  .filter((each) => each.effect.getComputedTiming().iterations !== Infinity)
  .map((each) => each.finished.catch(() => {}))).then(() => {})"""


@dataclass(frozen=True)
class Studio:
    """A running dashboard of the demo tenant."""

    address: str
    tenant_id: UUID
    system: Database

    async def new_link(self) -> str:
        async with self.system.session_without_tenant() as session:
            operator = await ensure_operator(session)
            token = await make_sign_in_link(
                session, tenant_id=self.tenant_id, user_id=operator.id, now=datetime.now(UTC)
            )
        return f"{self.address}/sign-in?token={token}"


@dataclass
class Visit:
    """A page with what went wrong on it and whom it asked."""

    page: Page
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Note from here on what goes wrong, and who is asked."""
        page = self.page
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda each: self.errors.append(each.text) if _is_error(each) else None)
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))


def _is_error(message: ConsoleMessage) -> bool:
    return message.type == "error"


@dataclass
class Signed:
    """A person's browser, and what went wrong in it."""

    address: str
    context: BrowserContext
    page: Page
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    async def open(self, path: str, *, status: int = HTTPStatus.OK) -> None:
        answer = await self.page.goto(self.address + path)
        assert isinstance(answer, Response)
        assert status == answer.status

    async def faults(self, *rules: str) -> list[str]:
        """Return what axe finds: the rule, and the first elements that break it."""
        only = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": WCAG}
        # Half-way through an entrance everything is pale.
        await self.page.evaluate(ENTERED)
        found = await Axe().run(self.page, options={"runOnly": only, "resultTypes": ["violations"]})
        return [
            f"{each['id']}: {', '.join(str(node['target'][0]) for node in each['nodes'][:3])}"
            for each in found.response["violations"]
        ]


@asynccontextmanager
async def watched(
    chromium: Browser, address: str, *, refused: Iterable[str] = ()
) -> AsyncIterator[Signed]:
    """Open a browser that notes errors and hosts; `refused` are paths that answer with an error."""
    ends = tuple(refused)
    context = await chromium.new_context()
    page = await context.new_page()
    signed = Signed(address, context, page)
    page.on("pageerror", lambda error: signed.errors.append(str(error)))

    def note(message: ConsoleMessage) -> None:
        # Chromium itself reports a page that is not there.
        is_expected = bool(ends) and message.location["url"].endswith(ends)
        if message.type == "error" and not is_expected:
            signed.errors.append(message.text)

    page.on("console", note)
    page.on("request", lambda request: signed.hosts.add(request.url.split("/")[2]))
    yield signed
    await context.close()


@asynccontextmanager
async def served(application: Litestar) -> AsyncIterator[str]:
    """Serve an application that was started before, with its database; its address."""
    port = free_port()
    config = uvicorn.Config(
        application, host="127.0.0.1", port=port, lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    # The signals are the test run's own.
    config.load()
    serving = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await serving
