"""The public keys of a Clerk instance: fetched from its issuer, or given as PEM."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import jwt
import msgspec
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import RSAAlgorithm

from viral.errors import BadSetting, VendorError, VendorRefused, VendorUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from viral.adapters.outgoing import Outgoing

# Tokens that no known key fits cause at most one fetch in this time.
PAUSE = timedelta(seconds=10)
# Older keys are fetched again, so that one that Clerk withdrew ends here too. When that fails,
# they go on, and nobody waits for another try before the longer pause is over.
KEYS_LIVE = timedelta(hours=1)
STALE_PAUSE = timedelta(minutes=5)
SMALLEST_KEY_BITS = 2048
HTTP_OK = 200

log = structlog.get_logger(__name__)


class _Jwk(msgspec.Struct, frozen=True):
    """A key as RFC 7517 and RFC 7518 section 6.3.1 write it."""

    kty: str
    kid: str = ""
    use: str = "sig"
    alg: str = "RS256"
    n: str = ""
    e: str = ""


class _JwkSet(msgspec.Struct, frozen=True):
    keys: list[_Jwk]


class PublishedKeys:
    """The keys that an issuer published last, by kid.

    The kid is the instance's id and stays when the key changes, so a key that does not fit may
    be an old one. A fetch replaces all keys, or none when it fails.
    """

    def __init__(self, issuer: str, *, outgoing: Outgoing, clock: Callable[[], datetime]) -> None:
        self._url = f"{issuer.rstrip('/')}/.well-known/jwks.json"
        self._outgoing = outgoing
        self._clock = clock
        self._lock = asyncio.Lock()
        self._keys: Mapping[str, RSAPublicKey] = {}
        self._fetched_at: datetime | None = None
        self._tried_at: datetime | None = None
        self._failure: VendorError | None = None

    async def find(self, kid: str) -> RSAPublicKey | None:
        """Give the key, fetched again when all are old; VendorUnreachable when nobody can say."""
        if not self._is_within(KEYS_LIVE, self._fetched_at):
            await self._refresh(STALE_PAUSE)
        return self._keys.get(kid) or await self.find_newer(kid)

    async def find_newer(self, kid: str) -> RSAPublicKey | None:
        """Give the key as it is after a fetch, unless the last one was just before."""
        await self._refresh(PAUSE)
        key = self._keys.get(kid)
        if key is None and self._failure is not None:
            raise VendorUnreachable(
                "Clerk's keys cannot be fetched, so nobody can be let in by Clerk.",
                hint="Try again in a minute.",
            ) from self._failure
        return key

    async def _refresh(self, pause: timedelta) -> None:
        async with self._lock:
            # Whoever waited for the lock finds the fetch of the one before.
            if self._is_within(pause, self._tried_at):
                return
            try:
                self._keys = await self._fetch()
            except VendorError as error:
                self._failure = error
                log.warning("clerk.keys_missed", reason=error.message, kept=len(self._keys))
            else:
                self._failure = None
                self._fetched_at = self._clock()
            self._tried_at = self._clock()

    async def _fetch(self) -> dict[str, RSAPublicKey]:
        answer = await self._outgoing.request("GET", self._url)
        if answer.status != HTTP_OK:
            raise VendorRefused(f"Clerk answers {answer.status} when asked for its keys.")
        try:
            published = msgspec.json.decode(answer.body, type=_JwkSet).keys
        except msgspec.DecodeError as error:
            raise VendorRefused("Clerk's list of keys cannot be read.") from error
        keys = {each.kid: key for each in published if (key := _usable(each)) is not None}
        if not keys:
            raise VendorRefused("Clerk's list of keys holds none that can be used.")
        return keys

    def _is_within(self, span: timedelta, since: datetime | None) -> bool:
        # A clock that was set back would otherwise keep the keys for as long as the jump.
        return since is not None and timedelta(0) <= self._clock() - since < span


def read_pem(text: str) -> RSAPublicKey:
    """Read CLERK_JWT_KEY; its lines may be parted by the two characters of an escaped newline."""
    try:
        key = load_pem_public_key(text.replace("\\n", "\n").strip().encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _bad_pem() from error
    if not isinstance(key, RSAPublicKey) or key.key_size < SMALLEST_KEY_BITS:
        raise _bad_pem()
    return key


def _bad_pem() -> BadSetting:
    return BadSetting(
        "CLERK_JWT_KEY cannot be used: it is no RSA public key of 2048 bits or more as PEM.",
        hint="Copy the instance's JWT public key again, with its BEGIN and END lines.",
    )


def _usable(jwk: _Jwk) -> RSAPublicKey | None:
    if (jwk.kty, jwk.use, jwk.alg) != ("RSA", "sig", "RS256"):
        return None
    try:
        key = RSAAlgorithm.from_jwk({"kty": "RSA", "n": jwk.n, "e": jwk.e})
    except (jwt.PyJWTError, ValueError):
        return None
    if not isinstance(key, RSAPublicKey) or key.key_size < SMALLEST_KEY_BITS:
        return None
    return key
