"""Signing in by Clerk: with a token in a header or a cookie, from the first request on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from clusters import Cluster, count_rows
from factories import TestTenant
from fakes.clerk import JWKS, FakeClerk
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from viral.database.engine import Database
from viral.database.tenancy import token_hash
from viral.features.users.clerk import clerk_credential
from viral.schema.tenants import Membership, User
from web.clerk_site import (
    COOKIE,
    TENANT,
    ClerkSite,
    clerk_site,
    memberships,
    plan_of_entering,
    set_user,
    user_of,
)
from web.conftest import browsing
from web.programs import browsing_as, running

SESSIONS = "/api/v1/sessions"
INVITATIONS = "/api/v1/invitations"


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


async def test_a_stranger_is_welcomed_into_a_tenant_of_their_own(site: ClerkSite) -> None:
    ada = site.clerk.add_user("Ada@Example.com")

    first = await site.get(site.token(ada))
    members = await site.get(site.token(ada), "/api/v1/members")

    assert (first.status_code, first.json()["name"]) == (200, "Ada Lovelace")
    assert [(each["email"], each["name"], each["role"]) for each in members.json()] == [
        ("ada@example.com", "Ada Lovelace", "ADMIN")
    ]
    assert site.clerk.calls[f"/v1/users/{ada['id']}"] == 1


async def test_a_stranger_is_welcomed_into_the_tenant_of_their_organization(
    site: ClerkSite,
) -> None:
    ada, acme = site.clerk.add_user(), site.clerk.add_organization("Acme Films")

    seen = await site.get(site.token(ada, acme))

    assert (seen.json()["slug"], seen.json()["name"]) == ("acme-films", "Acme Films")
    assert [each["slug"] for each in await memberships(site, site.token(ada, acme))] == [
        "acme-films"
    ]


async def test_strangers_who_send_many_requests_at_once_are_welcomed_once(
    site: ClerkSite, admin: AsyncConnection
) -> None:
    ada, acme = site.clerk.add_user(), site.clerk.add_organization()
    tokens = [site.token(ada), site.token(ada, acme)] * 5

    answers = await asyncio.gather(*map(site.get, tokens))

    assert [each.status_code for each in answers] == [200] * 10
    assert await count_rows(admin, "users") == 1
    assert await count_rows(admin, "tenants") == 2


@pytest.mark.parametrize(("rol", "status"), [("admin", 200), ("member", 403), ("boss", 403)])
async def test_an_organizations_role_is_the_tenants(site: ClerkSite, rol: str, status: int) -> None:
    ada, acme = site.clerk.add_user(), site.clerk.add_organization()

    answer = await site.get(site.token(ada, acme, rol=rol), INVITATIONS)

    assert answer.status_code == status


async def test_b17_who_is_demoted_in_the_token_is_no_admin_before_the_webhook(
    site: ClerkSite,
) -> None:
    ada, acme = site.clerk.add_user(), site.clerk.add_organization()
    admins = await site.get(site.token(ada, acme, rol="admin"), INVITATIONS)

    members = await site.get(site.token(ada, acme, rol="member"), INVITATIONS)
    tenant = await site.get(site.token(ada, acme, rol="member"))

    assert (admins.status_code, members.status_code, tenant.status_code) == (200, 403, 200)


async def test_b18_a_token_alone_makes_nobody_an_admin(site: ClerkSite) -> None:
    ada, acme = site.clerk.add_user(), site.clerk.add_organization()
    await site.get(site.token(ada, acme, rol="member"))

    answer = await site.get(site.token(ada, acme, rol="admin"), INVITATIONS)

    assert answer.status_code == 403


async def test_two_organizations_are_two_tenants_and_their_tokens_reach_one_each(
    site: ClerkSite,
) -> None:
    ada = site.clerk.add_user()
    acme, umbra = site.clerk.add_organization("Acme"), site.clerk.add_organization("Umbra")
    for organization in (acme, umbra):
        await site.get(site.token(ada, organization, rol="admin"))

    places = {"acme": acme, "umbra": umbra, "ada-lovelace": None}
    for slug, place in places.items():
        token = site.token(ada, place, rol="admin")
        async with running(site.application, token) as program:
            renamed = await program.patch(TENANT, json={"name": f"{slug} renamed"})
            seen = (await program.get(TENANT)).json()

        assert renamed.status_code == 200
        assert (seen["slug"], seen["name"]) == (slug, f"{slug} renamed")


async def test_an_organization_that_a_person_is_not_in_stays_closed(
    site: ClerkSite, system: Database
) -> None:
    ada, eve = site.clerk.add_user(), site.clerk.add_user("eve@example.com")
    acme, umbra = site.clerk.add_organization("Acme"), site.clerk.add_organization("Umbra")
    acmes = (await site.get(site.token(ada, acme))).json()["id"]
    umbras = (await site.get(site.token(eve, umbra))).json()["id"]

    listed = [await memberships(site, site.token(*each)) for each in ((ada, acme), (eve, umbra))]

    assert acmes != umbras
    assert [[each["slug"] for each in tenants] for tenants in listed] == [["acme"], ["umbra"]]
    async with system.session_without_tenant() as session:
        rows = await session.execute(select(Membership.tenant_id, Membership.user_id))
        assert len(set(rows.all())) == 2


async def test_an_organization_whose_slug_is_taken_gets_another_tenant(
    site: ClerkSite, alice: TestTenant
) -> None:
    ada, alices = site.clerk.add_user(), site.clerk.add_organization("Alice")

    seen = (await site.get(site.token(ada, alices))).json()

    assert seen["id"] != str(alice.id)
    assert seen["slug"].startswith("alice-")


async def test_the_cookie_of_clerk_opens_pages_and_needs_a_form_token_to_change(
    site: ClerkSite,
) -> None:
    ada, acme = site.clerk.add_user(), site.clerk.add_organization("Acme")
    async with site.browsing(site.token(ada, acme, rol="admin")) as browser:
        page = await browser.get("/")
        bare = await browser.client.patch(TENANT, json={"name": "Stolen"})
        proven = await browser.send(TENANT, {"name": "Acme & Co"}, method="PATCH")

    assert (page.status_code, "Acme" in page.text) == (200, True)
    assert (bare.status_code, bare.json()["code"]) == (403, "stale_form")
    assert (proven.status_code, proven.json()["name"]) == (200, "Acme & Co")


async def test_a_token_in_a_header_needs_no_form_token(site: ClerkSite) -> None:
    async with running(site.application, site.token(site.clerk.add_user())) as program:
        changed = await program.patch(TENANT, json={"name": "Mine"})

    assert (changed.status_code, changed.json()["name"]) == (200, "Mine")
    assert not changed.cookies


async def test_a_session_that_has_ended_does_not_hide_the_cookie_of_clerk(
    site: ClerkSite, system: Database, alice: TestTenant
) -> None:
    ada = site.clerk.add_user()
    async with browsing_as(site.application, system, alice) as browser:
        browser.client.cookies.set(COOKIE, site.token(ada))
        before = (await browser.get(TENANT)).json()["slug"]
        await browser.send(SESSIONS, method="DELETE")

        after = (await browser.get(TENANT)).json()["slug"]

    assert (before, after) == ("alice", "ada-lovelace")


async def test_keys_that_change_at_clerk_are_fetched_again(site: ClerkSite) -> None:
    ada = site.clerk.add_user()
    old = site.token(ada)
    assert (await site.get(old)).status_code == 200
    clock = site.application.state.runtime.vendors.clerk_tokens._keys

    site.clerk.rotate_key()
    # Ten seconds between two fetches are over.
    clock._tried_at = None
    answers = [await site.get(site.token(ada)), await site.get(old)]

    assert [each.status_code for each in answers] == [200, 401]
    assert site.clerk.calls[JWKS] == 2


async def test_a_token_that_is_not_meant_for_us_lets_nobody_in(
    site: ClerkSite, admin: AsyncConnection
) -> None:
    ada = site.clerk.add_user()
    for claims in (
        {"azp": "https://evil.example"},
        {"azp": None},
        {"iss": "https://other.clerk.accounts.dev"},
        {"exp": 1_700_000_000},
        {"sid": None},
        {"sts": "pending"},
    ):
        token = site.token(ada, **claims)
        by_header = await site.get(token)
        async with site.browsing(token) as browser:
            by_cookie = await browser.get(TENANT)

        assert (by_header.status_code, by_cookie.status_code) == (401, 401), claims
    assert await count_rows(admin, "users") == 0


async def test_an_altered_token_lets_nobody_in(site: ClerkSite) -> None:
    ada, eve = site.clerk.add_user(), site.clerk.add_user("eve@example.com")
    head, _, signature = site.token(eve).split(".")
    body = site.token(ada).split(".")[1]

    answers = [await site.get(f"{head}.{body}.{signature}"), await site.get("garbage")]

    assert [each.status_code for each in answers] == [401, 401]


async def test_who_has_no_verified_email_is_not_let_in(
    site: ClerkSite, admin: AsyncConnection
) -> None:
    ada = site.clerk.add_user(status="unverified")

    answer = await site.get(site.token(ada))

    assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in")
    assert "not verified" in answer.json()["detail"]
    assert await count_rows(admin, "users") == 0


async def test_who_is_gone_from_clerk_is_told_what_a_stranger_is_told(site: ClerkSite) -> None:
    ada, acme = site.clerk.add_user(), site.clerk.add_organization()
    gone = {"id": "user_gone"}, {"id": "org_gone", "slug": "gone"}

    answers = [
        await site.get(site.token(gone[0])),
        await site.get(site.token(gone[0], acme)),
        await site.get(site.token(ada, gone[1])),
    ]

    assert [(each.status_code, each.json()["code"]) for each in answers] == [
        (401, "not_signed_in")
    ] * 3


async def test_an_installation_without_clerk_takes_none_of_its_tokens(
    cluster: Cluster, short_folder: Path, database_name: str, clerk: FakeClerk
) -> None:
    home = short_folder / "home"
    async with clerk_site(cluster, home, database_name, clerk, clerk_issuer=None) as site:
        answer = await site.get(site.token(site.clerk.add_user()))

    assert answer.status_code == 401
    assert not site.clerk.calls


async def test_a_clerk_that_is_down_lets_in_whom_it_has_let_in_before(site: ClerkSite) -> None:
    ada, eve = site.clerk.add_user(), site.clerk.add_user("eve@example.com")
    await site.get(site.token(ada))

    with site.clerk.down():
        known, stranger = await site.get(site.token(ada)), await site.get(site.token(eve))

    assert known.status_code == 200
    assert (stranger.status_code, stranger.json()["code"]) == (502, "vendor_unreachable")


async def test_an_account_with_a_password_becomes_that_of_its_verified_email(
    site: ClerkSite, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await set_user(system, alice.user_id, password_hash="$argon2id$sample", tenant_id=alice.id)
    alices = site.clerk.add_user("Alice@Example.com")
    async with browsing_as(site.application, system, alice) as before:
        seen = await site.get(site.token(alices))

        assert (seen.json()["id"], seen.status_code) == (str(alice.id), 200)
        assert (await before.get(TENANT)).status_code == 401
    user = await user_of(system, alice.user_id)
    assert user.clerk_id == alices["id"]
    assert await admin.scalar(text("SELECT count(password_hash) FROM users")) == 0


async def test_b24_nobody_takes_an_account_by_an_email_that_its_owner_at_clerk_gave_up(
    site: ClerkSite, system: Database
) -> None:
    first = site.clerk.add_user("ada@example.com")
    firsts = (await site.get(site.token(first))).json()["id"]
    first["email_addresses"] = []
    second = site.clerk.add_user("ada@example.com")

    seconds = (await site.get(site.token(second, sid="sess_2"))).json()["id"]

    assert firsts != seconds
    assert (await site.get(site.token(first))).json()["id"] == firsts
    async with system.session_without_tenant() as session:
        rows = await session.execute(select(User.clerk_id, User.email))
        emails = {row.clerk_id: row.email for row in rows}
    assert emails == {
        first["id"]: f"{first['id']}@clerk.invalid",
        second["id"]: "ada@example.com",
    }


@pytest.mark.parametrize("has_organization", [False, True])
async def test_c09_signing_out_everywhere_is_not_undone_by_the_same_session_of_clerk(
    site: ClerkSite, *, has_organization: bool
) -> None:
    ada = site.clerk.add_user()
    acme = site.clerk.add_organization() if has_organization else None
    async with site.browsing(site.token(ada, acme)) as browser:
        answer = await browser.submit("/sign-out/everywhere")

        assert answer.status_code == 303
        assert (await browser.get(TENANT)).status_code == 401
    assert (await site.get(site.token(ada, acme))).status_code == 401
    assert (await site.get(site.token(ada, acme, sid="sess_2"))).status_code == 200


async def test_signing_out_everywhere_by_a_token_ends_the_sessions_here_too(
    site: ClerkSite, system: Database, alice: TestTenant
) -> None:
    await set_user(system, alice.user_id, tenant_id=alice.id)
    alices = site.clerk.add_user("alice@example.com")
    await site.get(site.token(alices))
    async with (
        browsing_as(site.application, system, alice) as browser,
        running(site.application, site.token(alices)) as program,
    ):
        listed = [each["method"] for each in (await program.get(SESSIONS)).json()]
        ended = await program.delete(SESSIONS)

        assert (sorted(listed), ended.json()) == (["clerk", "link"], {"ended": 2})
        assert (await browser.get(TENANT)).status_code == 401


async def test_c09_the_ids_of_a_session_at_clerk_make_no_cookie(site: ClerkSite) -> None:
    ada, acme = site.clerk.add_user(), site.clerk.add_organization()
    await site.get(site.token(ada, sid="sess_1"))
    await site.get(site.token(ada, acme, sid="sess_1"))
    ours = site.application.state.site.session_cookie

    for guess in ("clerk sess_1 None", f"clerk sess_1 {acme['id']}", "clerk session sess_1 None"):
        async with browsing(site.application) as browser:
            answer = await browser.get(TENANT, Cookie=f"{ours}={guess}")

        assert answer.status_code == 401, guess
        assert token_hash(guess) != clerk_credential(
            "sess_1", None, site.application.state.runtime.secrets.pepper
        )


async def test_b17_who_is_removed_here_does_not_come_back_by_a_token(site: ClerkSite) -> None:
    ada, eve = site.clerk.add_user(), site.clerk.add_user("eve@example.com")
    acme = site.clerk.add_organization()
    await site.get(site.token(eve, acme, sid="sess_2"))
    async with running(site.application, site.token(ada, acme, rol="admin")) as admins:
        eves = next(
            each["id"]
            for each in (await admins.get("/api/v1/members")).json()
            if each["email"] == "eve@example.com"
        )
        removed = await admins.delete(f"/api/v1/members/{eves}")
    questions = dict(site.clerk.calls)

    answers = [await site.get(site.token(eve, acme, sid=sid)) for sid in ("sess_2", "sess_3")]

    assert removed.status_code == 204
    assert [each.status_code for each in answers] == [401, 401]
    # Nor is Clerk asked who they are.
    assert dict(site.clerk.calls) == questions


async def test_who_lost_the_tenant_that_they_opened_first_gets_one_of_their_own(
    site: ClerkSite, system: Database, alice: TestTenant
) -> None:
    await set_user(system, alice.user_id, tenant_id=alice.id)
    alices = site.clerk.add_user("alice@example.com")
    assert (await site.get(site.token(alices))).json()["id"] == str(alice.id)
    async with system.session_without_tenant() as session:
        ending = update(Membership).where(Membership.user_id == alice.user_id)
        await session.execute(ending.values(ended_at=Membership.created_at))

    seen = (await site.get(site.token(alices))).json()

    assert seen["id"] != str(alice.id)
    assert seen["name"] == "Ada Lovelace"


@pytest.mark.parametrize("setting", ["address_requests", "user_requests", "tenant_requests"])
async def test_c12_the_limits_hold_for_tokens_of_clerk(
    cluster: Cluster, short_folder: Path, database_name: str, clerk: FakeClerk, setting: str
) -> None:
    home = short_folder / "home"
    async with clerk_site(cluster, home, database_name, clerk, **{setting: 4}) as site:
        token = site.token(site.clerk.add_user())

        answers = [await site.get(token) for _ in range(6)]

    statuses = [each.status_code for each in answers]
    assert statuses[0] == 200
    assert statuses[-1] == 429
    assert int(answers[-1].headers["Retry-After"]) > 0


async def test_c12_clerk_is_not_asked_without_end_about_one_stranger(site: ClerkSite) -> None:
    ada = site.clerk.add_user(status="unverified")
    token = site.token(ada)

    statuses = [(await site.get(token)).status_code for _ in range(35)]

    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert site.clerk.calls[f"/v1/users/{ada['id']}"] < 34


async def test_c02_no_token_and_no_key_of_clerk_reaches_the_logs(
    site: ClerkSite, caplog: pytest.LogCaptureFixture
) -> None:
    ada = site.clerk.add_user()
    good, bad = site.token(ada), site.token(ada, azp="https://evil.example")
    with capture_logs() as logs:
        for token in (good, bad, good + "x"):
            await site.get(token)
            async with site.browsing(token) as browser:
                await browser.get("/")

    written = str(logs) + caplog.text
    refusals = [each for each in logs if each["event"] == "clerk.token_refused"]
    assert len(refusals) == 4
    for token in (good, bad):
        assert not [part for part in token.split(".")[1:] if part in written]
    assert site.clerk.secret_key not in written


async def test_c02_the_database_holds_no_id_of_a_session_at_clerk(
    site: ClerkSite, admin: AsyncConnection
) -> None:
    await site.get(site.token(site.clerk.add_user(), sid="sess_plain"))

    rows = await admin.execute(text("SELECT s::text, encode(token_sha256, 'hex') FROM sessions s"))

    (row, hashed), *others = rows.all()
    assert not others
    assert "sess_plain" not in row
    assert hashed != token_hash("sess_plain").hex()


async def test_a_person_of_clerk_is_found_in_an_index_alone(
    cluster: Cluster, database_name: str, site: ClerkSite, admin: AsyncConnection
) -> None:
    ada = site.clerk.add_user()
    await site.get(site.token(ada))
    await admin.execute(
        text(
            "INSERT INTO users (id, email, clerk_id) SELECT gen_random_uuid(), n || '@x', 'u' || n"
            " FROM generate_series(1, 5000) AS n"
        )
    )
    await admin.commit()

    plan = await plan_of_entering(cluster, database_name, ada["id"])

    assert plan["Node Type"] == "Index Only Scan"
    assert plan["Index Name"] == "uq_users_clerk_id"
    assert (plan["Actual Rows"], plan["Heap Fetches"]) == (1, 0)
