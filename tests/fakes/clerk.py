"""Clerk on 127.0.0.1: its keys, its API, the tokens of its sessions and its signed webhooks.

Shapes are those of clerk.com/docs (session tokens, webhooks) and of the Backend API reference;
nothing here comes from the code under test.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Json = dict[str, Any]

JWKS = "/.well-known/jwks.json"
TOKEN_S = 60


@dataclass(frozen=True)
class Delivery:
    """A webhook request as Svix sends it."""

    body: bytes
    headers: dict[str, str]


@dataclass
class FakeClerk:
    """An instance of its own; use it as a context manager, or `start` and `close` it."""

    kid: str = "ins_2aFakeInstance"
    secret_key: str = "sk_test_FakeKeyOfTheTests"
    webhook_secret: str = "whsec_" + base64.b64encode(b"a key of the tests, 32 bytes....").decode()
    origin: str = "https://studio.example"
    users: dict[str, Json] = field(default_factory=dict)
    organizations: dict[str, Json] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    # An answer instead of the right one, by path: a status and a body.
    instead: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    answers_after_s: float = 0.0

    def __post_init__(self) -> None:
        self._port = 0
        self._numbers = count(1)
        self._key = key_pair(0)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Listen on 127.0.0.1 in a thread: on a free port, or on the same one again."""
        fake = self

        class Handler(_Handler):
            clerk = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_port
        # Closing waits for the threads: none holds a socket past it.
        self._server.daemon_threads = False
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections for a while."""
        self.close()
        try:
            yield
        finally:
            self.start()

    @property
    def url(self) -> str:
        """Give the frontend URL, as in CLERK_ISSUER."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def api_url(self) -> str:
        """Give the base address of the API, as in CLERK_API_URL."""
        return f"{self.url}/v1"

    @property
    def public_key_pem(self) -> str:
        """Give the key as in CLERK_JWT_KEY."""
        return pem(self._key)

    # What a test makes happen.

    def rotate_key(self) -> None:
        """Sign with another key from here on; the kid stays, as it does at Clerk."""
        self._key = key_pair(next(self._numbers))

    def session_token(self, *, now: datetime, headers: Json | None = None, **claims: Any) -> str:
        """Make a session token; a claim of None is left out."""
        return jwt.encode(
            self.claims(now=now, **claims),
            self._key,
            algorithm="RS256",
            headers={"kid": self.kid, **(headers or {})},
        )

    def claims(self, *, now: datetime, **claims: Any) -> Json:
        """Give the claims of a token of version 2 without an organization, changed as said."""
        seconds = int(now.timestamp())
        default = {
            "v": 2,
            "iss": self.url,
            "sub": "user_1",
            "sid": "sess_1",
            "azp": self.origin,
            "iat": seconds,
            "nbf": seconds - 10,
            "exp": seconds + TOKEN_S,
            "fva": [7, -1],
            "sts": "active",
        }
        return {name: value for name, value in (default | claims).items() if value is not None}

    def add_user(
        self, email: str = "Ada@Example.com", *, status: str | None = "verified", **changes: Any
    ) -> Json:
        """Make a person; a status of None leaves the address without a verification."""
        id_, address = self._id("user"), self._id("idn")
        self.users[id_] = {
            "id": id_,
            "object": "user",
            "first_name": "Ada",
            "last_name": "Lovelace",
            "username": None,
            "image_url": "https://img.clerk.com/ada",
            "primary_email_address_id": address,
            "email_addresses": [
                _address(self._id("idn"), "other@example.com", "verified"),
                _address(address, email, status),
            ],
            "public_metadata": {},
            "created_at": 1_790_000_000_000,
            "updated_at": 1_790_000_000_000,
            **changes,
        }
        return self.users[id_]

    def add_organization(self, name: str = "Analytical Engines", **changes: Any) -> Json:
        """Make an organization."""
        id_ = self._id("org")
        self.organizations[id_] = {
            "id": id_,
            "object": "organization",
            "name": name,
            "slug": name.lower().replace(" ", "-"),
            "created_at": 1_790_000_000_000,
            "updated_at": 1_790_000_000_000,
            **changes,
        }
        return self.organizations[id_]

    def membership(self, organization: Json, user: Json, *, role: str = "org:member") -> Json:
        """Give a membership as webhooks write it."""
        return {
            "id": self._id("orgmem"),
            "object": "organization_membership",
            "organization": organization,
            "public_user_data": {"user_id": user["id"], "identifier": "ada@example.com"},
            "role": role,
            "created_at": 1_790_000_000_000,
            "updated_at": 1_790_000_001_000,
        }

    def event(self, kind: str, data: Json, *, at_ms: int | None = 1_790_000_002_000) -> Json:
        """Give a webhook's body."""
        event = {"type": kind, "object": "event", "data": data, "instance_id": self.kid}
        return event if at_ms is None else event | {"timestamp": at_ms}

    def delivery(
        self,
        event: Json | bytes,
        *,
        now: datetime,
        id_: str | None = None,
        secret: str | None = None,
        family: str = "svix",
    ) -> Delivery:
        """Sign an event for sending at `now`: any event, as often as wanted."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        id_, seconds = id_ or self._id("msg"), int(now.timestamp())
        headers = {
            f"{family}-id": id_,
            f"{family}-timestamp": str(seconds),
            f"{family}-signature": svix_signature(
                secret or self.webhook_secret, id_, str(seconds), body
            ),
            "content-type": "application/json",
        }
        return Delivery(body, headers)

    # What the servers of Clerk do.

    def answer(self, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Carry a call out: the status and the body."""
        self.calls[path] += 1
        if path in self.instead:
            return self.instead[path]
        if path == JWKS:
            return 200, json.dumps({"keys": [jwk(self._key, self.kid)]}).encode()
        if headers.get("authorization") != f"Bearer {self.secret_key}":
            return 401, _errors("clerk_key_invalid")
        _, _, kind, id_ = path.split("/")
        known = {"users": self.users, "organizations": self.organizations}[kind]
        if id_ not in known:
            return 404, _errors("resource_not_found")
        return 200, json.dumps(known[id_]).encode()

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers):06}"


