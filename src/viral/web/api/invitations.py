"""/api/v1/invitations: links that make people members, each once."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, JSONBody

from viral.errors import NotFound
from viral.features.users.invitations import invite, list_invitations, revoke_invitation
from viral.schema.vocabulary import Role, email_of, role_of
from viral.web.deeds import note_deed
from viral.web.dependencies import Person, Transaction
from viral.web.door import admins_only
from viral.web.idempotency import SAID_ONCE
from viral.web.links import link_to
from viral.web.requests import WebRequest


class PersonInvited(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to invite, and as what."""

    email: str
    role: Role = "MEMBER"


class InvitationMade(msgspec.Struct, frozen=True):
    """An invitation with its link. It is said this once: pass it on to the person."""

    id: UUID
    link: str


class InvitationOut(msgspec.Struct, frozen=True):
    """An invitation that waits."""

    id: UUID
    email: str
    role: Role
    created_at: datetime
    expires_at: datetime


@get("/invitations", operation_id="list_invitations", guards=[admins_only])
async def get_invitations(session: Transaction) -> list[InvitationOut]:
    """List the invitations that wait, newest first. Admins only."""
    return [
        InvitationOut(each.id, each.email, role_of(each.role), each.created_at, each.expires_at)
        for each in await list_invitations(session)
    ]


@post("/invitations", operation_id="invite_person", guards=[admins_only], opt=SAID_ONCE)
async def invite_person(
    request: WebRequest, identity: Person, session: Transaction, data: JSONBody[PersonInvited]
) -> InvitationMade:
    """Invite a person; a link that waits for the same e-mail leads nowhere then. Admins only."""
    email = email_of(data.email)
    invitation_id, secret = await invite(session, identity.credential, email=email, role=data.role)
    await note_deed(request, session, identity, "invited", email, role=data.role)
    return InvitationMade(invitation_id, link_to(request, f"/invitation?token={secret}"))


@delete("/invitations/{invitation_id:uuid}", operation_id="revoke_invitation", guards=[admins_only])
async def take_invitation_back(
    request: WebRequest, identity: Person, session: Transaction, invitation_id: FromPath[UUID]
) -> None:
    """Let an invitation's link lead nowhere. Admins only."""
    emails = {each.id: each.email for each in await list_invitations(session)}
    if invitation_id not in emails:
        raise NotFound(f"There is no invitation {invitation_id} that waits.")
    await revoke_invitation(session, identity.credential, invitation_id)
    await note_deed(request, session, identity, "revoked invitation", emails[invitation_id])


ROUTES: Final = (get_invitations, invite_person, take_invitation_back)
