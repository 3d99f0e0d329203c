"""/api/v1/invitations: links that make people members, each once.

Written by `make docs`; do not edit.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from viral.client.calls import Calls, read


class InvitationOut(msgspec.Struct, frozen=True):
    """An invitation that waits."""

    id: UUID
    email: str
    role: Literal["ADMIN", "MEMBER"]
    created_at: datetime
    expires_at: datetime


class InvitationMade(msgspec.Struct, frozen=True):
    """An invitation with its link. It is said this once: pass it on to the person."""

    id: UUID
    link: str


class Invitations(Calls):
    """Links that make people members, each once."""

    def list_invitations(self) -> list[InvitationOut]:
        """List the invitations that wait, newest first. Admins only."""
        return read(self._ask("GET", "/invitations"), list[InvitationOut])

    def invite_person(
        self,
        *,
        email: str,
        role: Literal["ADMIN", "MEMBER"] = "MEMBER",
        idempotency_key: str | None = None,
    ) -> InvitationMade:
        """Invite a person; a link that waits for the same e-mail leads nowhere then.

        Admins only.
        """
        return read(
            self._ask(
                "POST",
                "/invitations",
                idempotency_key=idempotency_key,
                body={"email": email, "role": role},
            ),
            InvitationMade,
        )

    def revoke_invitation(self, invitation_id: UUID) -> None:
        """Let an invitation's link lead nowhere. Admins only."""
        self._ask("DELETE", f"/invitations/{invitation_id}")
