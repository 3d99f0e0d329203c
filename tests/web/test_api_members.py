"""Members, invitations and roles over the API."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from clusters import count_rows
from factories import TestTenant
from litestar import Litestar
from litestar.routes import HTTPRoute
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.settings import Settings
from viral.web.door import admins_only
from web.conftest import Browser, browsing, serving, sign_in
from web.programs import add_person, browsing_as, make_key, membership_of, running
from web.routes import address_of

MEMBERS = "/api/v1/members"
INVITATIONS = "/api/v1/invitations"
# Whoever takes one of these from the admins says why.
ADMINS_ONLY = {
    ("GET", "/api/v1/audit"),
    ("GET", "/api/v1/invitations"),
    ("POST", "/api/v1/invitations"),
    ("DELETE", "/api/v1/invitations/{invitation_id:uuid}"),
    ("PATCH", "/api/v1/members/{member_id:uuid}"),
    ("PATCH", "/api/v1/tenant"),
    ("POST", "/api/v1/billing/checkout"),
    ("POST", "/api/v1/billing/portal"),
}


def guarded_routes(application: Litestar) -> set[tuple[str, str]]:
    """Collect the routes that only admins may use, by their guards."""
    return {
        (str(method), route.path)
        for route in application.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods - {"OPTIONS", "HEAD"}
        if admins_only in (handler.guards or ())
    }


def test_b18_the_admins_routes_are_guarded(application: Litestar) -> None:
    found = {each for each in guarded_routes(application) if each[1].startswith("/api/")}

    assert found == ADMINS_ONLY


async def test_b18_a_member_gets_403_on_every_admin_function(
    application: Litestar, system: Database, alice: TestTenant
) -> None:
    carol = await add_person(system, alice, "carol")
    async with browsing_as(application, system, carol) as carols:
        key = await make_key(carols)
        async with running(application, key) as robot:
            for method, path in guarded_routes(application):
                address = address_of(path)
                by_session = await carols.send(address, {}, method=method)
                by_key = await robot.request(method, address, json={})

                assert by_session.status_code == 403, (method, path)
                assert "Only an admin" in by_session.text
                if path.startswith("/api/"):
                    assert (by_key.status_code, by_key.json()["code"]) == (403, "not_allowed")


async def test_b18_an_admins_key_without_the_scope_admin_is_no_admin(
    application: Litestar, alices: Browser
) -> None:
    key = await make_key(alices, "read", "write")
    async with running(application, key) as robot:
        for method, path in ADMINS_ONLY:
            answer = await robot.request(method, address_of(path), json={})

            assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed"), path


async def test_members_see_each_other(
    application: Litestar, alices: Browser, system: Database, alice: TestTenant
) -> None:
    carol = await add_person(system, alice, "carol")
    async with browsing_as(application, system, carol) as carols:
        seen = (await carols.get(MEMBERS)).json()

    assert [(each["email"], each["role"]) for each in seen] == [
        ("alice@example.com", "ADMIN"),
        ("carol@example.com", "MEMBER"),
    ]
    assert [each["user_id"] for each in seen] == [str(alice.user_id), str(carol.user_id)]
    assert seen == (await alices.get(MEMBERS)).json()


async def test_an_admin_gives_a_role_and_the_log_says_so(
    alices: Browser, system: Database, alice: TestTenant
) -> None:
    await add_person(system, alice, "carol")
    member = await membership_of(alices, "carol@example.com")

    answer = await alices.send(f"{MEMBERS}/{member}", {"role": "ADMIN"}, method="PATCH")

    assert (answer.status_code, answer.json()["role"]) == (200, "ADMIN")
    assert [each["role"] for each in (await alices.get(MEMBERS)).json()] == ["ADMIN", "ADMIN"]
    entry = (await alices.get("/api/v1/audit")).json()["entries"][0]
    assert (entry["action"], entry["subject"]) == ("changed role", "carol@example.com")
    assert (entry["details"], entry["user_id"]) == ({"role": "ADMIN"}, str(alice.user_id))
    assert entry["address"] == "127.0.0.1"


async def test_a_role_is_one_of_two(alices: Browser) -> None:
    member = await membership_of(alices, "alice@example.com")

    for role in ("OWNER", "admin", "", None, 1):
        answer = await alices.send(f"{MEMBERS}/{member}", {"role": role}, method="PATCH")

        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "role"), role


async def test_b17_a_demoted_member_is_out_at_the_next_request(
    application: Litestar, alices: Browser, system: Database, alice: TestTenant
) -> None:
    carol = await add_person(system, alice, "carol", role="ADMIN")
    member = await membership_of(alices, "carol@example.com")
    async with browsing_as(application, system, carol) as carols:
        key = await make_key(carols, "read", "write", "admin")
        async with running(application, key) as robot:
            assert (await robot.get(INVITATIONS)).status_code == 200

            await alices.send(f"{MEMBERS}/{member}", {"role": "MEMBER"}, method="PATCH")

            assert (await carols.get("/api/v1/tenant")).status_code == 401
            assert (await robot.get(INVITATIONS)).status_code == 403
            assert (await robot.get("/api/v1/tenant")).status_code == 200


async def test_b17_a_removed_member_is_out_at_the_next_request(
    application: Litestar, alices: Browser, system: Database, alice: TestTenant
) -> None:
    carol = await add_person(system, alice, "carol")
    member = await membership_of(alices, "carol@example.com")
    async with (
        browsing_as(application, system, carol) as carols,
        running(application, await make_key(carols)) as robot,
    ):
        answer = await alices.send(f"{MEMBERS}/{member}", method="DELETE")

        assert (answer.status_code, answer.content) == (204, b"")
        assert (await carols.get("/api/v1/tenant")).status_code == 401
        assert (await robot.get("/api/v1/tenant")).status_code == 401
    assert "carol" not in (await alices.get(MEMBERS)).text
    assert (await alices.send(f"{MEMBERS}/{member}", method="DELETE")).status_code == 404


async def test_a_member_may_leave_but_remove_nobody_else(
    application: Litestar, system: Database, alice: TestTenant
) -> None:
    carol = await add_person(system, alice, "carol")
    async with browsing_as(application, system, carol) as carols:
        alices_id = await membership_of(carols, "alice@example.com")
        own_id = await membership_of(carols, "carol@example.com")

        refused = await carols.send(f"{MEMBERS}/{alices_id}", method="DELETE")
        left = await carols.send(f"{MEMBERS}/{own_id}", method="DELETE")

        assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
        assert left.status_code == 204
        assert (await carols.get(MEMBERS)).status_code == 401


async def test_a_key_without_admin_removes_nobody_not_even_its_person(
    application: Litestar, alices: Browser, system: Database, alice: TestTenant
) -> None:
    await add_person(system, alice, "carol", role="ADMIN")
    async with running(application, await make_key(alices, "read", "write")) as robot:
        for name in ("alice", "carol"):
            member = await membership_of(alices, f"{name}@example.com")

            assert (await robot.delete(f"{MEMBERS}/{member}")).status_code == 403


async def test_the_last_admin_stays(alices: Browser) -> None:
    member = await membership_of(alices, "alice@example.com")

    for method, body in (("PATCH", {"role": "MEMBER"}), ("DELETE", None)):
        answer = await alices.send(f"{MEMBERS}/{member}", body, method=method)

        assert (answer.status_code, answer.json()["code"]) == (409, "last_admin")
    assert (await alices.get("/api/v1/audit")).json()["entries"][0]["action"] == "signed in"


async def test_a_member_of_another_tenant_is_not_there(alices: Browser, bobs: Browser) -> None:
    member = await membership_of(bobs, "bob@example.com")

    answer = await alices.send(f"{MEMBERS}/{member}", {"role": "MEMBER"}, method="PATCH")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_an_invitation_is_a_link_that_is_said_once(alices: Browser) -> None:
    made = await alices.send(INVITATIONS, {"email": " New@Example.com ", "role": "ADMIN"})
    listed = await alices.get(INVITATIONS)

    link = made.json()["link"]
    assert made.status_code == 201
    assert re.fullmatch(r"http://127\.0\.0\.1:8000/invitation\?token=[\w-]{43}", link)
    (waiting,) = listed.json()
    assert (waiting["id"], waiting["email"], waiting["role"]) == (
        made.json()["id"],
        "new@example.com",
        "ADMIN",
    )
    log = (await alices.get("/api/v1/audit")).text
    assert link.partition("token=")[2] not in listed.text + log
    assert '"invited"' in log


async def test_the_link_of_an_invitation_leads_in(application: Litestar, alices: Browser) -> None:
    made = (await alices.send(INVITATIONS, {"email": "new@example.com"})).json()
    place = urlsplit(made["link"])
    async with browsing(application) as browser:
        page = await browser.get(f"{place.path}?{place.query}")

    assert page.status_code == 200
    assert "new@example.com" in page.text


async def test_the_link_leads_to_the_public_address(
    settings: Settings, system: Database, alice: TestTenant
) -> None:
    public = settings.model_copy(update={"public_url": "http://studio.example/"})
    async with (
        serving(public) as application,
        browsing(application) as browser,
    ):
        await sign_in(browser, system, alice)
        made = (await browser.send(INVITATIONS, {"email": "new@example.com"})).json()

    assert made["link"].startswith("http://studio.example/invitation?token=")


async def test_an_invitation_that_is_taken_back_leads_nowhere(
    alices: Browser, stranger: Browser
) -> None:
    made = (await alices.send(INVITATIONS, {"email": "new@example.com"})).json()
    place = urlsplit(made["link"])

    gone = await alices.send(f"{INVITATIONS}/{made['id']}", method="DELETE")
    again = await alices.send(f"{INVITATIONS}/{made['id']}", method="DELETE")

    assert (gone.status_code, again.status_code) == (204, 404)
    assert (await alices.get(INVITATIONS)).json() == []
    assert (await stranger.get(f"{place.path}?{place.query}")).status_code == 403
    entry = (await alices.get("/api/v1/audit")).json()["entries"][0]
    assert (entry["action"], entry["subject"]) == ("revoked invitation", "new@example.com")


async def test_an_invitation_goes_to_an_email(alices: Browser, admin: AsyncConnection) -> None:
    for email in ("", "nobody", "a@b@c", "x" * 320 + "@example.com", "a b@c.d", "a\x00@c.d"):
        answer = await alices.send(INVITATIONS, {"email": email})

        assert (answer.status_code, answer.json()["code"]) == (422, "bad_input"), email
    assert await count_rows(admin, "invitations") == 0


async def test_an_admin_renames_the_tenant(alices: Browser) -> None:
    answer = await alices.send("/api/v1/tenant", {"name": "  Alice & Co  "}, method="PATCH")

    assert (answer.status_code, answer.json()["name"]) == (200, "Alice & Co")
    tenant = (await alices.get("/api/v1/tenant")).json()
    assert (tenant["name"], tenant["slug"]) == ("Alice & Co", "alice")
    entry = (await alices.get("/api/v1/audit")).json()["entries"][0]
    assert (entry["action"], entry["subject"]) == ("renamed tenant", "Alice & Co")


async def test_a_tenants_name_fits_a_line(alices: Browser) -> None:
    for name in ("", "   ", "x" * 201, "two\nlines", "nul\x00"):
        answer = await alices.send("/api/v1/tenant", {"name": name}, method="PATCH")

        assert (answer.status_code, answer.json()["code"]) == (422, "bad_input"), name
    assert (await alices.get("/api/v1/tenant")).json()["name"] == "Alice"
