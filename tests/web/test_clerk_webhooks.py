"""Clerk's webhooks: each has one effect, in whatever order they come, and only when signed."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from clusters import Cluster, count_rows
from factories import TestTenant
from fakes.clerk import Delivery, FakeClerk
from pydantic import SecretStr
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from viral.database.engine import Database
from viral.schema.tenants import User, WebhookEvent
from web.clerk_site import (
    TENANT,
    WEBHOOK,
    ClerkSite,
    also_in,
    clerk_site,
    member,
    moment,
    person_in,
    settle,
    state_of,
    tell,
)
from web.conftest import browsing
from web.programs import browsing_as, make_key

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


async def test_people_organizations_and_memberships_are_kept_as_clerk_tells(
    site: ClerkSite, system: Database
) -> None:
    ada, acme = site.clerk.add_user("Ada@Example.com"), site.clerk.add_organization("Acme")
    outcomes = [
        await site.deliver("user.created", ada),
        await site.deliver("organization.created", acme),
        await tell(site, member(site, "created", acme, ada, role="org:admin")),
    ]

    assert outcomes == ["applied"] * 3
    assert await state_of(system, acme) == ("Acme", [("ada@example.com", "ADMIN")])
    assert (await site.get(site.token(ada, acme, rol="admin"), INVITATIONS)).status_code == 200
    # The person was known: nobody had to be asked.
    assert not [path for path in site.clerk.calls if path.startswith("/v1/")]


async def test_changes_reach_people_and_organizations(site: ClerkSite, system: Database) -> None:
    ada, acme = site.clerk.add_user("ada@example.com"), site.clerk.add_organization("Acme")
    await settle(site, acme, ada)
    address = ada["email_addresses"][1] | {"email_address": "Countess@Example.com"}
    renamed = ada | {"first_name": "Augusta", "updated_at": moment(5)}

    await site.deliver("user.updated", renamed | {"email_addresses": [address]})
    await site.deliver("organization.updated", acme | {"name": "Acme II", "updated_at": moment(5)})

    assert await state_of(system, acme) == ("Acme II", [("countess@example.com", "MEMBER")])
    async with system.session_without_tenant() as session:
        assert await session.scalar(select(User.name)) == "Augusta Lovelace"


async def test_a_membership_that_comes_before_its_person_makes_both_known(
    site: ClerkSite, system: Database
) -> None:
    ada, acme = site.clerk.add_user("ada@example.com"), site.clerk.add_organization("Acme")

    outcome = await tell(site, member(site, "created", acme, ada))

    assert outcome == "applied"
    assert await state_of(system, acme) == ("Acme", [("ada@example.com", "MEMBER")])
    assert site.clerk.calls[f"/v1/users/{ada['id']}"] == 1


async def test_a_membership_of_somebody_whom_nobody_knows_is_asked_for_again(
    site: ClerkSite, admin: AsyncConnection
) -> None:
    ada, acme = site.clerk.add_user(status="unverified"), site.clerk.add_organization("Acme")
    kind, data, _ = member(site, "created", acme, ada)
    delivery = site.clerk.delivery(site.clerk.event(kind, data), now=datetime.now(UTC))

    too_early = await site.send(delivery)

    # What is not 2xx is sent again by Svix, under the same id.
    assert (too_early.status_code, await count_rows(admin, "webhook_events")) == (404, 0)
    ada["email_addresses"][1]["verification"]["status"] = "verified"
    assert (await site.send(delivery)).json() == {"outcome": "applied"}


async def test_an_email_that_is_not_verified_makes_nobody_known(
    site: ClerkSite, admin: AsyncConnection, alice: TestTenant
) -> None:
    unverified = site.clerk.add_user("alice@example.com", status="unverified")

    outcome = await site.deliver("user.created", unverified)

    assert outcome == "ignored"
    users = await admin.execute(text("SELECT id, clerk_id FROM users"))
    assert list(users) == [(alice.user_id, None)]


async def test_kinds_that_nobody_needs_are_ignored(site: ClerkSite, admin: AsyncConnection) -> None:
    for kind in ("session.created", "email.created", "organizationInvitation.created", "new.kind"):
        assert await site.deliver(kind, {"id": "x_1"}) == "ignored"

    assert await count_rows(admin, "webhook_events") == 0


async def test_c14_a_repeated_delivery_has_one_effect_also_ten_at_once(
    site: ClerkSite, admin: AsyncConnection
) -> None:
    ada, acme = site.clerk.add_user(), site.clerk.add_organization("Acme")
    kind, data, _ = member(site, "created", acme, ada)
    delivery = site.clerk.delivery(site.clerk.event(kind, data), now=datetime.now(UTC))

    answers = await asyncio.gather(*(site.send(delivery) for _ in range(10)))

    assert [each.status_code for each in answers] == [200] * 10
    outcomes = sorted(each.json()["outcome"] for each in answers)
    assert outcomes == ["applied"] + ["known"] * 9
    for table in ("users", "tenants", "memberships", "webhook_events", "audit_log"):
        assert await count_rows(admin, table) == 1, table


async def test_who_is_taken_back_at_clerk_comes_back_with_the_same_session(
    site: ClerkSite,
) -> None:
    ada, acme = site.clerk.add_user(), site.clerk.add_organization("Acme")
    await settle(site, acme, ada)
    before = await site.get(site.token(ada, acme))
    await tell(site, member(site, "deleted", acme, ada, at_s=3))
    out = await site.get(site.token(ada, acme))

    await tell(site, member(site, "created", acme, ada, at_s=4))

    after = await site.get(site.token(ada, acme))
    assert [each.status_code for each in (before, out, after)] == [200, 401, 200]


async def test_b17_a_membership_that_ended_lets_nobody_in_at_the_next_request(
    site: ClerkSite, system: Database
) -> None:
    ada, acme = site.clerk.add_user(), site.clerk.add_organization("Acme")
    token = site.token(ada, acme)
    assert (await site.get(token)).status_code == 200
    async with site.browsing(token) as browser:
        key = await make_key(browser)
        person = await person_in(system, acme, ada)
        async with browsing_as(site.application, system, person) as by_link:
            await tell(site, member(site, "deleted", acme, ada, at_s=3))

            seen = [await browser.get(TENANT), await by_link.get(TENANT), await site.get(token)]
            seen.append(await site.get(key))
    assert [each.status_code for each in seen] == [401] * 4
    # Their own tenant is not the organization's business.
    assert (await site.get(site.token(ada))).status_code == 200


async def test_b17_a_membership_that_ended_before_the_first_request_lets_nobody_in(
    site: ClerkSite,
) -> None:
    ada, acme = site.clerk.add_user(), site.clerk.add_organization("Acme")
    await tell(site, member(site, "deleted", acme, ada, at_s=3))

    assert (await site.get(site.token(ada, acme))).status_code == 401


async def test_c09_a_new_role_counts_at_once_and_ends_only_what_began_here(
    site: ClerkSite, system: Database, alice: TestTenant
) -> None:
    ada, acme = site.clerk.add_user(), site.clerk.add_organization("Acme")
    await settle(site, acme, ada)
    token = site.token(ada, acme, rol="admin")
    assert (await site.get(token, INVITATIONS)).status_code == 403
    here = await person_in(system, acme, ada)
    elsewhere = await also_in(system, here, alice)
    async with (
        browsing_as(site.application, system, here) as local,
        browsing_as(site.application, system, elsewhere) as other,
    ):
        await tell(site, member(site, "updated", acme, ada, at_s=3, role="org:admin"))

        assert (await site.get(token, INVITATIONS)).status_code == 200
        assert (await local.get(TENANT)).status_code == 401
        assert (await other.get(TENANT)).status_code == 200


async def test_the_same_role_again_ends_nothing(site: ClerkSite, system: Database) -> None:
    ada, acme = site.clerk.add_user(), site.clerk.add_organization("Acme")
    await settle(site, acme, ada)
    person = await person_in(system, acme, ada)
    async with browsing_as(site.application, system, person) as local:
        await tell(site, member(site, "updated", acme, ada, at_s=3))

        assert (await local.get(TENANT)).status_code == 200


async def test_a_deleted_person_loses_everything_but_not_what_is_of_others(
    site: ClerkSite, system: Database, alice: TestTenant
) -> None:
    ada, eve = site.clerk.add_user(), site.clerk.add_user("eve@example.com")
    acme = site.clerk.add_organization("Acme")
    for user in (ada, eve):
        await settle(site, acme, user)
    person = await person_in(system, acme, ada)
    elsewhere = await also_in(system, person, alice)
    async with system.session_without_tenant() as session:
        await session.execute(
            update(User).where(User.id == person.user_id).values(is_operator=True)
        )
    async with browsing_as(site.application, system, elsewhere) as other:
        await site.deliver("user.deleted", {"id": ada["id"], "deleted": True}, at_s=5)
        del site.clerk.users[ada["id"]]

        assert (await other.get(TENANT)).status_code == 401
    answers = [await site.get(site.token(*each)) for each in ((ada,), (ada, acme), (eve, acme))]
    assert [each.status_code for each in answers] == [401, 401, 200]
    # Who signs up with their address is somebody else.
    again = site.clerk.add_user()
    seen = await site.get(site.token(again))
    assert (seen.status_code, seen.json()["slug"]) == (200, "ada-lovelace")
    assert (await site.get(site.token(again), "/api/v1/tenants")).status_code == 403


async def test_a_deleted_organization_lets_everybody_out_and_keeps_its_rows(
    site: ClerkSite, system: Database, alice: TestTenant
) -> None:
    ada, acme = site.clerk.add_user(), site.clerk.add_organization("Acme")
    await settle(site, acme, ada)
    person = await person_in(system, acme, ada)
    # Somebody whom Clerk does not know was invited here.
    guest = await also_in(system, alice, person)
    async with browsing_as(site.application, system, guest) as guests:
        await site.deliver("organization.deleted", {"id": acme["id"], "deleted": True}, at_s=5)

        assert (await guests.get(TENANT)).status_code == 401
    assert (await site.get(site.token(ada, acme))).status_code == 401
    assert await state_of(system, acme) == ("Acme", [])


@pytest.mark.usefixtures("alice")
async def test_b24_news_of_an_email_takes_nobody_elses_account(
    site: ClerkSite, system: Database
) -> None:
    ada = site.clerk.add_user("ada@example.com")
    await site.deliver("user.created", ada | {"updated_at": moment(1)})
    address = ada["email_addresses"][1] | {"email_address": "alice@example.com"}
    moved = ada | {"email_addresses": [address], "first_name": "A.", "updated_at": moment(2)}

    outcome = await site.deliver("user.updated", moved)

    assert outcome == "applied"
    async with system.session_without_tenant() as session:
        rows = await session.execute(select(User.email, User.name, User.clerk_id))
        users = {row.email: (row.name, row.clerk_id) for row in rows}
    assert users == {
        "ada@example.com": ("A. Lovelace", ada["id"]),
        "alice@example.com": ("Alice", None),
    }


async def test_deeds_of_clerk_are_in_the_audit_log_of_the_tenant(
    site: ClerkSite, system: Database, admin: AsyncConnection
) -> None:
    ada, acme = site.clerk.add_user(), site.clerk.add_organization("Acme")
    await settle(site, acme, ada)
    await tell(site, member(site, "updated", acme, ada, at_s=3, role="org:admin"))
    await tell(site, member(site, "deleted", acme, ada, at_s=4))

    person = await person_in(system, acme, ada)
    log = await admin.execute(
        text("SELECT tenant_id, user_id, action, subject FROM audit_log ORDER BY created_at, id")
    )
    assert [tuple(each) for each in log] == [
        (person.id, person.user_id, "joined", "by Clerk"),
        (person.id, person.user_id, "changed role", "ADMIN"),
        (person.id, person.user_id, "ended membership", "by Clerk"),
    ]


async def test_c14_what_is_not_signed_by_clerk_now_has_no_effect(
    site: ClerkSite, admin: AsyncConnection
) -> None:
    now = datetime.now(UTC)
    event = site.clerk.event("user.created", site.clerk.add_user())
    good = site.clerk.delivery(event, now=now)
    other_secret = "whsec_" + base64.b64encode(b"somebody else's key, 32 bytes...").decode()
    refused = {
        "unsigned": Delivery(good.body, {"content-type": "application/json"}),
        "old": site.clerk.delivery(event, now=now - timedelta(seconds=310)),
        "early": site.clerk.delivery(event, now=now + timedelta(seconds=310)),
        "edited": replace(good, body=good.body.replace(b"Ada@", b"Eve@")),
        "another id": replace(good, headers=good.headers | {"svix-id": "msg_other"}),
        "another time": replace(good, headers=good.headers | {"svix-timestamp": "1790000000"}),
        "another key": site.clerk.delivery(event, now=now, secret=other_secret),
    }

    for name, delivery in refused.items():
        answer = await site.send(delivery)

        assert answer.status_code == 400, name
    for table in ("users", "webhook_events"):
        assert await count_rows(admin, table) == 0
    assert (await site.send(good)).json() == {"outcome": "applied"}


async def test_c14_two_secrets_hold_while_one_replaces_the_other(
    cluster: Cluster, short_folder: Path, database_name: str, clerk: FakeClerk
) -> None:
    coming = "whsec_" + base64.b64encode(b"the key that comes, 32 bytes....").decode()
    both = SecretStr(f"{clerk.webhook_secret}, {coming}")
    now = datetime.now(UTC)
    event = clerk.event("user.created", clerk.add_user())
    home = short_folder / "home"
    async with clerk_site(cluster, home, database_name, clerk, clerk_webhook_secret=both) as site:
        answers = [
            await site.send(clerk.delivery(event, now=now, secret=secret))
            for secret in (clerk.webhook_secret, coming)
        ]

    assert [each.status_code for each in answers] == [200, 200]


async def test_a_signed_event_that_makes_no_sense_is_refused_as_such(site: ClerkSite) -> None:
    for event in (b"{}", b"[]", b'{"type": "user.created", "data": {"id": "../x"}}', b"\xff"):
        answer = await site.send(site.clerk.delivery(event, now=datetime.now(UTC)))

        assert answer.status_code == 422, event


async def test_webhooks_are_nowhere_without_a_secret(
    cluster: Cluster, short_folder: Path, database_name: str, clerk: FakeClerk
) -> None:
    home = short_folder / "home"
    delivery = clerk.delivery(clerk.event("user.created", clerk.add_user()), now=datetime.now(UTC))
    async with clerk_site(cluster, home, database_name, clerk, clerk_webhook_secret=None) as site:
        answer = await site.send(delivery)

    assert answer.status_code == 404


async def test_c02_no_body_of_a_webhook_is_logged_or_kept(
    site: ClerkSite, system: Database
) -> None:
    ada = site.clerk.add_user("secret.ada@example.com")
    with capture_logs() as logs:
        await site.deliver("user.created", ada)
        async with browsing(site.application) as sender:
            await sender.client.post(WEBHOOK, content=b'{"type": "secret.ada"}')

    async with system.session_without_tenant() as session:
        (kept,) = (await session.scalars(select(WebhookEvent))).all()
    assert "secret.ada" not in str(logs).lower()
    assert kept.payload["subject"] == ada["id"]
    assert "secret.ada" not in str(kept.payload)
