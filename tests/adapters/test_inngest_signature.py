"""Inngest's signature: what one of the two keys signed within five minutes, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from fakes.inngest import FakeInngest
from inngests import make_inngest

from viral.adapters.inngest.signature import api_token, check_key, sign, verify
from viral.adapters.outgoing import Outgoing
from viral.errors import BadSetting, SignatureRefused

NOW = datetime.fromtimestamp(1_700_000_000, UTC)
SECRET = "0123456789abcdef" * 4
KEY, OTHER = f"signkey-prod-{SECRET}", "signkey-prod-" + "fedcba9876543210" * 4
BODY = b'{"a":1}'
# printf '{"a":1}1700000000' | openssl dgst -sha256 -hmac SECRET
MAC = "6f935f4999a22697d3186d2f528b9ba93bd1bce44e799b690985927c66c072d2"
HEADER = f"t=1700000000&s={MAC}"


def signed_at(seconds: float, body: bytes = BODY, key: str = KEY) -> str:
    return FakeInngest(signing_key=key).sign(body, at=NOW.timestamp() + seconds)


def test_c14_a_signature_made_by_another_program_is_taken() -> None:
    assert verify([KEY], HEADER, BODY, NOW).key == KEY
    assert sign(KEY, BODY, NOW) == HEADER


def test_c14_no_body_is_signed_as_no_bytes() -> None:
    # printf '1700000000' | openssl dgst -sha256 -hmac SECRET
    mac = "a5b3848cf54a129e782a682980081eaa0fea9734d52e1e52f1eca244b671e009"

    assert verify([KEY], f"t=1700000000&s={mac}", b"", NOW).body == b""


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_c14_a_message_inside_the_window_is_taken(seconds: int) -> None:
    assert verify([KEY], signed_at(seconds), BODY, NOW)


@pytest.mark.parametrize("seconds", [-301, 301, -3600, 3600, -1_699_999_999, 86_400])
def test_c14_an_old_or_future_message_is_refused(seconds: int) -> None:
    with pytest.raises(SignatureRefused):
        verify([KEY], signed_at(seconds), BODY, NOW)


def test_c14_a_replay_with_a_fresh_time_is_refused() -> None:
    later = NOW + timedelta(hours=1)

    with pytest.raises(SignatureRefused):
        verify([KEY], f"t={int(later.timestamp())}&s={MAC}", BODY, later)


@pytest.mark.parametrize(
    "body", [b'{"a":2}', b'{"a":1,"b":1}', b'{"a":"1"}', b'{"a":true}', b"", b"1", b'[{"a":1}]']
)
def test_c14_an_edited_body_is_refused(body: bytes) -> None:
    with pytest.raises(SignatureRefused):
        verify([KEY], HEADER, body, NOW)


def test_c14_digits_cannot_move_between_the_body_and_the_time() -> None:
    header = signed_at(0, body=b"17")

    assert verify([KEY], header, b"17", NOW)
    with pytest.raises(SignatureRefused):
        verify([KEY], header.replace("t=17", "t=1717"), b"", NOW)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "t=1700000000",
        f"s={MAC}",
        f"t=&s={MAC}",
        f"t=-1700000000&s={MAC}",
        f"t=1700000000.0&s={MAC}",
        f"t=+1700000000&s={MAC}",
        pytest.param(f"t={'9' * 400}&s={MAC}", id="too far"),
        f"t=\u0661\u0667\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660&s={MAC}",
        f"t=1700000000&s={MAC[:-1]}",
        "t=1700000000&s=",
        f"t=1700000000&s={MAC.upper()}",
        f"t=1700000000&s={MAC[:-1]}\u00fc",
        f"t=1700000000,s={MAC}",
        f"t=1700000000&s={MAC}&s={MAC}",
        f"t=1&t=1700000000&s={MAC}",
        f" {HEADER}",
        f"{HEADER}\n",
    ],
)
def test_c14_an_unsigned_message_is_refused(header: str | None) -> None:
    with pytest.raises(SignatureRefused):
        verify([KEY], header, BODY, NOW)


@pytest.mark.parametrize(
    "body", [b' {"a" : 1.0}\n', b'{"\\u0061":1}', b'{"a":1e0}', b'{"a":2,"a":1}']
)
def test_only_what_was_signed_is_read_however_it_was_sent(body: bytes) -> None:
    assert verify([KEY], HEADER, body, NOW).body == BODY


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"a":NaN}',
        pytest.param(b"[" * 30_000 + b"]" * 30_000, id="too deep"),
        BODY.decode().encode("utf-16"),
    ],
)
def test_c14_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(SignatureRefused):
        verify([KEY], signed_at(0, body=body), body, NOW)


def test_c14_both_keys_are_taken_while_one_replaces_the_other() -> None:
    for key in (KEY, OTHER):
        header = signed_at(0, key=key)

        assert verify([KEY, OTHER], header, BODY, NOW).key == key
        assert verify([OTHER, KEY], header, BODY, NOW).key == key


def test_c14_another_key_and_no_key_are_refused() -> None:
    for keys in ([OTHER], []):
        with pytest.raises(SignatureRefused):
            verify(keys, HEADER, BODY, NOW)


def test_a_key_without_its_prefix_signs_the_same() -> None:
    assert sign(SECRET, BODY, NOW) == HEADER


def test_c14_every_cause_has_the_same_text() -> None:
    refusals = set()
    for header, body in ((None, BODY), (signed_at(-301), BODY), (HEADER, b"{"), (HEADER, b"2")):
        with pytest.raises(SignatureRefused) as refusal:
            verify([KEY], header, body, NOW)
        refusals.add((refusal.value.message, refusal.value.hint))

    assert 1 == len(refusals)


async def test_the_adapter_verifies_with_its_keys() -> None:
    engine = FakeInngest()
    with engine:
        inngest = make_inngest(engine, Outgoing(), signing_key=OTHER, signing_key_fallback=KEY)

    inngest.verify(HEADER, BODY, NOW)
    with pytest.raises(SignatureRefused):
        inngest.verify(HEADER, BODY, NOW + timedelta(minutes=6))


def test_the_token_of_the_api_is_the_one_of_the_specification() -> None:
    token = api_token("signkey-prod-12345678")

    assert token == "signkey-prod-b2ed992186a5cb19f6668aade821f502c1d00970dfd0e35128d51bac4649916c"


@pytest.mark.parametrize(
    "key", ["", "signkey-prod-", f"signkey-prod-{SECRET}f", "signkey-prod-12345678", "s" * 64]
)
def test_c14_a_key_that_protects_nothing_is_a_bad_setting(key: str) -> None:
    with pytest.raises(BadSetting) as refusal:
        check_key(key)

    assert not key or key not in refusal.value.message + refusal.value.hint


def test_spaces_around_a_key_do_not_count() -> None:
    assert check_key(f" {KEY}\n") == KEY
