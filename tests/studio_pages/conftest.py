"""Studio itself on a database of the test's own, and a browser in which Alice is signed in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from clusters import Cluster
from factories import TestTenant
from litestar import Litestar

from viral.database.engine import Database
from viral.features.users.sessions import make_sign_in_link
from viral.settings import Settings
from viral.web.studio.application import create_studio
from web.conftest import HIDDEN, living, settings_for

ADDRESS = "http://127.0.0.1:5555"


class Visitor:
    """A browser: keeps cookies, sends forms with the token of a page, follows nothing by itself."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers)

    async def submit(
        self, path: str, fields: Mapping[str, str | list[str]] | None = None, **headers: str
    ) -> httpx.Response:
        data = {"_csrf_token": await self.form_token(), **(fields or {})}
        return await self.client.post(path, data=data, headers=headers)

    async def form_token(self) -> str:
        found = HIDDEN.search((await self.client.get("/sign-in?token=x")).text)
        assert found
        return found[1]

    async def write(self) -> None:
        """Allow changes."""
        answer = await self.submit("/mode", {"mode": "writing"})
        assert answer.status_code == 303


@asynccontextmanager
async def visiting(
    application: Litestar, address: str = ADDRESS, peer: str = "127.0.0.1"
) -> AsyncIterator[Visitor]:
    transport = httpx.ASGITransport(application, client=(peer, 50_000))  # type: ignore[arg-type]  # httpx has its own words for ASGI
    async with httpx.AsyncClient(transport=transport, base_url=address) as client:
        yield Visitor(client)


async def sign_in(visitor: Visitor, system: Database, tenant: TestTenant) -> None:
    async with system.session_without_tenant() as session:
        token = await make_sign_in_link(
            session, tenant_id=tenant.id, user_id=tenant.user_id, now=datetime.now(UTC)
        )
    answer = await visitor.submit("/sign-in", {"token": token})
    assert answer.status_code == 303


def words(answer: httpx.Response) -> str:
    """Return what a page says, without its markup."""
    body = answer.text.partition("<main")[2].partition("</main>")[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)).strip()


@pytest.fixture
def settings(cluster: Cluster, short_folder: Path, database_name: str) -> Settings:
    return settings_for(cluster, short_folder / "home", database_name)


@pytest.fixture
async def studio(settings: Settings) -> AsyncIterator[Litestar]:
    async with living(create_studio(settings)) as application:
        yield application


@pytest.fixture
async def stranger(studio: Litestar) -> AsyncIterator[Visitor]:
    async with visiting(studio) as visitor:
        yield visitor


@pytest.fixture
async def alices(studio: Litestar, system: Database, alice: TestTenant) -> AsyncIterator[Visitor]:
    """Open a browser in which Alice, an admin, is signed in; it reads only."""
    async with visiting(studio) as visitor:
        await sign_in(visitor, system, alice)
        yield visitor


@pytest.fixture
async def writer(alices: Visitor) -> Visitor:
    """Let Alice's browser change rows."""
    await alices.write()
    return alices
