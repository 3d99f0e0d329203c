"""Invitations: a link that an admin passes on, and what its holder makes of it, once."""

from __future__ import annotations

import secrets as random
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import load_only

from viral.database.tenancy import token_hash
from viral.errors import LinkUsed, NotAllowed, NotFound
from viral.features.users.passwords import refuse_weak
from viral.features.users.sign_in import begin_session, check_password
from viral.schema.base import uuid7
from viral.schema.tenants import Invitation
from viral.schema.vocabulary import email_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.limits import Caller
    from viral.features.users.sessions import Identity, SignedIn
    from viral.features.users.sign_in import Door
    from viral.schema.vocabulary import Role

LIFETIME = timedelta(days=7)
# Not the hash of the link: the app's role may not read it.
_SHOWN_COLUMNS = (
    Invitation.id,
    Invitation.email,
    Invitation.role,
    Invitation.expires_at,
    Invitation.created_at,
)
_SPENT = "This invitation is spent, taken back or too old."
_ASK_AGAIN = "Ask for another."


@dataclass(frozen=True, slots=True)
class Offer:
    """What an invitation offers, to the holder of its link."""

    email: str
    role: Role
    tenant_name: str


async def invite(
    session: AsyncSession, credential: bytes, *, email: str, role: Role
) -> tuple[UUID, str]:
    """Invite a person, as an admin; return the invitation's id and the secret of its link.

    It is the same for an e-mail that is known here and for one that is not.
    """
    link = random.token_urlsafe(32)
    invitation_id = uuid7()
    await session.execute(
        select(
            func.viral.invite(
                credential, invitation_id, email_of(email), role, token_hash(link), LIFETIME
            )
        )
    )
    return invitation_id, link


async def list_invitations(session: AsyncSession) -> Sequence[Invitation]:
    """List the tenant's invitations that wait, newest first."""
    return (
        await session.scalars(
            select(Invitation)
            .options(load_only(*_SHOWN_COLUMNS, raiseload=True))
            .where(
                Invitation.accepted_at.is_(None),
                Invitation.revoked_at.is_(None),
                Invitation.expires_at > func.now(),
            )
            .order_by(Invitation.created_at.desc(), Invitation.id)
        )
    ).all()


async def revoke_invitation(session: AsyncSession, credential: bytes, invitation_id: UUID) -> None:
    """Take an invitation back, as an admin."""
    if not await session.scalar(select(func.viral.revoke_invitation(credential, invitation_id))):
        raise NotFound(f"There is no invitation {invitation_id} that waits.")


async def offer_of(session: AsyncSession, link: str) -> Offer:
    """Tell the holder of a link what it offers; LinkUsed when it is spent."""
    row = (
        await session.execute(select("*").select_from(func.viral.invitation_of(token_hash(link))))
    ).one_or_none()
    if row is None:
        raise LinkUsed(_SPENT, hint=_ASK_AGAIN)
    return Offer(row.email, row.role, row.tenant_name)


async def accept_as_new(
    door: Door, offer: Offer, link: str, *, name: str, password: str, caller: Caller
) -> SignedIn:
    """Accept with e-mail and password: who is not known becomes so, who is proves it."""
    refuse_weak(password, email=offer.email)
    hashed = await door.passwords.hash(password)
    tenant_id: UUID | None = None
    async with door.signin.session_without_tenant() as session:
        user_id = await session.scalar(
            select(
                func.viral.register_invited(
                    token_hash(link), uuid7(), name.strip()[:200] or None, hashed
                )
            )
        )
        if user_id is not None:
            tenant_id = await _accept(session, link, user_id)
    if user_id is None or tenant_id is None:
        user_id = await check_password(door, email=offer.email, password=password, caller=caller)
        async with door.signin.session_without_tenant() as session:
            tenant_id = await _accept(session, link, user_id)
    return await begin_session(door, user_id, place=tenant_id)


async def accept_as(door: Door, identity: Identity, offer: Offer, link: str) -> SignedIn:
    """Accept as the person who is signed in, and open the tenant in a new session."""
    if identity.email != offer.email:
        raise NotAllowed(
            "The invitation is for another e-mail than the one you are signed in with.",
            hint="Sign out first.",
        )
    async with door.signin.session_without_tenant() as session:
        tenant_id = await _accept(session, link, identity.user_id)
    return await begin_session(door, identity.user_id, place=tenant_id)


async def _accept(session: AsyncSession, link: str, user_id: UUID) -> UUID:
    tenant_id: UUID | None = await session.scalar(
        select(func.viral.accept_invitation(token_hash(link), user_id, uuid7()))
    )
    if tenant_id is None:
        raise LinkUsed(_SPENT, hint=_ASK_AGAIN)
    return tenant_id
