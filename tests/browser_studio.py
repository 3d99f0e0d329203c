"""What browser tests hold in their hands."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from playwright.async_api import Page

from viral.database.engine import Database
from viral.features.users.members import ensure_operator
from viral.features.users.sessions import make_sign_in_link


@dataclass(frozen=True)
class Studio:
    """A running dashboard of the demo tenant."""

    address: str
    tenant_id: UUID
    system: Database

    async def new_link(self) -> str:
        async with self.system.session_without_tenant() as session:
            operator = await ensure_operator(session)
            token = await make_sign_in_link(
                session, tenant_id=self.tenant_id, user_id=operator.id, now=datetime.now(UTC)
            )
        return f"{self.address}/sign-in?token={token}"


@dataclass
class Visit:
    """A page with what went wrong on it and whom it asked."""

    page: Page
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
