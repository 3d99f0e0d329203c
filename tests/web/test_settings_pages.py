"""The pages of settings: what each shows to whom, and what its forms do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from uuid import UUID

import pytest
from factories import TestTenant
from litestar import Litestar
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.features.users.members import add_member
from viral.features.users.sessions import make_sign_in_link
from viral.schema.base import uuid7
from viral.schema.tenants import User
from viral.web.dashboard.activity import ROWS_SHOWN
from web.conftest import Browser, browsing
from web.test_home import words
from web.test_invitation_pages import PASSWORD, SECRET, invited

PAGES = ("people", "keys", "account", "activity")
HOSTILE = "<script>alert(1)</script>"
KEY = re.compile(r"vd_live_[\w-]{43}")


@dataclass(frozen=True)
class Mo:
    """A member of Alice's tenant who is no admin, and their browser."""

    membership_id: UUID
    user_id: UUID
    browser: Browser


@pytest.fixture
async def mo(application: Litestar, system: Database, alice: TestTenant) -> AsyncIterator[Mo]:
    async with system.session_without_tenant() as session:
        user = User(email="mo@example.com", name="Mo")
        session.add(user)
        await session.flush()
        member = await add_member(session, tenant_id=alice.id, user_id=user.id, role="MEMBER")
        link = await make_sign_in_link(
            session, tenant_id=alice.id, user_id=user.id, now=datetime.now(UTC)
        )
        user_id, membership_id = user.id, member.id
    async with browsing(application) as browser:
        await browser.submit("/sign-in", {"token": link})
        yield Mo(membership_id, user_id, browser)


async def membership_of(admin: AsyncConnection, user_id: UUID) -> UUID:
    found = await admin.scalar(
        text("SELECT id FROM memberships WHERE user_id = :user"), {"user": user_id}
    )
    assert isinstance(found, UUID)
    return found


async def actions(admin: AsyncConnection) -> list[tuple[str, str]]:
    """List what was noted but sign-ins: action and subject."""
    found = await admin.execute(
        text("SELECT action, subject FROM audit_log WHERE action <> 'signed in' ORDER BY id")
    )
    await admin.rollback()
    return [(action, subject) for action, subject in found]


async def made_key(browser: Browser, **fields: str) -> str:
    answer = await browser.submit(
        "/settings/keys", {"name": "Nightly", "scopes": "read", "days": "90", **fields}
    )
    found = KEY.search(answer.text)
    assert found
    return found[0]


async def test_people_are_listed_with_their_roles(alices: Browser, mo: Mo) -> None:
    said = words(await alices.get("/settings/people"))

    assert "2 members" in said
    assert re.search(r"Alice you alice@example\.com Admin", said)
    assert re.search(r"Mo mo@example\.com Member", said)
    assert "Leave" in words(await mo.browser.get("/settings/people"))


async def test_members_see_the_list_without_controls(alices: Browser, mo: Mo) -> None:
    await invited(alices, "ada@example.com")

    page = await mo.browser.get("/settings/people")

    assert "alice@example.com" in page.text
    assert "ada@example.com" not in page.text
    assert "/role" not in page.text
    assert "/settings/invitations" not in page.text
    assert "/settings/activity" not in page.text
    assert page.text.count("/remove") == 1


async def test_b18_members_are_refused_what_takes_an_admin(
    alices: Browser, mo: Mo, admin: AsyncConnection, alice: TestTenant
) -> None:
    await invited(alices, "ada@example.com")
    invitation = await admin.scalar(text("SELECT id FROM invitations"))
    boss = await membership_of(admin, alice.user_id)
    before = await actions(admin)

    answers = [
        await mo.browser.submit("/settings/invitations", {"email": "x@example.com"}),
        await mo.browser.submit(f"/settings/invitations/{invitation}/revoke"),
        await mo.browser.submit(f"/settings/people/{boss}/role", {"role": "MEMBER"}),
        await mo.browser.submit(f"/settings/people/{mo.membership_id}/role", {"role": "ADMIN"}),
        await mo.browser.submit(f"/settings/people/{boss}/remove"),
        await mo.browser.submit(
            "/settings/keys", {"name": "mine", "scopes": "admin", "days": "30"}
        ),
        await mo.browser.get("/settings/activity"),
    ]

    assert {each.status_code for each in answers} == {403}
    assert before == await actions(admin)