class _Handler(BaseHTTPRequestHandler):
    clerk: FakeClerk

    def do_GET(self) -> None:
        status, body = self.clerk.answer(
            self.path, {name.lower(): value for name, value in self.headers.items()}
        )
        time.sleep(self.clerk.answers_after_s)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@cache
def key_pair(number: int, *, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Make a key, once per number and run: making one takes a tenth of a second."""
    del number
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def pem(key: rsa.RSAPrivateKey) -> str:
    """Write the public half as PEM."""
    written = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return written.decode()


def jwk(key: rsa.RSAPrivateKey, kid: str) -> Json:
    """Write the public half as RFC 7517 does."""
    numbers = key.public_key().public_numbers()
    return {
        "use": "sig",
        "kty": "RSA",
        "kid": kid,
        "alg": "RS256",
        "n": _base64url_number(numbers.n),
        "e": _base64url_number(numbers.e),
    }


def svix_signature(secret: str, id_: str, seconds: str, body: bytes) -> str:
    """Sign a message as Svix does."""
    key = base64.b64decode(secret.removeprefix("whsec_") + "==")
    signed = id_.encode() + b"." + seconds.encode() + b"." + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _base64url_number(number: int) -> str:
    written = number.to_bytes((number.bit_length() + 7) // 8)
    return base64.urlsafe_b64encode(written).rstrip(b"=").decode()


def _address(id_: str, email: str, status: str | None) -> Json:
    verification = None if status is None else {"status": status, "strategy": "email_code"}
    return {"id": id_, "email_address": email, "verification": verification}


def _errors(code: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": "A sentence of Clerk's."}]}).encode()
