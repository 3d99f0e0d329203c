"""Settings, people: who is in the tenant, with which role, and who is invited."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath, URLEncodedBody
from litestar.response import Redirect
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from viral.features.tenants import own_tenant
from viral.features.users.invitations import (
    LIFETIME,
    invite,
    list_invitations,
    revoke_invitation,
)
from viral.features.users.members import change_role, end_membership, list_members
from viral.features.users.sessions import Identity
from viral.runtime import Runtime
from viral.schema.tenants import Invitation, Membership, User
from viral.schema.vocabulary import Role, email_of, role_of
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.rendering import render
from viral.web.dashboard.switcher import page_of, send_page
from viral.web.dashboard.views import Flash, InvitationRow, MemberRow, PeoplePage, ShownOnce
from viral.web.deeds import note_deed
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.door import admins_only, require_admin
from viral.web.forms import Form
from viral.web.links import link_to
from viral.web.requests import WebRequest
from viral.web.sign_in import to_the_door

PAGE = "/settings/people"
_ROLE_NAMES: dict[Role, str] = {"ADMIN": "an admin", "MEMBER": "a member"}


class InviteForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whom to invite, and as what."""

    email: str
    role: Role = "MEMBER"


class RoleForm(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a member is to be."""

    role: Role


@get(PAGE, include_in_schema=False)
async def show_people(
    request: WebRequest, runtime: Wired, identity: Person, session: Transaction
) -> Response[str]:
    """Show the members; to admins also the invitations that wait."""
    return await _page(request, runtime, identity, session)


@post("/settings/invitations", guards=[admins_only], opt={"page": PAGE}, include_in_schema=False)
async def invite_person(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    data: URLEncodedBody[InviteForm],
) -> Response[str]:
    """Invite a person and show the link; it is in this one answer and nowhere else."""
    email = email_of(data.email)
    _, secret = await invite(session, identity.credential, email=email, role=data.role)
    await note_deed(request, session, identity, "invited", email, role=data.role)
    link = ShownOnce(link_to(request, f"/invitation?token={secret}"), email)
    return await _page(request, runtime, identity, session, link=link)


@post(
    "/settings/invitations/{invitation_id:uuid}/revoke",
    guards=[admins_only],
    opt={"page": PAGE},
    include_in_schema=False,
)
async def take_invitation_back(
    request: WebRequest,
    identity: Person,
    session: Transaction,
    invitation_id: FromPath[UUID],
    data: URLEncodedBody[Form],  # noqa: ARG001 - its shape is checked
) -> Redirect:
    """Let an invitation's link lead nowhere."""
    await revoke_invitation(session, identity.credential, invitation_id)
    email = await session.scalar(select(Invitation.email).where(Invitation.id == invitation_id))
    await note_deed(request, session, identity, "revoked invitation", email)
    return send_back(request, Flash("success", f"The invitation of {email} is taken back."))


@post(
    "/settings/people/{membership_id:uuid}/role",
    guards=[admins_only],
    opt={"page": PAGE},
    include_in_schema=False,
)
async def give_role(
    request: WebRequest,
    identity: Person,
    session: Transaction,
    membership_id: FromPath[UUID],
    data: URLEncodedBody[RoleForm],
) -> Redirect:
    """Give a member another role; they are signed out of this tenant."""
    await change_role(session, identity.credential, membership_id, data.role)
    user_id, email = await _member(session, membership_id)
    await note_deed(request, session, identity, "changed role", email, role=data.role)
    if user_id == identity.user_id:
        return to_the_door(request)
    said = f"{email} is {_ROLE_NAMES[data.role]} from the next sign-in on."
    return send_back(request, Flash("success", said))


@post("/settings/people/{membership_id:uuid}/remove", opt={"page": PAGE}, include_in_schema=False)
async def remove_member(
    request: WebRequest,
    identity: Person,
    session: Transaction,
    membership_id: FromPath[UUID],
    data: URLEncodedBody[Form],  # noqa: ARG001 - its shape is checked
) -> Redirect:
    """Let a member go, or leave."""
    await end_membership(session, identity.credential, membership_id)
    user_id, email = await _member(session, membership_id)
    if user_id != identity.user_id:
        require_admin(identity)
    await note_deed(request, session, identity, "ended membership", email)
    if user_id == identity.user_id:
        return to_the_door(request)
    return send_back(request, Flash("success", f"{email} is no member any more."))


async def _member(session: AsyncSession, membership_id: UUID) -> tuple[UUID, str]:
    """Return id and e-mail of who was just found by a membership; it may have ended."""
    found = await session.execute(
        select(User.id, User.email)
        .join(Membership, Membership.user_id == User.id)
        .where(Membership.id == membership_id)
    )
    user_id, email = found.one()
    return user_id, email


async def _page(
    request: WebRequest,
    runtime: Runtime,
    identity: Identity,
    session: AsyncSession,
    *,
    link: ShownOnce | None = None,
) -> Response[str]:
    tenant = await own_tenant(session)
    page = await page_of(request, identity, session, tenant, now=runtime.clock())
    shown = PeoplePage(
        members=tuple(
            MemberRow(
                id=str(each.membership_id),
                email=each.email,
                name=each.name or "",
                role=each.role,
                joined_at=each.joined_at,
                last_login_at=each.last_login_at,
                is_me=each.user_id == identity.user_id,
            )
            for each in await list_members(session)
        ),
        invitations=await _invitations(session) if identity.is_admin else (),
        link_days=LIFETIME.days,
        link=link,
    )
    html = render("people.html", page=page, people=shown)
    return send_page(request, html, status=200 if link is None else 201)


async def _invitations(session: AsyncSession) -> tuple[InvitationRow, ...]:
    return tuple(
        InvitationRow(
            id=str(each.id),
            email=each.email,
            role=role_of(each.role),
            made_at=each.created_at,
            expires_at=each.expires_at,
        )
        for each in await list_invitations(session)
    )


ROUTES: Final = (show_people, invite_person, take_invitation_back, give_role, remove_member)
