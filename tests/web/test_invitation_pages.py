"""The link of an invitation: what it shows, and who becomes a member by it."""

from __future__ import annotations

import re

import pytest
from factories import TestTenant
from litestar import Litestar
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.features.users.sign_in import PER_EMAIL
from web.conftest import Browser, browsing
from web.test_home import words

PASSWORD = "seven quiet otters"
SECRET = re.compile(r"/invitation\?token=([\w-]+)")
SPENT = "This invitation is spent"


async def invited(browser: Browser, email: str = "ada@example.com", role: str = "MEMBER") -> str:
    """Invite somebody; the secret of the link."""
    answer = await browser.submit("/settings/invitations", {"email": email, "role": role})
    found = SECRET.search(answer.text)
    assert found
    return found[1]


async def accept(browser: Browser, token: str, **fields: str) -> int:
    answer = await browser.submit("/invitation", {"token": token, **fields})
    return answer.status_code


async def roles(admin: AsyncConnection, email: str) -> list[tuple[str, str]]:
    """Tell where a person is a member, and as what."""
    found = await admin.execute(
        text(
            "SELECT t.slug, m.role FROM memberships m JOIN users u ON u.id = m.user_id"
            " JOIN tenants t ON t.id = m.tenant_id WHERE u.email = :email AND m.ended_at IS NULL"
            " ORDER BY 1"
        ),
        {"email": email},
    )
    return [(slug, role) for slug, role in found]


async def test_a_stranger_joins_with_a_name_and_a_password(
    alices: Browser, stranger: Browser, admin: AsyncConnection
) -> None:
    token = await invited(alices, role="ADMIN")
    page = words(await stranger.get(f"/invitation?token={token}"))

    status = await accept(stranger, token, name="Ada", password=PASSWORD)

    assert "Join Alice" in page
    assert "This invitation is for ada@example.com , as an admin." in page
    assert status == 303
    assert "Alice" in (await stranger.get("/")).text
    assert await roles(admin, "ada@example.com") == [("alice", "ADMIN")]
    noted = await admin.execute(text("SELECT action FROM audit_log ORDER BY id"))
    assert list(noted.scalars()) == ["signed in", "invited", "joined"]


async def test_c10_looking_at_an_invitation_changes_nothing(
    alices: Browser, stranger: Browser, admin: AsyncConnection
) -> None:
    token = await invited(alices)

    for _ in range(2):
        assert (await stranger.get(f"/invitation?token={token}")).status_code == 200
    head = await stranger.client.head(f"/invitation?token={token}")

    assert head.status_code in {200, 405}
    assert await admin.scalar(text("SELECT count(accepted_at) FROM invitations")) == 0
    assert await admin.scalar(text("SELECT count(*) FROM users")) == 1


async def test_b24_the_form_is_the_same_for_known_and_unknown_people(
    alices: Browser, stranger: Browser, bob: TestTenant
) -> None:
    pages = []
    for email in (f"{bob.slug}@example.com", "ada@example.com"):
        page = await stranger.get(f"/invitation?token={await invited(alices, email)}")
        plain = re.sub(r'value="[^"]*"', "", page.text)
        pages.append(plain.replace(email, "EMAIL"))

    assert pages[0] == pages[1]
    assert "If you have an account already, use its password." in pages[0]


async def test_a_known_person_joins_with_their_password_and_no_other(
    alices: Browser, bobs: Browser, stranger: Browser, admin: AsyncConnection
) -> None:
    await bobs.submit("/settings/account/password", {"new": PASSWORD})
    token = await invited(alices, "bob@example.com")

    wrong = await stranger.submit(
        "/invitation", {"token": token, "name": "Bob", "password": "other quiet otters"}
    )
    between = await roles(admin, "bob@example.com")
    right = await accept(stranger, token, password=PASSWORD)

    assert wrong.status_code == 401
    assert "This e-mail and this password do not fit." in words(wrong)
    assert between == [("bob", "ADMIN")]
    assert right == 303
    assert await roles(admin, "bob@example.com") == [("alice", "MEMBER"), ("bob", "ADMIN")]
    assert "Alice" in (await stranger.get("/")).text


async def test_who_is_signed_in_as_the_one_invited_needs_one_button(
    alices: Browser, bobs: Browser, admin: AsyncConnection
) -> None:
    token = await invited(alices, "bob@example.com")
    before = bobs.client.cookies["viral_session"]
    page = await bobs.get(f"/invitation?token={token}")

    status = await accept(bobs, token)

    assert "You are signed in as bob@example.com." in words(page)
    assert 'type="password"' not in page.text
    assert status == 303
    assert bobs.client.cookies["viral_session"] != before
    assert await roles(admin, "bob@example.com") == [("alice", "MEMBER"), ("bob", "ADMIN")]
    bobs.client.cookies.clear()
    replayed = await bobs.get("/api/v1/tenant", Cookie=f"viral_session={before}")
    assert replayed.status_code == 401


async def test_somebody_else_cannot_join_as_who_they_are(
    alices: Browser, bobs: Browser, admin: AsyncConnection
) -> None:
    token = await invited(alices)
    page = words(await bobs.get(f"/invitation?token={token}"))

    status = await accept(bobs, token)

    assert "You are signed in as bob@example.com." in page
    assert "Password" in page
    assert status == 422
    assert await roles(admin, "bob@example.com") == [("bob", "ADMIN")]


async def test_a_link_works_once(
    application: Litestar, alices: Browser, stranger: Browser, admin: AsyncConnection
) -> None:
    token = await invited(alices)
    await accept(stranger, token, password=PASSWORD)

    async with browsing(application) as another:
        page = await another.get(f"/invitation?token={token}")
        again = await another.submit("/invitation", {"token": token, "password": PASSWORD})

    assert (page.status_code, again.status_code) == (403, 403)
    assert SPENT in words(page)
    assert SPENT in words(again)
    assert await admin.scalar(text("SELECT count(*) FROM users WHERE email LIKE 'ada%'")) == 1


@pytest.mark.parametrize("token", ["", "x", "é" * 300, "' OR true --"])
async def test_a_made_up_link_leads_nowhere(alices: Browser, stranger: Browser, token: str) -> None:
    await invited(alices)

    page = await stranger.client.get("/invitation", params={"token": token})
    sent = await accept(stranger, token, password=PASSWORD)

    assert (page.status_code, sent) == (403, 403)
    assert SPENT in words(page)


@pytest.mark.parametrize("password", ["", "short", "password1", "a" * 201])
async def test_c08_a_weak_password_is_refused_and_the_link_still_works(
    alices: Browser, stranger: Browser, password: str
) -> None:
    token = await invited(alices)

    answer = await stranger.submit(
        "/invitation", {"token": token, "name": "<b>Ada", "password": password}
    )

    assert answer.status_code == 422
    assert 'value="&lt;b&gt;Ada"' in answer.text
    assert await accept(stranger, token, password=PASSWORD) == 303


async def test_c12_guessing_a_password_at_a_link_is_counted(
    alices: Browser, stranger: Browser, bob: TestTenant
) -> None:
    token = await invited(alices, f"{bob.slug}@example.com")
    for _ in range(PER_EMAIL):
        await accept(stranger, token, password="other quiet otters")

    assert await accept(stranger, token, password=PASSWORD) == 429
