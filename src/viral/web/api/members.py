"""/api/v1/members: who belongs to the tenant, and with which role."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from litestar import delete, get, patch
from litestar.params import FromPath, JSONBody
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from viral.errors import NotFound
from viral.features.users.members import Member, change_role, end_membership, list_members
from viral.schema.tenants import Tenant
from viral.schema.vocabulary import Role
from viral.web.deeds import note_deed
from viral.web.dependencies import Person, Transaction
from viral.web.door import admins_only, require_admin
from viral.web.etags import VERSIONED, require_match
from viral.web.requests import WebRequest


class RoleWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a member is to be: ADMIN or MEMBER."""

    role: Role


class MemberOut(msgspec.Struct, frozen=True):
    """A person of the tenant. `id` is their membership, `user_id` the person in every tenant."""

    id: UUID
    user_id: UUID
    email: str
    name: str | None
    role: Role
    joined_at: datetime
    last_login_at: datetime | None


@get("/members", operation_id="list_members")
async def get_members(session: Transaction) -> list[MemberOut]:
    """List the people of the tenant, admins first."""
    return [_member(each) for each in await list_members(session)]


@get("/members/{member_id:uuid}", operation_id="get_member")
async def get_member(session: Transaction, member_id: FromPath[UUID]) -> MemberOut:
    """Show a person of the tenant."""
    return _member(await _find(session, member_id))


@patch("/members/{member_id:uuid}", operation_id="change_role", guards=[admins_only], opt=VERSIONED)
async def give_role(
    request: WebRequest,
    identity: Person,
    session: Transaction,
    member_id: FromPath[UUID],
    data: JSONBody[RoleWanted],
) -> MemberOut:
    """Give a member another role; their sessions here end. A tenant keeps an admin. Admins only."""
    member = await _find_for_change(request, session, member_id)
    await change_role(session, identity.credential, member_id, data.role)
    await note_deed(request, session, identity, "changed role", member.email, role=data.role)
    return _member(replace(member, role=data.role))


@delete("/members/{member_id:uuid}", operation_id="remove_member", opt=VERSIONED)
async def remove_member(
    request: WebRequest, identity: Person, session: Transaction, member_id: FromPath[UUID]
) -> None:
    """Let a member go, as an admin, or leave; their sessions and keys here end."""
    member = await _find_for_change(request, session, member_id)
    if member.user_id != identity.user_id:
        require_admin(identity)
    await end_membership(session, identity.credential, member_id)
    await note_deed(request, session, identity, "ended membership", member.email)


async def _find_for_change(request: WebRequest, session: AsyncSession, member_id: UUID) -> Member:
    """Find a member of the version that the request names.

    Behind the lock that `change_role.sql` and `end_membership.sql` take: it stays that version.
    """
    await session.execute(select(Tenant.id).with_for_update(key_share=True))
    member = await _find(session, member_id)
    require_match(request, _member(member))
    return member


async def _find(session: AsyncSession, member_id: UUID) -> Member:
    for each in await list_members(session):
        if each.membership_id == member_id:
            return each
    raise NotFound(f"There is no member {member_id}.")


def _member(member: Member) -> MemberOut:
    return MemberOut(
        id=member.membership_id,
        user_id=member.user_id,
        email=member.email,
        name=member.name,
        role=member.role,
        joined_at=member.joined_at,
        last_login_at=member.last_login_at,
    )


ROUTES: Final = (get_members, get_member, give_role, remove_member)
