"""/api/v1/sessions and /api/v1/memberships: where a person is signed in, and where they may be."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from litestar import delete, get

from viral.features.users.sessions import end_all_sessions, list_own_sessions, list_own_tenants
from viral.schema.vocabulary import Role
from viral.web.deeds import note_deed
from viral.web.dependencies import Person, Transaction
from viral.web.door import people_only
from viral.web.requests import WebRequest


class SessionOut(msgspec.Struct, frozen=True):
    """A browser in which you are signed in; `method` is link, password or clerk."""

    tenant: str
    method: str
    opened_at: datetime
    last_seen_at: datetime
    is_current: bool


class SessionsEnded(msgspec.Struct, frozen=True):
    """How many sessions ended, this one included."""

    ended: int


class MembershipOut(msgspec.Struct, frozen=True):
    """A tenant that you may open; `id` is your membership in it."""

    id: UUID
    slug: str
    name: str
    role: Role
    is_current: bool


@get("/sessions", operation_id="list_sessions", guards=[people_only])
async def get_sessions(identity: Person, session: Transaction) -> list[SessionOut]:
    """List where you are signed in, in all your tenants. Not with a key."""
    return [
        SessionOut(
            tenant=each.tenant_name,
            method=each.method,
            opened_at=each.opened_at,
            last_seen_at=each.last_seen_at,
            is_current=each.is_current,
        )
        for each in await list_own_sessions(session, identity.credential)
    ]


@delete("/sessions", operation_id="end_sessions", guards=[people_only], status_code=200)
async def sign_out_everywhere(
    request: WebRequest, identity: Person, session: Transaction
) -> SessionsEnded:
    """Sign out everywhere, here too; keys go on. Not with a key."""
    ended = await end_all_sessions(session, identity.credential)
    await note_deed(request, session, identity, "signed out everywhere", sessions=ended)
    return SessionsEnded(ended)


@get("/memberships", operation_id="list_memberships", guards=[people_only])
async def get_memberships(identity: Person, session: Transaction) -> list[MembershipOut]:
    """List your tenants. Not with a key: it is of one tenant."""
    return [
        MembershipOut(each.membership_id, each.slug, each.name, each.role, each.is_current)
        for each in await list_own_tenants(session, identity.credential)
    ]


ROUTES: Final = (get_sessions, sign_out_everywhere, get_memberships)
