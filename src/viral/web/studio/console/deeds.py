"""The note of what typed SQL changed, in the transaction of the change."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import asyncpg

from viral.database.console.answers import Changed
from viral.features.audit import LONGEST_SUBJECT, Action
from viral.features.users.sessions import Identity
from viral.schema.base import uuid7
from viral.web.recognition import caller_of
from viral.web.requests import WebRequest

ACTION: Action = "changed rows by SQL"
_NOTE = """
INSERT INTO audit_log (id, tenant_id, user_id, action, subject, details, address)
VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, $7)
"""


def noting(
    request: WebRequest, identity: Identity
) -> Callable[[asyncpg.Connection, tuple[Changed, ...]], Awaitable[None]]:
    """Return what appends the entry: who, from where, how many rows of which tables."""

    async def note(connection: asyncpg.Connection, changes: tuple[Changed, ...]) -> None:
        await connection.execute(
            _NOTE,
            uuid7(),
            identity.tenant_id,
            identity.user_id,
            ACTION,
            ", ".join(each.table for each in changes)[:LONGEST_SUBJECT],
            json.dumps({each.table: each.total for each in changes}),
            caller_of(request).address,
        )

    return note
