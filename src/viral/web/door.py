"""The way in and out: who may send a request, and the headers that every answer carries."""

from __future__ import annotations

import secrets
import time
from functools import lru_cache
from urllib.parse import urlsplit

import structlog
from litestar import Request
from litestar.datastructures import FormMultiDict
from litestar.enums import RequestEncodingType, ScopeType
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPRequestEvent, Message, Receive, Scope, Send

from viral.errors import NotAllowed
from viral.features.users.sessions import Identity
from viral.web.recognition import bears_token, recognise
from viral.web.requests import SAFE_METHODS, Connection, WebRequest
from viral.web.site import Site
from viral.web.usage import Use

log = structlog.get_logger(__name__)

# A route that says nothing is for signed-in people only.
OPEN = {"door": "open"}
EITHER = {"door": "either"}
POLICY = (
    "default-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none';"
    " object-src 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": browsers would send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
TWO_YEARS_S = 63_072_000
_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
_SECURE_HEADERS = [*_HEADERS, (b"strict-transport-security", b"max-age=%d" % TWO_YEARS_S)]
_OURS = {b"x-request-id", *(name for name, _ in _SECURE_HEADERS)}
# Files and probes say nothing about how long people wait; a call of an agent is timed inside.
UNTIMED = {"/static/{name}", "/health", "/mcp"}


class Door(ASGIMiddleware):
    """Refuses foreign hosts and origins, and finds out whose session a request belongs to."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        request: WebRequest = Request(scope, receive)
        scope["state"]["began"] = time.monotonic()
        scope["user"] = scope["auth"] = None
        site: Site = request.app.state.site
        _refuse_foreign_host(request, site)
        if request.method not in SAFE_METHODS:
            _refuse_foreign_origin(request)
        door = request.route_handler.opt.get("door")
        bound = structlog.contextvars.bind_contextvars(request_id=request_id(scope))
        try:
            if door != "open":
                await recognise(request, is_required=door != "either")
            if request.method in SAFE_METHODS or bears_token(scope):
                await next_app(scope, receive, send)
            else:
                await _let_form_in(request, send, next_app)
        finally:
            structlog.contextvars.reset_contextvars(**bound)


async def _let_form_in(request: WebRequest, send: Send, next_app: ASGIApp) -> None:
    form = await read_form(request)
    try:
        _refuse_unreadable_token(request, request.app.state.site, form)
        is_read = request.content_type[0] == RequestEncodingType.MULTI_PART
        await next_app(request.scope, nothing_more if is_read else request.receive, send)
    finally:
        # Uploaded files of a request that is refused further in would stay open.
        await form.close()


def operators_only(connection: Connection, _: BaseRouteHandler) -> None:
    """Let in only those who may do to the installation what its command line may."""
    if connection.user is None or not connection.user.is_operator:
        raise NotAllowed("Only the operator of this installation may do this.")


def admins_only(connection: Connection, _: BaseRouteHandler) -> None:
    """Let in admins of the tenant, and keys of theirs with the scope `admin`."""
    require_admin(connection.user)


def require_admin(identity: Identity | None) -> None:
    """Raise NotAllowed for everybody but an admin.

    SQL asks the membership, which may lag behind what a token of Clerk says of its bearer.
    """
    if identity is None or not identity.is_admin:
        raise NotAllowed("Only an admin of this tenant may do this.")


def people_only(connection: Connection, _: BaseRouteHandler) -> None:
    """Let in people who are signed in; a key has no sessions, and one tenant."""
    if connection.user is None or connection.user.key_id is not None:
        raise NotAllowed("A key cannot do this.", hint="Sign in instead.")


def request_id(scope: Scope) -> str:
    """Return the name of a request, in its answer and in the logs; ours, never the caller's."""
    state = scope["state"]
    if "request_id" not in state:
        state["request_id"] = secrets.token_hex(8)
    return str(state["request_id"])


async def finish_answer(message: Message, scope: Scope) -> None:
    """Add the headers of every answer and note the request."""
    if message["type"] != "http.response.start":
        return
    given = [each for each in message["headers"] if each[0].lower() not in _OURS]
    if all(name.lower() != b"cache-control" for name, _ in given):
        given.append((b"cache-control", b"no-store"))
    site: Site = scope["litestar_app"].state.site
    given += _SECURE_HEADERS if site.is_secure else _HEADERS
    given.append((b"x-request-id", request_id(scope).encode()))
    message["headers"] = given
    began = scope["state"].get("began")
    took_ms = None if began is None else round((time.monotonic() - began) * 1000)
    # The path alone: a sign-in link carries its secret in the query.
    log.info(
        "request.answered",
        request_id=request_id(scope),
        method=scope.get("method"),
        path=scope["path"],
        status=message["status"],
        duration_ms=took_ms,
    )
    _count_use(scope, status=message["status"], took_ms=took_ms or 0)
    traffic = scope["litestar_app"].state.get("traffic")
    if traffic is not None and scope.get("path_template") not in UNTIMED:
        traffic.add(status=message["status"], took_ms=took_ms or 0)


def _count_use(scope: Scope, *, status: int, took_ms: int) -> None:
    """Count a request of somebody known to the API, by its route: a path holds ids."""
    endpoint, user = scope.get("path_template", ""), scope.get("user")
    if isinstance(user, Identity) and endpoint.startswith("/api/"):
        use = Use(
            tenant_id=user.tenant_id,
            user_id=user.user_id,
            key_id=user.key_id,
            request_id=request_id(scope),
            endpoint=endpoint,
            method=str(scope.get("method")),
            status=status,
            took_ms=took_ms,
        )
        scope["litestar_app"].state.usage.add(use)


def _refuse_foreign_host(request: WebRequest, site: Site) -> None:
    """Refuse a name that is not ours: a foreign page may point its own name at this machine."""
    if _host_in(request.headers.get("host", "")) not in site.hosts:
        raise HTTPException(
            status_code=400,
            detail="This is not an address of this installation.",
            extra={
                "code": "foreign_host",
                "hint": "Open it as localhost, or set VIRAL_PUBLIC_URL to the address you use.",
            },
        )


@lru_cache(maxsize=256)
def _host_in(header: str) -> str | None:
    try:
        return urlsplit("//" + header).hostname
    except ValueError:
        return None


def _place_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _refuse_foreign_origin(request: WebRequest) -> None:
    """Refuse changes that another site asks for; programs that are no browser say nothing."""
    sent_from = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    is_ours = origin is None or _place_of(origin) == request.headers.get("host")
    if sent_from not in {"same-origin", "none"} or not is_ours:
        raise HTTPException(
            status_code=403,
            detail="The request comes from another site.",
            extra={"code": "foreign_origin", "hint": "Open the page here and try again."},
        )


async def read_form(request: WebRequest) -> FormMultiDict:
    """Read the form of a request; an empty one where it sends something else."""
    try:
        return await request.form()
    except (UnicodeError, LookupError) as error:
        raise HTTPException(status_code=400) from error


async def nothing_more() -> HTTPRequestEvent:
    """End a body whose parts were read: a route that takes JSON would wait for it for ever."""
    return {"type": "http.request", "body": b"", "more_body": False}


def _refuse_unreadable_token(request: WebRequest, site: Site, form: FormMultiDict) -> None:
    """Refuse what Litestar's comparison of form tokens would stumble over.

    It takes any text or file for a token, and compares ASCII alone.
    """
    sent: object = request.headers.get("x-csrftoken") or form.get("_csrf_token") or ""
    for token in (sent, request.cookies.get(site.csrf_cookie, "")):
        if not isinstance(token, str) or not token.isascii():
            raise HTTPException(status_code=403)
