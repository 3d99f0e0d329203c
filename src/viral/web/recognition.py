"""Who sends a request: a cookie, an API key or a token of Clerk becomes an identity."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta

from litestar.types import Scope as AnyScope

from viral.errors import NotAllowed, NotSignedIn, VendorUnreachable
from viral.features.limits import Caller, caller_at
from viral.features.users.api_keys import PREFIX, identify_key
from viral.features.users.clerk import Verified, clerk_credential, enter_by_clerk
from viral.features.users.sessions import Identity, identify
from viral.runtime import Runtime
from viral.schema.vocabulary import Scope
from viral.web.clerk import welcome
from viral.web.requests import SAFE_METHODS, WebRequest
from viral.web.site import Site, address_of

_BEARER = "bearer "
_FOR_PROGRAMS = ("/api/", "/mcp")
# Clerk's own name for the cookie that its script keeps fresh.
_CLERK_COOKIE = "__session"
# How long a token that was verified just now may act; Clerk's live about a minute.
_TOKEN_LIFE = timedelta(minutes=1)
# A route that asks for the scope itself, once it has read what is wanted.
ANY_SCOPE = {"any_scope": True}


async def recognise(request: WebRequest, *, is_required: bool) -> None:
    """Note who sends a request in its scope; NotSignedIn when that is needed and nobody is known.

    A header that holds no good key is an error of its own: no cookie stands in for it.
    """
    site: Site = request.app.state.site
    if (known := request.scope["state"].get("vouched")) is not None:
        request.scope["user"] = _within_scopes(request, known)
        return
    if (bearer := _bearer_of(request)) is not None:
        request.scope["user"] = await _by_bearer(request, bearer)
        request.scope["state"]["bears"] = True
        return
    if token := request.cookies.get(site.session_cookie):
        with contextlib.suppress(NotSignedIn):
            request.scope["user"] = await _by_session(request, token)
            request.scope["auth"] = token
    # A browser keeps the cookie of a session that has ended, which is no reason against Clerk's.
    if request.user is None and (token := request.cookies.get(_CLERK_COOKIE)):
        try:
            request.scope["user"] = await _by_clerk(request, token)
        except NotSignedIn:
            pass
        except VendorUnreachable:
            # The door with the password stays open.
            if is_required:
                raise
    if is_required and request.user is None:
        raise NotSignedIn("You are not signed in.")


def caller_of(request: WebRequest) -> Caller:
    """Tell from where a request comes, and under which name it is counted."""
    site: Site = request.app.state.site
    runtime: Runtime = request.app.state.runtime
    peer = request.client.host if request.client else "unknown"
    address = address_of(peer, request.headers.get("x-forwarded-for", ""), site.proxies)
    return caller_at(address, runtime.secrets.pepper)


def vouch(identity: Identity, request_id: str) -> dict[str, object]:
    """Make the state of a request that the application sends to itself for somebody it knows.

    They took their turn in the rate limits with the request that leads to it; scopes are asked.
    """
    return {"vouched": identity, "bears": True, "request_id": request_id}


def scope_needed(method: str) -> Scope:
    """Tell which scope a key needs for a method."""
    return "read" if method in SAFE_METHODS else "write"


def bears_token(connection: AnyScope) -> bool:
    """Tell whether a program put its key into a header, which no browser does by itself."""
    return "bears" in connection["state"]


def _bearer_of(request: WebRequest) -> str | None:
    header = request.headers.get("authorization")
    if header is None or not request.url.path.startswith(_FOR_PROGRAMS):
        # A proxy in front may ask for a password of its own.
        return None
    if not header.lower().startswith(_BEARER):
        raise NotSignedIn(
            "The Authorization header holds no API key.",
            hint=f"Send `Authorization: Bearer {PREFIX}...`.",
        )
    return header[len(_BEARER) :].strip()


async def _by_bearer(request: WebRequest, bearer: str) -> Identity:
    if bearer.startswith(PREFIX):
        return await _by_key(request, bearer)
    return await _by_clerk(request, bearer)


async def _by_session(request: WebRequest, token: str) -> Identity:
    runtime: Runtime = request.app.state.runtime
    site: Site = request.app.state.site
    return await identify(runtime.app, token, caller=caller_of(request), limits=site.limits)


async def _by_key(request: WebRequest, key: str) -> Identity:
    runtime: Runtime = request.app.state.runtime
    site: Site = request.app.state.site
    try:
        identity = await identify_key(
            runtime.app,
            key,
            pepper=runtime.secrets.pepper,
            caller=caller_of(request),
            limits=site.limits,
        )
    except NotSignedIn as error:
        raise NotSignedIn(
            "This API key is not known, revoked or expired.", hint="Make another one."
        ) from error
    return _within_scopes(request, identity)


def _within_scopes(request: WebRequest, identity: Identity) -> Identity:
    needed = scope_needed(request.method)
    if needed not in identity.scopes and "any_scope" not in request.route_handler.opt:
        raise NotAllowed(f"This key lacks the scope {needed!r}.", hint="Make a key that has it.")
    return identity


async def _by_clerk(request: WebRequest, token: str) -> Identity:
    """Verify a token of Clerk; a person whom no webhook has told of yet is asked for there.

    An admin is one by their membership and by their token: who is demoted at Clerk waits for no
    webhook to be so here.
    """
    runtime: Runtime = request.app.state.runtime
    site: Site = request.app.state.site
    if runtime.vendors.clerk_tokens is None:
        raise NotSignedIn("You are not signed in.")
    found = await runtime.vendors.clerk_tokens.verify(token)
    organization = None if found.organization is None else found.organization.id
    verified = Verified(
        person=found.user_id,
        organization=organization,
        credential=clerk_credential(found.session_id, organization, runtime.secrets.pepper),
        until=runtime.clock() + _TOKEN_LIFE,
    )
    caller = caller_of(request)
    try:
        identity = await enter_by_clerk(runtime.signin, verified, caller=caller, limits=site.limits)
    except NotSignedIn:
        await welcome(runtime, found)
        identity = await enter_by_clerk(runtime.signin, verified, caller=caller, limits=site.limits)
    if found.organization is not None and found.organization.role == "MEMBER":
        return replace(identity, role="MEMBER")
    return identity
