"""Every route under generated requests: no server error, no answer about another tenant."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from clusters import Cluster
from factories import Row, TestTenant, fill_every_table, make_tenant
from litestar import Litestar, get, post
from litestar.params import FromPath, FromQuery
from people import CHEAP, Someone, join
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from web.conftest import Browser, browsing, serving, settings_for

from security.conftest import GAP
from security.fuzzing import (
    Run,
    Victim,
    fuzz_described,
    fuzz_route,
    fuzz_tools,
    http_routes,
    plant,
    rows_of,
)
from viral.database.engine import Database
from viral.features.users.api_keys import create_key
from viral.features.users.passwords import Passwords
from viral.schema.vocabulary import Role
from viral.web.dependencies import Wired
from viral.web.tools import OFFERED

# Every route is drawn from several times.
pytestmark = pytest.mark.timeout(150)
# What shows a tenant its own texts, and what changes them.
SHOWN = (
    "GET /api/v1/concepts",
    "GET /api/v1/concepts/{concept_id}",
    "GET /api/v1/jobs/{job_id}",
    "GET /api/v1/members",
    "GET /api/v1/reflexion/adjustments",
    "GET /api/v1/reflexion/insights",
    "GET /api/v1/tenant",
)
CHANGED = (
    "DELETE /api/v1/members/{member_id}",
    "PATCH /api/v1/tenant",
    "POST /api/v1/api-keys",
    "POST /api/v1/concepts",
    "POST /api/v1/invitations",
    "POST /api/v1/performance",
)
# Few in each run of the suite; more where somebody has the time.
DRAWS = int(os.environ.get("VIRAL_FUZZ_DRAWS", "6"))
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
    a = await _side(admin, system, cluster, "alice")
    b = await _side(admin, system, cluster, "bob")
    limits = dict.fromkeys(LIMITS, 1_000_000)
    async with serving(settings.model_copy(update=limits)) as application:
        application.state.passwords = Passwords(CHEAP)
        yield World(application, a, b, admin)


async def _side(admin: AsyncConnection, system: Database, cluster: Cluster, name: str) -> Side:
    tenant = await make_tenant(system, cluster.secrets, slug=name)
    rows = await fill_every_table(admin, tenant)
    # Documents of a form that pages can show.
    await admin.execute(text("UPDATE predictions SET reasons = '[]'"))
    await admin.execute(text("UPDATE generations SET trends = '[]'"))
    await admin.execute(
        text(
            "UPDATE self_critiques SET performance_gap = :gap, hypothesized_reasons = '[]',"
            " scoring_issues = '[]'"
        ),
        {"gap": GAP},
    )
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
            browser.client,
            document,
            run,
            world.a.rows,
            draws=DRAWS,
            headers={"Authorization": f"Bearer {key}"},
        )

    assert run.faults == []
    assert await rows_of(world.admin, world.b.tenant) == before
    assert len(run.statuses) == sum(len(each) for each in document["paths"].values())
    # It came far enough to see what is its own.
    assert run.holding(world.a.canary) >= {*SHOWN, "GET /api/v1/audit", "PATCH /api/v1/tenant"}
    assert all(run.statuses[each] & {200, 201, 204} for each in (*SHOWN, *CHANGED))


async def test_a_member_finds_no_server_error_and_nothing_of_another_tenant(world: World) -> None:
    run = Run(world.a.as_victim)
    before = await rows_of(world.admin, world.a.tenant)
    async with signed_in(world, world.b, "MEMBER") as (browser, token):
        document = await described(browser)
        await fuzz_described(
            browser.client,
            document,
            run,
            world.b.rows,
            draws=DRAWS,
            headers={"X-CSRFToken": token},
        )

    assert run.faults == []
    assert await rows_of(world.admin, world.a.tenant) == before
    assert run.holding(world.b.canary) >= {*SHOWN, "GET /api/v1/sessions"}
    assert {200, 201} & run.statuses["POST /api/v1/performance"]
    assert run.statuses["PATCH /api/v1/tenant"] == {403}


async def test_an_agent_finds_no_server_error_and_nothing_of_another_tenant(world: World) -> None:
    run = Run(world.b.as_victim)
    before = await rows_of(world.admin, world.b.tenant)
    async with browsing(world.application) as browser:
        await fuzz_tools(browser.client, run, key=await key_of_admin(world))

    assert run.faults == []
    assert await rows_of(world.admin, world.b.tenant) == before
    assert {f"tools/call {name}" for name in OFFERED} <= set(run.statuses)
    assert "tools/call list_jobs" in run.holding(str(world.a.rows["job_queue"]["id"]))


async def test_junk_finds_no_server_error_on_any_route(world: World) -> None:
    run = Run(world.b.as_victim)
    before = await rows_of(world.admin, world.b.tenant)
    for place, (route, method) in enumerate(http_routes(world.application)):
        async with signed_in(world, world.a, "ADMIN", f"admin-{place}") as (browser, token):
            await fuzz_route(browser.client, route, method, run, token, draws=DRAWS)

    assert run.faults == []
    assert await rows_of(world.admin, world.b.tenant) == before
    assert all(min(run.statuses[each]) in {200, 303} for each in ("GET /", "GET /settings/people"))


async def test_a_route_that_fails_or_tells_is_found(world: World) -> None:
    for each in (fail, hang, promise, tell, tell_ids, change, fail_page):
        world.application.register(each)
    run, side = Run(world.b.as_victim, patience_s=0.5), world.b
    before = await rows_of(world.admin, side.tenant)
    async with signed_in(world, world.a, "ADMIN") as (browser, token):
        document = await described(browser)
        paths = {name: each for name, each in document["paths"].items() if "broken" in name}
        headers = {"X-CSRFToken": token}
        await fuzz_described(
            browser.client, {**document, "paths": paths}, run, world.a.rows, headers=headers
        )
        for route, method in http_routes(world.application):
            if route.path == "/broken/page":
                await fuzz_route(browser.client, route, method, run, token, draws=DRAWS)

    found = {each.partition(" for ")[0].partition(" to ")[0] for each in run.faults}
    names = {each.partition(": ")[0] for each in found}
    assert names == {
        "GET /api/v1/broken/fails",
        "GET /api/v1/broken/hangs",
        "GET /api/v1/broken/promises",
        "GET /api/v1/broken/tells",
        "GET /api/v1/broken/ids",
        # It was added after the description: its errors are not declared.
        "POST /api/v1/broken/{tenant_id}",
        "GET /broken/page",
    }
    assert "GET /api/v1/broken/hangs: no answer" in found
    assert await rows_of(world.admin, side.tenant) != before


@get("/api/v1/broken/fails")
async def fail(limit: FromQuery[int] = 1) -> int:
    return 1 // limit


@get("/api/v1/broken/hangs")
async def hang() -> None:
    await asyncio.Event().wait()


@get("/api/v1/broken/promises")
async def promise() -> int:
    return cast("int", "a text")  # it declares what it does not keep


@get("/api/v1/broken/tells")
async def tell(runtime: Wired) -> list[str]:
    async with runtime.system.session_without_tenant() as session:
        return list(await session.scalars(text("SELECT name FROM tenants")))


@get("/api/v1/broken/ids")
async def tell_ids(runtime: Wired) -> list[UUID]:
    async with runtime.system.session_without_tenant() as session:
        return list(await session.scalars(text("SELECT id FROM tenants")))


@post("/api/v1/broken/{tenant_id:uuid}")
async def change(runtime: Wired, tenant_id: FromPath[UUID]) -> None:
    async with runtime.system.session_without_tenant() as session:
        await session.execute(
            text("UPDATE tenants SET name = 'another' WHERE id = :id"), {"id": tenant_id}
        )


@get("/broken/page", include_in_schema=False)
async def fail_page(name: FromQuery[str] = "") -> str:
    return name.encode("ascii").decode()


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
