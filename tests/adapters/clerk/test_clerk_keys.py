"""Clerk's keys: fetched rarely, changed in time, and kept through bad days of its servers."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import jwt
import pytest
from clerks import ANOTHER_KEY, Clock, make_tokens, refusal
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fakes.clerk import JWKS, FakeClerk, jwk, key_pair, pem
from structlog.testing import capture_logs

from viral.adapters.clerk.tokens import ClerkSession, ClerkTokens
from viral.adapters.outgoing import Outgoing
from viral.errors import BadSetting, VendorUnreachable


async def test_keys_are_fetched_once_for_many_tokens_at_once(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    clerk.answers_after_s = 0.1
    token = clerk.session_token(now=clock.now)

    sessions = await asyncio.gather(*(tokens.verify(token) for _ in range(50)))

    assert sessions == [ClerkSession("user_1", "sess_1", None)] * 50
    assert clerk.calls[JWKS] == 1


async def test_a_token_of_the_next_key_is_taken_after_one_more_fetch(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    old = clerk.session_token(now=clock.now)
    await tokens.verify(old)
    clock.wait(seconds=11)

    clerk.rotate_key()
    new = clerk.session_token(now=clock.now)
    await asyncio.gather(*(tokens.verify(new) for _ in range(20)))

    assert clerk.calls[JWKS] == 2
    assert await refusal(tokens, old) == "signature"


async def test_a_new_kid_is_found_after_one_more_fetch(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    await tokens.verify(clerk.session_token(now=clock.now))
    clock.wait(seconds=11)

    clerk.kid = "ins_next"

    assert await tokens.verify(clerk.session_token(now=clock.now))
    assert clerk.calls[JWKS] == 2


async def test_bad_tokens_cause_one_fetch_in_ten_seconds(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    await tokens.verify(clerk.session_token(now=clock.now))
    forged = jwt.encode({}, key_pair(ANOTHER_KEY), algorithm="RS256", headers={"kid": clerk.kid})
    unknown = jwt.encode({}, key_pair(ANOTHER_KEY), algorithm="RS256", headers={"kid": "x"})

    for _ in range(30):
        await refusal(tokens, forged)
        await refusal(tokens, unknown)
        clock.wait(seconds=1)

    assert clerk.calls[JWKS] == 3


async def test_good_tokens_pass_while_bad_ones_come(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    good = clerk.session_token(now=clock.now)
    await tokens.verify(good)
    forged = jwt.encode({}, key_pair(ANOTHER_KEY), algorithm="RS256", headers={"kid": clerk.kid})
    clock.wait(seconds=11)

    with clerk.down():
        assert await refusal(tokens, forged) == "signature"
        assert await tokens.verify(good)


async def test_who_waits_for_the_keys_gets_them_when_the_one_who_fetched_leaves(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    clerk.answers_after_s = 0.2
    token = clerk.session_token(now=clock.now)
    first = asyncio.create_task(tokens.verify(token))
    second = asyncio.create_task(tokens.verify(token))
    await asyncio.sleep(0.05)

    first.cancel()

    assert await second


async def test_a_withdrawn_key_ends_within_an_hour(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    late = clerk.session_token(now=clock.now + timedelta(hours=1), iat=0, nbf=0)
    await tokens.verify(late)
    clerk.rotate_key()
    assert await tokens.verify(late)

    clock.wait(hours=1)

    assert await refusal(tokens, late) == "signature"
    assert clerk.calls[JWKS] == 2


async def test_known_keys_go_on_while_clerk_is_down(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    await tokens.verify(clerk.session_token(now=clock.now))
    clock.wait(hours=2)

    with clerk.down(), capture_logs() as logs:
        for _ in range(5):
            assert await tokens.verify(clerk.session_token(now=clock.now))
            clock.wait(seconds=59)

    assert [each["kept"] for each in logs if each["event"] == "clerk.keys_missed"] == [1]
    assert await tokens.verify(clerk.session_token(now=clock.now))
    assert clerk.calls[JWKS] == 1
    clock.wait(seconds=5)
    assert await tokens.verify(clerk.session_token(now=clock.now))
    assert clerk.calls[JWKS] == 2


async def test_an_unknown_key_while_clerk_is_down_is_no_refusal(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    token = clerk.session_token(now=clock.now)

    with clerk.down():
        for _ in range(2):
            with pytest.raises(VendorUnreachable, match="keys cannot be fetched"):
                await tokens.verify(token)

    clock.wait(seconds=11)
    assert await tokens.verify(token)
    unknown = clerk.session_token(now=clock.now, headers={"kid": "x"})
    assert await refusal(tokens, unknown) == "unknown key"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (404, b"{}"),
        (302, b""),
        (200, b""),
        (200, b"[]"),
        (200, b"<html>"),
        (200, b'{"keys": []}'),
        (200, b'{"keys": [{"kty": "RSA", "kid": "ins_2aFakeInstance", "n": "!", "e": "AQAB"}]}'),
        (200, b'{"keys": [{"kty": "RSA", "kid": "ins_2aFakeInstance", "n": "AQAB", "e": "AA"}]}'),
        (200, b'{"keys": [{"kty": "oct", "kid": "ins_2aFakeInstance", "k": "c2VjcmV0"}]}'),
    ],
)
async def test_known_keys_go_on_when_the_answer_is_nonsense(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock, status: int, body: bytes
) -> None:
    await tokens.verify(clerk.session_token(now=clock.now))
    clock.wait(hours=2)

    clerk.instead[JWKS] = (status, body)

    assert await tokens.verify(clerk.session_token(now=clock.now))
    assert clerk.calls[JWKS] == 2


async def test_keys_under_a_status_of_failure_are_not_used(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    await tokens.verify(clerk.session_token(now=clock.now))
    clock.wait(hours=2)

    keys = [jwk(key_pair(ANOTHER_KEY), clerk.kid)]
    clerk.instead[JWKS] = (500, json.dumps({"keys": keys}).encode())

    assert await tokens.verify(clerk.session_token(now=clock.now))


@pytest.mark.parametrize("change", [{"use": "enc"}, {"alg": "RS512"}, {"kty": "EC"}])
async def test_a_key_for_something_else_is_not_used(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock, change: dict[str, str]
) -> None:
    keys = [jwk(key_pair(0), clerk.kid) | change, jwk(key_pair(ANOTHER_KEY), "ins_other")]
    clerk.instead[JWKS] = (200, json.dumps({"keys": keys}).encode())

    assert await refusal(tokens, clerk.session_token(now=clock.now)) == "unknown key"


async def test_a_short_key_is_not_used(clerk: FakeClerk, tokens: ClerkTokens, clock: Clock) -> None:
    short = key_pair(ANOTHER_KEY, bits=1024)
    keys = [jwk(short, clerk.kid), jwk(key_pair(0), "ins_other")]
    clerk.instead[JWKS] = (200, json.dumps({"keys": keys}).encode())
    with pytest.warns(match="key"):
        token = jwt.encode(
            clerk.claims(now=clock.now), short, algorithm="RS256", headers={"kid": clerk.kid}
        )

    assert await refusal(tokens, token) == "unknown key"


async def test_a_clock_that_was_set_back_does_not_stop_fetches(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    await tokens.verify(clerk.session_token(now=clock.now))

    clock.wait(days=-1)
    clerk.rotate_key()

    assert await tokens.verify(clerk.session_token(now=clock.now))


@pytest.mark.parametrize("newline", ["\n", "\\n", "\r\n"])
async def test_with_a_given_key_nothing_is_called(
    clerk: FakeClerk, outgoing: Outgoing, clock: Clock, newline: str
) -> None:
    text = clerk.public_key_pem.replace("\n", newline)
    tokens = make_tokens(clerk, outgoing, clock, jwt_key_pem=text)
    good = clerk.session_token(now=clock.now)
    clerk.rotate_key()

    assert await tokens.verify(good)
    assert await refusal(tokens, clerk.session_token(now=clock.now)) == "signature"
    assert clerk.calls.total() == 0


def elliptic_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    "text",
    ["", "pk_test_abc", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"],
)
def test_a_given_key_that_is_none_is_a_bad_setting(
    clerk: FakeClerk, outgoing: Outgoing, clock: Clock, text: str
) -> None:
    with pytest.raises(BadSetting, match="CLERK_JWT_KEY"):
        make_tokens(clerk, outgoing, clock, jwt_key_pem=text)


def test_a_given_key_of_another_kind_or_too_short_is_a_bad_setting(
    clerk: FakeClerk, outgoing: Outgoing, clock: Clock
) -> None:
    for text in (elliptic_pem(), pem(key_pair(ANOTHER_KEY, bits=1024))):
        with pytest.raises(BadSetting, match="CLERK_JWT_KEY"):
            make_tokens(clerk, outgoing, clock, jwt_key_pem=text)
