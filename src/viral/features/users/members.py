"""Members: who belongs to a tenant, and with which role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from viral.errors import NotFound
from viral.schema.tenants import Membership, User
from viral.schema.vocabulary import role_of

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.schema.vocabulary import Role

OPERATOR_EMAIL = "operator@localhost"


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
    """Let a person into a tenant, as the system role; a former member comes back."""
    member = await session.scalar(
        select(Membership).where(Membership.tenant_id == tenant_id, Membership.user_id == user_id)
    )
    if member is None:
        member = Membership(tenant_id=tenant_id, user_id=user_id)
        session.add(member)
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
    rows = await session.execute(
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
        .order_by(Membership.role, User.email)
    )
    return [
        Member(
            membership_id=row.membership_id,
            user_id=row.user_id,
            email=row.email,
            name=row.name,
            role=role_of(row.role),
            joined_at=row.created_at,
            last_login_at=row.last_login_at,
        )
        for row in rows
    ]


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
