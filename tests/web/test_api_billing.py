"""Buying a plan: the checkout, the portal, and what a tenant has afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from factories import TestTenant
from fakes.stripe import FakeStripe
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.settings import Settings
from web.conftest import Browser, serving
from web.programs import browsing_as, make_key, running
from web.shops import deliver, log_of, plan_of, selling

CHECKOUT = "/api/v1/billing/checkout"
PORTAL = "/api/v1/billing/portal"


@pytest.fixture
def account() -> Iterator[FakeStripe]:
    with FakeStripe() as account:
        yield account


@pytest.fixture
async def shop(settings: Settings, account: FakeStripe) -> AsyncIterator[Litestar]:
    async with serving(selling(settings, account)) as application:
        yield application


@pytest.fixture
async def buyer(shop: Litestar, system: Database, alice: TestTenant) -> AsyncIterator[Browser]:
    """Open a browser of Alice's where plans are sold."""
    async with browsing_as(shop, system, alice) as browser:
        yield browser


async def test_a_checkout_leads_to_a_page_of_stripes_and_the_payment_to_the_plan(
    buyer: Browser, account: FakeStripe, alice: TestTenant, admin: AsyncConnection
) -> None:
    answer = await buyer.send(CHECKOUT, {"plan": "AGENCY"})

    (session,) = account.sessions.values()
    assert answer.status_code == 201
    assert answer.json() == {"page": "checkout", "url": session["url"]}
    assert session["client_reference_id"] == str(alice.id)
    assert session["success_url"] == "http://127.0.0.1:8000/"
    (customer,) = account.customers.values()
    assert (customer["email"], customer["name"]) == ("alice@example.com", "Alice")
    # Nothing is given before it is paid.
    assert await plan_of(admin, alice.id) == ("PRO", "active", 50)

    account.pay(session["id"])
    for event in account.events:
        assert (await deliver(buyer, account.delivery(event))).json() == {"outcome": "applied"}

    assert await plan_of(admin, alice.id) == ("AGENCY", "active", 500)
    assert (await buyer.get("/api/v1/tenant")).json()["plan"] == "AGENCY"
    assert ("opened billing", "checkout") in await log_of(admin, alice.id)


async def test_a_living_subscription_leads_to_the_portal(
    buyer: Browser, account: FakeStripe
) -> None:
    await buyer.send(CHECKOUT, {"plan": "STARTER"})
    subscription = account.pay(next(iter(account.sessions)))
    for status in ("active", "past_due", "unpaid"):
        if status != "active":
            account.change(subscription, status)

        answer = await buyer.send(CHECKOUT, {"plan": "PRO"})

        assert (answer.status_code, answer.json()["page"]) == (201, "portal"), status
        assert "/p/session/" in answer.json()["url"]
    assert len(account.sessions) == 1

    account.change(subscription, "canceled")
    after = await buyer.send(CHECKOUT, {"plan": "PRO"})

    assert after.json()["page"] == "checkout"
    assert len(account.customers) == 1


async def test_an_older_subscription_that_lives_counts_beside_a_newer_one_that_ended(
    buyer: Browser, account: FakeStripe
) -> None:
    await buyer.send(PORTAL)
    (customer,) = account.customers
    account.subscribe(customer, "price_1", status="paused")
    account.change(account.subscribe(customer, "price_2"), "canceled")

    answer = await buyer.send(CHECKOUT, {"plan": "PRO"})

    assert answer.json()["page"] == "portal"


async def test_the_portal_opens_for_the_tenants_customer(
    buyer: Browser, account: FakeStripe, alice: TestTenant, admin: AsyncConnection
) -> None:
    first = await buyer.send(PORTAL)
    second = await buyer.send(PORTAL)

    (customer,) = account.customers
    asked = [call.fields for call in account.calls if call.path == "billing_portal/sessions"]
    assert (first.status_code, first.json()["page"]) == (201, "portal")
    assert first.json()["url"] != second.json()["url"]
    assert asked == [{"customer": customer, "return_url": "http://127.0.0.1:8000/"}] * 2
    assert (await log_of(admin, alice.id))[-1] == ("opened billing", "portal")


async def test_two_clicks_at_once_make_one_customer(buyer: Browser, account: FakeStripe) -> None:
    token = await buyer.form_token()
    answers = await asyncio.gather(
        *(
            buyer.client.post(CHECKOUT, json={"plan": "PRO"}, headers={"X-CSRFToken": token})
            for _ in range(4)
        )
    )

    assert [each.status_code for each in answers] == [201] * 4
    assert account.counts["POST customers"] == 1


async def test_what_is_no_plan_that_is_sold_is_refused(buyer: Browser, account: FakeStripe) -> None:
    for plan in ("FREE", "GOLD", "pro", None):
        answer = await buyer.send(CHECKOUT, {"plan": plan})

        assert (answer.status_code, answer.json()["code"]) == (422, "bad_input"), plan
    assert not account.sessions


async def test_where_no_plans_are_sold_that_is_said(alices: Browser) -> None:
    for path, body in ((CHECKOUT, {"plan": "PRO"}), (PORTAL, None)):
        answer = await alices.send(path, body)

        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert answer.json()["detail"] == "Plans are not sold here."
        assert "operator" in answer.json()["hint"]


async def test_what_stripe_refuses_is_said_without_the_key(
    buyer: Browser, account: FakeStripe, alice: TestTenant, admin: AsyncConnection
) -> None:
    account.fail(403, "more_permissions_required")

    answer = await buyer.send(CHECKOUT, {"plan": "PRO"})

    assert (answer.status_code, answer.json()["code"]) == (502, "vendor_refused")
    assert account.api_key not in answer.text
    assert ("opened billing", "checkout") not in await log_of(admin, alice.id)


async def test_a_key_with_the_scope_admin_may_buy(
    shop: Litestar, buyer: Browser, account: FakeStripe
) -> None:
    async with running(shop, await make_key(buyer, "read", "write", "admin")) as robot:
        answer = await robot.post(CHECKOUT, json={"plan": "PRO"})

    assert answer.status_code == 201
    assert next(iter(account.customers.values()))["email"] == "alice@example.com"
