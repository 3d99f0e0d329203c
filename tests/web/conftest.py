"""The real application on a database of the test's own, and browsers signed in by a link."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import httpx
import pytest
from clusters import Cluster
from factories import TestTenant
from litestar import Litestar
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.adapters.offline_critic import OfflineCritic
from viral.adapters.offline_writer import OfflineWriter
from viral.database.engine import Database
from viral.features.generations.concepts import generate_concepts
from viral.features.performance.files import ResultRow
from viral.features.performance.imports import import_results
from viral.features.reflexion.run import run_reflexion
from viral.features.sample.trends import sample_trends
from viral.features.scoring.effects import word_hasher
from viral.features.trends import TrendRow, import_trends
from viral.features.users.sessions import make_sign_in_link
from viral.schema.tenants import User
from viral.settings import Settings
from viral.web.application import create_application

ADDRESS = "http://127.0.0.1:8000"
HIDDEN = re.compile(r'name="_csrf_token" value="([^"]+)"')


@dataclass
class Browser:
    """Keeps cookies, reads the form token from a page, and follows no redirect by itself."""

    client: httpx.AsyncClient

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers)

    async def submit(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        *,
        files: Mapping[str, tuple[str, bytes]] | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a form of a page, with the token that the page holds."""
        token = await self.form_token() if token is None else token
        data = {**(fields or {}), **({"_csrf_token": token} if token else {})}
        return await self.client.post(path, data=data, files=files, headers=headers)

    async def send(self, path: str, body: object = None, *, method: str = "POST") -> httpx.Response:
        """Send JSON as a script of a page would."""
        headers = {"X-CSRFToken": await self.form_token()}
        return await self.client.request(method, path, json=body, headers=headers)

    async def upload(self, path: str, name: str, content: bytes) -> httpx.Response:
        headers = {"X-CSRFToken": await self.form_token()}
        return await self.client.post(path, files={"file": (name, content)}, headers=headers)

    async def form_token(self) -> str:
        found = HIDDEN.search((await self.client.get("/sign-in?token=x")).text)
        assert found
        return found[1]


def settings_for(
    cluster: Cluster, home: Path, database: str, *, public_url: str | None = None
) -> Settings:
    return Settings(
        home=home,
        database_url=cluster.server.url("viral_app", database),
        direct_url=cluster.server.url("viral_migrator", database),
        public_url=public_url,
    )


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Litestar]:
    """Start the dashboard and the API."""
    async with living(create_application(settings)) as application:
        yield application


@asynccontextmanager
async def living(application: Litestar) -> AsyncIterator[Litestar]:
    """Start an application and stop it in one task of its own, as a server does."""
    started, stop = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with application.lifespan():
            started.set()
            await stop.wait()

    life = asyncio.create_task(live())
    starting = asyncio.create_task(started.wait())
    await asyncio.wait({life, starting}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield application
    finally:
        starting.cancel()
        stop.set()
        await life


@asynccontextmanager
async def browsing(application: Litestar, address: str = ADDRESS) -> AsyncIterator[Browser]:
    transport = httpx.ASGITransport(application)  # type: ignore[arg-type]  # httpx has its own words for ASGI
    async with httpx.AsyncClient(transport=transport, base_url=address) as client:
        yield Browser(client)


@pytest.fixture
def database_name(emptied_database: str) -> str:
    """The module's database: the application that the tests share works on it."""
    return emptied_database


@pytest.fixture(scope="module")
def settings(cluster: Cluster, short_folder: Path, module_database: str) -> Settings:
    return settings_for(cluster, short_folder / "home", module_database)


@pytest.fixture(scope="module")
async def shared_application(settings: Settings) -> AsyncIterator[Litestar]:
    """An application of the module: to make one takes longer than most tests do."""
    async with serving(settings) as application:
        yield application


@pytest.fixture
def application(shared_application: Litestar, database_name: str) -> Litestar:
    """The application, on a database that is emptied after the test."""
    assert database_name
    return shared_application


@pytest.fixture
async def stranger(application: Litestar) -> AsyncIterator[Browser]:
    """Open a browser that is not signed in."""
    async with browsing(application) as browser:
        yield browser


@pytest.fixture
async def alices(
    application: Litestar, system: Database, alice: TestTenant
) -> AsyncIterator[Browser]:
    """Open a browser in which Alice is signed in."""
    async with browsing(application) as browser:
        await sign_in(browser, system, alice)
        yield browser


@pytest.fixture
async def bobs(application: Litestar, system: Database, bob: TestTenant) -> AsyncIterator[Browser]:
    """Open a browser in which Bob is signed in."""
    async with browsing(application) as browser:
        await sign_in(browser, system, bob)
        yield browser


@asynccontextmanager
async def altered(admin: AsyncConnection, *there: str, back: Iterable[str]) -> AsyncIterator[None]:
    """Change the schema for a block: the module's other tests work on the same database."""
    try:
        for statement in there:
            await admin.execute(text(statement))
        await admin.commit()
        yield
    finally:
        await admin.rollback()
        for statement in back:
            await admin.execute(text(statement))
        await admin.commit()


async def link_for(system: Database, tenant: TestTenant) -> str:
    """Make a sign-in link for a tenant's admin; its secret."""
    async with system.session_without_tenant() as session:
        return await make_sign_in_link(
            session, tenant_id=tenant.id, user_id=tenant.user_id, now=datetime.now(UTC)
        )


async def sign_in(browser: Browser, system: Database, tenant: TestTenant) -> None:
    answer = await browser.submit("/sign-in", {"token": await link_for(system, tenant)})
    assert answer.status_code == 303


async def make_operator(system: Database, tenant: TestTenant) -> None:
    async with system.session_without_tenant() as session:
        await session.execute(
            update(User).where(User.id == tenant.user_id).values(is_operator=True)
        )


async def add_sample_trends(system: Database) -> None:
    rows = [
        TrendRow(each.topic, each.category, each.score, "test", each.topic)
        for each in sample_trends()
    ]
    async with system.session_without_tenant() as session:
        await import_trends(session, rows, now=datetime.now(UTC))


async def live_some_weeks(
    app: Database, system: Database, cluster: Cluster, tenant: TestTenant
) -> None:
    """Give a tenant concepts, results far above their predictions, and what is learnt of them."""
    hashed = word_hasher(cluster.secrets.word_key)
    await add_sample_trends(system)
    rng = Random(1)
    today = datetime.now(UTC)
    for weeks in (2, 1):
        now = today - timedelta(weeks=weeks)
        concepts = await generate_concepts(
            app,
            tenant.id,
            count=6,
            writer=OfflineWriter(),
            rng=rng,
            now=now,
            hashed=hashed,
            platform="tiktok",
        )
        rows = [
            ResultRow(
                external_id=f"v{weeks}-{place}",
                platform="tiktok",
                format=None,
                tenant=None,
                concept_id=concept.id,
                published_at=now + timedelta(hours=place),
                observed_on=(now + timedelta(days=3)).date(),
                category=concept.category,
                title=concept.title,
                tags=(),
                duration_s=concept.duration_s,
                views=1_000_000,
                likes=300_000,
                comments=20_000,
                shares=20_000,
                followers=1000,
                sound=None,
                hook_type=concept.hook_type,
                line=place,
            )
            for place, concept in enumerate(concepts)
        ]
        async with app.tenant_session(tenant.id) as session:
            await import_results(session, rows)
        await run_reflexion(
            app, system, critic=OfflineCritic(), now=now + timedelta(days=3), hashed=hashed
        )
