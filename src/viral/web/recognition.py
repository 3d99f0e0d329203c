"""Who sends a request: a session's cookie, or an API key, is exchanged for an identity."""

from __future__ import annotations

import contextlib

from viral.errors import NotAllowed, NotSignedIn
from viral.features.limits import Caller, caller_at
from viral.features.users.api_keys import PREFIX, identify_key
from viral.features.users.sessions import Identity, identify
from viral.runtime import Runtime
from viral.web.requests import SAFE_METHODS, WebRequest
from viral.web.site import Site, address_of

_BEARER = "bearer "


async def recognise(request: WebRequest, *, is_required: bool) -> None:
    """Note who sends a request in its scope; NotSignedIn when that is needed and nobody is known.

    A key that is none, or no more, is an error of its own: no cookie stands in for it.
    """
    if (key := _key_of(request)) is not None:
        request.scope["user"] = await _by_key(request, key)
        return
    site: Site = request.app.state.site
    token = request.cookies.get(site.session_cookie)
    if token:
        with contextlib.suppress(NotSignedIn):
            request.scope["user"] = await _by_session(request, token)
            request.scope["auth"] = token
    if is_required and request.user is None:
        raise NotSignedIn("You are not signed in.")


def caller_of(request: WebRequest) -> Caller:
    """Tell from where a request comes, and under which name it is counted."""
    site: Site = request.app.state.site
    runtime: Runtime = request.app.state.runtime
    peer = request.client.host if request.client else "unknown"
    address = address_of(peer, request.headers.get("x-forwarded-for", ""), site.proxies)
    return caller_at(address, runtime.secrets.pepper)


def carries_key(request: WebRequest) -> bool:
    """Tell whether a program sends this with a key: no browser sends one by itself."""
    return request.user is not None and request.user.key_id is not None


def _key_of(request: WebRequest) -> str | None:
    header = request.headers.get("authorization")
    if header is None or not request.url.path.startswith("/api/"):
        # A proxy in front may ask for a password of its own.
        return None
    key = header[len(_BEARER) :].strip()
    if not header.lower().startswith(_BEARER) or not key.startswith(PREFIX):
        raise NotSignedIn(
            "The Authorization header holds no API key.",
            hint=f"Send `Authorization: Bearer {PREFIX}...`.",
        )
    return key


async def _by_session(request: WebRequest, token: str) -> Identity:
    runtime: Runtime = request.app.state.runtime
    site: Site = request.app.state.site
    async with runtime.app.session_without_tenant() as session:
        return await identify(session, token, caller=caller_of(request), limits=site.limits)


async def _by_key(request: WebRequest, key: str) -> Identity:
    runtime: Runtime = request.app.state.runtime
    site: Site = request.app.state.site
    try:
        async with runtime.app.session_without_tenant() as session:
            identity = await identify_key(
                session,
                key,
                pepper=runtime.secrets.pepper,
                caller=caller_of(request),
                limits=site.limits,
            )
    except NotSignedIn as error:
        raise NotSignedIn(
            "This API key is not known, revoked or expired.", hint="Make another one."
        ) from error
    needed = "read" if request.method in SAFE_METHODS else "write"
    if needed not in identity.scopes:
        raise NotAllowed(f"This key lacks the scope {needed!r}.", hint="Make a key that has it.")
    return identity
