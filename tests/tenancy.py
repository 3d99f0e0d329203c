"""Ways into the app's database that the isolation tests share."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from sqlalchemy import text

from viral.database.engine import Database
from viral.database.urls import ServerUrl

TENANTS = text("SELECT id FROM tenants")


def small(url: ServerUrl, size: int = 1) -> ServerUrl:
    return replace(url, pool_size=size)


async def tenants_seen(database: Database, tenant_id: UUID | str) -> list[UUID]:
    async with database.tenant_session(tenant_id) as session:
        return list(await session.scalars(TENANTS))
