"""The adapter of Stripe against a server that takes and refuses what the documented API does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from itertools import permutations
from uuid import UUID

import pytest
from fakes.stripe import Call, FakeStripe

from viral.adapters.outgoing import Answer, Outgoing
from viral.adapters.stripe import Stripe, _refusal, read_event
from viral.errors import BadInput, VendorError, VendorRefused, VendorUnreachable
from viral.schema.vocabulary import Tier

TENANT = UUID("0199c0de-0000-7000-8000-00000000000a")
OTHER = UUID("0199c0de-0000-7000-8000-00000000000b")
PRICES: dict[Tier, str] = {"STARTER": "price_1", "PRO": "price_2", "AGENCY": "price_3"}
PAGES = {"success_url": "https://x.example/ok", "cancel_url": "https://x.example/no"}


@pytest.fixture
def account() -> Iterator[FakeStripe]:
    with FakeStripe() as account:
        yield account


@pytest.fixture
async def stripe(account: FakeStripe) -> AsyncIterator[Stripe]:
    async for adapter in connected(account):
        yield adapter


@pytest.fixture
async def patient(account: FakeStripe) -> AsyncIterator[Stripe]:
    """An adapter that tries again."""
    async for adapter in connected(account, retries=2):
        yield adapter


async def connected(account: FakeStripe, *, retries: int = 0) -> AsyncIterator[Stripe]:
    outgoing = Outgoing(vendors=[account.url], retries=retries)
    yield Stripe(
        account.url,
        api_key=account.api_key,
        api_version="2026-10-28.endive",
        prices=PRICES,
        outgoing=outgoing,
    )
    await outgoing.close()


async def make_customer(stripe: Stripe, tenant: UUID = TENANT) -> str:
    return await stripe.create_customer(tenant, "ann@x.example", "Ann's Kitchen")


# Customers, checkout, portal.


async def test_a_customer_belongs_to_its_tenant(account: FakeStripe, stripe: Stripe) -> None:
    customer = await make_customer(stripe)

    assert account.customers[customer] == {
        "id": customer,
        "object": "customer",
        "email": "ann@x.example",
        "name": "Ann's Kitchen",
        "metadata": {"tenant_id": str(TENANT)},
    }
    assert account.calls[0].headers["stripe-version"] == "2026-10-28.endive"


async def test_asking_twice_makes_one_customer_a_tenant(
    account: FakeStripe, stripe: Stripe
) -> None:
    first, again = await make_customer(stripe), await make_customer(stripe)
    other = await make_customer(stripe, OTHER)

    assert first == again != other
    assert list(account.customers) == [first, other]


async def test_an_answer_lost_on_its_way_does_not_make_a_second_customer(
    account: FakeStripe, patient: Stripe
) -> None:
    account.lose_answers(2)

    customer = await make_customer(patient)

    assert list(account.customers) == [customer]
    assert account.counts == {"POST customers": 3}


async def test_a_checkout_gives_the_subscription_its_tenant_and_plan(
    account: FakeStripe, stripe: Stripe
) -> None:
    customer = await make_customer(stripe)

    url = await stripe.checkout_url(customer, tier="PRO", tenant_id=TENANT, **PAGES)
    bought = await stripe.subscription(account.pay(*account.sessions))

    [session] = account.sessions.values()
    assert session["url"] == url
    assert session["client_reference_id"] == str(TENANT)
    assert account.calls[1].fields["cancel_url"] == PAGES["cancel_url"]
    assert (bought.customer, bought.status, bought.tier) == (customer, "active", "PRO")
    assert bought.tenant_id == TENANT
    assert account.subscriptions[bought.id]["metadata"]["tier"] == "PRO"


async def test_a_spent_checkout_does_not_come_back(account: FakeStripe, stripe: Stripe) -> None:
    customer = await make_customer(stripe)
    first = await stripe.checkout_url(customer, tier="PRO", tenant_id=TENANT, **PAGES)
    account.change(account.pay(*account.sessions), "canceled")

    second = await stripe.checkout_url(customer, tier="PRO", tenant_id=TENANT, **PAGES)

    assert first != second
    keys = [call.headers["idempotency-key"] for call in account.calls if call.method == "POST"]
    assert len(set(keys)) == 3


async def test_a_checkout_whose_answer_is_lost_is_opened_once(
    account: FakeStripe, patient: Stripe
) -> None:
    customer = await make_customer(patient)
    account.lose_answers()

    url = await patient.checkout_url(customer, tier="PRO", tenant_id=TENANT, **PAGES)

    assert [session["url"] for session in account.sessions.values()] == [url]


async def test_a_plan_without_a_price_is_not_sold(account: FakeStripe, stripe: Stripe) -> None:
    with pytest.raises(BadInput, match="FREE is not sold") as refused:
        await stripe.checkout_url("cus_1", tier="FREE", tenant_id=TENANT, **PAGES)

    assert refused.value.hint == "Choose STARTER, PRO, AGENCY."
    assert account.calls == []


async def test_the_portal_is_opened_for_the_customer(account: FakeStripe, stripe: Stripe) -> None:
    customer = await make_customer(stripe)

    url = await stripe.portal_url(customer, "https://x.example/plan")

    assert url.startswith(account.url.removesuffix("v1") + "p/session/")
    assert account.calls[1].fields == {
        "customer": customer,
        "return_url": "https://x.example/plan",
    }


async def test_the_events_of_a_checkout_name_customer_subscription_and_tenant(
    account: FakeStripe, stripe: Stripe
) -> None:
    customer = await make_customer(stripe)
    await stripe.checkout_url(customer, tier="PRO", tenant_id=TENANT, **PAGES)
    subscription = account.pay(*account.sessions)

    events = [read_event(account.delivery(event).body) for event in account.events]

    assert [event.type for event in events] == [
        "customer.subscription.created",
        "checkout.session.completed",
        "invoice.paid",
    ]
    assert [event.object_kind for event in events] == [
        "subscription",
        "checkout.session",
        "invoice",
    ]
    assert {event.customer_id for event in events} == {customer}
    assert {event.subscription_id for event in events} == {subscription}
    assert {event.tenant_id for event in events} == {TENANT}
    assert len({event.id for event in events}) == 3


# Subscriptions.


async def test_the_plan_is_that_of_the_price_and_not_of_the_metadata(
    account: FakeStripe, stripe: Stripe
) -> None:
    id_ = account.subscribe("cus_1", "price_1", metadata={"tier": "STARTER"})

    account.change_price(id_, "price_3")

    assert (await stripe.subscription(id_)).tier == "AGENCY"


async def test_the_period_ends_with_the_item_of_the_plan(
    account: FakeStripe, stripe: Stripe
) -> None:
    id_ = account.subscribe("cus_1", "price_extra", "price_1", "price_2")
    items = account.subscriptions[id_]["items"]["data"]
    for day, item in enumerate(items):
        item["current_period_end"] = 1_800_000_000 + day * 86_400

    found = await stripe.subscription(id_)

    assert found.tier == "PRO"
    assert found.period_end == datetime.fromtimestamp(1_800_172_800, UTC)


async def test_a_subscription_of_another_price_has_no_plan(
    account: FakeStripe, stripe: Stripe
) -> None:
    id_ = account.subscribe("cus_1", "price_extra", metadata={"tenant_id": "nobody"})

    found = await stripe.subscription(id_)

    assert (found.tier, found.tenant_id) == (None, None)
    assert found.period_end is not None


async def test_a_subscription_without_items_has_neither_plan_nor_end(
    account: FakeStripe, stripe: Stripe
) -> None:
    found = await stripe.subscription(account.subscribe("cus_1"))

    assert (found.tier, found.period_end) == (None, None)


async def test_an_expanded_customer_is_read_by_its_id(account: FakeStripe, stripe: Stripe) -> None:
    id_ = account.subscribe("cus_1", "price_1")
    account.subscriptions[id_]["customer"] = {"id": "cus_1", "object": "customer"}

    assert (await stripe.subscription(id_)).customer == "cus_1"


@pytest.mark.parametrize("id_", ["", "../customers", "sub_1/x", "sub_1?expand=x", "sub_1\n"])
async def test_an_id_cannot_lead_to_another_call(
    account: FakeStripe, stripe: Stripe, id_: str
) -> None:
    with pytest.raises(BadInput, match="no id of a subscription"):
        await stripe.subscription(id_)

    assert account.calls == []


async def test_all_subscriptions_of_a_customer_are_listed_page_by_page(
    account: FakeStripe, stripe: Stripe
) -> None:
    customer, other = await make_customer(stripe), await make_customer(stripe, OTHER)
    made = [account.subscribe(customer, "price_1", status="canceled") for _ in range(120)]
    account.subscribe(other, "price_1")

    found = await stripe.subscriptions_of(customer)

    assert [one.id for one in found] == made[::-1]
    assert account.counts["GET subscriptions"] == 3


async def test_a_customer_without_subscriptions_has_no_current_one(stripe: Stripe) -> None:
    customer = await make_customer(stripe)

    assert await stripe.current(customer) is None


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("active", "past_due"),
        ("trialing", "past_due"),
        ("past_due", "unpaid"),
        ("past_due", "paused"),
        ("past_due", "canceled"),
        ("active", "incomplete"),
    ],
)
async def test_the_subscription_in_better_standing_decides(
    account: FakeStripe, stripe: Stripe, better: str, worse: str
) -> None:
    customer = await make_customer(stripe)
    account.subscribe(customer, "price_3", status=worse)
    decides = account.subscribe(customer, "price_1", status=better)
    account.subscribe(customer, "price_3", status=worse)

    current = await stripe.current(customer)

    assert current is not None
    assert current.id == decides


@pytest.mark.parametrize("statuses", [("active", "trialing"), ("canceled", "unpaid")])
async def test_among_equals_the_newest_decides(
    account: FakeStripe, stripe: Stripe, statuses: tuple[str, str]
) -> None:
    for order in permutations(statuses):
        customer = await make_customer(stripe, UUID(int=len(account.customers)))
        *_, newest = [account.subscribe(customer, "price_1", status=status) for status in order]

        current = await stripe.current(customer)

        assert current is not None
        assert current.id == newest


async def test_something_else_bought_does_not_hide_the_plan(
    account: FakeStripe, stripe: Stripe
) -> None:
    customer = await make_customer(stripe)
    account.subscribe(customer, "price_3", status="canceled")
    plan = account.subscribe(customer, "price_1")
    extra = account.subscribe(customer, "price_extra")

    first = await stripe.current(customer)
    account.change(plan, "canceled")
    second = await stripe.current(customer)

    assert first is not None
    assert second is not None
    assert (first.id, first.tier) == (plan, "STARTER")
    assert (second.id, second.tier) == (extra, None)


# Refusals and faults.


@pytest.mark.parametrize(
    ("status", "code", "kind", "why", "hint"),
    [
        (400, "parameter_missing", VendorRefused, "does not take", "STRIPE_PRICES"),
        (401, "api_key_expired", VendorRefused, "key is not accepted", "STRIPE_API_KEY"),
        (402, "card_declined", VendorRefused, "payment failed", "another card"),
        (403, "more_permissions", VendorRefused, "may not do", "STRIPE_API_KEY"),
        (404, "resource_missing", VendorRefused, "no such thing", "same account"),
        (409, "idempotency_key_in_use", VendorUnreachable, "doing the same", "in a moment"),
        (424, "external", VendorUnreachable, "behind Stripe", "some minutes"),
        (429, "rate_limit", VendorUnreachable, "too many", "in a minute"),
        (500, "api_error", VendorUnreachable, "fault of its own", "status.stripe.com"),
        (503, "api_error", VendorUnreachable, "fault of its own", "status.stripe.com"),
    ],
)
async def test_a_refusal_says_what_why_and_what_to_do(
    account: FakeStripe,
    stripe: Stripe,
    status: int,
    code: str,
    kind: type[VendorError],
    why: str,
    hint: str,
) -> None:
    account.fail(status, code)

    with pytest.raises(kind) as refused:
        await make_customer(stripe)

    assert refused.value.message.startswith("Stripe does not make a customer: ")
    assert why in refused.value.message
    assert f"(status {status}, code {code}, request req_000001)" in refused.value.message
    assert hint in refused.value.hint


async def test_a_wrong_key_is_refused_and_appears_nowhere(account: FakeStripe) -> None:
    account.api_key = "sk_test_right"
    async for stripe in connected(account):
        account.api_key = "sk_test_rotated"
        with pytest.raises(VendorRefused) as refused:
            await stripe.subscription("sub_1")

    assert "read sub_1: the key is not accepted" in refused.value.message
    assert "sk_test" not in repr(refused.value) + refused.value.hint
    assert "sk_test" not in repr(stripe)


async def test_sentences_of_stripe_do_not_reach_the_message(
    account: FakeStripe, stripe: Stripe
) -> None:
    account.fail(400, f"bad {account.api_key}")

    with pytest.raises(VendorRefused) as refused:
        await stripe.portal_url("cus_1", "https://x.example/")

    assert refused.value.message.endswith("(status 400, request req_000001).")


async def test_a_wrong_price_is_named_by_its_parameter(account: FakeStripe, stripe: Stripe) -> None:
    customer = await make_customer(stripe)
    account.prices.clear()

    with pytest.raises(VendorRefused, match=r"parameter line_items\[0\]\[price\]"):
        await stripe.checkout_url(customer, tier="PRO", tenant_id=TENANT, **PAGES)


async def test_what_fails_for_a_moment_is_tried_again(account: FakeStripe, patient: Stripe) -> None:
    account.fail(503, "api_error")
    account.fail(429, "rate_limit")

    customer = await make_customer(patient)

    assert list(account.customers) == [customer]


async def test_what_stripe_refuses_is_not_tried_again(account: FakeStripe, patient: Stripe) -> None:
    with pytest.raises(VendorRefused, match="no such thing"):
        await patient.subscription("sub_1")

    assert account.counts == {"GET subscriptions/sub_1": 1}


async def test_a_stripe_that_is_down_is_unreachable() -> None:
    with FakeStripe() as account:
        gone = account.url
    outgoing = Outgoing(vendors=[gone], retries=0)
    stripe = Stripe(gone, api_key="sk_x", api_version="1", prices=PRICES, outgoing=outgoing)

    with pytest.raises(VendorUnreachable, match=r"127\.0\.0\.1"):
        await stripe.current("cus_1")

    await outgoing.close()


async def test_a_state_that_is_not_known_is_no_silent_guess(
    account: FakeStripe, stripe: Stripe
) -> None:
    id_ = account.subscribe("cus_1", "price_1", status="half_active")

    with pytest.raises(VendorRefused, match="cannot be read") as refused:
        await stripe.subscription(id_)

    assert "STRIPE_API_VERSION" in refused.value.hint


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"error": "no"}', b'{"error":{"code":"\xff"}}', b'{"x":' * 90_000]
)
def test_a_page_of_a_proxy_is_a_refusal_too(body: bytes) -> None:
    refused = _refusal(Answer(502, {}, body), "open the portal")

    assert isinstance(refused, VendorUnreachable)
    assert refused.message.endswith("(status 502).")


# The stand-in is as strict as the API.


@pytest.mark.parametrize(
    ("path", "fields", "code", "param"),
    [
        ("checkout/sessions", {"customer": "cus_1"}, "parameter_missing", "line_items[0][price]"),
        ("billing_portal/sessions", {}, "parameter_missing", "customer"),
        ("billing_portal/sessions", {"customer": "cus_1"}, "resource_missing", "customer"),
        ("customers", {"tenant": "x"}, "parameter_unknown", "tenant"),
    ],
)
def test_the_stand_in_refuses_what_the_api_refuses(
    path: str, fields: dict[str, str], code: str, param: str
) -> None:
    account = FakeStripe()
    headers = {"authorization": f"Bearer {account.api_key}", "stripe-version": "1"}

    status, answer, _ = account.answer(Call("POST", path, fields, headers))

    assert (status, answer["error"]["code"], answer["error"]["param"]) == (400, code, param)


def test_the_stand_in_refuses_a_key_used_for_something_else() -> None:
    account = FakeStripe()
    headers = {
        "authorization": f"Bearer {account.api_key}",
        "stripe-version": "1",
        "idempotency-key": "k",
    }
    calls = [Call("POST", "customers", {"name": name}, headers) for name in ("a", "a", "b")]

    answers = [account.answer(call) for call in calls]

    assert [status for status, _, _ in answers] == [200, 200, 400]
    assert answers[0] == answers[1]
    assert answers[2][1]["error"]["type"] == "idempotency_error"


def test_the_stand_in_keeps_to_the_states_of_a_subscription() -> None:
    account = FakeStripe()
    id_ = account.subscribe("cus_1", "price_1", status="trialing")

    for status in ("paused", "active", "past_due", "unpaid", "active", "canceled"):
        account.change(id_, status)

    with pytest.raises(AssertionError, match="canceled does not become active"):
        account.change(id_, "active")
    assert [event["type"].split(".")[-1] for event in account.events] == [
        "created",
        "paused",
        "resumed",
        "payment_failed",
        "updated",
        "updated",
        "paid",
        "updated",
        "deleted",
    ]