async def test_an_invitation_shows_its_link_once(alices: Browser, admin: AsyncConnection) -> None:
    answer = await alices.submit("/settings/invitations", {"email": " Ada@Example.com "})

    found = SECRET.search(answer.text)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert found
    assert f"http://127.0.0.1:8000/invitation?token={found[1]}" in answer.text
    after = await alices.get("/settings/people")
    assert "ada@example.com" in after.text
    assert found[1] not in after.text
    kept = await admin.execute(text("SELECT i::text FROM invitations i"))
    assert found[1] not in str(kept.all())
    assert await actions(admin) == [("invited", "ada@example.com")]


async def test_an_invitation_that_is_taken_back_leads_nowhere(
    alices: Browser, stranger: Browser, admin: AsyncConnection
) -> None:
    token = await invited(alices)
    invitation = await admin.scalar(text("SELECT id FROM invitations"))

    answer = await alices.submit(f"/settings/invitations/{invitation}/revoke")

    assert answer.headers["location"] == "/settings/people"
    said = words(await alices.get("/settings/people"))
    assert "The invitation of ada@example.com is taken back." in said
    assert "None. A link that you make stays here" in said
    assert (await stranger.get(f"/invitation?token={token}")).status_code == 403
    assert (await actions(admin))[-1] == ("revoked invitation", "ada@example.com")


async def test_what_a_form_gets_wrong_is_said_on_its_own_page(alices: Browser) -> None:
    answer = await alices.submit("/settings/invitations", {"email": "no address"})

    assert (answer.status_code, answer.headers["location"]) == (303, "/settings/people")
    assert "That is no e-mail address." in words(await alices.get("/settings/people"))


async def test_b17_a_role_that_changes_signs_its_person_out(
    alices: Browser, mo: Mo, admin: AsyncConnection
) -> None:
    answer = await alices.submit(f"/settings/people/{mo.membership_id}/role", {"role": "ADMIN"})

    assert answer.headers["location"] == "/settings/people"
    assert "mo@example.com is an admin" in words(await alices.get("/settings/people"))
    assert (await mo.browser.get("/api/v1/tenant")).status_code == 401
    assert await actions(admin) == [("changed role", "mo@example.com")]


async def test_b17_a_removed_member_is_out_at_once(
    alices: Browser, mo: Mo, admin: AsyncConnection
) -> None:
    await alices.submit(f"/settings/people/{mo.membership_id}/remove")

    assert "mo@example.com is no member any more." in words(await alices.get("/settings/people"))
    assert (await mo.browser.get("/api/v1/tenant")).status_code == 401
    assert await actions(admin) == [("ended membership", "mo@example.com")]


async def test_who_leaves_is_shown_the_door(mo: Mo) -> None:
    answer = await mo.browser.submit(f"/settings/people/{mo.membership_id}/remove")

    assert answer.headers["location"] == "/"
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert "Sign in" in words(await mo.browser.get("/"))


async def test_the_last_admin_stays(
    alices: Browser, alice: TestTenant, admin: AsyncConnection
) -> None:
    own = await membership_of(admin, alice.user_id)

    for path, fields in (("remove", {}), ("role", {"role": "MEMBER"})):
        answer = await alices.submit(f"/settings/people/{own}/{path}", fields)

        assert answer.headers["location"] == "/settings/people"
        said = words(await alices.get("/settings/people"))
        assert "This is the tenant's last admin. Make somebody else an admin first." in said
    assert await actions(admin) == []


async def test_b01_ids_of_others_are_like_random_ones(
    alices: Browser, bobs: Browser, bob: TestTenant, admin: AsyncConnection
) -> None:
    await invited(bobs, "ada@example.com")
    await made_key(bobs)
    theirs = {
        "people/{}/role": await membership_of(admin, bob.user_id),
        "people/{}/remove": await membership_of(admin, bob.user_id),
        "invitations/{}/revoke": await admin.scalar(text("SELECT id FROM invitations")),
        "keys/{}/revoke": await admin.scalar(text("SELECT id FROM api_keys")),
    }
    for path, an_id in theirs.items():
        fields = {"role": "MEMBER"} if path.endswith("role") else {}
        said = []
        for each in (an_id, uuid7()):
            answer = await alices.submit(f"/settings/{path.format(each)}", fields)
            page = words(await alices.get(answer.headers["location"]))
            said.append(re.sub(r"request \w+", "", page).replace(str(each), "ID"))

        assert said[0] == said[1], path
        assert "not_found" in said[0]


async def test_c07_a_key_is_shown_once_and_works(
    alices: Browser, stranger: Browser, admin: AsyncConnection
) -> None:
    key = await made_key(alices)

    page = await alices.get("/settings/keys")
    answer = await stranger.get("/api/v1/tenant", Authorization=f"Bearer {key}")

    assert key not in page.text
    assert key[:16] in page.text
    assert re.search(r"Nightly vd_live_\S+… read alice@example\.com none never", words(page))
    assert answer.json()["slug"] == "alice"
    await admin.execute(text("UPDATE api_keys SET last_used_at = '2026-03-02 09:00+00'"))
    await admin.commit()
    assert re.search(r"2 Mar (2026 )?09:00", words(await alices.get("/settings/keys")))


