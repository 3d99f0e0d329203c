"""The audit log: who did what, when, from where; appended in the transaction of the deed itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sqlalchemy import insert, select

from viral.database.engine import tenant_of
from viral.schema.base import uuid7
from viral.schema.tenants import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

Action = Literal[
    "signed in",
    "signed out",
    "signed out everywhere",
    "made sign-in link",
    "switched tenant",
    "set password",
    "invited",
    "revoked invitation",
    "joined",
    "changed role",
    "ended membership",
    "made key",
    "revoked key",
    "renamed tenant",
    "exported tenant",
    "restored tenant",
    "opened billing",
    "changed plan",
    "imported results",
    "undid adjustment",
    "changed rows by SQL",
    "refused webhook",
    "refused job",
    "cannot decrypt",
    "added row",
    "changed row",
    "deleted row",
    "exported rows",
]
LONGEST_SUBJECT = 200


async def note(
    session: AsyncSession,
    action: Action,
    subject: object = "",
    *,
    tenant_id: UUID | None = None,
    user_id: UUID | None = None,
    address: str | None = None,
    **details: str | int | None,
) -> UUID:
    """Append an entry and return its id; `details` are names and figures: no secret, no content.

    A tenant's session knows its tenant; the system role says whose log it is.
    """
    # A statement, not a row of the session's: that would read back when it was made, and the
    # system role may append but not read.
    entry_id = uuid7()
    await session.execute(
        insert(AuditEntry).values(
            id=entry_id,
            tenant_id=tenant_of(session) if tenant_id is None else tenant_id,
            user_id=user_id,
            action=action,
            subject=str(subject)[:LONGEST_SUBJECT],
            details={name: value for name, value in details.items() if value is not None},
            address=address,
        )
    )
    return entry_id


async def list_entries(
    session: AsyncSession,
    *,
    limit: int,
    action: str | None = None,
    since: datetime | None = None,
    before: tuple[datetime, UUID] | None = None,
) -> Sequence[AuditEntry]:
    """List entries of the session's tenant, newest first, from `before` on."""
    wanted = select(AuditEntry).order_by(AuditEntry.created_at.desc(), AuditEntry.id.desc())
    if action is not None:
        wanted = wanted.where(AuditEntry.action == action)
    if since is not None:
        wanted = wanted.where(AuditEntry.created_at >= since)
    if before is not None:
        moment, entry_id = before
        wanted = wanted.where(
            (AuditEntry.created_at < moment)
            | (AuditEntry.created_at == moment) & (AuditEntry.id < entry_id)
        )
    return (await session.scalars(wanted.limit(limit))).all()
