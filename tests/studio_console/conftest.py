"""Two tenants with a few rows each, the ways to their database, and Studio before it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from clusters import Cluster
from factories import TestTenant, make_tenant
from litestar import Litestar
from sqlalchemy import update
from web.conftest import HIDDEN, Browser, browsing, living, settings_for

from viral.database.console.sessions import Places
from viral.database.engine import Database
from viral.features.users.sessions import make_sign_in_link
from viral.schema.tenants import Tenant, User
from viral.web.studio.application import create_studio

ADDRESS = "http://127.0.0.1:5555"


@dataclass(frozen=True)
class Ground:
    """A migrated database with Alice and Bob; Alice may do what the command line may."""

    database: str
    places: Places
    alice: TestTenant
    bob: TestTenant
    system: Database = field(repr=False)

    @property
    def tenant_id(self) -> UUID:
        return self.alice.id

    async def link(self, tenant: TestTenant) -> str:
        async with self.system.session_without_tenant() as session:
            return await make_sign_in_link(
                session, tenant_id=tenant.id, user_id=tenant.user_id, now=datetime.now(UTC)
            )


@pytest.fixture(scope="module")
async def ground(cluster: Cluster, module_database: str) -> AsyncIterator[Ground]:
    system = cluster.database("viral_system", module_database)
    app = cluster.database("viral_app", module_database)
    alice = await make_tenant(system, cluster.secrets, slug="alice")
    bob = await make_tenant(system, cluster.secrets, slug="bob")
    for each in (alice, bob):
        async with app.tenant_session(each.id) as session:
            tenant = await session.get(Tenant, each.id)
            assert tenant is not None
            tenant.name = f"Studio of {each.slug}"
    async with system.session_without_tenant() as session:
        await session.execute(update(User).where(User.id == alice.user_id).values(is_operator=True))
    roles = ("viral_readonly", "viral_app", "viral_migrator")
    places = Places(*(cluster.direct_url(role, module_database) for role in roles))
    yield Ground(module_database, places, alice, bob, system)
    await system.close()
    await app.close()


@pytest.fixture(scope="module")
async def studio_of(
    cluster: Cluster, short_folder: Path, ground: Ground
) -> AsyncIterator[Litestar]:
    settings = settings_for(cluster, short_folder / "home", ground.database)
    async with living(create_studio(settings)) as application:
        yield application


@dataclass
class Desk(Browser):
    """A browser in Studio, in which somebody is signed in."""

    async def run(
        self, sql: str, deed: str = "run", *, part: bool = True, **fields: str
    ) -> httpx.Response:
        headers = {"X-Part": "answer"} if part else {}
        data = {"sql": sql, "_csrf_token": await self.form_token(), **fields}
        return await self.client.post(f"/console/{deed}", data=data, headers=headers)

    async def form_token(self) -> str:
        found = HIDDEN.search((await self.client.get("/console")).text)
        assert found
        return found[1]

    async def switch(self, mode: str) -> None:
        answer = await self.submit("/mode", {"mode": mode, "back": "/console"})
        assert answer.status_code == 303


@pytest.fixture
async def alices(studio_of: Litestar, ground: Ground) -> AsyncIterator[Desk]:
    """Open a browser of Alice, who runs this installation."""
    async with _desk(studio_of, ground, ground.alice) as desk:
        yield desk


@pytest.fixture
async def bobs(studio_of: Litestar, ground: Ground) -> AsyncIterator[Desk]:
    """Open a browser of Bob, an admin of his tenant."""
    async with _desk(studio_of, ground, ground.bob) as desk:
        yield desk


@asynccontextmanager
async def _desk(studio: Litestar, ground: Ground, tenant: TestTenant) -> AsyncIterator[Desk]:
    async with browsing(studio, ADDRESS) as browser:
        link = await ground.link(tenant)
        token = HIDDEN.search((await browser.get("/sign-in?token=x")).text)
        assert token
        answer = await browser.submit("/sign-in", {"token": link}, token=token[1])
        assert answer.status_code == 303
        yield Desk(browser.client)
