"""What somebody did, through a page or the API, as the audit log keeps it."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from viral.features.audit import Action, note
from viral.features.users.sessions import Identity
from viral.schema.vocabulary import Role, Tier
from viral.web.recognition import caller_of
from viral.web.requests import WebRequest


async def note_deed(
    request: WebRequest,
    session: AsyncSession,
    identity: Identity,
    action: Action,
    subject: object = "",
    *,
    role: Role | None = None,
    scopes: str | None = None,
    sessions: int | None = None,
    plan: Tier | None = None,
) -> None:
    """Append an entry in the deed's own transaction: who, from where, and with which key."""
    await note(
        session,
        action,
        subject,
        user_id=identity.user_id,
        address=caller_of(request).address,
        key_id=None if identity.key_id is None else str(identity.key_id),
        role=role,
        scopes=scopes,
        sessions=sessions,
        plan=plan,
    )
