"""The frame around every page: whose tenant it shows, and the way to another one."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from litestar import MediaType, Response, post
from litestar.params import URLEncodedBody
from litestar.response import Redirect
from litestar.template.base import csrf_token
from sqlalchemy.ext.asyncio import AsyncSession

from viral.errors import NotSignedIn
from viral.features.audit import note
from viral.features.users.sessions import (
    Identity,
    list_own_tenants,
    switch_tenant,
)
from viral.runtime import Runtime
from viral.schema.tenants import Tenant
from viral.web.compression import HEADERS, SqueezedPage, takes_gzip
from viral.web.dashboard.flashes import forget_flashes, take_flashes
from viral.web.dashboard.views import Page, TenantOption
from viral.web.dependencies import Wired
from viral.web.forms import Form
from viral.web.live import Hub
from viral.web.recognition import caller_of
from viral.web.requests import WebRequest
from viral.web.sign_in import keep_session


class SwitchForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The person's membership in the tenant that they want to open."""

    membership_id: UUID


@post("/switch", include_in_schema=False)
async def switch(request: WebRequest, runtime: Wired, data: URLEncodedBody[SwitchForm]) -> Redirect:
    """Move this browser's session to another tenant of the person, under a new token."""
    if request.auth is None:
        raise NotSignedIn("You are not signed in.")
    async with runtime.app.session_without_tenant() as session:
        moved = await switch_tenant(session, request.auth, data.membership_id)
    address = caller_of(request).address
    async with runtime.app.tenant_session(moved.tenant_id) as session:
        await note(session, "switched tenant", user_id=moved.user_id, address=address)
    response = Redirect("/", status_code=303)
    keep_session(request, response, moved.token)
    return response


async def page_of(
    request: WebRequest,
    identity: Identity,
    session: AsyncSession,
    tenant: Tenant,
    *,
    now: datetime,
) -> Page:
    """Read what the frame shows; the notes that wait are taken with it.

    Whatever is read after it is at least as new as the page's position in the news.
    """
    runtime: Runtime = request.app.state.runtime
    # Studio has no news to tell.
    hub: Hub | None = request.app.state.get("hub")
    # A page that is the answer to a form cannot be asked for again: it does not listen.
    is_asked = request.method == "GET"
    position = hub.position(identity.tenant_id) if hub is not None and is_asked else None
    # Who comes from Clerk changes tenants and signs out there.
    is_ours = request.auth is not None
    tenants = await list_own_tenants(session, identity.credential) if is_ours else []
    return Page(
        now=now,
        csrf_token=csrf_token({"request": request}),
        tenant_name=tenant.name,
        tenants=tuple(
            TenantOption(str(each.membership_id), each.name, each.is_current) for each in tenants
        ),
        person=identity.email,
        is_admin=identity.is_admin,
        is_operator=identity.is_operator,
        is_demo=tenant.is_demo,
        is_offline=runtime.critic is runtime.offline_critic,
        can_sign_out=is_ours,
        branch=runtime.branch,
        flashes=take_flashes(request),
        position=position,
    )


def send_page(request: WebRequest, html: str, *, status: int = 200) -> Response[str]:
    """Answer with a page, on which notes are shown for the only time."""
    is_small = takes_gzip(request.headers.get("accept-encoding", ""))
    kind, headers = (SqueezedPage, HEADERS) if is_small else (Response, {"Vary": HEADERS["Vary"]})
    response = kind(html, media_type=MediaType.HTML, status_code=status, headers=headers)
    forget_flashes(request, response)
    return response


ROUTES: Final = (switch,)
