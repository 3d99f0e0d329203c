"""Session tokens: the good ones are read, and nothing that looks like them is taken."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import jwt
import pytest
from clerks import ANOTHER_KEY, Clock, make_tokens, refusal, segment
from fakes.clerk import JWKS, FakeClerk, jwk, key_pair

from viral.adapters.clerk.tokens import ClerkOrganization, ClerkSession, ClerkTokens
from viral.adapters.outgoing import Outgoing


async def test_a_session_token_says_who_speaks(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    session = await tokens.verify(clerk.session_token(now=clock.now))

    assert session == ClerkSession("user_1", "sess_1", None)


@pytest.mark.parametrize(("role", "ours"), [("admin", "ADMIN"), ("member", "MEMBER")])
async def test_the_organization_of_version_2_is_read(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock, role: str, ours: str
) -> None:
    active = {"id": "org_1", "slg": "acme", "rol": role, "per": "read", "fpm": "1"}

    session = await tokens.verify(clerk.session_token(now=clock.now, o=active))

    assert session.organization is not None
    assert (session.organization.id, session.organization.slug) == ("org_1", "acme")
    assert session.organization.role == ours


@pytest.mark.parametrize(
    ("role", "ours"),
    [("org:admin", "ADMIN"), ("org:member", "MEMBER"), ("org:administrator", "MEMBER")],
)
async def test_the_organization_of_version_1_is_read(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock, role: str, ours: str
) -> None:
    token = clerk.session_token(
        now=clock.now, v=None, org_id="org_7", org_slug="acme7", org_role=role
    )

    session = await tokens.verify(token)

    assert session.organization is not None
    assert (session.organization.id, session.organization.slug) == ("org_7", "acme7")
    assert session.organization.role == ours


async def test_an_organization_in_the_form_of_the_other_version_is_not_believed(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    flat = clerk.session_token(now=clock.now, org_id="org_1", org_role="org:admin")
    nested = clerk.session_token(now=clock.now, v=None, o={"id": "org_1", "rol": "admin"})

    assert (await tokens.verify(flat)).organization is None
    assert (await tokens.verify(nested)).organization is None


async def test_an_organization_without_slug_and_role_makes_a_member(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    session = await tokens.verify(clerk.session_token(now=clock.now, o={"id": "org_1"}))

    assert session.organization == ClerkOrganization("org_1", None, "MEMBER")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://clerk.evil.example"}, "issuer"),
        ({"azp": "https://evil.example"}, "authorized party"),
        ({"azp": "https://studio.example.evil.example"}, "authorized party"),
        ({"azp": None}, "authorized party"),
        ({"sts": "pending"}, "pending session"),
        ({"sid": None}, "claims"),
        ({"sid": ""}, "claims"),
        ({"sid": "sess_1\n"}, "claims"),
        ({"sub": None}, "claims"),
        ({"sub": "../admins"}, "claims"),
        ({"exp": None}, "claims"),
        ({"exp": "never"}, "claims"),
        ({"exp": True}, "claims"),
        ({"nbf": None}, "claims"),
        ({"iat": None}, "claims"),
        ({"o": {"slg": "acme"}}, "claims"),
    ],
)
async def test_a_signed_token_with_wrong_claims_is_refused(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock, claims: dict[str, Any], reason: str
) -> None:
    token = clerk.session_token(now=clock.now, **claims)

    assert await refusal(tokens, token) == reason


async def test_a_slash_after_the_issuer_is_another_issuer(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    token = clerk.session_token(now=clock.now, iss=f"{clerk.url}/")

    assert await refusal(tokens, token) == "issuer"


async def test_without_a_list_every_origin_of_the_instance_is_taken(
    clerk: FakeClerk, outgoing: Outgoing, clock: Clock
) -> None:
    tokens = make_tokens(clerk, outgoing, clock, authorized_parties=())

    assert await tokens.verify(clerk.session_token(now=clock.now, azp=None))
    assert await tokens.verify(clerk.session_token(now=clock.now, azp="https://other.example"))


@pytest.mark.parametrize(
    ("seconds", "reason"), [(-6, "not yet valid"), (-5, None), (64, None), (65, "expired")]
)
async def test_a_token_is_good_for_its_time_and_five_seconds_around(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock, seconds: int, reason: str | None
) -> None:
    token = clerk.session_token(now=clock.now)

    clock.wait(seconds=seconds)

    if reason is None:
        assert await tokens.verify(token)
    else:
        assert await refusal(tokens, token) == reason


async def test_a_token_that_is_not_good_before_a_later_time_is_refused(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    token = clerk.session_token(now=clock.now, nbf=int(clock.now.timestamp()) + 6)

    assert await refusal(tokens, token) == "not yet valid"


async def test_a_token_without_a_signature_is_refused(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    header = {"alg": "none", "typ": "JWT", "kid": clerk.kid}
    token = f"{segment(header)}.{segment(clerk.claims(now=clock.now))}."

    assert await refusal(tokens, token) == "algorithm"
    assert await refusal(tokens, token.replace(segment(header), segment({"alg": "None"})))


async def test_the_public_key_is_no_shared_secret(
    clerk: FakeClerk, outgoing: Outgoing, clock: Clock
) -> None:
    fetched = make_tokens(clerk, outgoing, clock)
    given = make_tokens(clerk, outgoing, clock, jwt_key_pem=clerk.public_key_pem)
    header = {"alg": "HS256", "typ": "JWT", "kid": clerk.kid}
    signed = f"{segment(header)}.{segment(clerk.claims(now=clock.now))}"
    digest = hmac.new(clerk.public_key_pem.encode(), signed.encode(), hashlib.sha256).digest()
    token = f"{signed}.{segment(digest)}"

    assert await refusal(fetched, token) == "algorithm"
    assert await refusal(given, token) == "algorithm"


@pytest.mark.parametrize("algorithm", ["RS384", "PS256"])
async def test_another_algorithm_of_the_same_key_is_refused(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock, algorithm: str
) -> None:
    token = jwt.encode(
        clerk.claims(now=clock.now), key_pair(0), algorithm=algorithm, headers={"kid": clerk.kid}
    )

    assert await refusal(tokens, token) == "algorithm"


async def test_a_key_inside_the_token_is_not_used(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    mine = key_pair(ANOTHER_KEY)
    header = {"kid": clerk.kid, "jwk": jwk(mine, clerk.kid), "jku": f"{clerk.url}/mine"}
    token = jwt.encode(clerk.claims(now=clock.now), mine, algorithm="RS256", headers=header)

    assert await refusal(tokens, token) == "signature"
    assert clerk.calls.keys() == {JWKS}


async def test_changed_content_is_refused(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    header, _, signature = clerk.session_token(now=clock.now).split(".")
    content = segment(clerk.claims(now=clock.now, sub="user_2"))

    assert await refusal(tokens, f"{header}.{content}.{signature}") == "signature"


async def test_the_kid_of_another_instance_is_refused(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    other = FakeClerk(kid="ins_other")
    other.rotate_key()
    token = other.session_token(now=clock.now, headers=None, iss=clerk.url)

    assert await refusal(tokens, token) == "unknown key"


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "not a token",
        "\u00fc.\ud800.x",
        "\x00",
        segment({"alg": "RS256", "kid": "x"}),
        f"{segment({'alg': 'RS256', 'kid': 7})}.e30.e30",
        f"{segment({'alg': 'RS256', 'kid': ['x']})}.e30.e30",
        f"{segment({'alg': ['RS256'], 'kid': 'x'})}.e30.e30",
        f"{segment({'kid': 'x'})}.e30.e30",
        f"{segment(b'[]')}.e30.e30",
        f"{segment(b'[' * 10_000)}.e30.e30",
        f"{segment(b'{')}.e30.e30",
        f"{segment({'alg': 'RS256', 'kid': 'x', 'crit': ['exp']})}.e30.e30",
        "a" * 16_385,
        f"{segment({'alg': 'RS256', 'kid': 'x'})}.e30." + "A" * 17_000,
    ],
)
async def test_garbage_is_refused_without_a_call(
    clerk: FakeClerk, tokens: ClerkTokens, token: str
) -> None:
    assert await refusal(tokens, token) in {"not a token", "algorithm"}
    assert clerk.calls.total() == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 5_000,
        b'{"exp": 1e999}',
        b'{"iss": 1}',
        b'{"x": ' + b"[" * 9_000,
    ],
)
async def test_signed_content_that_is_no_claims_is_refused(
    clerk: FakeClerk, tokens: ClerkTokens, content: bytes
) -> None:
    token = jwt.PyJWS().encode(content, key_pair(0), algorithm="RS256", headers={"kid": clerk.kid})

    assert await refusal(tokens, token) == "claims"


async def test_a_token_whose_content_is_elsewhere_is_refused(
    clerk: FakeClerk, tokens: ClerkTokens
) -> None:
    # RFC 7797: such a signature is made over text that is not in the token.
    header = {"alg": "RS256", "kid": clerk.kid, "b64": False, "crit": ["b64"]}

    assert await refusal(tokens, f"{segment(header)}..e30") == "not a token"


async def test_a_token_without_a_kid_is_refused(
    clerk: FakeClerk, tokens: ClerkTokens, clock: Clock
) -> None:
    token = jwt.encode(clerk.claims(now=clock.now), key_pair(0), algorithm="RS256")

    assert await refusal(tokens, token) == "unknown key"
