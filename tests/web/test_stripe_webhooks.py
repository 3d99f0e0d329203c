"""What Stripe tells us: signed, once each, in any order, and about the customer's own tenant."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import permutations

import pytest
from clusters import count_rows
from factories import TestTenant
from fakes.stripe import Delivery, FakeStripe
from litestar import Litestar
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from viral.database.engine import Database
from viral.features.audit import note
from viral.features.billing import PaymentEvent, apply_payment_event
from viral.settings import Settings
from web.conftest import Browser, browsing, serving
from web.shops import become_customer, deliver, log_of, plan_of, selling

MINE = "cus_alice"
PRO = ("PRO", "active", 50)


@pytest.fixture
def account() -> Iterator[FakeStripe]:
    with FakeStripe(customers={name: {"id": name} for name in (MINE, "cus_bob")}) as account:
        yield account


@pytest.fixture
async def shop(settings: Settings, account: FakeStripe) -> AsyncIterator[Litestar]:
    async with serving(selling(settings, account)) as application:
        yield application


@pytest.fixture
async def sender(
    shop: Litestar, admin: AsyncConnection, alice: TestTenant, bob: TestTenant
) -> AsyncIterator[Browser]:
    """Stand for Stripe; Alice's tenant and Bob's are customers."""
    await become_customer(admin, alice.id, MINE)
    await become_customer(admin, bob.id, "cus_bob")
    async with browsing(shop) as browser:
        yield browser


async def test_a_subscription_gives_its_plan(
    sender: Browser, account: FakeStripe, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    subscription = account.subscribe(MINE, "price_3", metadata={"tenant_id": str(alice.id)})

    answer = await deliver(sender, account.delivery(account.events[-1]))

    assert (answer.status_code, answer.json()) == (200, {"outcome": "applied"})
    assert await plan_of(admin, alice.id) == ("AGENCY", "active", 500)
    assert await plan_of(admin, bob.id) == PRO
    assert await log_of(admin, alice.id) == [("changed plan", "AGENCY")]
    kept = (await admin.execute(text("SELECT * FROM webhook_events"))).one()
    assert (kept.tenant_id, kept.event_id) == (alice.id, account.events[-1]["id"])
    assert kept.processed_at is not None
    assert subscription not in json.dumps(kept.payload)


async def test_b16_an_event_of_a_customer_marked_for_another_tenant_is_ignored(
    sender: Browser, account: FakeStripe, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    account.subscribe(MINE, "price_3", metadata={"tenant_id": str(bob.id)})

    answer = await deliver(sender, account.delivery(account.events[-1]))

    assert (answer.status_code, answer.json()) == (200, {"outcome": "ignored"})
    assert await plan_of(admin, alice.id) == PRO
    assert await plan_of(admin, bob.id) == PRO
    assert await log_of(admin, alice.id) == [("refused webhook", "customer.subscription.created")]
    assert await log_of(admin, bob.id) == []
    assert not account.calls


async def test_f14_ten_deliveries_at_once_have_one_effect(
    sender: Browser, account: FakeStripe, alice: TestTenant, admin: AsyncConnection
) -> None:
    account.subscribe(MINE, "price_3")
    delivery = account.delivery(account.events[-1])

    answers = await asyncio.gather(*(deliver(sender, delivery) for _ in range(10)))

    assert [each.status_code for each in answers] == [200] * 10
    outcomes = sorted(each.json()["outcome"] for each in answers)
    assert outcomes == ["applied"] + ["known"] * 9
    assert await log_of(admin, alice.id) == [("changed plan", "AGENCY")]
    assert await count_rows(admin, "webhook_events") == 1
    assert account.counts == {"GET subscriptions": 1}


async def test_f15_all_orders_of_four_events_end_in_the_newest_state(
    sender: Browser, account: FakeStripe, alice: TestTenant, admin: AsyncConnection
) -> None:
    for number, order in enumerate(permutations(range(4))):
        customer = f"cus_{number}"
        account.customers[customer] = {"id": customer}
        await become_customer(admin, alice.id, customer)
        began = len(account.events)
        subscription = account.subscribe(customer, "price_1", status="incomplete")
        account.change(subscription, "active")
        account.change_price(subscription, "price_3")
        events = account.events[began:]
        assert len(events) == 4

        for place in order:
            answer = await deliver(sender, account.delivery(events[place]))

            assert answer.json() == {"outcome": "applied"}
        assert await plan_of(admin, alice.id) == ("AGENCY", "active", 500), order


async def test_f15_events_that_come_while_the_state_moves_on_end_in_the_newest_state(
    sender: Browser, account: FakeStripe, alice: TestTenant, admin: AsyncConnection
) -> None:
    subscription = account.subscribe(MINE, "price_1")
    account.change_price(subscription, "price_2")
    account.change(subscription, "past_due")
    *_, changed, _failed, _late = account.events

    # What happened first arrives last, days later, when the subscription has ended.
    await deliver(sender, account.delivery(account.events[-1]))
    assert await plan_of(admin, alice.id) == ("PRO", "past_due", 50)
    account.change(subscription, "canceled")
    await deliver(sender, account.delivery(account.events[-1]))
    await deliver(sender, account.delivery(changed))
    await deliver(sender, account.delivery(account.events[0]))

    assert await plan_of(admin, alice.id) == ("FREE", "canceled", 10)


async def test_a_canceled_subscription_leaves_the_free_plan(
    sender: Browser, account: FakeStripe, alice: TestTenant, admin: AsyncConnection
) -> None:
    subscription = account.subscribe(MINE, "price_3")
    await deliver(sender, account.delivery(account.events[-1]))

    account.change(subscription, "canceled")
    await deliver(sender, account.delivery(account.events[-1]))

    assert await plan_of(admin, alice.id) == ("FREE", "canceled", 10)
    assert (await log_of(admin, alice.id))[-1] == ("changed plan", "FREE")


async def test_a_late_payment_keeps_the_plan_and_an_unpaid_one_ends_it(
    sender: Browser, account: FakeStripe, alice: TestTenant, admin: AsyncConnection
) -> None:
    subscription = account.subscribe(MINE, "price_3")
    for status, plan in (("past_due", "AGENCY"), ("unpaid", "FREE"), ("active", "AGENCY")):
        account.change(subscription, status)
        await deliver(sender, account.delivery(account.events[-1]))

        assert (await plan_of(admin, alice.id))[:2] == (plan, status)


async def test_c14_what_stripe_did_not_sign_just_now_is_refused(
    sender: Browser, account: FakeStripe, alice: TestTenant, admin: AsyncConnection
) -> None:
    account.subscribe(MINE, "price_3")
    event = account.events[-1]
    good = account.delivery(event)
    sent = {
        "unsigned": Delivery(good.body, {"Content-Type": "application/json"}),
        "signed by another": account.delivery(event, secret="whsec_other"),
        "edited": replace(good, body=good.body.replace(MINE.encode(), b"cus_bobby")),
        "emptied": replace(good, body=b""),
        "old": account.delivery(event, at=time.time() - 302),
        "early": account.delivery(event, at=time.time() + 302),
        "a form": Delivery(b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}),
    }
    for change, delivery in sent.items():
        answer = await deliver(sender, delivery)

        assert answer.status_code == 400, change
        assert "signature_refused" in answer.text
        assert account.webhook_secret not in answer.text
    assert await plan_of(admin, alice.id) == PRO
    assert await count_rows(admin, "webhook_events") == 0
    assert not account.calls


async def test_c14_two_secrets_are_taken_in_a_change(
    settings: Settings, account: FakeStripe, admin: AsyncConnection, alice: TestTenant
) -> None:
    await become_customer(admin, alice.id, MINE)
    both = selling(settings, account, webhook_secrets="whsec_new, whsec_fake")
    async with serving(both) as application, browsing(application) as browser:
        for secret, price in (("whsec_new", "price_1"), ("whsec_fake", "price_3")):
            account.subscribe(MINE, price)
            delivery = account.delivery(account.events[-1], secret=secret)

            assert (await deliver(browser, delivery)).json() == {"outcome": "applied"}


async def test_c14_a_replayed_event_has_no_effect_also_under_a_new_signature(
    sender: Browser, account: FakeStripe, alice: TestTenant, admin: AsyncConnection
) -> None:
    account.subscribe(MINE, "price_3")
    event = account.events[-1]
    await deliver(sender, account.delivery(event))

    again = await deliver(sender, account.delivery(event, at=time.time() - 60))

    assert (again.status_code, again.json()) == (200, {"outcome": "known"})
    assert len(await log_of(admin, alice.id)) == 1


async def test_an_event_of_a_customer_that_nobody_is_is_ignored(
    sender: Browser, account: FakeStripe, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    account.subscribe("cus_nobody", "price_3", metadata={"tenant_id": str(alice.id)})

    with capture_logs() as logs:
        answer = await deliver(sender, account.delivery(account.events[-1]))

    assert (answer.status_code, answer.json()) == (200, {"outcome": "ignored"})
    assert await plan_of(admin, alice.id) == PRO
    assert await plan_of(admin, bob.id) == PRO
    assert "billing.unknown_customer" in [each["event"] for each in logs]
    assert not account.calls


async def test_a_price_that_is_none_of_ours_takes_nothing_away(
    sender: Browser, account: FakeStripe, alice: TestTenant, admin: AsyncConnection
) -> None:
    account.subscribe(MINE, "price_unknown", status="trialing")

    with capture_logs() as logs:
        answer = await deliver(sender, account.delivery(account.events[-1]))

    assert answer.json() == {"outcome": "applied"}
    assert await plan_of(admin, alice.id) == ("PRO", "trialing", 50)
    assert "billing.unknown_price" in [each["event"] for each in logs]


async def test_what_fails_leaves_no_trace_and_the_next_delivery_has_the_effect(
    sender: Browser, account: FakeStripe, alice: TestTenant, admin: AsyncConnection
) -> None:
    account.subscribe(MINE, "price_3")
    delivery = account.delivery(account.events[-1])
    account.fail(403, "more_permissions_required")

    failed = await deliver(sender, delivery)
    kept = await count_rows(admin, "webhook_events")
    again = await deliver(sender, delivery)

    assert (failed.status_code, kept) == (502, 0)
    assert again.json() == {"outcome": "applied"}
    assert (await plan_of(admin, alice.id))[0] == "AGENCY"


async def test_events_about_other_things_are_taken_without_effect(
    sender: Browser, account: FakeStripe, alice: TestTenant, admin: AsyncConnection
) -> None:
    event = {
        "id": "evt_9",
        "type": "product.created",
        "created": 1_790_000_000,
        "data": {"object": {"id": "prod_1", "object": "product"}},
    }

    answer = await deliver(sender, account.delivery(event))

    assert (answer.status_code, answer.json()) == (200, {"outcome": "ignored"})
    assert await plan_of(admin, alice.id) == PRO


async def test_a_signed_body_that_is_no_event_is_refused(
    sender: Browser, account: FakeStripe, admin: AsyncConnection
) -> None:
    for body in (b"[]", b"{}", b"\xff", b"[" * 100_000, b"null"):
        answer = await deliver(sender, account.delivery(body))

        assert answer.status_code == 422, body[:10]
    assert await count_rows(admin, "webhook_events") == 0


async def test_where_no_plans_are_sold_there_is_no_webhook(
    stranger: Browser, account: FakeStripe
) -> None:
    account.subscribe(MINE, "price_3")

    answer = await deliver(stranger, account.delivery(account.events[-1]))

    assert answer.status_code == 404


async def test_while_stripe_is_asked_the_tenant_goes_on_writing(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await become_customer(admin, alice.id, MINE)
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def ask(_customer: str) -> None:
        asked.set()
        await go_on.wait()

    event = PaymentEvent("stripe", "evt_1", "customer.subscription.deleted", MINE, None)
    applying = asyncio.create_task(apply_payment_event(system, event, ask))
    await asked.wait()
    async with app.tenant_session(alice.id) as session:
        await session.execute(text("SET LOCAL lock_timeout = '2s'"))
        await note(session, "signed in")
    go_on.set()

    assert await applying == "applied"
