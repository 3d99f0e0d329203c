"""Signing in, by a one-time link or with a password, and out."""

from __future__ import annotations

from typing import Final

from litestar import MediaType, Response, get, post
from litestar.params import FromQuery, URLEncodedBody
from litestar.response import Redirect
from litestar.template.base import csrf_token

from viral.errors import LinkUsed, SignInRefused
from viral.features.audit import Action, note
from viral.features.users import sign_in as features
from viral.features.users.sessions import (
    SESSION_LIFETIME,
    SignedIn,
    end_all_sessions,
    end_session,
    open_session,
)
from viral.features.users.sign_in import Door
from viral.runtime import Runtime
from viral.web.dashboard.rendering import render
from viral.web.dashboard.views import Page, SignInPage
from viral.web.deeds import note_deed
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.door import EITHER
from viral.web.forms import Form
from viral.web.recognition import caller_of
from viral.web.requests import WebRequest
from viral.web.site import Site


class SignInForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The secret of the link."""

    token: str


class PasswordForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who says to be whom."""

    email: str
    password: str


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
    """Spend a link and begin a session of this browser."""
    try:
        async with runtime.app.session_without_tenant() as session:
            opened = await open_session(session, data.token)
    except LinkUsed:
        return door_page(request, runtime, SignInPage("spent"), status=LinkUsed.status)
    return await let_in(request, runtime, opened, "signed in", method="link")


@post("/sign-in/password", opt=EITHER, include_in_schema=False)
async def sign_in_with_password(
    request: WebRequest, runtime: Wired, data: URLEncodedBody[PasswordForm]
) -> Response[str]:
    """Begin a session of this browser, or say in one text that something is wrong."""
    try:
        opened = await features.sign_in(
            password_door(request, runtime),
            email=data.email,
            password=data.password,
            caller=caller_of(request),
        )
    except SignInRefused as error:
        problem = f"{error.message} {error.hint}"
        shown = SignInPage("signed_out", email=data.email, problem=problem)
        return door_page(request, runtime, shown, status=error.status)
    return await let_in(request, runtime, opened, "signed in", method="password")


@post("/sign-out", opt=EITHER, include_in_schema=False)
async def sign_out(
    request: WebRequest,
    runtime: Wired,
    data: URLEncodedBody[Form],  # noqa: ARG001 - its shape is checked
) -> Redirect:
    """End the session."""
    if request.user is not None and request.auth is not None:
        async with runtime.app.tenant_session(request.user.tenant_id) as session:
            await note_deed(request, session, request.user, "signed out")
            await end_session(session, request.auth)
    return to_the_door(request)


@post("/sign-out/everywhere", include_in_schema=False)
async def sign_out_everywhere(
    request: WebRequest,
    identity: Person,
    session: Transaction,
    data: URLEncodedBody[Form],  # noqa: ARG001 - its shape is checked
) -> Redirect:
    """End all sessions of the person, this one too."""
    ended = await end_all_sessions(session, identity.credential)
    await note_deed(request, session, identity, "signed out everywhere", sessions=ended)
    return to_the_door(request)


def password_door(request: WebRequest, runtime: Runtime) -> Door:
    """Return what checking a password takes."""
    return Door(runtime.signin, request.app.state.passwords, runtime.secrets.pepper)


def door_page(
    request: WebRequest, runtime: Runtime, state: SignInPage, *, status: int = 200
) -> Response[str]:
    """Show the door in one of its states."""
    page = Page(now=runtime.clock(), csrf_token=csrf_token({"request": request}))
    html = render("sign_in.html", page=page, sign_in=state)
    return Response(html, media_type=MediaType.HTML, status_code=status)


async def let_in(
    request: WebRequest, runtime: Runtime, opened: SignedIn, action: Action, *, method: str
) -> Redirect:
    """Give a new session to this browser; the one that it had before ends."""
    async with runtime.app.tenant_session(opened.tenant_id) as session:
        if request.auth is not None:
            await end_session(session, request.auth)
        await note(
            session,
            action,
            user_id=opened.user_id,
            address=caller_of(request).address,
            method=method,
        )
    response = Redirect("/", status_code=303)
    keep_session(request, response, opened.token)
    return response


def to_the_door(request: WebRequest) -> Redirect:
    """Let this browser forget its session."""
    response = Redirect("/", status_code=303)
    _set_session(request, response, "", max_age=0)
    return response


def keep_session(request: WebRequest, response: Redirect, token: str) -> None:
    """Let this browser keep a session's token; it ends in the database, whatever a cookie says."""
    _set_session(request, response, token, max_age=int(SESSION_LIFETIME.total_seconds()))


def _set_session(request: WebRequest, response: Redirect, token: str, *, max_age: int) -> None:
    site: Site = request.app.state.site
    response.set_cookie(
        site.session_cookie,
        token,
        max_age=max_age,
        secure=site.is_secure,
        httponly=True,
        samesite="lax",
    )


ROUTES: Final = (show_sign_in, sign_in, sign_in_with_password, sign_out, sign_out_everywhere)
