"""Who is in several tenants moves between them, and nobody else does."""

from __future__ import annotations

from uuid import UUID

import pytest
from factories import TestTenant
from people import enter, sign_in_by_link
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.features.users.members import add_member
from viral.schema.base import uuid7
from viral.settings import Settings
from web.conftest import Browser, browsing, serving
from web.test_home import words


async def let_in(system: Database, tenant: TestTenant, user_id: UUID) -> UUID:
    """Make a person a member of another tenant; the membership."""
    async with system.session_without_tenant() as session:
        member = await add_member(session, tenant_id=tenant.id, user_id=user_id, role="MEMBER")
        return member.id


async def test_who_has_one_tenant_has_nothing_to_switch(alices: Browser) -> None:
    assert "/switch" not in (await alices.get("/")).text


async def test_c09_switching_moves_the_session_under_a_new_token(
    alices: Browser, system: Database, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    membership_id = await let_in(system, bob, alice.user_id)
    before = alices.client.cookies["viral_session"]
    page = await alices.get("/settings/people")

    answer = await alices.submit("/switch", {"membership_id": str(membership_id)})

    assert f'name="membership_id" value="{membership_id}"' in page.text
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=lax"} <= set(answer.headers["set-cookie"].split("; "))
    assert (await alices.get("/api/v1/tenant")).json()["slug"] == "bob"
    noted = await admin.execute(
        text("SELECT user_id FROM audit_log WHERE action = 'switched tenant' AND tenant_id = :bob"),
        {"bob": bob.id},
    )
    assert list(noted.scalars()) == [alice.user_id]
    alices.client.cookies.clear()
    replayed = await alices.get("/api/v1/tenant", Cookie=f"viral_session={before}")
    assert replayed.status_code == 401


async def test_c12_switching_takes_one_turn_and_loses_no_session(
    settings: Settings, app: Database, system: Database, alice: TestTenant, bob: TestTenant
) -> None:
    membership_id = await let_in(system, bob, alice.user_id)
    someone = await sign_in_by_link(app, system, alice)
    form = {"membership_id": str(membership_id)}
    async with (
        serving(settings.model_copy(update={"address_requests": 2})) as application,
        browsing(application) as browser,
    ):
        token = await browser.form_token()
        browser.client.cookies.set("viral_session", someone.token)
        assert (await browser.get("/api/v1/tenant")).json()["slug"] == "alice"
        switched = await browser.submit("/switch", form, token=token)
        moved = str(switched.cookies["viral_session"])
        refused = await browser.submit("/switch", form, token=token)

    assert (303, 429) == (switched.status_code, refused.status_code)
    assert (await enter(app, moved)).tenant_id == bob.id


@pytest.mark.parametrize("whose", ["bobs", "nobodys", "ended"])
async def test_b01_a_membership_that_is_not_theirs_leads_nowhere(
    alices: Browser,
    system: Database,
    alice: TestTenant,
    bob: TestTenant,
    admin: AsyncConnection,
    whose: str,
) -> None:
    membership_id = uuid7()
    if whose == "bobs":
        membership_id = await admin.scalar(
            text("SELECT id FROM memberships WHERE tenant_id = :bob"), {"bob": bob.id}
        )
    elif whose == "ended":
        membership_id = await let_in(system, bob, alice.user_id)
        await admin.execute(
            text("UPDATE memberships SET ended_at = now() WHERE id = :id"), {"id": membership_id}
        )
    await admin.commit()

    answer = await alices.submit("/switch", {"membership_id": str(membership_id)})

    assert answer.headers["location"] == "/"
    assert "You are no member of such a tenant." in words(await alices.get("/"))
    assert (await alices.get("/api/v1/tenant")).json()["slug"] == "alice"


async def test_c18_names_of_tenants_are_inert(
    alices: Browser, system: Database, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    await let_in(system, bob, alice.user_id)
    await admin.execute(text("UPDATE tenants SET name = '<script>alert(1)</script>'"))
    await admin.commit()

    page = await alices.get("/")

    assert "<script>alert" not in page.text
    assert page.text.count("&lt;script&gt;alert(1)") >= 2
