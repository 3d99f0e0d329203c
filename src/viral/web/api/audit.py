"""/api/v1/audit: who did what in the tenant, when, from where."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import get
from litestar.params import FromQuery, QueryParameter

from viral.features.audit import Action, list_entries
from viral.schema.tenants import AuditEntry
from viral.web.cursors import cut_page, place_of, when_made
from viral.web.dependencies import Person, Transaction
from viral.web.door import admins_only
from viral.web.moments import in_utc
from viral.web.requests import WebRequest
from viral.web.site import Site

MOST_ENTRIES = 200
PURPOSE = "audit cursor"


class EntryOut(msgspec.Struct, frozen=True):
    """A deed; without a `user_id` it was the system's."""

    id: UUID
    created_at: datetime
    user_id: UUID | None
    action: str
    subject: str
    details: dict[str, object]
    address: str | None


class AuditPage(msgspec.Struct, frozen=True):
    """Entries, newest first; `next_cursor` leads to older ones and is null at the end."""

    entries: list[EntryOut]
    next_cursor: str | None


@get("/audit", operation_id="list_audit", guards=[admins_only])
async def get_audit(
    request: WebRequest,
    identity: Person,
    session: Transaction,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST_ENTRIES)] = 50,
    action: FromQuery[Action | None] = None,
    since: FromQuery[datetime | None] = None,
    cursor: FromQuery[str | None] = None,
) -> AuditPage:
    """List deeds, newest first, a page at a time; `since` with its time zone. Admins only."""
    site: Site = request.app.state.site
    found = await list_entries(
        session,
        limit=limit + 1,
        action=action,
        since=None if since is None else in_utc(since),
        before=place_of(site, identity.tenant_id, cursor, purpose=PURPOSE),
    )
    rows, next_cursor = cut_page(site, identity.tenant_id, found, limit, when_made, purpose=PURPOSE)
    return AuditPage([_entry(each) for each in rows], next_cursor)


def _entry(entry: AuditEntry) -> EntryOut:
    return EntryOut(
        id=entry.id,
        created_at=entry.created_at,
        user_id=entry.user_id,
        action=entry.action,
        subject=entry.subject,
        details=entry.details,
        address=entry.address,
    )


ROUTES: Final = (get_audit,)
