"""Settings, account: a person's password, and where they are signed in."""

from __future__ import annotations

from typing import Final

from litestar import Response, get, post
from litestar.params import URLEncodedBody
from litestar.response import Redirect

from viral.errors import SignInRefused
from viral.features.tenants import own_tenant
from viral.features.users.sessions import list_own_sessions
from viral.features.users.sign_in import set_password
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.rendering import render
from viral.web.dashboard.switcher import page_of, send_page
from viral.web.dashboard.views import AccountPage, Flash, SessionRow
from viral.web.deeds import note_deed
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.forms import Form
from viral.web.recognition import caller_of
from viral.web.requests import WebRequest
from viral.web.sign_in import password_door

PAGE = "/settings/account"


class NewPasswordForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The password that is to go, where there is one, and the one that is to come."""

    new: str
    current: str = ""


@get(PAGE, include_in_schema=False)
async def show_account(
    request: WebRequest, runtime: Wired, identity: Person, session: Transaction
) -> Response[str]:
    """Show what is the person's own, in all their tenants."""
    tenant = await own_tenant(session)
    page = await page_of(request, identity, session, tenant, now=runtime.clock())
    shown = AccountPage(
        email=identity.email,
        role=identity.role,
        sessions=tuple(
            SessionRow(
                tenant_name=each.tenant_name,
                method=each.method,
                opened_at=each.opened_at,
                last_seen_at=each.last_seen_at,
                is_current=each.is_current,
            )
            for each in await list_own_sessions(session, identity.credential)
        ),
    )
    return send_page(request, render("account.html", page=page, account=shown))


@post("/settings/account/password", opt={"page": PAGE}, include_in_schema=False)
async def give_password(
    request: WebRequest, runtime: Wired, identity: Person, data: URLEncodedBody[NewPasswordForm]
) -> Redirect:
    """Set or change the person's password; other browsers are signed out."""
    try:
        await set_password(
            password_door(request, runtime),
            identity,
            current=data.current,
            new=data.new,
            caller=caller_of(request),
        )
    except SignInRefused as error:
        # The person is signed in: no reason to show them the door.
        return send_back(request, Flash("error", error.message, error.code))
    async with runtime.app.tenant_session(identity.tenant_id) as session:
        await note_deed(request, session, identity, "set password")
    said = "The password is set. Other browsers that you were signed in with are signed out."
    return send_back(request, Flash("success", said))


ROUTES: Final = (show_account, give_password)
