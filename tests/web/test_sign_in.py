"""A one-time link opens a session; a session ends."""

from __future__ import annotations

import pytest
from factories import TestTenant
from litestar import Litestar
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.settings import Settings
from web.conftest import Browser, browsing, link_for, serving


async def test_a_link_signs_in_and_leads_home(
    stranger: Browser, system: Database, alice: TestTenant
) -> None:
    link = await link_for(system, alice)

    answer = await stranger.submit("/sign-in", {"token": link})

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("viral_session=")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert link not in cookie
    home = await stranger.get("/")
    assert "Alice" in home.text
    assert "alice@example.com" in home.text


async def test_looking_at_a_link_changes_nothing(
    stranger: Browser, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    link = await link_for(system, alice)

    for _ in range(2):
        page = await stranger.get(f"/sign-in?token={link}")

        assert page.status_code == 200
        assert f'name="token" value="{link}"' in page.text
    assert await admin.scalar(text("SELECT opened_at FROM sessions")) is None
    assert (await stranger.submit("/sign-in", {"token": link})).status_code == 303


async def test_c12_an_address_that_asks_too_often_spends_no_link(
    settings: Settings, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    link = await link_for(system, alice)
    async with serving(settings.model_copy(update={"address_requests": 1})) as application:
        async with browsing(application) as other:
            token = await other.form_token()
            other.client.cookies.set("viral_session", "old")
            assert (await other.get("/")).status_code == 200
            refused = await other.submit("/sign-in", {"token": link}, token=token)
        unopened = await admin.scalar(text("SELECT count(*) FROM sessions WHERE opened_at IS NULL"))
        async with browsing(application) as browser:
            opened = await browser.submit("/sign-in", {"token": link})

    assert (429, 1, 303) == (refused.status_code, unopened, opened.status_code)


async def test_a_link_works_once(
    application: Litestar, stranger: Browser, system: Database, alice: TestTenant
) -> None:
    link = await link_for(system, alice)
    await stranger.submit("/sign-in", {"token": link})

    async with browsing(application) as another:
        answer = await another.submit("/sign-in", {"token": link})
        after = await another.get("/")

    assert answer.status_code == 403
    assert "This link is spent" in answer.text
    assert "viral_session" not in answer.headers.get("set-cookie", "")
    assert "To sign in, make a link" in after.text


@pytest.mark.parametrize("token", ["", "x", "\x00", "é" * 300, "' OR 1=1 --"])
async def test_a_made_up_link_is_spent(stranger: Browser, token: str) -> None:
    answer = await stranger.submit("/sign-in", {"token": token})

    assert answer.status_code == 403
    assert "This link is spent" in answer.text


async def test_strangers_see_the_door_at_the_root_and_are_led_there(stranger: Browser) -> None:
    root = await stranger.get("/")
    page = await stranger.get("/learning.csv")

    assert root.status_code == 200
    assert "viral sign-in" in root.text
    assert (page.status_code, page.headers["location"]) == (303, "/")


async def test_signing_out_ends_the_session_for_good(alices: Browser) -> None:
    token = alices.client.cookies["viral_session"]

    answer = await alices.submit("/sign-out")
    alices.client.cookies.set("viral_session", token)
    replayed = await alices.get("/api/v1/tenant")

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert replayed.status_code == 401


async def test_signing_in_again_ends_the_session_before(
    alices: Browser, system: Database, alice: TestTenant
) -> None:
    before = alices.client.cookies["viral_session"]

    await alices.submit("/sign-in", {"token": await link_for(system, alice)})

    after = alices.client.cookies["viral_session"]
    assert before != after
    alices.client.cookies.clear()
    answer = await alices.get("/api/v1/tenant", Cookie=f"viral_session={before}")
    assert answer.status_code == 401


async def test_a_session_of_the_callers_choice_is_not_taken_over(
    stranger: Browser, system: Database, alice: TestTenant
) -> None:
    stranger.client.cookies.set("viral_session", "fixed", domain="127.0.0.1")

    await stranger.submit("/sign-in", {"token": await link_for(system, alice)})

    answer = await stranger.client.get("/api/v1/tenant", headers={"Cookie": "viral_session=fixed"})
    assert "fixed" not in {cookie.value for cookie in stranger.client.cookies.jar}
    assert stranger.client.cookies["viral_session"] != "fixed"
    assert answer.request.headers["cookie"] == "viral_session=fixed"
    assert answer.status_code == 401


async def test_a_removed_member_is_out_at_the_next_request(
    alices: Browser, admin: AsyncConnection, alice: TestTenant
) -> None:
    assert (await alices.get("/api/v1/tenant")).status_code == 200
    await admin.execute(
        text("UPDATE memberships SET ended_at = now() WHERE tenant_id = :id"), {"id": alice.id}
    )
    await admin.commit()

    assert (await alices.get("/api/v1/tenant")).status_code == 401
    assert "To sign in, make a link" in (await alices.get("/")).text


async def test_an_old_session_is_out(alices: Browser, admin: AsyncConnection) -> None:
    await admin.execute(text("UPDATE sessions SET expires_at = now()"))
    await admin.commit()

    assert (await alices.get("/api/v1/tenant")).status_code == 401
