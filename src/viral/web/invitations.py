"""Invitations: what the holder of a link sees, and how they become a member."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from litestar import MediaType, Response, get, post
from litestar.params import FromQuery, URLEncodedBody
from litestar.template.base import csrf_token

from viral.errors import LinkUsed, PasswordRefused, SignInRefused
from viral.features.users.invitations import Offer, accept_as, accept_as_new, offer_of
from viral.features.users.sessions import SignedIn
from viral.runtime import Runtime
from viral.web.dashboard.rendering import render
from viral.web.dashboard.views import InvitationPage, Page
from viral.web.dependencies import Wired
from viral.web.door import EITHER
from viral.web.forms import Form
from viral.web.recognition import caller_of
from viral.web.requests import WebRequest
from viral.web.sign_in import let_in, password_door


class InvitationForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The secret of the link; name and password of who is not signed in as the one invited."""

    token: str
    name: str = ""
    password: str = ""


@get("/invitation", opt=EITHER, include_in_schema=False)
async def show_invitation(
    request: WebRequest, runtime: Wired, token: FromQuery[str] = ""
) -> Response[str]:
    """Show what a link offers; looking at it changes nothing."""
    try:
        offer = await _offer(runtime, token)
    except LinkUsed as error:
        return _page(request, runtime, InvitationPage("spent"), status=error.status)
    return _page(request, runtime, _shown(request, offer, token))


@post("/invitation", opt=EITHER, include_in_schema=False)
async def accept_invitation(
    request: WebRequest, runtime: Wired, data: URLEncodedBody[InvitationForm]
) -> Response[str]:
    """Make the person a member and open the tenant in a new session of this browser."""
    try:
        offer = await _offer(runtime, data.token)
    except LinkUsed as error:
        return _page(request, runtime, InvitationPage("spent"), status=error.status)
    try:
        opened = await _accept(request, runtime, offer, data)
    except LinkUsed as error:
        # Somebody was faster.
        return _page(request, runtime, InvitationPage("spent"), status=error.status)
    except (PasswordRefused, SignInRefused) as error:
        problem = f"{error.message} {error.hint}"
        shown = _shown(request, offer, data.token, name=data.name, problem=problem)
        return _page(request, runtime, shown, status=error.status)
    return await let_in(request, runtime, opened, "joined", method="invitation")


async def _offer(runtime: Runtime, token: str) -> Offer:
    async with runtime.app.session_without_tenant() as session:
        return await offer_of(session, token)


async def _accept(
    request: WebRequest, runtime: Runtime, offer: Offer, data: InvitationForm
) -> SignedIn:
    door = password_door(request, runtime)
    if request.user is not None and request.user.email == offer.email:
        return await accept_as(door, request.user, offer, data.token)
    return await accept_as_new(
        door,
        offer,
        data.token,
        name=data.name,
        password=data.password,
        caller=caller_of(request),
    )


def _shown(
    request: WebRequest, offer: Offer, token: str, *, name: str = "", problem: str = ""
) -> InvitationPage:
    person = None if request.user is None else request.user.email
    return InvitationPage(
        state="join" if person == offer.email else "open",
        token=token,
        tenant_name=offer.tenant_name,
        email=offer.email,
        role=offer.role,
        person=person,
        name=name,
        problem=problem,
    )


def _page(
    request: WebRequest, runtime: Runtime, shown: InvitationPage, *, status: int = HTTPStatus.OK
) -> Response[str]:
    page = Page(now=runtime.clock(), csrf_token=csrf_token({"request": request}))
    html = render("invitation.html", page=page, invitation=shown)
    return Response(html, media_type=MediaType.HTML, status_code=status)


ROUTES: Final = (show_invitation, accept_invitation)
