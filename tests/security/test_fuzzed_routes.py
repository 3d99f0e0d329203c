"""Every route under generated requests: no server error, no answer about another tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from clusters import Cluster
from factories import Row, TestTenant, fill_every_table, make_tenant
from litestar import Litestar, get, post
from people import CHEAP, Someone, join
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from web.conftest import Browser, browsing, serving, settings_for

from security.conftest import GAP
from security.fuzzing import Run, Victim, fuzz_described, fuzz_route, http_routes, plant, rows_of
from viral.database.engine import Database
from viral.features.users.api_keys import create_key
from viral.features.users.passwords import Passwords
from viral.schema.vocabulary import Role
from viral.web.dependencies import Wired

LIMITS = ("address_requests", "key_requests", "tenant_requests", "user_requests")


@dataclass(frozen=True)
class Side:
    """A tenant, its rows and the text that stands in them."""

    tenant: TestTenant
    rows: dict[str, Row]
    canary: str

    @property
    def as_victim(self) -> Victim:
        return Victim(self.canary, self.rows)


@dataclass(frozen=True)
class World:
    """An application with two tenants, whom nobody tells that they ask too often."""

    application: Litestar
    a: Side
    b: Side
    admin: AsyncConnection


@pytest.fixture
async def world(
    cluster: Cluster,
    short_folder: Path,
    database_name: str,
    system: Database,
    admin: AsyncConnection,
) -> AsyncIterator[World]:
    settings = settings_for(cluster, short_folder / "home", database_name)
    sides = [await _side(admin, system, cluster, name) for name in ("alice", "bob")]
    limits = dict.fromkeys(LIMITS, 1_000_000)
    async with serving(settings.model_copy(update=limits)) as application:
        application.state.passwords = Passwords(CHEAP)
        yield World(application, *sides, admin)


async def _side(admin: AsyncConnection, system: Database, cluster: Cluster, name: str) -> Side:
    tenant = await make_tenant(system, cluster.secrets, slug=name)
    rows = await fill_every_table(admin, tenant)
    # Documents of a form that pages can show.
    await admin.execute(text("UPDATE predictions SET reasons = '[]'"))
    await admin.execute(text("UPDATE self_critiques SET performance_gap = :gap"), {"gap": GAP})
    await admin.commit()
    canary = f"canary-of-{name}-"
    planted = await plant(admin, tenant, canary)
    assert {"concepts.title", "tenants.name", "users.email"} <= planted, planted
    return Side(tenant, rows, canary)


async def test_an_admin_finds_no_server_error_and_nothing_of_another_tenant(world: World) -> None:
    run = Run(world.b.as_victim)
    before = await rows_of(world.admin, world.b.tenant)
    async with browsing(world.application) as browser:
        document = await described(browser)
        key = await key_of_admin(world)
        await fuzz_described(
            browser.client, document, run, world.a.rows, headers={"Authorization": f"Bearer {key}"}
        )

    print({name: sorted(each) for name, each in run.statuses.items()})
    assert run.faults == []
    assert await rows_of(world.admin, world.b.tenant) == before
    assert len(run.statuses) == sum(len(each) for each in document["paths"].values())


async def test_a_member_finds_no_server_error_and_nothing_of_another_tenant(world: World) -> None:
    run = Run(world.a.as_victim)
    before = await rows_of(world.admin, world.a.tenant)
    async with signed_in(world, world.b, "MEMBER") as (browser, token):
        document = await described(browser)
        await fuzz_described(
            browser.client, document, run, world.b.rows, headers={"X-CSRFToken": token}
        )

    print({name: sorted(each) for name, each in run.statuses.items()})
    print(run.holding(world.b.canary))
    assert run.faults == []
    assert await rows_of(world.admin, world.a.tenant) == before


async def test_junk_finds_no_server_error_on_any_route(world: World) -> None:
    run = Run(world.b.as_victim)
    before = await rows_of(world.admin, world.b.tenant)
    for place, (route, method) in enumerate(http_routes(world.application)):
        async with signed_in(world, world.a, "ADMIN", f"admin-{place}") as (browser, token):
            await fuzz_route(browser.client, route, method, run, token, draws=20)

    print({name: sorted(each) for name, each in run.statuses.items()})
    assert run.faults == []
    assert await rows_of(world.admin, world.b.tenant) == before


async def described(browser: Browser) -> dict[str, Any]:
    document: dict[str, Any] = (await browser.get("/schema/openapi.json")).json()
    return document


async def key_of_admin(world: World) -> str:
    """Make a key that may do all that an admin may."""
    runtime = world.application.state.runtime
    someone = await person(world, world.a, "ADMIN", "keeper")
    async with runtime.app.tenant_session(world.a.tenant.id) as session:
        _, key = await create_key(
            session,
            someone.credential,
            name="a program",
            scopes=["read", "write", "admin"],
            expires_at=None,
            now=datetime.now(UTC),
            pepper=runtime.secrets.pepper,
        )
    return str(key)


async def person(world: World, side: Side, role: Role, name: str) -> Someone:
    runtime = world.application.state.runtime
    return await join(runtime.app, runtime.system, side.tenant, name, role)


@asynccontextmanager
async def signed_in(
    world: World, side: Side, role: Role, name: str = "somebody"
) -> AsyncIterator[tuple[Browser, str]]:
    """Open a browser in which a person of a tenant is signed in, with a token for its forms."""
    someone = await person(world, side, role, name)
    async with browsing(world.application) as browser:
        token = await browser.form_token()
        browser.client.cookies.set(world.application.state.site.session_cookie, someone.token)
        yield browser, token
