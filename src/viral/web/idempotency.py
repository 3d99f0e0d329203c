"""POST requests that may be repeated: the same key has the same answer and no second effect.

The header is that of the IETF's draft "The Idempotency-Key HTTP Header Field". A key belongs to
whoever sends it, a person or one API key of theirs, and is remembered for a day. A request that is
refused or fails frees its key: nothing was done under it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

import structlog
from litestar import Request
from litestar.datastructures import Headers, UploadFile
from litestar.enums import RequestEncodingType, ScopeType
from litestar.exceptions import HTTPException
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from viral.database.faults import DRIVER_ERRORS
from viral.errors import NotSignedIn, ViralError
from viral.runtime import Runtime
from viral.schema.base import uuid7
from viral.schema.operations import IdempotencyKey
from viral.web.door import nothing_more, read_form
from viral.web.requests import WebRequest
from viral.web.site import Site

log = structlog.get_logger(__name__)

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
LONGEST_KEY = 255
# What `viral.prune_access` keeps, too.
KEPT_FOR = timedelta(days=1)
# Longer than any request: whoever began it and said no more has ended with its process.
RUNS_FOR = timedelta(minutes=10)
# A route whose answer holds what is said once and kept nowhere.
SAID_ONCE = {"is_said_once": True}
# The rest is of one answer: its id, its moment, cookies.
_KEPT_HEADERS = frozenset({b"content-type", b"location"})
_CHUNK_BYTES = 1 << 18

# What is kept under a key, and whether it was begun within `RUNS_FOR`.
_Found: TypeAlias = tuple[IdempotencyKey, bool]


@dataclass(frozen=True, slots=True)
class _Claim:
    """A key in the hands of whoever sent it, and a digest of the request that it stands for."""

    tenant_id: UUID
    sender_id: UUID
    key: str
    fingerprint: bytes


class Idempotency(ASGIMiddleware):
    """Does a POST that carries a key once, and answers its repetitions from what is kept."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        key = Headers.from_scope(scope).get(HEADER)
        if key is None or scope.get("method") != "POST":
            await next_app(scope, receive, send)
            return
        request: WebRequest = Request(scope, receive)
        _refuse_unusable(key)
        # What was answered an hour ago is for those who may still do it.
        await request.route_handler.authorize_connection(request)
        async with _reading(request) as digest:
            runtime: Runtime = request.app.state.runtime
            claim = _claim(request, key, digest)
            claim_id, found = await _begin(runtime, claim)
            if claim_id is not None:
                await _answer_first(request, claim, claim_id, send, next_app)
                return
            _refuse_other(claim, found)
            assert found is not None
            await _replay(found[0], send)


async def _answer_first(
    request: WebRequest, claim: _Claim, claim_id: UUID, send: Send, next_app: ASGIApp
) -> None:
    """Let the route answer, and keep the answer before it is sent: nobody knows of it earlier."""
    answer = _Answer()
    await next_app(request.scope, request.receive, answer.take)
    runtime: Runtime = request.app.state.runtime
    is_said_once = "is_said_once" in request.route_handler.opt
    try:
        async with runtime.app.tenant_session(claim.tenant_id) as session:
            mine = IdempotencyKey.id == claim_id
            if answer.is_refusal:
                await session.execute(delete(IdempotencyKey).where(mine))
            else:
                await session.execute(
                    update(IdempotencyKey)
                    .where(mine)
                    .values(
                        status=answer.status,
                        headers=answer.kept_headers,
                        body=None if is_said_once else answer.body,
                    )
                )
    except (ViralError, SQLAlchemyError, *DRIVER_ERRORS) as error:
        # The work is done, so its answer is sent; the key stays taken until it is forgotten.
        log.warning("idempotency.unkept", error=type(error).__name__)
    for message in answer.messages:
        await send(message)


