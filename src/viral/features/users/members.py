"""Members: who belongs to a tenant, and with which role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update

from viral.errors import AlreadyExists, LastAdmin, NotFound
from viral.features.audit import note
from viral.features.users.api_keys import revoke_keys_of
from viral.features.users.sessions import make_sign_in_link
from viral.schema.tenants import Invitation, Membership, Session, Tenant, User
from viral.schema.vocabulary import role_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import ColumnElement, Row, Select
    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.schema.vocabulary import Role

OPERATOR_EMAIL = "operator@localhost"
# Who acts at the command line, where nobody is signed in.
_OPERATOR = "the operator"
# One of Clerk's lets in as its membership says, and never again once it has ended.
_BEGAN_HERE = Session.method != "clerk"


async def ensure_operator(session: AsyncSession) -> User:
    """Return the person who runs this installation, made on first use; as the system role."""
    operator = await session.scalar(select(User).where(User.email == OPERATOR_EMAIL))
    if operator is None:
        operator = User(email=OPERATOR_EMAIL, name="Operator", is_operator=True)
        session.add(operator)
        await session.flush()
    return operator


async def add_member(
    session: AsyncSession, *, tenant_id: UUID, user_id: UUID, role: Role
) -> Membership:
    """Let a person into a tenant, as the system role; a former member comes back.

    With nothing that let them in before, except a session of Clerk's, which is the same one.
    """
    member = await session.scalar(
        select(Membership).where(Membership.tenant_id == tenant_id, Membership.user_id == user_id)
    )
    if member is None:
        member = Membership(tenant_id=tenant_id, user_id=user_id)
        session.add(member)
    elif member.ended_at is not None:
        await _end_sessions(
            session, user_id, Session.tenant_id == tenant_id, Session.method != "clerk"
        )
        await revoke_keys_of(session, user_id, tenant_id=tenant_id)
    member.role = role
    member.ended_at = None
    await session.flush()
    return member


@dataclass(frozen=True, slots=True)
class Member:
    """A person of a tenant."""

    membership_id: UUID
    user_id: UUID
    email: str
    name: str | None
    role: Role
    joined_at: datetime
    last_login_at: datetime | None


async def list_members(session: AsyncSession) -> list[Member]:
    """List the people of the session's tenant, admins first, by e-mail."""
    rows = await session.execute(_members().order_by(Membership.role, User.email))
    return [_member(row) for row in rows]


async def change_role(
    session: AsyncSession, credential: bytes, membership_id: UUID, role: Role
) -> None:
    """Give a member another role, as an admin; their sessions end. LastAdmin keeps one."""
    if not await session.scalar(select(func.viral.change_role(credential, membership_id, role))):
        raise NotFound(f"There is no member {membership_id}.")


async def end_membership(session: AsyncSession, credential: bytes, membership_id: UUID) -> None:
    """Let a member go, as an admin, or leave; their sessions and keys end. LastAdmin keeps one."""
    if not await session.scalar(select(func.viral.end_membership(credential, membership_id))):
        raise NotFound(f"There is no member {membership_id}.")


async def list_everybody(
    session: AsyncSession, tenant_id: UUID | None = None
) -> list[tuple[str, Member]]:
    """List the people of all tenants or of one, with its slug; as the system role."""
    wanted = _members().add_columns(Tenant.slug).join(Tenant, Tenant.id == Membership.tenant_id)
    if tenant_id is not None:
        wanted = wanted.where(Tenant.id == tenant_id)
    rows = await session.execute(wanted.order_by(Tenant.slug, Membership.role, User.email))
    return [(row.slug, _member(row)) for row in rows]


async def find_member(session: AsyncSession, tenant: Tenant, email: str) -> Member:
    """Find a person of a tenant by their e-mail, as the system role."""
    row = (
        await session.execute(
            _members().where(Membership.tenant_id == tenant.id, User.email == email)
        )
    ).one_or_none()
    if row is None:
        raise NotFound(
            f"There is no {email} in the tenant {tenant.slug}.",
            hint=f"See `viral user list --tenant {tenant.slug}`.",
        )
    return _member(row)


async def add_person(
    session: AsyncSession, tenant: Tenant, *, email: str, name: str | None, role: Role
) -> None:
    """Let a person in without an invitation, as the operator; who is not known becomes so."""
    user = await session.scalar(select(User).where(User.email == email))
    if user is None:
        user = User(email=email, name=name, tenant_id=tenant.id)
        session.add(user)
        await session.flush()
    is_in = await session.scalar(
        select(Membership.id).where(
            Membership.tenant_id == tenant.id,
            Membership.user_id == user.id,
            Membership.ended_at.is_(None),
        )
    )
    if is_in is not None:
        raise AlreadyExists(
            f"{email} is in the tenant {tenant.slug} already.",
            hint="For another role `viral user role`; for a link `viral sign-in --email`.",
        )
    if user.clerk_id is None:
        # Nobody has shown that the e-mail is theirs: who made the account is out, and the link that
        # the operator sends sets a password anew.
        user.password_hash = None
        await _end_sessions(session, user.id)
    await add_member(session, tenant_id=tenant.id, user_id=user.id, role=role)
    await note(session, "joined", email, tenant_id=tenant.id, role=role, by=_OPERATOR)


async def link_for(session: AsyncSession, tenant: Tenant, email: str, *, now: datetime) -> str:
    """Return the secret of a link that signs a member in once, as the operator."""
    member = await find_member(session, tenant, email)
    await note(session, "made sign-in link", email, tenant_id=tenant.id, by=_OPERATOR)
    return await make_sign_in_link(session, tenant_id=tenant.id, user_id=member.user_id, now=now)