@pytest.mark.parametrize(
    ("scopes", "status"), [({"scopes": "read"}, 403), ({"scopes": "write"}, 202)]
)
async def test_c07_a_key_does_what_its_scopes_say(
    alices: Browser, stranger: Browser, scopes: dict[str, str], status: int
) -> None:
    key = await made_key(alices, **scopes)

    answer = await stranger.client.post(
        "/api/v1/reflexion/runs", headers={"Authorization": f"Bearer {key}"}
    )

    assert answer.status_code == status


@pytest.mark.parametrize(("days", "left"), [("30", 30), ("365", 365)])
async def test_a_key_works_for_as_long_as_was_said(
    alices: Browser, admin: AsyncConnection, days: str, left: int
) -> None:
    await made_key(alices, days=days)

    expires_at = await admin.scalar(text("SELECT expires_at FROM api_keys"))
    assert isinstance(expires_at, datetime)
    assert abs(expires_at - datetime.now(UTC) - timedelta(days=left)) < timedelta(hours=1)


async def test_several_scopes_are_taken_together(alices: Browser, admin: AsyncConnection) -> None:
    token = await alices.form_token()

    await alices.client.post(
        "/settings/keys",
        data={"name": "All", "days": "never", "scopes": ["write", "read"], "_csrf_token": token},
    )

    kept = await admin.execute(text("SELECT scopes, expires_at FROM api_keys"))
    assert [tuple(row) for row in kept] == [(["read", "write"], None)]


async def test_c07_a_revoked_key_opens_nothing(
    alices: Browser, stranger: Browser, admin: AsyncConnection
) -> None:
    key = await made_key(alices)
    key_id = await admin.scalar(text("SELECT id FROM api_keys"))

    answer = await alices.submit(f"/settings/keys/{key_id}/revoke")

    assert answer.headers["location"] == "/settings/keys"
    said = words(await alices.get("/settings/keys"))
    assert "The key Nightly opens nothing any more." in said
    assert "No keys yet." in said
    refused = await stranger.get("/api/v1/tenant", Authorization=f"Bearer {key}")
    assert refused.status_code == 401
    assert await actions(admin) == [("made key", "Nightly"), ("revoked key", "Nightly")]


async def test_members_revoke_their_own_keys_alone(alices: Browser, mo: Mo) -> None:
    await made_key(alices, name="hers")
    await made_key(mo.browser, name="theirs")

    page = words(await mo.browser.get("/settings/keys"))

    assert "Revoke theirs" in page
    assert "Revoke hers" not in page
    assert "Admin Change people" not in page
    assert "Revoke theirs" in words(await alices.get("/settings/keys"))


@pytest.mark.parametrize(
    "fields", [{"name": " "}, {"days": "36500000"}, {"scopes": "all"}, {"name": "x" * 101}]
)
async def test_a_key_that_cannot_be_is_refused(
    alices: Browser, admin: AsyncConnection, fields: dict[str, str]
) -> None:
    answer = await alices.submit(
        "/settings/keys", {"name": "x", "scopes": "read", "days": "30", **fields}
    )

    assert answer.headers["location"] == "/settings/keys"
    assert "Failed" in words(await alices.get("/settings/keys"))
    assert await admin.scalar(text("SELECT count(*) FROM api_keys")) == 0


async def test_a_password_is_set_and_other_browsers_are_signed_out(
    application: Litestar, alices: Browser, admin: AsyncConnection, alice: TestTenant
) -> None:
    await alices.submit("/settings/account/password", {"new": PASSWORD})
    async with browsing(application) as another:
        form = {"email": f"{alice.slug}@example.com", "password": PASSWORD}
        assert (await another.submit("/sign-in/password", form)).status_code == 303

        await alices.submit("/settings/account/password", {"new": "eight calm herons"})

        assert (await another.get("/api/v1/tenant")).status_code == 401
    assert (await alices.get("/api/v1/tenant")).status_code == 200
    assert [("set password", "")] * 2 == await actions(admin)


async def test_the_current_password_is_asked_for(alices: Browser, admin: AsyncConnection) -> None:
    await alices.submit("/settings/account/password", {"new": PASSWORD})
    await admin.execute(text("UPDATE sessions SET opened_at = now() - interval '1 hour'"))
    await admin.commit()

    for current in ("", "wrong", PASSWORD):
        answer = await alices.submit(
            "/settings/account/password", {"new": "eight calm herons", "current": current}
        )

        assert answer.headers["location"] == "/settings/account"
        said = words(await alices.get("/settings/account"))
        assert ("That is not your current password." in said) == (current != PASSWORD)
    assert "The password is set." in said


