"""Entity tags (RFC 9110, section 8.8): what a program has is not sent again, nor changed unseen.

A tag is of an answer's bytes. Whoever reads sends it back in If-None-Match, whoever writes in
If-Match; the route that writes compares it, in its transaction.
"""

from __future__ import annotations

import base64
import hashlib

from litestar import Request
from litestar.datastructures import Headers
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.middleware import ASGIMiddleware
from litestar.serialization import encode_json
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send

from viral.features.users.sessions import Identity
from viral.web.requests import WebRequest

# A route that calls `require_match`.
VERSIONED = {"is_versioned": True}
_CHANGING = frozenset({"PUT", "PATCH", "DELETE"})
_OK, _NOT_MODIFIED = 200, 304
_TAG_BYTES = 18
# No browser keeps a tenant's data; a program that asks again keeps what it chose to.
_HEADERS = ((b"cache-control", b"no-store"), (b"vary", b"Authorization, Cookie"))
_REPLACED = frozenset({b"etag", *(name for name, _ in _HEADERS)})
_REPLACED_UNCHANGED = _REPLACED | {b"content-length", b"content-type"}


def etag_of(body: bytes, identity: Identity | None) -> str:
    """Return the strong tag of an answer's body, quoted; of the same bytes each tenant has its own.

    So nobody learns by another's tag that two tenants see the same.
    """
    digest = hashlib.sha256(b"" if identity is None else identity.tenant_id.bytes)
    digest.update(body)
    return f'"{base64.urlsafe_b64encode(digest.digest()[:_TAG_BYTES]).decode()}"'


def require_match(request: WebRequest, current: object) -> None:
    """Refuse a change with 412 when If-Match names another version than `current`.

    `current` is what GET of the same address answers, read under a lock until the transaction ends.
    """
    wanted = request.headers.get("if-match")
    if wanted is None or wanted.strip() == "*":
        return
    if etag_of(encode_json(current), request.user) not in _listed(wanted):
        raise _failed(
            "This has changed since you read it.",
            "Read it again, and send the change with the ETag of that answer.",
        )


class Etags(ASGIMiddleware):
    """Tags what GET answers, and sends 304 in place of what the sender has."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        method = scope.get("method")
        if method == "GET":
            send = _Tagged(scope, send).take
        elif method in _CHANGING:
            _refuse_blind_match(Request(scope))
        await next_app(scope, receive, send)


class _Tagged:
    """Holds back how an answer begins until its body is there."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._start: HTTPResponseStartEvent | None = None
        self._body = b""

    async def take(self, message: Message) -> None:
        """Send what has no tag as it comes, the rest with one."""
        if message["type"] == "http.response.start" and message["status"] == _OK:
            self._start = message
        elif self._start is None or message["type"] != "http.response.body":
            await self._send(message)
        else:
            self._body += message["body"]
            if not message["more_body"]:
                await self._finish(self._start)

    async def _finish(self, start: HTTPResponseStartEvent) -> None:
        tag = etag_of(self._body, self._scope["user"])
        left_out = _REPLACED
        known = _listed(Headers.from_scope(self._scope).get("if-none-match", ""), is_weak=True)
        if tag in known or "*" in known:
            start["status"] = _NOT_MODIFIED
            self._body = b""
            left_out = _REPLACED_UNCHANGED
        headers = [each for each in start["headers"] if each[0].lower() not in left_out]
        start["headers"] = [*headers, (b"etag", tag.encode()), *_HEADERS]
        await self._send(start)
        await self._send({"type": "http.response.body", "body": self._body, "more_body": False})


def _refuse_blind_match(request: WebRequest) -> None:
    """Refuse a condition that nothing would check: its sender would rely on it."""
    if "if-match" in request.headers and "is_versioned" not in request.route_handler.opt:
        raise _failed(
            "There is no version to compare at this address.", "Send it without If-Match."
        )


def _failed(detail: str, hint: str) -> HTTPException:
    extra = {"code": "precondition_failed", "hint": hint}
    return HTTPException(status_code=412, detail=detail, extra=extra)


def _listed(header: str, *, is_weak: bool = False) -> frozenset[str]:
    """Read a list of tags; ours hold no comma. Weak ones count for If-None-Match alone."""
    tags = (each.strip() for each in header.split(","))
    return frozenset(each.removeprefix("W/") if is_weak else each for each in tags)
