"""/api/v1/audit: who did what in the tenant, when, from where.

Written by `make docs`; do not edit.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from viral.client.calls import Calls


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


class Audit(Calls):
    """Who did what in the tenant, when, from where."""

    def list_audit(
        self,
        *,
        page_size: int = 50,
        action: Literal[
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
        | None = None,
        since: datetime | None = None,
    ) -> Iterator[EntryOut]:
        """List deeds, newest first, a page at a time; `since` with its time zone. Admins only."""
        for page in self._pages(
            "/audit", AuditPage, {"limit": page_size, "action": action, "since": since}
        ):
            yield from page.entries
