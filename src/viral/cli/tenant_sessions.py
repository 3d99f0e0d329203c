"""How commands reach the rows of one tenant."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from viral.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.runtime import Runtime


@asynccontextmanager
async def tenant_session(slug: str | None) -> AsyncIterator[tuple[Runtime, AsyncSession]]:
    """Open a transaction of the tenant with this slug, or of the only one, with the wiring."""
    from viral.features.tenants import find_tenant
    from viral.runtime import open_runtime

    async with open_runtime(load_settings()) as runtime:
        async with runtime.system.session_without_tenant() as session:
            tenant = await find_tenant(session, slug)
        async with runtime.app.tenant_session(tenant.id) as session:
            yield runtime, session
