"""The end of what a customer pays for, at a server that does what the documented API does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import pytest
from fakes.stripe import FakeStripe, Refused

from viral.adapters.outgoing import Outgoing
from viral.adapters.stripe import Stripe
from viral.errors import VendorRefused

TENANTS = [UUID(f"0199c0de-0000-7000-8000-00000000000{each}") for each in "ab"]


@pytest.fixture
def account() -> Iterator[FakeStripe]:
    with FakeStripe() as account:
        yield account


@pytest.fixture
async def stripe(account: FakeStripe) -> AsyncIterator[Stripe]:
    outgoing = Outgoing(vendors=[account.url], retries=2)
    yield Stripe(
        account.url,
        api_key=account.api_key,
        api_version="2026-10-28.endive",
        prices={"STARTER": "price_1"},
        outgoing=outgoing,
    )
    await outgoing.close()


async def make_customer(stripe: Stripe, tenant: UUID) -> str:
    return await stripe.create_customer(tenant, "ann@x.example", "Ann's Kitchen")


async def test_whatever_a_customer_has_is_ended_though_an_answer_is_lost(
    account: FakeStripe, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer, other = [await make_customer(stripe, each) for each in TENANTS]
    ended = account.subscribe(customer, "price_1", status="canceled")
    late, paid = account.subscribe(customer, "price_2"), account.subscribe(customer, "price_1")
    account.change(late, "past_due")
    kept = account.subscribe(other, "price_1")
    end = account.change

    def end_unheard(id_: str, status: str) -> None:
        end(id_, status)
        account.lose_answers()

    monkeypatch.setattr(account, "change", end_unheard)

    assert await stripe.cancel_all(customer) == [paid, late]

    states = {id_: each["status"] for id_, each in account.subscriptions.items()}
    assert states == dict.fromkeys((ended, late, paid), "canceled") | {kept: "active"}
    assert account.counts[f"DELETE subscriptions/{ended}"] == 0
    assert await stripe.cancel_all(customer) == []


async def test_a_subscription_that_stripe_does_not_end_is_told(
    account: FakeStripe, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await make_customer(stripe, TENANTS[0])
    id_ = account.subscribe(customer, "price_1")

    def refuse(_id: str, _status: str) -> None:
        raise Refused(403, "more_permissions_required")

    monkeypatch.setattr(account, "change", refuse)

    with pytest.raises(VendorRefused, match=f"does not cancel {id_}: the key may not do this"):
        await stripe.cancel_all(customer)
