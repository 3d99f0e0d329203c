"""People: who they are, and how a one-time link becomes a session."""

from __future__ import annotations

import secrets as random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from viral.database.tenancy import token_hash
from viral.errors import LinkUsed, NotSignedIn
from viral.schema.tenants import Membership, Session, User

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.schema.vocabulary import Role

LINK_LIFETIME = timedelta(hours=1)
SESSION_LIFETIME = timedelta(days=30)
OPERATOR_EMAIL = "operator@localhost"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends a request, and for which tenant."""

    user_id: UUID
    tenant_id: UUID
    role: Role
    is_operator: bool
    email: str


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


async def make_sign_in_link(
    session: AsyncSession, *, tenant_id: UUID, user_id: UUID, now: datetime
) -> str:
    """Return the secret of a link that signs a member in once; as the system role."""
    token = random.token_urlsafe(32)
    session.add(
        Session(
            tenant_id=tenant_id,
            user_id=user_id,
            token_sha256=token_hash(token),
            expires_at=now + LINK_LIFETIME,
        )
    )
    await session.flush()
    return token


async def open_session(session: AsyncSession, link: str) -> str:
    """Spend a link and return the session's token; LinkUsed the second time."""
    token = random.token_urlsafe(32)
    is_open = await session.scalar(
        select(func.viral.open_session(token_hash(link), token_hash(token), SESSION_LIFETIME))
    )
    if not is_open:
        raise LinkUsed("This sign-in link is spent or too old.")
    return token


async def identify(session: AsyncSession, token: str) -> Identity:
    """Tell whose session a token opens; NotSignedIn when it has ended."""
    row = (
        await session.execute(
            select("*").select_from(func.viral.session_identity(token_hash(token)))
        )
    ).one_or_none()
    if row is None:
        raise NotSignedIn("You are not signed in.")
    return Identity(
        user_id=row.user_id,
        tenant_id=row.tenant_id,
        role=row.role,
        is_operator=row.is_operator,
        email=row.email,
    )


async def end_session(session: AsyncSession, token: str) -> None:
    """Sign out."""
    await session.execute(select(func.viral.end_session(token_hash(token))))
