"""/api/v1/members: who belongs to the tenant, and with which role.

Written by `make docs`; do not edit.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from viral.client.calls import Calls, read


class MemberOut(msgspec.Struct, frozen=True):
    """A person of the tenant. `id` is their membership, `user_id` the person in every tenant."""

    id: UUID
    user_id: UUID
    email: str
    name: str | None
    role: Literal["ADMIN", "MEMBER"]
    joined_at: datetime
    last_login_at: datetime | None


class Members(Calls):
    """Who belongs to the tenant, and with which role."""

    def list_members(self) -> list[MemberOut]:
        """List the people of the tenant, admins first."""
        return read(self._ask("GET", "/members"), list[MemberOut])

    def get_member(self, member_id: UUID) -> MemberOut:
        """Show a person of the tenant."""
        return read(self._ask("GET", f"/members/{member_id}"), MemberOut)

    def remove_member(self, member_id: UUID, *, if_match: str | None = None) -> None:
        """Let a member go, as an admin, or leave; their sessions and keys here end."""
        self._ask("DELETE", f"/members/{member_id}", if_match=if_match)

    def change_role(
        self, member_id: UUID, *, role: Literal["ADMIN", "MEMBER"], if_match: str | None = None
    ) -> MemberOut:
        """Give a member another role; their sessions here end. A tenant keeps an admin.

        Admins only.
        """
        return read(
            self._ask("PATCH", f"/members/{member_id}", if_match=if_match, body={"role": role}),
            MemberOut,
        )
