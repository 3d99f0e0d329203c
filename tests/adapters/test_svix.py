"""Svix's signature: what it signed is taken, and nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from fakes.clerk import Delivery, FakeClerk, svix_signature

from viral.adapters import svix
from viral.errors import BadSetting, SignatureRefused

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NEW_SECRET = "whsec_" + base64.b64encode(b"another key of 24 bytes.").decode()
BODY = b'{"type": "user.created", "data": {"id": "user_1"}}'


@pytest.fixture
def clerk() -> FakeClerk:
    """A signer; nothing here calls it."""
    return FakeClerk()


def verified(
    delivery: Delivery,
    *secrets: str,
    body: bytes | None = None,
    now: datetime = NOW,
    headers: Mapping[str, str | None] | None = None,
) -> str:
    """Verify a delivery whose body and headers are changed; a header of None is left out."""
    changed = {f"svix-{part}": value for part, value in (headers or {}).items()}
    sent = {
        name: value for name, value in (delivery.headers | changed).items() if value is not None
    }
    return svix.verify(secrets, sent, delivery.body if body is None else body, now=now)


@pytest.mark.parametrize("family", ["svix", "webhook", "Svix", "WEBHOOK"])
def test_c14_a_signed_message_gives_its_id(clerk: FakeClerk, family: str) -> None:
    delivery = clerk.delivery(BODY, now=NOW, id_="msg_7", family=family)

    assert verified(delivery, clerk.webhook_secret) == "msg_7"


def test_c14_the_example_of_the_specification_is_taken() -> None:
    # docs.svix.com/receiving/verifying-payloads/how-manual.
    headers = {
        "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "svix-timestamp": "1614265330",
        "svix-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    then = datetime.fromtimestamp(1_614_265_330, UTC)

    found = svix.verify(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], headers, b'{"test": 2432232314}', now=then
    )

    assert found == "msg_p5jXN8AQM9LWM0D4loKWxJek"


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_c14_a_message_inside_the_window_is_taken(clerk: FakeClerk, seconds: int) -> None:
    delivery = clerk.delivery(BODY, now=NOW + timedelta(seconds=seconds))

    assert verified(delivery, clerk.webhook_secret)


@pytest.mark.parametrize("seconds", [-301, 301, -86_400, 86_400])
def test_c14_an_old_or_future_message_is_refused(clerk: FakeClerk, seconds: int) -> None:
    delivery = clerk.delivery(BODY, now=NOW + timedelta(seconds=seconds))

    with pytest.raises(SignatureRefused):
        verified(delivery, clerk.webhook_secret)


def test_c14_a_replay_with_a_fresh_time_is_refused(clerk: FakeClerk) -> None:
    delivery = clerk.delivery(BODY, now=NOW)
    later = NOW + timedelta(hours=1)

    with pytest.raises(SignatureRefused):
        verified(
            delivery,
            clerk.webhook_secret,
            now=later,
            headers={"timestamp": str(int(later.timestamp()))},
        )


def test_c14_a_replay_under_another_id_is_refused(clerk: FakeClerk) -> None:
    delivery = clerk.delivery(BODY, now=NOW)

    with pytest.raises(SignatureRefused):
        verified(delivery, clerk.webhook_secret, headers={"id": "msg_of_mine"})


def test_c14_a_dot_cannot_move_signed_text_into_the_id(clerk: FakeClerk) -> None:
    seconds = str(int(NOW.timestamp()))
    delivery = clerk.delivery(f"{seconds}.{{}}".encode(), now=NOW, id_="msg_7")

    with pytest.raises(SignatureRefused):
        verified(delivery, clerk.webhook_secret, headers={"id": f"msg_7.{seconds}"}, body=b"{}")


@pytest.mark.parametrize("body", [BODY + b" ", BODY.replace(b"user_1", b"user_2"), b""])
def test_c14_an_edited_body_is_refused(clerk: FakeClerk, body: bytes) -> None:
    delivery = clerk.delivery(BODY, now=NOW)

    with pytest.raises(SignatureRefused):
        verified(delivery, clerk.webhook_secret, body=body)


@pytest.mark.parametrize(
    "headers",
    [
        {"id": None},
        {"timestamp": None},
        {"signature": None},
        {"signature": ""},
        {"signature": "v1,"},
        {"signature": "v1"},
        {"signature": "v1,\udcff\u00fc"},
        {"timestamp": "now"},
        {"timestamp": "-1"},
        {"timestamp": "9" * 400},
        {"timestamp": "\u0661\u0667"},
        {"id": ""},
        {"id": "msg 7"},
        {"id": "x" * 129},
    ],
)
def test_c14_an_unsigned_message_is_refused(
    clerk: FakeClerk, headers: Mapping[str, str | None]
) -> None:
    delivery = clerk.delivery(BODY, now=NOW)

    with pytest.raises(SignatureRefused):
        verified(delivery, clerk.webhook_secret, headers=headers)


def test_c14_a_signature_of_another_version_is_refused(clerk: FakeClerk) -> None:
    delivery = clerk.delivery(BODY, now=NOW)
    signature = delivery.headers["svix-signature"].replace("v1,", "v1a,")

    with pytest.raises(SignatureRefused):
        verified(delivery, clerk.webhook_secret, headers={"signature": signature})


def test_c14_a_signature_of_another_secret_is_refused(clerk: FakeClerk) -> None:
    delivery = clerk.delivery(BODY, now=NOW, secret=NEW_SECRET)

    with pytest.raises(SignatureRefused):
        verified(delivery, clerk.webhook_secret)


def test_c14_the_two_families_of_headers_are_not_mixed(clerk: FakeClerk) -> None:
    delivery = clerk.delivery(BODY, now=NOW, family="webhook")

    with pytest.raises(SignatureRefused):
        verified(delivery, clerk.webhook_secret, headers={"id": "msg_7"})


def test_c14_both_secrets_are_taken_while_one_replaces_the_other(clerk: FakeClerk) -> None:
    old, new = clerk.webhook_secret, NEW_SECRET

    for secret in (old, new):
        assert verified(clerk.delivery(BODY, now=NOW, secret=secret), old, new)
        assert verified(clerk.delivery(BODY, now=NOW, secret=secret), new, old)


def test_c14_one_good_signature_among_several_is_enough(clerk: FakeClerk) -> None:
    delivery = clerk.delivery(BODY, now=NOW)
    good = delivery.headers["svix-signature"]
    other = svix_signature(NEW_SECRET, "msg_7", "1", BODY)

    assert verified(delivery, clerk.webhook_secret, headers={"signature": f"v1a,x {other} {good}"})


def test_c14_without_a_secret_everything_is_refused(clerk: FakeClerk) -> None:
    with pytest.raises(SignatureRefused):
        verified(clerk.delivery(BODY, now=NOW))


def test_c14_a_secret_without_padding_and_with_spaces_is_read(clerk: FakeClerk) -> None:
    delivery = clerk.delivery(BODY, now=NOW)

    assert verified(delivery, f" {clerk.webhook_secret.rstrip('=')}\n")


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_\u00fc", "whsec_%" + "a" * 32]
)
def test_c14_a_secret_that_protects_nothing_is_a_bad_setting(clerk: FakeClerk, secret: str) -> None:
    delivery = clerk.delivery(BODY, now=NOW)

    with pytest.raises(BadSetting):
        verified(delivery, secret)


def test_c14_every_cause_has_the_same_text(clerk: FakeClerk) -> None:
    delivery = clerk.delivery(BODY, now=NOW)
    refusals = []
    changes: list[dict[str, str | None]] = [
        {"id": None},
        {"timestamp": "1"},
        {"signature": "v1,x"},
    ]
    for change in changes:
        with pytest.raises(SignatureRefused) as refusal:
            verified(delivery, clerk.webhook_secret, headers=change)
        refusals.append((refusal.value.message, refusal.value.hint))

    assert len(set(refusals)) == 1
