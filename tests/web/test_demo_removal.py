"""The sample data goes by one button, and its operator stays signed in somewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from clusters import Cluster
from factories import TestTenant, make_tenant
from litestar import Litestar
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.features.users.members import add_member
from web.conftest import Browser, browsing, make_operator, sign_in
from web.test_home import words

SLUGS = text("SELECT slug FROM tenants ORDER BY slug")


@pytest.fixture
async def demo(system: Database, cluster: Cluster) -> TestTenant:
    return await make_tenant(system, cluster.secrets, slug="demo", is_demo=True)


@pytest.fixture
async def operators(
    application: Litestar, system: Database, demo: TestTenant
) -> AsyncIterator[Browser]:
    """Open a browser in which the operator looks at the demo."""
    await make_operator(system, demo)
    async with browsing(application) as browser:
        await sign_in(browser, system, demo)
        yield browser


async def test_the_operator_goes_on_in_a_studio_of_their_own(
    operators: Browser, admin: AsyncConnection
) -> None:
    assert 'action="/demo/remove"' in (await operators.get("/")).text

    answer = await operators.submit("/demo/remove", {"studio": "Nordlicht & Söhne"})

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    said = words(await operators.get("/"))
    assert "Nordlicht & Söhne" in said
    assert "Sample data" not in said
    assert list(await admin.scalars(SLUGS)) == ["nordlicht-s-hne"]


async def test_who_is_in_another_studio_goes_there(
    operators: Browser,
    system: Database,
    demo: TestTenant,
    alice: TestTenant,
    admin: AsyncConnection,
) -> None:
    async with system.session_without_tenant() as session:
        await add_member(session, tenant_id=alice.id, user_id=demo.user_id, role="MEMBER")

    await operators.submit("/demo/remove")

    assert words(await operators.get("/")).startswith("Alice")
    assert list(await admin.scalars(SLUGS)) == ["alice"]


async def test_without_a_name_nothing_goes(operators: Browser, admin: AsyncConnection) -> None:
    for name in ("", "  ", "日本", "x" * 201):
        await operators.submit("/demo/remove", {"studio": name})

        assert "Failed" in words(await operators.get("/")), name
    assert list(await admin.scalars(SLUGS)) == ["demo"]


async def test_only_the_operator_and_only_a_demo(
    alices: Browser,
    application: Litestar,
    system: Database,
    demo: TestTenant,
    alice: TestTenant,
    admin: AsyncConnection,
) -> None:
    async with browsing(application) as visitors:
        await sign_in(visitors, system, demo)
        assert "/demo/remove" not in (await visitors.get("/")).text
        by_visitor = await visitors.submit("/demo/remove", {"studio": "x"})
    await make_operator(system, alice)
    without_token = await alices.submit("/demo/remove", {"studio": "x"}, token="")
    no_demo = await alices.submit("/demo/remove", {"studio": "x"})

    assert [each.status_code for each in (by_visitor, without_token, no_demo)] == [403] * 3
    assert list(await admin.scalars(SLUGS)) == ["alice", "demo"]
