"""/api/v1/api-keys: keys of people, for programs.

Written by `make docs`; do not edit.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from viral.client.calls import Calls, read


class KeyOut(msgspec.Struct, frozen=True):
    """A key that is not revoked: how it begins, whose it is, and what it may."""

    id: UUID
    user_id: UUID
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class KeyMade(msgspec.Struct, frozen=True):
    """A new key. It is said this once, and kept nowhere."""

    id: UUID
    key: str


class ApiKeys(Calls):
    """Keys of people, for programs."""

    def list_keys(self) -> list[KeyOut]:
        """List keys, newest first: to admins the tenant's, to members their own."""
        return read(self._ask("GET", "/api-keys"), list[KeyOut])

    def create_key(
        self,
        *,
        name: str,
        scopes: Sequence[Literal["read", "write", "admin"]],
        expires_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> KeyMade:
        """Make a key that acts for you. Scopes: read, write, and for admins admin."""
        return read(
            self._ask(
                "POST",
                "/api-keys",
                idempotency_key=idempotency_key,
                body={"name": name, "scopes": scopes, "expires_at": expires_at},
            ),
            KeyMade,
        )

    def revoke_key(self, key_id: UUID) -> None:
        """Let a key open nothing from the next request on: your own, or as an admin."""
        self._ask("DELETE", f"/api-keys/{key_id}")