class _Answer:
    """What a route answers, held back."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def take(self, message: Message) -> None:
        """Take what would be sent."""
        self.messages.append(message)

    @property
    def status(self) -> int:
        return self._start["status"]

    @property
    def is_refusal(self) -> bool:
        """Tell whether nothing was done: errors roll their transaction back."""
        return self.status >= 400  # noqa: PLR2004 - where errors begin (RFC 9110, section 15)

    @property
    def kept_headers(self) -> dict[str, object]:
        return {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in self._start["headers"]
            if name.lower() in _KEPT_HEADERS
        }

    @property
    def body(self) -> bytes:
        return b"".join(
            each["body"] for each in self.messages if each["type"] == "http.response.body"
        )

    @property
    def _start(self) -> HTTPResponseStartEvent:
        first = self.messages[0]
        assert first["type"] == "http.response.start"
        return first


async def _replay(kept: IdempotencyKey, send: Send) -> None:
    assert kept.status is not None
    assert kept.body is not None
    headers = [
        (name.encode("latin-1"), str(value).encode("latin-1"))
        for name, value in (kept.headers or {}).items()
    ]
    headers += [
        (REPLAYED.lower().encode(), b"true"),
        (b"content-length", str(len(kept.body)).encode()),
    ]
    await send({"type": "http.response.start", "status": kept.status, "headers": headers})
    await send({"type": "http.response.body", "body": kept.body, "more_body": False})


async def _begin(runtime: Runtime, claim: _Claim) -> tuple[UUID | None, _Found | None]:
    """Take the key, or find what is kept under it; neither where it was freed meanwhile.

    Of two at once the second waits for the first's INSERT, and finds its row.
    """
    fresh = {"id": uuid7(), "fingerprint": claim.fingerprint}
    async with runtime.app.tenant_session(claim.tenant_id) as session:
        taken = await session.scalar(
            insert(IdempotencyKey)
            .values(**fresh, tenant_id=claim.tenant_id, sender_id=claim.sender_id, key=claim.key)
            .on_conflict_do_update(
                index_elements=["tenant_id", "sender_id", "key"],
                set_={
                    **fresh,
                    "status": None,
                    "headers": None,
                    "body": None,
                    "begun_at": func.now(),
                },
                where=IdempotencyKey.begun_at < func.now() - KEPT_FOR,
            )
            .returning(IdempotencyKey.id)
        )
        if taken is not None:
            return taken, None
        found = await session.execute(
            select(IdempotencyKey, IdempotencyKey.begun_at > func.now() - RUNS_FOR).where(
                IdempotencyKey.sender_id == claim.sender_id, IdempotencyKey.key == claim.key
            )
        )
        row = found.one_or_none()
        return None, None if row is None else (row[0], row[1])


def _refuse_other(claim: _Claim, found: _Found | None) -> None:
    """Refuse a repetition that cannot be answered with what is kept."""
    if found is not None and not hmac.compare_digest(found[0].fingerprint, claim.fingerprint):
        raise _refusal(
            422,
            "idempotency_key_reused",
            "This Idempotency-Key stands for another request.",
            "Send a key of its own with each request, and the same one only to repeat it.",
        )
    if found is None or (found[0].status is None and found[1]):
        raise _refusal(
            409,
            "idempotency_running",
            "The first request with this Idempotency-Key is not answered yet.",
            "Wait a second and send it again.",
            headers={"Retry-After": "1"},
        )
    if found[0].status is None:
        raise _refusal(
            409,
            "idempotency_unknown",
            "The first request with this Idempotency-Key ended without an answer.",
            "Look whether its work was done; if it was not, send it with another key.",
        )
    if found[0].body is None:
        raise _refusal(
            409,
            "idempotency_said_once",
            "This request was done. Its answer holds a secret, which is said once.",
            "If it never reached you, take what was made back and make another with another key.",
        )


def _refusal(
    status: int, code: str, detail: str, hint: str, *, headers: dict[str, str] | None = None
) -> HTTPException:
    return HTTPException(
        status_code=status, detail=detail, extra={"code": code, "hint": hint}, headers=headers
    )


def _refuse_unusable(key: str) -> None:
    if not 0 < len(key) <= LONGEST_KEY or not all("!" <= each <= "~" for each in key):
        raise _refusal(
            400,
            "bad_idempotency_key",
            f"An Idempotency-Key has 1 to {LONGEST_KEY} visible ASCII characters.",
            "Send a random one, such as a UUID.",
        )


def _claim(request: WebRequest, key: str, digest: bytes) -> _Claim:
    if request.user is None:
        raise NotSignedIn("You are not signed in.")
    return _Claim(
        tenant_id=request.user.tenant_id,
        sender_id=request.user.key_id or request.user.user_id,
        key=key,
        fingerprint=digest,
    )


@contextlib.asynccontextmanager
async def _reading(request: WebRequest) -> AsyncIterator[bytes]:
    """Read the request, which its route finds read, and give its digest.

    A keyed one, since bodies may be guessed. Of a form its fields: their frame differs each time.
    """
    site: Site = request.app.state.site
    digest = hmac.new(site.seals.key("idempotency"), digestmod=hashlib.sha256)
    content_type = request.content_type[0]
    for part in (request.method, request.url.path, request.url.query, content_type):
        _add(digest, _bytes(part))
    if content_type != RequestEncodingType.MULTI_PART:
        _add(digest, await request.body())
        yield digest.digest()
        return
    form = await read_form(request)
    request.receive = nothing_more
    try:
        for name, value in form.multi_items():
            _add(digest, _bytes(name))
            await _add_field(digest, value)
        yield digest.digest()
    finally:
        await form.close()


async def _add_field(digest: hmac.HMAC, value: object) -> None:
    if not isinstance(value, UploadFile):
        _add(digest, _bytes(str(value)))
        return
    _add(digest, _bytes(value.filename))
    inner = hashlib.sha256()
    while chunk := await value.read(_CHUNK_BYTES):
        inner.update(chunk)
    await value.seek(0)
    _add(digest, inner.digest())


def _add(digest: hmac.HMAC, part: bytes) -> None:
    """Add a part with its length: no two lists of parts run into the same bytes."""
    digest.update(len(part).to_bytes(8) + part)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
