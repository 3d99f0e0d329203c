"""Programs with an API key, and people beside a tenant's admin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
from factories import TestTenant
from litestar import Litestar

from viral.database.engine import Database
from viral.features.users.members import add_member
from viral.schema.tenants import User
from viral.schema.vocabulary import Role
from web.conftest import ADDRESS, Browser, browsing, sign_in

KEYS = "/api/v1/api-keys"


@asynccontextmanager
async def running(
    application: Litestar, key: str, *, peer: str = "127.0.0.1"
) -> AsyncIterator[httpx.AsyncClient]:
    """Run a program that sends a key, and neither cookies nor form tokens."""
    transport = httpx.ASGITransport(application, client=(peer, 40_000))  # type: ignore[arg-type]  # httpx has its own words for ASGI
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(transport=transport, base_url=ADDRESS, headers=headers) as client:
        yield client


async def make_key(
    browser: Browser, *scopes: str, name: str = "robot", expires_at: str | None = None
) -> str:
    """Make a key of the person in a browser; the key itself."""
    return (await made_key(browser, *scopes, name=name, expires_at=expires_at))["key"]


async def made_key(
    browser: Browser,
    *scopes: str,
    name: str = "robot",
    expires_at: str | None = None,
) -> dict[str, str]:
    """Make a key of the person in a browser; what the API answers."""
    wanted: dict[str, str | Sequence[str] | None] = {
        "name": name,
        "scopes": scopes or ("read", "write"),
        "expires_at": expires_at,
    }
    answer = await browser.send(KEYS, wanted)
    assert answer.status_code == 201, answer.text
    made: dict[str, str] = answer.json()
    return made


async def add_person(
    system: Database, tenant: TestTenant, name: str, *, role: Role = "MEMBER"
) -> TestTenant:
    """Let somebody else into a tenant."""
    async with system.session_without_tenant() as session:
        user = User(email=f"{name}@example.com", name=name.title())
        session.add(user)
        await session.flush()
        await add_member(session, tenant_id=tenant.id, user_id=user.id, role=role)
        return TestTenant(tenant.id, tenant.slug, user.id)


@asynccontextmanager
async def browsing_as(
    application: Litestar, system: Database, person: TestTenant
) -> AsyncIterator[Browser]:
    """Open a browser in which a person is signed in."""
    async with browsing(application) as browser:
        await sign_in(browser, system, person)
        yield browser


async def membership_of(browser: Browser, email: str) -> str:
    """Find the membership of a person of the browser's tenant."""
    members = (await browser.get("/api/v1/members")).json()
    return next(str(each["id"]) for each in members if each["email"] == email)
