"""Studio on a database that a module's tests share, and browsers in which Alice is signed in."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from clusters import Cluster, superuser
from factories import Row, TestTenant, fill_every_table, make_tenant
from litestar import Litestar
from sqlalchemy import insert, text
from web.conftest import HIDDEN, living, settings_for

from viral.database.engine import Database
from viral.features.users.members import add_member
from viral.features.users.sessions import make_sign_in_link
from viral.schema.tables import METADATA
from viral.schema.tenants import User
from viral.schema.vocabulary import Role
from viral.web.studio.application import create_studio

ADDRESS = "http://127.0.0.1:5555"


@dataclass(frozen=True)
class Ground:
    """A database in which Alice and Bob have a row in every table."""

    cluster: Cluster
    database: str
    app: Database
    system: Database
    alice: TestTenant
    bob: TestTenant
    rows: dict[str, Row]
    bobs_rows: dict[str, Row]

    async def fetch(self, sql: str, **values: object) -> list[tuple[object, ...]]:
        """Read behind row security."""
        async with superuser(self.cluster, self.database) as admin:
            return [tuple(row) for row in await admin.execute(text(sql), values)]

    async def change(self, sql: str, **values: object) -> None:
        """Write behind row security."""
        async with superuser(self.cluster, self.database) as admin:
            await admin.execute(text(sql), values)
            await admin.commit()

    async def add(self, table: str, *rows: Mapping[str, object]) -> None:
        """Add rows of Alice's, behind row security."""
        owned = [{"tenant_id": self.alice.id, **row} for row in rows]
        async with superuser(self.cluster, self.database) as admin:
            await admin.execute(insert(METADATA.tables[table]), owned)
            await admin.commit()

    async def make_member(self, name: str, role: Role, *, is_operator: bool = False) -> UUID:
        """Let somebody into Alice's tenant."""
        async with self.system.session_without_tenant() as session:
            user = User(email=f"{name}@example.com", is_operator=is_operator)
            session.add(user)
            await session.flush()
            await add_member(session, tenant_id=self.alice.id, user_id=user.id, role=role)
            return user.id


class Visitor:
    """A browser: keeps cookies, sends forms with the token of a page, follows nothing by itself."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers)

    async def submit(
        self,
        path: str,
        fields: Mapping[str, str | Sequence[str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        data = {"_csrf_token": await self.form_token(), **(fields or {})}
        return await self.client.post(path, data=data, headers=headers)

    async def form_token(self) -> str:
        found = HIDDEN.search((await self.client.get("/sign-in?token=x")).text)
        assert found
        return found[1]

    async def sign_in(
        self, ground: Ground, tenant: TestTenant, user_id: UUID | None = None
    ) -> None:
        async with ground.system.session_without_tenant() as session:
            token = await make_sign_in_link(
                session,
                tenant_id=tenant.id,
                user_id=user_id or tenant.user_id,
                now=datetime.now(UTC),
            )
        answer = await self.submit("/sign-in", {"token": token})
        assert answer.status_code == 303


@asynccontextmanager
async def visiting(
    application: Litestar, address: str = ADDRESS, peer: str = "127.0.0.1"
) -> AsyncIterator[Visitor]:
    transport = httpx.ASGITransport(application, client=(peer, 50_000))  # type: ignore[arg-type]  # httpx has its own words for ASGI
    async with httpx.AsyncClient(transport=transport, base_url=address) as client:
        yield Visitor(client)


def words(answer: httpx.Response) -> str:
    """Return what a page says, without its markup."""
    body = answer.text.partition("<main")[2].partition("</main>")[0]
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", "<main" + body))).strip()


def keys_of(answer: httpx.Response) -> list[str]:
    """Return the keys of a grid's rows, in their order."""
    return re.findall(r'<tr role="row" data-key="([^"]+)">', answer.text)


def link_to(answer: httpx.Response, rel: str) -> str | None:
    """Return where the pager leads."""
    found = re.search(rf'href="([^"]+)" rel="{rel}"', answer.text)
    return html.unescape(found[1]) if found else None


@asynccontextmanager
async def open_ground(cluster: Cluster, database: str) -> AsyncIterator[Ground]:
    """Fill a migrated database."""
    app = cluster.database("viral_app", database)
    system = cluster.database("viral_system", database)
    alice = await make_tenant(system, cluster.secrets, slug="alice")
    bob = await make_tenant(system, cluster.secrets, slug="bob")
    async with superuser(cluster, database) as admin:
        rows = await fill_every_table(admin, alice)
        bobs = await fill_every_table(admin, bob)
    yield Ground(cluster, database, app, system, alice, bob, rows, bobs)
    await app.close()
    await system.close()


@pytest.fixture(scope="module")
async def ground(cluster: Cluster, module_database: str) -> AsyncIterator[Ground]:
    async with open_ground(cluster, module_database) as ground:
        yield ground


@pytest.fixture(scope="module")
async def studio(ground: Ground, cluster: Cluster, short_folder: Path) -> AsyncIterator[Litestar]:
    settings = settings_for(cluster, short_folder / "home", ground.database)
    async with living(create_studio(settings)) as application:
        yield application


@pytest.fixture
async def stranger(studio: Litestar) -> AsyncIterator[Visitor]:
    async with visiting(studio) as visitor:
        yield visitor


@pytest.fixture
async def alices(stranger: Visitor, ground: Ground) -> Visitor:
    """Sign Alice in, an admin; Studio reads only."""
    await stranger.sign_in(ground, ground.alice)
    return stranger


@pytest.fixture
async def writer(alices: Visitor) -> Visitor:
    """Let Alice's browser change rows."""
    answer = await alices.submit("/mode", {"mode": "writing"})
    assert answer.status_code == 303
    return alices
