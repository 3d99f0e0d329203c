"""Webhooks of Stripe, their signature and shapes, and the setting that names the prices."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from fakes.stripe import FakeStripe, Json

from viral.adapters.stripe import StripeEvent, parse_prices, read_event, verify_signature
from viral.errors import BadInput, BadSetting, SignatureRefused

TENANT = UUID("0199c0de-0000-7000-8000-00000000000a")
NOW = datetime.fromtimestamp(1_700_000_000, UTC)
# printf '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_known
BODY = b'{"id":"evt_1"}'
KNOWN = "68a37d422c7a8b96c533eaf81281025cd110ae84fcf96e4f0307b1bad5f2a1cd"
HEADER = f"t=1700000000,v1={KNOWN}"


def make_event(thing: Json, kind: str = "some.thing") -> StripeEvent:
    event = {"id": "evt_1", "type": kind, "created": 1_700_000_000, "data": {"object": thing}}
    return read_event(json.dumps(event).encode())


# The signature of a webhook.


def test_c14_a_signature_made_by_another_program_is_taken() -> None:
    verify_signature(["whsec_known"], HEADER, BODY, NOW)


def test_c14_a_delivery_is_taken_and_the_same_with_one_changed_byte_is_not() -> None:
    account = FakeStripe()
    sent = account.delivery(BODY, at=NOW.timestamp())
    signature = sent.headers["Stripe-Signature"]

    verify_signature([account.webhook_secret], signature, sent.body, NOW)
    with pytest.raises(SignatureRefused, match="not signed by"):
        verify_signature([account.webhook_secret], signature, sent.body + b" ", NOW)


def test_c14_a_signature_under_another_time_is_refused() -> None:
    with pytest.raises(SignatureRefused, match="not signed by"):
        verify_signature(["whsec_known"], HEADER.replace("t=17", "t=18"), BODY, NOW)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=1700000000",
        f"v1={KNOWN}",
        f"t=,v1={KNOWN}",
        f"t=-1700000000,v1={KNOWN}",
        f"t=1700000000,t=1700000000,v1={KNOWN}",
        f"t=1700000000,v0={KNOWN}",
        f"t=1700000000;v1={KNOWN}",
        f"t={'9' * 5000},v1={KNOWN}",
        f"t=\u0661\u0667\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660,v1={KNOWN}",
        "garbage",
    ],
)
def test_c14_a_message_without_a_whole_signature_is_refused(header: str) -> None:
    with pytest.raises(SignatureRefused, match="carries no signature"):
        verify_signature(["whsec_known"], header, BODY, NOW)


@pytest.mark.parametrize(
    "signature", ["", KNOWN[:-1], KNOWN + "0", "0" * 64, "\xe9" * 64, "\udcff"]
)
def test_c14_a_wrong_signature_is_refused(signature: str) -> None:
    with pytest.raises(SignatureRefused, match="not signed by"):
        verify_signature(["whsec_known"], f"t=1700000000,v1={signature}", BODY, NOW)


@pytest.mark.parametrize("off_s", [-301, 301, 86_400])
def test_c14_a_message_more_than_five_minutes_off_is_refused(off_s: int) -> None:
    with pytest.raises(SignatureRefused, match="300 s"):
        verify_signature(["whsec_known"], HEADER, BODY, NOW + timedelta(seconds=off_s))


@pytest.mark.parametrize("off_s", [-300, 300])
def test_c14_a_message_five_minutes_off_is_taken(off_s: int) -> None:
    verify_signature(["whsec_known"], HEADER, BODY, NOW + timedelta(seconds=off_s))


def test_c14_while_secrets_change_either_of_them_and_either_signature_counts() -> None:
    verify_signature(["whsec_next", " whsec_known "], HEADER, BODY, NOW)
    verify_signature(["whsec_known"], f"t=1700000000,v1={'0' * 64}, v1={KNOWN},v0=1", BODY, NOW)
    with pytest.raises(SignatureRefused):
        verify_signature(["whsec_next"], HEADER, BODY, NOW)


@pytest.mark.parametrize("secrets", [[], [""], [" ", ""]])
def test_c14_without_a_secret_nobody_can_sign(secrets: list[str]) -> None:
    forged = FakeStripe().delivery(BODY, secret=" ", at=NOW.timestamp())
    empty = "t=1700000000,v1=0544cee61c7f21c4f8ddaa03818d769214fe1cee99d6a47c009139d400184359"

    for header in (forged.headers["Stripe-Signature"], empty):
        with pytest.raises(SignatureRefused, match="not signed by"):
            verify_signature(secrets, header, BODY, NOW)


# Events.


@pytest.mark.parametrize(
    "naming",
    [
        {"subscription": "sub_1", "subscription_details": {"metadata": {"tier": "PRO"}}},
        {"subscription": {"id": "sub_1"}, "subscription_details": {"metadata": {"tier": "PRO"}}},
        {
            "parent": {
                "type": "subscription_details",
                "subscription_details": {"subscription": "sub_1", "metadata": {"tier": "PRO"}},
            }
        },
    ],
)
def test_invoices_of_old_and_of_new_versions_name_their_subscription(naming: Json) -> None:
    event = make_event({"id": "in_1", "object": "invoice", "customer": "cus_1", **naming})

    assert (event.object_id, event.customer_id, event.subscription_id) == (
        "in_1",
        "cus_1",
        "sub_1",
    )
    assert event.metadata == {"tier": "PRO"}


def test_an_invoice_without_a_subscription_names_none() -> None:
    event = make_event({"id": "in_1", "object": "invoice", "customer": "cus_1", "parent": None})

    assert event.subscription_id is None
    assert event.tenant_id is None


def test_a_customer_is_its_own_customer() -> None:
    event = make_event(
        {"id": "cus_1", "object": "customer", "metadata": {"tenant_id": str(TENANT)}}
    )

    assert (event.customer_id, event.tenant_id) == ("cus_1", TENANT)


def test_an_event_of_an_unknown_kind_keeps_what_is_known() -> None:
    event = make_event(
        {"object": "moon", "customer": 7, "subscription": ["x"], "metadata": {"a": "b", "c": 1}},
        "moon.rose",
    )

    assert event == StripeEvent(
        id="evt_1",
        type="moon.rose",
        created=NOW,
        object_kind="moon",
        object_id=None,
        customer_id=None,
        subscription_id=None,
        tenant_id=None,
        metadata={"a": "b"},
    )


def test_a_tenant_that_is_no_uuid_is_none() -> None:
    event = make_event({"object": "subscription", "metadata": {"tenant_id": "' OR 1=1"}})

    assert event.tenant_id is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff{}",
        b'{"id":"\xff","type":"a","created":1,"data":{"object":{}}}',
        b"[]",
        b'{"id":"evt_1","type":"a","created":1}',
        b'{"id":"evt_1","type":"a","created":1e300,"data":{"object":{}}}',
        b'{"id":"evt_1","type":"a","created":-5,"data":{"object":{}}}',
        b'{"id":"evt_1","type":"a","created":1,"data":{"object":' + b'{"a":' * 90_000,
        b'{"id":"evt_1","object":"v2.core.event","type":"a","created":"2026-01-01T00:00:00Z"}',
    ],
)
def test_what_is_no_event_is_bad_input(body: bytes) -> None:
    with pytest.raises(BadInput, match="no event of Stripe"):
        read_event(body)


# The setting STRIPE_PRICES.


def test_prices_are_read_by_plan() -> None:
    assert parse_prices(" starter = price_1 ,PRO=price_2, AGENCY=plan-old.3") == {
        "STARTER": "price_1",
        "PRO": "price_2",
        "AGENCY": "plan-old.3",
    }


@pytest.mark.parametrize("text", ["", "  "])
def test_without_prices_no_plan_is_sold(text: str) -> None:
    assert parse_prices(text) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("price_1", "entry 1 does not begin with a plan"),
        ("PRO=price_1,", "entry 2 does not begin with a plan"),
        ("PRO=price_1,GOLD=price_2", "entry 2 does not begin with a plan"),
        ("FREE=price_1", "entry 1 does not begin with a plan"),
        ("PRO", "entry 1 gives PRO no price id"),
        ("PRO=", "entry 1 gives PRO no price id"),
        ("PRO=prod_1", "entry 1 gives PRO no price id"),
        ("PRO=sk_live_1", "entry 1 gives PRO no price id"),
        ("PRO=a b", "entry 1 gives PRO no price id"),
        ("PRO=price_1,pro=price_2", "entry 2 gives PRO a second price"),
        ("PRO=price_1,AGENCY=price_1", "entry 2 gives AGENCY the price of another plan"),
    ],
)
def test_prices_that_make_no_sense_are_a_bad_setting(text: str, message: str) -> None:
    with pytest.raises(BadSetting, match=f"^STRIPE_PRICES: {message}"):
        parse_prices(text)


def test_a_key_written_into_the_prices_is_not_repeated() -> None:
    with pytest.raises(BadSetting) as refused:
        parse_prices("sk_live_topsecret,PRO=sk_live_topsecret")

    assert "topsecret" not in refused.value.message + refused.value.hint