async def test_an_account_shows_where_one_is_signed_in(alices: Browser, bobs: Browser) -> None:
    said = words(await alices.get("/settings/account"))

    assert "alice@example.com, admin of Alice." in said
    assert re.search(r"Alice this browser by link,", said)
    assert "Bob" not in said
    assert "Alice" not in words(await bobs.get("/settings/account"))


async def test_c17_the_activity_is_listed_newest_first(alices: Browser, bobs: Browser) -> None:
    await invited(bobs, "theirs@example.com")
    await invited(alices, "ada@example.com")
    await made_key(alices)

    said = words(await alices.get("/settings/activity")).partition("What Who When From")[2]

    places = [said.index(each) for each in ("Made key: Nightly", "Invited: ada@", "Signed in")]
    assert places == sorted(places)
    assert "127.0.0.1" in said
    assert "theirs@example.com" not in said


async def test_the_activity_is_paged_and_filtered(
    alices: Browser, bobs: Browser, admin: AsyncConnection, alice: TestTenant
) -> None:
    await admin.execute(
        text(
            "INSERT INTO audit_log (tenant_id, id, action, subject) SELECT :tenant,"
            " gen_random_uuid(), 'imported results', 'file ' || n FROM generate_series(1, :n) n"
        ),
        {"tenant": alice.id, "n": ROWS_SHOWN + 5},
    )
    await admin.commit()
    path = "/settings/activity?action=imported+results"

    first = await alices.get(path)
    older = re.search(r'href="(/settings/activity\?action=[^"]+)">Older', first.text)
    assert older
    link = older[1].replace("&amp;", "&")
    second = await alices.get(link)

    files = [set(re.findall(r"file \d+", each.text)) for each in (first, second)]
    assert [len(each) for each in files] == [ROWS_SHOWN, 5]
    assert not files[0] & files[1]
    assert ">Older" not in second.text
    # B06: a place in Alice's log is none in Bob's.
    assert (await bobs.get(link)).status_code == 422
    assert "Nothing here is" in words(await alices.get("/settings/activity?action=joined"))


async def test_c18_what_people_name_is_inert(
    alices: Browser, mo: Mo, admin: AsyncConnection
) -> None:
    await made_key(alices, name=HOSTILE)
    await invited(alices, "ada@example.com")
    for statement in (
        "UPDATE users SET name = :x, email = :x || id",
        "UPDATE invitations SET email = :x",
        "UPDATE tenants SET name = :x",
        "UPDATE audit_log SET details = jsonb_build_object('x', CAST(:x AS text)), address = :x",
    ):
        await admin.execute(text(statement), {"x": HOSTILE})
    await admin.commit()

    for name in PAGES:
        page = await alices.get(f"/settings/{name}")

        assert page.status_code == 200
        assert HOSTILE not in page.text, name
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    token = SECRET.search((await alices.submit("/settings/invitations", {"email": "a@b.c"})).text)
    assert token
    assert HOSTILE not in (await mo.browser.get(f"/invitation?token={token[1]}")).text


class Walker(HTMLParser):
    """Collects the elements of a page; fails on those that cross or stay open."""

    VOID = frozenset({"meta", "link", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.usefixtures("mo")
async def test_the_pages_are_well_formed_and_every_field_has_a_name(alices: Browser) -> None:
    await made_key(alices)
    token = await invited(alices)
    pages = [await alices.get(f"/settings/{name}") for name in PAGES]
    pages += [await alices.get(f"/invitation?token={token}"), await alices.get("/sign-in")]
    pages += [await alices.submit("/settings/invitations", {"email": "x@example.com"})]

    for page in pages:
        elements = Walker(page.text).elements
        ids = [each["id"] for _, each in elements if "id" in each]
        named = {each.get("for") for tag, each in elements if tag == "label"}
        pointed = {
            one
            for _, each in elements
            for key in ("for", "aria-labelledby", "aria-describedby", "popovertarget")
            for one in (each.get(key) or "").split()
        }
        levels = [int(tag[1]) for tag, _ in elements if re.fullmatch("h[1-6]", tag)]
        assert len(ids) == len(set(ids))
        assert pointed <= set(ids)
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        for tag, each in elements:
            assert "style" not in each
            assert not [key for key in each if key.startswith("on")]
            if tag in {"input", "select"} and each.get("type") not in {"hidden", "checkbox"}:
                assert each.get("id") in named or each.get("aria-label"), each
