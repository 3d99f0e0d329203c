"""/api/v1/tenant and /api/v1/tenants: one's own tenant; for operators, all of them."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from litestar import get, patch
from litestar.params import JSONBody

from viral.features.generations.quota import quota_of
from viral.features.tenants import list_tenants, own_tenant, rename_tenant
from viral.schema.tenants import Tenant
from viral.web.deeds import note_deed
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.door import admins_only, operators_only
from viral.web.etags import VERSIONED, require_match
from viral.web.requests import WebRequest


class NameWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the tenant is to be called."""

    name: str


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


@get("/tenant", operation_id="get_tenant")
async def get_tenant(runtime: Wired, session: Transaction) -> TenantOut:
    """Show the tenant that you are signed in to, with its quota."""
    return _tenant(await own_tenant(session), now=runtime.clock())


@patch("/tenant", operation_id="rename_tenant", guards=[admins_only], opt=VERSIONED)
async def rename(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    data: JSONBody[NameWanted],
) -> TenantOut:
    """Give the tenant another name; its slug stays. Admins only."""
    now = runtime.clock()
    tenant = await own_tenant(session)
    await session.refresh(tenant, with_for_update={"key_share": True})
    require_match(request, _tenant(tenant, now=now))
    tenant = await rename_tenant(session, data.name)
    await note_deed(request, session, identity, "renamed tenant", tenant.name)
    return _tenant(tenant, now=now)


@get("/tenants", operation_id="list_tenants", guards=[operators_only])
async def get_tenants(runtime: Wired) -> list[TenantOut]:
    """List all tenants. Operators only."""
    async with runtime.system.session_without_tenant() as session:
        return [_tenant(each, now=runtime.clock()) for each in await list_tenants(session)]


def _tenant(tenant: Tenant, *, now: datetime) -> TenantOut:
    quota = quota_of(tenant, now=now)
    return TenantOut(
        id=tenant.id,
        slug=tenant.slug,
        name=tenant.name,
        plan=tenant.subscription_tier,
        is_demo=tenant.is_demo,
        quota=QuotaOut(quota.used, quota.allowed, quota.renews_at),
    )


ROUTES: Final = (get_tenant, rename, get_tenants)
