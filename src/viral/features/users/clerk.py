"""People and organizations of Clerk as people, tenants and memberships of ours."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import func, select, update

from viral.errors import AlreadyExists, NotFound
from viral.features.audit import note
from viral.features.tenants import create_tenant
from viral.features.users.api_keys import revoke_keys_of
from viral.features.users.members import add_member, revoke_invitations_of
from viral.features.users.sessions import identity_of
from viral.schema.base import uuid7
from viral.schema.tenants import Membership, Session, Tenant, User

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.database.engine import Database
    from viral.database.secrets import Secrets
    from viral.features.limits import Caller, Limits
    from viral.features.users.sessions import Identity
    from viral.schema.vocabulary import Role

log = structlog.get_logger(__name__)

_NO_SLUG = re.compile(r"[^a-z0-9_-]+")
_LONGEST_SLUG = 50
_BY_CLERK = """
SELECT * FROM viral.enter_by_clerk($1, $2, $3, $4, $5, $6, ARRAY[$7, $8, $9]::integer[])
"""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verified token says: the person, and the organization that is open, if one is."""

    person: str
    organization: str | None
    credential: bytes
    until: datetime


@dataclass(frozen=True, slots=True)
class Person:
    """A person as Clerk knows them; the e-mail is verified there."""

    id: str
    email: str
    name: str | None
    image_url: str | None


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization as Clerk knows it."""

    id: str
    name: str
    slug: str | None


def clerk_credential(session_id: str, organization: str | None, pepper: bytes) -> bytes:
    """Name a session of Clerk's among ours, once for each tenant that it moves between.

    By HMAC-SHA-256 under the pepper: Clerk's ids are no secrets, and the hash of one would let in
    whoever puts the id into a cookie.
    """
    name = f"clerk session {session_id} {organization}"
    return hmac.new(pepper, name.encode(), hashlib.sha256).digest()


async def enter_by_clerk(
    signin: Database, verified: Verified, *, caller: Caller, limits: Limits
) -> Identity:
    """Tell who a verified token speaks for; NotSignedIn when they are not known here (yet)."""
    allowed = (limits.address, limits.user, limits.tenant)
    rows = await signin.call(
        _BY_CLERK,
        verified.person,
        verified.organization,
        uuid7(),
        verified.credential,
        verified.until,
        caller.bucket,
        *allowed,
    )
    return identity_of(rows, verified.credential)


async def keep_person(session: AsyncSession, person: Person) -> UUID:
    """Make a person known or bring them up to date, as the system role; return their id.

    Clerk has seen that the e-mail is theirs, which a local account has not: it becomes theirs, and
    who knew its password is out. An account of another person of Clerk's never does.
    """
    user = await session.scalar(select(User).where(User.clerk_id == person.id))
    holder = await session.scalar(select(User).where(User.email == person.email))
    email = person.email
    if holder is not None and holder.clerk_id not in {None, person.id}:
        # An address has one owner at Clerk: the former one's news is on its way, or never comes.
        holder.email = f"{str(holder.clerk_id).lower()}@clerk.invalid"
        await session.flush()
    elif user is None and holder is not None:
        user = holder
        user.password_hash = None
        await _end_sessions(session, user.id)
        await revoke_keys_of(session, user.id)
    elif user is not None and holder is not None and holder is not user:
        # Two accounts of one person, each with tenants of its own: both go on.
        log.warning("clerk.email_taken", user_id=str(user.id))
        email = user.email
    if user is None:
        user = User()
        session.add(user)
    user.clerk_id, user.email = person.id, email
    user.name, user.image_url = person.name, person.image_url
    await session.flush()
    return user.id


async def is_known(session: AsyncSession, person: str) -> bool:
    """Tell whether a person of Clerk's is one of ours, as the system role."""
    found = await session.scalar(select(User.id).where(User.clerk_id == person))
    return found is not None


async def has_been_in(session: AsyncSession, *, organization: str, person: str) -> bool:
    """Tell whether a person was ever let into an organization's tenant, even if that has ended."""
    found = await session.scalar(
        select(Membership.id)
        .join(User, User.id == Membership.user_id)
        .join(Tenant, Tenant.id == Membership.tenant_id)
        .where(User.clerk_id == person, Tenant.clerk_organization_id == organization)
    )
    return found is not None


async def own_tenant_of(session: AsyncSession, person: str) -> UUID | None:
    """Return the tenant that a person opens without an organization, while they may."""
    found: UUID | None = await session.scalar(
        select(Tenant.id)
        .join(User, User.tenant_id == Tenant.id)
        .join(Membership, (Membership.tenant_id == Tenant.id) & (Membership.user_id == User.id))
        .where(
            User.clerk_id == person,
            Tenant.clerk_organization_id.is_(None),
            Membership.ended_at.is_(None),
        )
    )
    return found


async def keep_own_tenant(session: AsyncSession, person: Person, *, secrets: Secrets) -> UUID:
    """Make the tenant of a person who opened no organization, once; return its id."""
    user_id = await keep_person(session, person)
    tenant_id = await own_tenant_of(session, person.id)
    if tenant_id is None:
        name = person.name or person.email.partition("@")[0]
        tenant_id = await _make_tenant(session, name, None, secrets=secrets)
        await add_member(session, tenant_id=tenant_id, user_id=user_id, role="ADMIN")
        await session.execute(update(User).where(User.id == user_id).values(tenant_id=tenant_id))
    return tenant_id


