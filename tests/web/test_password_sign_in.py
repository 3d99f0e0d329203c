"""E-mail and password open a session, in one text for whatever is wrong."""

from __future__ import annotations

import re

import httpx
import pytest
from factories import TestTenant
from litestar import Litestar
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.features.users.sign_in import PER_EMAIL
from web.conftest import Browser, browsing
from web.test_home import words

EMAIL = "alice@example.com"
PASSWORD = "seven quiet otters"
REFUSED = "This e-mail and this password do not fit."


@pytest.fixture(autouse=True)
async def _password(application: Litestar, admin: AsyncConnection, alice: TestTenant) -> None:
    hashed = await application.state.passwords.hash(PASSWORD)
    await admin.execute(
        text("UPDATE users SET password_hash = :hash WHERE id = :id"),
        {"hash": hashed, "id": alice.user_id},
    )
    await admin.commit()


async def attempt(browser: Browser, email: str = EMAIL, password: str = PASSWORD) -> httpx.Response:
    return await browser.submit("/sign-in/password", {"email": email, "password": password})


def without_token(answer: httpx.Response) -> str:
    return re.sub(r'value="[^"]*"', "", answer.text)


async def test_the_right_password_signs_in_and_leads_home(
    stranger: Browser, admin: AsyncConnection
) -> None:
    answer = await attempt(stranger, " Alice@Example.com")

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert EMAIL in (await stranger.get("/")).text
    noted = await admin.execute(text("SELECT action, details->>'method', address FROM audit_log"))
    assert [tuple(row) for row in noted] == [("signed in", "password", "127.0.0.1")]


async def test_b24_all_that_is_wrong_is_said_in_the_same_words(
    stranger: Browser, admin: AsyncConnection, bob: TestTenant
) -> None:
    await admin.execute(
        text(
            "UPDATE users SET password_hash = (SELECT password_hash FROM users WHERE email = :a)"
            " WHERE id = :bob"
        ),
        {"a": EMAIL, "bob": bob.user_id},
    )
    await admin.execute(
        text("UPDATE memberships SET ended_at = now() WHERE user_id = :bob"), {"bob": bob.user_id}
    )
    await admin.commit()

    answers = [
        await attempt(stranger, "nobody@example.com"),
        await attempt(stranger, EMAIL, "wrong"),
        await attempt(stranger, "bob@example.com", PASSWORD),
    ]

    assert {each.status_code for each in answers} == {401}
    assert len({without_token(each) for each in answers}) == 1
    assert REFUSED in words(answers[0])
    assert all("viral_session" not in each.headers.get("set-cookie", "") for each in answers)


async def test_a_failed_attempt_keeps_the_email_and_never_the_password(stranger: Browser) -> None:
    answer = await attempt(stranger, '"><script>x@example.com', "a-secret-thing")

    assert 'value="&#34;&gt;&lt;script&gt;x@example.com"' in answer.text
    assert "<script>x" not in answer.text
    assert "a-secret-thing" not in answer.text


async def test_c12_too_many_attempts_have_to_wait_even_with_the_right_one(
    stranger: Browser, admin: AsyncConnection
) -> None:
    for _ in range(PER_EMAIL):
        await attempt(stranger, "x@example.com", "wrong")

    answer = await attempt(stranger, "x@example.com")

    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert re.search(r"Wait \d+ s and try again\.", words(answer))
    assert await admin.scalar(text("SELECT count(*) FROM sessions")) == 0


async def test_c09_a_session_that_this_browser_had_ends_and_the_token_is_new(
    stranger: Browser,
) -> None:
    await attempt(stranger)
    before = stranger.client.cookies["viral_session"]

    await attempt(stranger)

    after = stranger.client.cookies["viral_session"]
    assert before != after
    stranger.client.cookies.clear()
    replayed = await stranger.get("/api/v1/tenant", Cookie=f"viral_session={before}")
    assert replayed.status_code == 401


async def test_c09_a_token_of_somebody_elses_choice_is_not_taken_over(stranger: Browser) -> None:
    stranger.client.cookies.set("viral_session", "fixed", domain="127.0.0.1")

    await attempt(stranger)

    assert stranger.client.cookies["viral_session"] != "fixed"
    answer = await stranger.client.get("/api/v1/tenant", headers={"Cookie": "viral_session=fixed"})
    assert answer.status_code == 401


async def test_c09_signing_out_everywhere_ends_all_sessions(
    application: Litestar, stranger: Browser, admin: AsyncConnection
) -> None:
    await attempt(stranger)
    async with browsing(application) as another:
        await attempt(another)

        answer = await another.submit("/sign-out/everywhere")

        assert "Max-Age=0" in answer.headers["set-cookie"]
    assert (await stranger.get("/api/v1/tenant")).status_code == 401
    noted = await admin.execute(
        text("SELECT details->>'sessions' FROM audit_log WHERE action = 'signed out everywhere'")
    )
    assert list(noted.scalars()) == ["2"]


async def test_the_form_speaks_to_password_managers(stranger: Browser) -> None:
    page = (await stranger.get("/sign-in")).text

    assert 'autocomplete="username"' in page
    assert 'autocomplete="current-password"' in page
    assert "viral sign-in" in page


async def test_c10_a_password_is_not_taken_from_an_address(stranger: Browser) -> None:
    answer = await stranger.get(f"/sign-in/password?email={EMAIL}&password={PASSWORD}")

    assert answer.status_code == 405
