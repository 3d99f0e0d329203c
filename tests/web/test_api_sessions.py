"""Where a person is signed in, and which tenants they may open."""

from __future__ import annotations

from factories import TestTenant
from litestar import Litestar

from viral.database.engine import Database
from viral.features.users.members import add_member
from web.conftest import Browser
from web.programs import browsing_as, make_key, running

SESSIONS = "/api/v1/sessions"
MEMBERSHIPS = "/api/v1/memberships"


async def test_a_person_sees_where_they_are_signed_in(
    application: Litestar, alices: Browser, system: Database, alice: TestTenant
) -> None:
    async with browsing_as(application, system, alice):
        answer = await alices.get(SESSIONS)

    seen = answer.json()
    assert [(each["tenant"], each["method"]) for each in seen] == [("Alice", "link")] * 2
    assert sorted(each["is_current"] for each in seen) == [False, True]
    assert set(seen[0]) == {"tenant", "method", "opened_at", "last_seen_at", "is_current"}


async def test_signing_out_everywhere_ends_every_session_of_the_person_alone(
    application: Litestar, alices: Browser, bobs: Browser, system: Database, alice: TestTenant
) -> None:
    async with browsing_as(application, system, alice) as another:
        answer = await alices.send(SESSIONS, method="DELETE")

        assert (answer.status_code, answer.json()) == (200, {"ended": 2})
        assert (await alices.get(SESSIONS)).status_code == 401
        assert (await another.get(SESSIONS)).status_code == 401
    assert (await bobs.get(SESSIONS)).status_code == 200


async def test_keys_outlive_the_sessions(application: Litestar, alices: Browser) -> None:
    async with running(application, await make_key(alices)) as robot:
        await alices.send(SESSIONS, method="DELETE")

        assert (await robot.get("/api/v1/tenant")).status_code == 200


async def test_a_key_has_no_sessions_and_one_tenant(application: Litestar, alices: Browser) -> None:
    async with running(application, await make_key(alices, "read", "write", "admin")) as robot:
        for method, path in (("GET", SESSIONS), ("DELETE", SESSIONS), ("GET", MEMBERSHIPS)):
            answer = await robot.request(method, path)

            assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")


async def test_memberships_are_a_persons_tenants(
    alices: Browser, system: Database, alice: TestTenant, bob: TestTenant
) -> None:
    async with system.session_without_tenant() as session:
        await add_member(session, tenant_id=bob.id, user_id=alice.user_id, role="MEMBER")

    seen = (await alices.get(MEMBERSHIPS)).json()

    assert [(each["slug"], each["role"], each["is_current"]) for each in seen] == [
        ("alice", "ADMIN", True),
        ("bob", "MEMBER", False),
    ]