async def assign_role(session: AsyncSession, tenant: Tenant, email: str, role: Role) -> Member:
    """Give a member another role, as the operator; return them as they were.

    Their sessions end. The invitations and keys of who is no admin any more are revoked: a key that
    was made for an admin would be one again with the role. LastAdmin keeps one.
    """
    await _lock(session, tenant.id)
    member = await find_member(session, tenant, email)
    if member.role == role:
        return member
    changing = update(Membership).where(Membership.id == member.membership_id)
    await session.execute(changing.values(role=role))
    await _keep_an_admin(session, tenant, email)
    await _end_sessions(session, member.user_id, Session.tenant_id == tenant.id, _BEGAN_HERE)
    if role != "ADMIN":
        await revoke_keys_of(session, member.user_id, tenant_id=tenant.id)
        await revoke_invitations_of(session, member.user_id, tenant_id=tenant.id)
    await note(session, "changed role", email, tenant_id=tenant.id, role=role, by=_OPERATOR)
    return member


async def remove_member(session: AsyncSession, tenant: Tenant, email: str) -> Member:
    """Let a member go, as the operator; return them as they were. LastAdmin keeps one.

    Their sessions, keys and invitations end.
    """
    await _lock(session, tenant.id)
    member = await find_member(session, tenant, email)
    ending = update(Membership).where(Membership.id == member.membership_id)
    await session.execute(ending.values(ended_at=func.now()))
    await _keep_an_admin(session, tenant, email)
    await _end_sessions(session, member.user_id, Session.tenant_id == tenant.id, _BEGAN_HERE)
    await revoke_keys_of(session, member.user_id, tenant_id=tenant.id)
    await revoke_invitations_of(session, member.user_id, tenant_id=tenant.id)
    await note(session, "ended membership", email, tenant_id=tenant.id, by=_OPERATOR)
    return member


async def revoke_invitations_of(session: AsyncSession, user_id: UUID, *, tenant_id: UUID) -> None:
    """Take back what a person sent in a tenant, and what waits for them, as the system role."""
    email = select(User.email).where(User.id == user_id).scalar_subquery()
    await session.execute(
        update(Invitation)
        .where(
            Invitation.tenant_id == tenant_id,
            (Invitation.invited_by == user_id) | (Invitation.email == email),
            Invitation.accepted_at.is_(None),
            Invitation.revoked_at.is_(None),
        )
        .values(revoked_at=func.now()),
        execution_options={"synchronize_session": False},
    )


async def sign_out_everywhere(session: AsyncSession, email: str) -> int:
    """End the sessions and links of a person in all tenants, as the operator; return how many."""
    user_id = await session.scalar(select(User.id).where(User.email == email))
    if user_id is None:
        raise NotFound(f"Nobody here has the e-mail {email}.", hint="See `viral user list`.")
    ended = await _end_sessions(session, user_id)
    for tenant_id in sorted(set(ended)):
        await note(
            session,
            "signed out everywhere",
            email,
            tenant_id=tenant_id,
            sessions=ended.count(tenant_id),
            by=_OPERATOR,
        )
    return len(ended)


async def emails_of(session: AsyncSession, user_ids: Collection[UUID]) -> Mapping[UUID, str]:
    """Return the e-mails of people who are, or were, members of the session's tenant."""
    found = await session.execute(select(User.id, User.email).where(User.id.in_(user_ids)))
    return {row.id: row.email for row in found}


def _members() -> Select[*tuple[Any, ...]]:
    return (
        select(
            Membership.id.label("membership_id"),
            User.id.label("user_id"),
            User.email,
            User.name,
            Membership.role,
            Membership.created_at,
            User.last_login_at,
        )
        .join(User, User.id == Membership.user_id)
        .where(Membership.ended_at.is_(None))
    )


def _member(row: Row[Any]) -> Member:
    return Member(
        membership_id=row.membership_id,
        user_id=row.user_id,
        email=row.email,
        name=row.name,
        role=role_of(row.role),
        joined_at=row.created_at,
        last_login_at=row.last_login_at,
    )


async def _lock(session: AsyncSession, tenant_id: UUID) -> None:
    """Let one change of a tenant's people wait for another, as `change_role` in SQL does."""
    await session.execute(
        select(Tenant.id).where(Tenant.id == tenant_id).with_for_update(key_share=True)
    )


async def _keep_an_admin(session: AsyncSession, tenant: Tenant, email: str) -> None:
    """Refuse what leaves a tenant without an admin."""
    admin = await session.scalar(
        select(Membership.id)
        .where(
            Membership.tenant_id == tenant.id,
            Membership.role == "ADMIN",
            Membership.ended_at.is_(None),
        )
        .limit(1)
    )
    if admin is None:
        raise LastAdmin(f"{email} is the last admin of the tenant {tenant.slug}.")


async def _end_sessions(
    session: AsyncSession, user_id: UUID, *which: ColumnElement[bool]
) -> Sequence[UUID]:
    """End what a person is signed in with or could be; return the tenant of each."""
    ended = await session.scalars(
        update(Session)
        .where(Session.user_id == user_id, Session.ended_at.is_(None), *which)
        .where(Session.expires_at > func.now())
        .values(ended_at=func.now())
        .returning(Session.tenant_id)
    )
    return ended.all()
