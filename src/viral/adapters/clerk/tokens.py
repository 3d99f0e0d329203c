"""Session tokens of Clerk, checked here without asking Clerk.

Sources: clerk.com/docs/guides/sessions/session-tokens (claims of versions 1 and 2) and
clerk.com/docs/guides/sessions/manual-jwt-verification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jwt
import msgspec
import structlog

from viral.adapters.clerk.keys import PublishedKeys, read_pem
from viral.adapters.clerk.people import ClerkId, role_of
from viral.errors import NotSignedIn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from viral.adapters.outgoing import Outgoing
    from viral.schema.vocabulary import Role

ALGORITHM = "RS256"
LEEWAY_S = 5
LONGEST_TOKEN = 16_384

log = structlog.get_logger(__name__)


class ClerkOrganization(msgspec.Struct, frozen=True):
    """The organization that is active in a session, and the person's role there."""

    id: str
    slug: str | None
    role: Role


class ClerkSession(msgspec.Struct, frozen=True):
    """Who speaks, in which session; without an organization it is the person's own tenant."""

    user_id: str
    session_id: str
    organization: ClerkOrganization | None


class _ActiveOrganization(msgspec.Struct, frozen=True):
    id: ClerkId
    slg: str | None = None
    rol: str | None = None


class _Claims(msgspec.Struct, frozen=True):
    """The claims that are read. Tokens of a JWT template are signed alike but have no `sid`."""

    iss: str
    sub: ClerkId
    sid: ClerkId
    exp: float
    nbf: float
    iat: float
    azp: str | None = None
    sts: str | None = None
    v: int = 1
    o: _ActiveOrganization | None = None
    org_id: ClerkId | None = None
    org_slug: str | None = None
    org_role: str | None = None


class ClerkTokens:
    """Checks session tokens of one Clerk instance."""

    def __init__(
        self,
        issuer: str,
        *,
        authorized_parties: Collection[str],
        jwt_key_pem: str | None,
        outgoing: Outgoing,
        clock: Callable[[], datetime],
    ) -> None:
        """Trust the issuer; it has to be one of outgoing's vendors, unless a PEM is given.

        Without authorized parties every origin of the instance is taken.
        """
        self._issuer = issuer
        self._authorized_parties = frozenset(authorized_parties)
        self._given_key = None if jwt_key_pem is None else read_pem(jwt_key_pem)
        self._keys = PublishedKeys(issuer, outgoing=outgoing, clock=clock)
        self._clock = clock

    async def verify(self, token: str) -> ClerkSession:
        """Say whose token this is.

        NotSignedIn, with one text for all causes, when it is not a good one; VendorUnreachable
        when its key is unknown and Clerk does not answer.
        """
        payload = await self._payload(token)
        try:
            claims = msgspec.json.decode(payload, type=_Claims)
        except (msgspec.DecodeError, RecursionError) as error:
            # msgspec names the place and the kind that it expected, never the value.
            raise _refused("claims", detail=str(error)) from error
        self._check(claims)
        return ClerkSession(claims.sub, claims.sid, _organization(claims))

    async def _payload(self, token: str) -> bytes:
        """Give the signed content."""
        kid = _kid(token)
        key = self._given_key or await self._keys.find(kid)
        if key is None:
            raise _refused("unknown key")
        payload = _signed_by(key, token)
        if payload is None and self._given_key is None:
            newer = await self._keys.find_newer(kid)
            payload = None if newer is None else _signed_by(newer, token)
        if payload is None:
            raise _refused("signature")
        return payload

    def _check(self, claims: _Claims) -> None:
        now = self._clock().timestamp()
        if claims.iss != self._issuer:
            raise _refused("issuer", detail=claims.iss)
        if claims.exp <= now - LEEWAY_S:
            raise _refused("expired")
        if max(claims.nbf, claims.iat) > now + LEEWAY_S:
            raise _refused("not yet valid")
        if self._authorized_parties and claims.azp not in self._authorized_parties:
            raise _refused("authorized party", detail=claims.azp)
        # Clerk holds such a session for signed out: a required step, say a choice, is missing.
        if claims.sts == "pending":
            raise _refused("pending session")


def _kid(token: str) -> str:
    if len(token) > LONGEST_TOKEN:
        raise _refused("not a token")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError) as error:
        raise _refused("not a token") from error
    if header.get("alg") != ALGORITHM:
        raise _refused("algorithm")
    return str(header.get("kid", ""))


def _signed_by(key: RSAPublicKey, token: str) -> bytes | None:
    """Give the content, or None when another key has signed it."""
    try:
        payload: bytes = jwt.PyJWS().decode(token, key, algorithms=[ALGORITHM])
    except jwt.InvalidSignatureError:
        return None
    except jwt.PyJWTError as error:
        raise _refused("not a token") from error
    return payload


def _organization(claims: _Claims) -> ClerkOrganization | None:
    """Read the organization in the form of the token's version.

    Only of that version: the other names are free for claims that an instance adds itself.
    """
    if claims.v > 1:
        active = claims.o
    elif claims.org_id is not None:
        active = _ActiveOrganization(claims.org_id, claims.org_slug, claims.org_role)
    else:
        active = None
    if active is None:
        return None
    return ClerkOrganization(active.id, active.slg, role_of(active.rol))


def _refused(reason: str, *, detail: str | None = None) -> NotSignedIn:
    log.info("clerk.token_refused", reason=reason, detail=detail)
    return NotSignedIn("You are not signed in, or no longer.", hint="Sign in again.")
