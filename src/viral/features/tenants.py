"""Tenants: made by the operator, found by their slug."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from viral.database.engine import is_unique_violation
from viral.database.tenancy import context_token, token_hash
from viral.errors import AlreadyExists, BadInput, NotFound
from viral.schema.base import uuid7
from viral.schema.tenants import Tenant
from viral.schema.vocabulary import MONTHLY_QUOTA, Tier

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.database.secrets import Secrets


async def create_tenant(
    session: AsyncSession,
    *,
    slug: str,
    name: str | None = None,
    tier: Tier = "FREE",
    is_demo: bool = False,
    secrets: Secrets,
) -> UUID:
    """Make a tenant together with its context token; a slug is taken once."""
    if tier not in MONTHLY_QUOTA:
        raise BadInput(f"{tier!r} is not a plan.", hint=f"Choose {', '.join(MONTHLY_QUOTA)}.")
    tenant_id = uuid7()
    token = context_token(secrets.context_key, tenant_id)
    try:
        async with session.begin_nested():
            await session.execute(
                select(
                    func.viral.create_tenant(
                        tenant_id,
                        slug,
                        name or slug,
                        tier,
                        MONTHLY_QUOTA[tier],
                        is_demo,
                        token_hash(token),
                        secrets.context_key_id,
                    )
                )
            )
    except DBAPIError as error:
        if is_unique_violation(error):
            raise AlreadyExists(
                f"A tenant {slug!r} exists.", hint="See `viral tenant list`."
            ) from error
        if "ck_tenants" in str(error.orig):
            raise BadInput(
                f"{slug!r} cannot be a tenant's slug.",
                hint="Use lower-case letters, digits, - and _, at most 63; a name of 1 to 200.",
            ) from error
        raise
    return tenant_id


async def own_tenant(session: AsyncSession) -> Tenant:
    """Return the tenant that a session is open for."""
    return (await session.scalars(select(Tenant))).one()


async def list_tenants(session: AsyncSession) -> list[Tenant]:
    """List all tenants, as the system role, by slug."""
    return list(await session.scalars(select(Tenant).order_by(Tenant.slug)))


async def find_tenant(session: AsyncSession, slug: str | None) -> Tenant:
    """Find a tenant by its slug, as the system role; without one, the only tenant there is."""
    if slug is None:
        tenants = await list_tenants(session)
        if len(tenants) != 1:
            raise BadInput(
                f"There are {len(tenants)} tenants; say which one.",
                hint="Add --tenant SLUG; see `viral tenant list`.",
            )
        return tenants[0]
    tenant = await session.scalar(select(Tenant).where(Tenant.slug == slug))
    if tenant is None:
        raise NotFound(f"There is no tenant {slug!r}.", hint="See `viral tenant list`.")
    return tenant