async def keep_organization(
    session: AsyncSession, organization: Organization, *, secrets: Secrets
) -> UUID:
    """Make an organization's tenant or bring its name up to date; return its id."""
    tenant_id = await find_or_make_organization(session, organization, secrets=secrets)
    renaming = update(Tenant).where(Tenant.id == tenant_id)
    await session.execute(renaming.values(name=_name_of(organization)))
    return tenant_id


async def find_or_make_organization(
    session: AsyncSession, organization: Organization, *, secrets: Secrets
) -> UUID:
    """Make an organization's tenant, once; return its id. The name of one that is there stays."""
    found: UUID | None = await session.scalar(
        select(Tenant.id).where(Tenant.clerk_organization_id == organization.id)
    )
    if found is not None:
        return found
    made = await _make_tenant(session, _name_of(organization), organization.slug, secrets=secrets)
    belonging = update(Tenant).where(Tenant.id == made)
    await session.execute(belonging.values(clerk_organization_id=organization.id))
    return made


async def keep_membership(
    session: AsyncSession, *, tenant_id: UUID, person: str, role: Role
) -> None:
    """Let a person into an organization's tenant, in a role; NotFound before they are known."""
    user_id = await session.scalar(select(User.id).where(User.clerk_id == person))
    if user_id is None:
        raise NotFound("The person of this membership is not known yet.")
    before = await session.scalar(
        select(Membership.role).where(
            Membership.tenant_id == tenant_id,
            Membership.user_id == user_id,
            Membership.ended_at.is_(None),
        )
    )
    await add_member(session, tenant_id=tenant_id, user_id=user_id, role=role)
    if before is None:
        await note(session, "joined", "by Clerk", tenant_id=tenant_id, user_id=user_id)
    elif before != role:
        await _end_own_sessions(session, user_id, tenant_id)
        if role != "ADMIN":
            # A key that was made for an admin would be one again with the role.
            await revoke_keys_of(session, user_id, tenant_id=tenant_id)
            await revoke_invitations_of(session, user_id, tenant_id=tenant_id)
        await note(session, "changed role", role, tenant_id=tenant_id, user_id=user_id)


async def drop_membership(session: AsyncSession, *, organization: str, person: str) -> None:
    """End a person's membership in an organization's tenant."""
    await _end_memberships(session, _is_of(person), _is_in(organization))


async def drop_person(session: AsyncSession, person: str) -> None:
    """Let a person go whom Clerk knows no more: every membership ends, and what began with it.

    Who has their address next is somebody else: no operator.
    """
    user_id = await session.scalar(select(User.id).where(User.clerk_id == person))
    if user_id is not None:
        await _end_memberships(session, _is_of(person))
        leaving = update(User).where(User.id == user_id)
        await session.execute(leaving.values(clerk_id=None, is_operator=False))


async def drop_organization(session: AsyncSession, organization: str) -> None:
    """Let everybody out of an organization's tenant. Its rows stay until they are erased."""
    await _end_memberships(session, _is_in(organization))


async def _end_memberships(session: AsyncSession, *which: ColumnElement[bool]) -> None:
    """End memberships. Whether an admin is left is Clerk's business here."""
    ended = await session.execute(
        update(Membership)
        .where(Membership.ended_at.is_(None), *which)
        .values(ended_at=func.now())
        .returning(Membership.tenant_id, Membership.user_id)
    )
    for tenant_id, user_id in ended.all():
        await _end_own_sessions(session, user_id, tenant_id)
        await revoke_keys_of(session, user_id, tenant_id=tenant_id)
        await revoke_invitations_of(session, user_id, tenant_id=tenant_id)
        await note(session, "ended membership", "by Clerk", tenant_id=tenant_id, user_id=user_id)


def _is_of(person: str) -> ColumnElement[bool]:
    who = select(User.id).where(User.clerk_id == person)
    return Membership.user_id == who.scalar_subquery()


def _is_in(organization: str) -> ColumnElement[bool]:
    where = select(Tenant.id).where(Tenant.clerk_organization_id == organization)
    return Membership.tenant_id == where.scalar_subquery()


async def _end_own_sessions(session: AsyncSession, user_id: UUID, tenant_id: UUID) -> None:
    """End the sessions in a tenant that began here.

    One of Clerk's lets in as its membership says, and never again once it has ended: who comes back
    to an organization comes with the same one.
    """
    began_here = Session.method != "clerk"
    await _end_sessions(session, user_id, Session.tenant_id == tenant_id, began_here)


async def _end_sessions(session: AsyncSession, user_id: UUID, *which: ColumnElement[bool]) -> None:
    ending = update(Session).where(Session.user_id == user_id, Session.ended_at.is_(None), *which)
    await session.execute(ending.values(ended_at=func.now()))


def _name_of(organization: Organization) -> str:
    return organization.name.strip()[:200] or organization.id


async def _make_tenant(
    session: AsyncSession, name: str, slug: str | None, *, secrets: Secrets
) -> UUID:
    """Make a tenant under the slug that was asked for, or one like it that is free."""
    wanted = _NO_SLUG.sub("-", (slug or name).lower()).strip("-_")[:_LONGEST_SLUG] or "studio"
    try:
        return await create_tenant(session, slug=wanted, name=name[:200], secrets=secrets)
    except AlreadyExists:
        free = f"{wanted}-{uuid7().hex[-8:]}"
        return await create_tenant(session, slug=free, name=name[:200], secrets=secrets)
