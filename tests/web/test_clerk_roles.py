"""Who they are at Clerk, and in which role, decides here; an e-mail alone decides nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from clusters import Cluster
from fakes.clerk import FakeClerk
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.features.tenants import find_tenant
from viral.features.users.members import assign_role
from web.clerk_site import ClerkSite, clerk_settings, clerk_site, member, tell
from web.conftest import browsing, serving
from web.programs import running


@pytest.fixture
def clerk() -> Iterator[FakeClerk]:
    with FakeClerk() as clerk:
        yield clerk


@pytest.fixture
async def site(
    cluster: Cluster, short_folder: Path, database_name: str, clerk: FakeClerk
) -> AsyncIterator[ClerkSite]:
    async with clerk_site(cluster, short_folder / "home", database_name, clerk) as site:
        yield site


async def test_a_token_that_says_member_does_nothing_that_only_an_admin_may(
    site: ClerkSite,
) -> None:
    ada, bob = site.clerk.add_user("ada@example.com"), site.clerk.add_user("bob@example.com")
    acme = site.clerk.add_organization("Acme")
    await site.get(site.token(ada, acme, rol="admin"))
    await site.get(site.token(bob, acme, rol="member", sid="sess_bob"))

    async with running(site.application, site.token(ada, acme, rol="member")) as ada_demoted:
        members = (await ada_demoted.get("/api/v1/members")).json()
        ids = {each["email"].partition("@")[0]: each["id"] for each in members}
        answers = [
            await ada_demoted.post("/api/v1/invitations", json={"email": "z@example.com"}),
            await ada_demoted.post("/api/v1/api-keys", json={"name": "k", "scopes": ["admin"]}),
            await ada_demoted.delete(f"/api/v1/members/{ids['bob']}"),
        ]
        own = await ada_demoted.post("/api/v1/api-keys", json={"name": "k", "scopes": ["read"]})

    assert [403, 403, 403] == [answer.status_code for answer in answers]
    assert 201 == own.status_code


async def test_a_demotion_at_clerk_ends_the_keys_and_invitations_of_the_admin(
    site: ClerkSite, admin: AsyncConnection
) -> None:
    ada, acme = site.clerk.add_user("ada@example.com"), site.clerk.add_organization("Acme")
    bob = site.clerk.add_user("bob@example.com")
    await site.get(site.token(bob, acme, rol="admin", sid="sess_bob"))
    token = site.token(ada, acme, rol="admin")
    await site.get(token)
    async with running(site.application, token) as program:
        await program.post("/api/v1/invitations", json={"email": "z@example.com", "role": "ADMIN"})
        await program.post("/api/v1/api-keys", json={"name": "k", "scopes": ["admin", "read"]})

    await tell(site, member(site, "updated", acme, ada, at_s=5, role="org:member"))

    assert 0 == await admin.scalar(text("SELECT count(*) FROM api_keys WHERE revoked_at IS NULL"))
    open_ = text("SELECT count(*) FROM invitations WHERE revoked_at IS NULL")
    assert 0 == await admin.scalar(open_)


async def test_another_role_by_the_operator_leaves_a_session_of_clerk_open(
    site: ClerkSite, system: Database
) -> None:
    ada, bob = site.clerk.add_user("ada@example.com"), site.clerk.add_user("bob@example.com")
    acme = site.clerk.add_organization("Acme")
    await site.get(site.token(ada, acme, rol="admin"))
    token = site.token(bob, acme, rol="member", sid="sess_bob")
    await site.get(token)

    async with system.session_without_tenant() as session:
        await assign_role(session, await find_tenant(session, "acme"), "bob@example.com", "ADMIN")

    assert 200 == (await site.get(token)).status_code


async def test_while_clerk_is_gone_the_door_with_the_password_is_open(
    cluster: Cluster, short_folder: Path, database_name: str
) -> None:
    with FakeClerk() as clerk:
        ada = clerk.add_user("ada@example.com")
        token = clerk.session_token(now=datetime.now(UTC), sub=ada["id"], o=None)
        settings = clerk_settings(cluster, short_folder / "home", database_name, clerk)

    async with serving(settings) as application, browsing(application) as browser:
        door = await browser.get("/sign-in", Cookie=f"__session={token}")
        api = await browser.get("/api/v1/members", Cookie=f"__session={token}")

    assert 200 == door.status_code
    assert api.status_code in {401, 502}


async def test_who_invited_an_email_is_not_where_its_owner_at_clerk_lands(
    site: ClerkSite,
) -> None:
    eve, owner = site.clerk.add_user("eve@example.com"), site.clerk.add_user("owner@example.com")
    async with running(site.application, site.token(eve)) as program:
        eves = (await program.get("/api/v1/tenant")).json()["id"]
        made = await program.post("/api/v1/invitations", json={"email": "owner@example.com"})
    async with browsing(site.application) as browser:
        accepted = await browser.submit(
            "/invitation",
            {
                "token": made.json()["link"].partition("token=")[2],
                "name": "Owner",
                "password": "the inviter knows this one",
            },
        )

    owners = await site.get(site.token(owner, sid="sess_2"))

    assert (accepted.status_code, owners.status_code) == (303, 200)
    assert eves != owners.json()["id"]
