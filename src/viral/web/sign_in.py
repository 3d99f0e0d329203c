"""Signing in by a one-time link, and out."""

from __future__ import annotations

from litestar import MediaType, Response, get, post
from litestar.params import FromQuery, URLEncodedBody
from litestar.response import Redirect
from litestar.template.base import csrf_token

from viral.errors import LinkUsed
from viral.features.users.sessions import SESSION_LIFETIME, end_session, open_session
from viral.web.dashboard.rendering import render
from viral.web.dashboard.views import Page, SignInPage
from viral.web.dependencies import Wired
from viral.web.door import EITHER
from viral.web.forms import Form
from viral.web.requests import WebRequest
from viral.web.site import Site


class SignInForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The secret of the link."""

    token: str


@get("/sign-in", opt=EITHER, include_in_schema=False)
async def show_sign_in(
    request: WebRequest, runtime: Wired, token: FromQuery[str | None] = None
) -> Response[str]:
    """Show the button that spends a link; looking at it changes nothing."""
    state = SignInPage("ready", token) if token else SignInPage("signed_out")
    return door_page(request, runtime, state)


@post("/sign-in", opt=EITHER, include_in_schema=False)
async def sign_in(
    request: WebRequest, runtime: Wired, data: URLEncodedBody[SignInForm]
) -> Response[str]:
    """Spend a link and begin a session of this browser; a session it had before ends."""
    try:
        async with runtime.app.session_without_tenant() as session:
            token = await open_session(session, data.token)
            if request.auth is not None:
                await end_session(session, request.auth)
    except LinkUsed as error:
        return door_page(request, runtime, SignInPage("spent"), status=error.status)
    response = Redirect("/", status_code=303)
    _keep_session(request, response, token, max_age=int(SESSION_LIFETIME.total_seconds()))
    return response


@post("/sign-out", opt=EITHER, include_in_schema=False)
async def sign_out(
    request: WebRequest,
    runtime: Wired,
    data: URLEncodedBody[Form],  # noqa: ARG001 - its shape is checked
) -> Redirect:
    """End the session."""
    if request.auth is not None:
        async with runtime.app.session_without_tenant() as session:
            await end_session(session, request.auth)
    response = Redirect("/", status_code=303)
    _keep_session(request, response, "", max_age=0)
    return response


def door_page(
    request: WebRequest, runtime: Wired, state: SignInPage, *, status: int = 200
) -> Response[str]:
    """Show the door in one of its states."""
    page = Page(now=runtime.clock(), csrf_token=csrf_token({"request": request}))
    html = render("sign_in.html", page=page, sign_in=state)
    return Response(html, media_type=MediaType.HTML, status_code=status)


def _keep_session(request: WebRequest, response: Redirect, token: str, *, max_age: int) -> None:
    site: Site = request.app.state.site
    response.set_cookie(
        site.session_cookie,
        token,
        max_age=max_age,
        secure=site.is_secure,
        httponly=True,
        samesite="lax",
    )
