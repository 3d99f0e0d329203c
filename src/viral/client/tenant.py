"""/api/v1/tenant: one's own tenant; for operators, all of them.

Written by `make docs`; do not edit.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from viral.client.calls import Calls, read


class QuotaOut(msgspec.Struct, frozen=True):
    """Concepts of the plan's month."""

    used: int
    allowed: int
    renews_at: datetime


class TenantOut(msgspec.Struct, frozen=True):
    """A client: an organisation whose rows nobody else sees."""

    id: UUID
    slug: str
    name: str
    plan: str
    is_demo: bool
    quota: QuotaOut


class Tenant(Calls):
    """One's own tenant; for operators, all of them."""

    def get_tenant(self) -> TenantOut:
        """Show the tenant that you are signed in to, with its quota."""
        return read(self._ask("GET", "/tenant"), TenantOut)

    def rename_tenant(self, *, name: str, if_match: str | None = None) -> TenantOut:
        """Give the tenant another name; its slug stays. Admins only."""
        return read(
            self._ask("PATCH", "/tenant", if_match=if_match, body={"name": name}), TenantOut
        )
