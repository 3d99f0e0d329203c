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

LONGEST_NAME = 200


async def create_tenant(
    session: AsyncSession,
    *,
    slug: str,
    name: str | None = None,
    tier: Tier = "FREE",
    is_demo: bool = False,
    secrets: Secrets,
) -> UUID:
    """Make a tenant together with its context token; a slug is taken once.

    Until the session commits, no other context key comes into force.
    """
    if tier not in MONTHLY_QUOTA:
        raise BadInput(f"{tier!r} is not a plan.", hint=f"Choose {', '.join(MONTHLY_QUOTA)}.")
    about = (slug, name or slug, tier, MONTHLY_QUOTA[tier], is_demo)
    tenant_id = None
    try:
        while tenant_id is None:
            tenant_id = await _insert_tenant(session, about, secrets=secrets)
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


async def _insert_tenant(
    session: AsyncSession, about: tuple[str, str, str, int, bool], *, secrets: Secrets
) -> UUID | None:
    """Insert a tenant and its token; None where the context key changed before they were there."""
    tenant_id = uuid7()
    key = secrets.context.current
    token = context_token(key.material, tenant_id)
    async with session.begin_nested() as savepoint:
        await session.execute(
            select(func.viral.create_tenant(tenant_id, *about, token_hash(token), key.id))
        )
        # The key changes only while nobody writes tokens (`database/context_keys.py`): this one
        # stays in force from here to the commit, if it still is.
        if secrets.context.current == key:
            return tenant_id
        await savepoint.rollback()
    return None


async def own_tenant(session: AsyncSession) -> Tenant:
    """Return the tenant that a session is open for."""
    return (await session.scalars(select(Tenant))).one()


async def rename_tenant(session: AsyncSession, name: str) -> Tenant:
    """Give the session's tenant another name."""
    name = name.strip()
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise BadInput(
            f"A tenant has a name of 1 to {LONGEST_NAME} characters.", hint="Write it in one line."
        )
    tenant = await own_tenant(session)
    tenant.name = name
    await session.flush()
    return tenant


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
