"""The month's concepts: reserved before the work, given back when the work fails."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import aliased

from viral.errors import BadInput, QuotaExceeded
from viral.schema.base import uuid7
from viral.schema.content import Generation
from viral.schema.tenants import QuotaEntry, Tenant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.database.engine import Database

# A process that was killed between reservation and result gives its concepts back after this.
STALE_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Concepts taken from the quota for work that has not ended."""

    id: UUID
    count: int


@dataclass(frozen=True, slots=True)
class QuotaState:
    """Concepts of the plan's month: from `began_at` until `renews_at`."""

    used: int
    allowed: int
    began_at: datetime
    renews_at: datetime


def quota_of(tenant: Tenant, *, now: datetime) -> QuotaState:
    """Say what a tenant has used; a month that has ended counts as none, as taking resets it."""
    this_month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if tenant.quota_reset_at <= now:
        renews_at = _next_month(this_month)
        return QuotaState(0, tenant.monthly_quota, this_month, renews_at)
    return QuotaState(tenant.used_quota, tenant.monthly_quota, this_month, tenant.quota_reset_at)


@asynccontextmanager
async def reserved_quota(
    app: Database, tenant_id: UUID, *, count: int, user_id: UUID | None
) -> AsyncIterator[Reservation]:
    """Take concepts in a transaction of its own; give them back when the block raises.

    So nothing is locked while a writer works, and what a crash leaves is refunded later.
    """
    async with app.tenant_session(tenant_id) as session:
        await refund_stale(session)
        reservation = await take_quota(session, count=count, user_id=user_id)
    try:
        yield reservation
    except BaseException:
        async with app.tenant_session(tenant_id) as session:
            await refund_quota(session, reservation, count=count)
        raise


async def take_quota(session: AsyncSession, *, count: int, user_id: UUID | None) -> Reservation:
    """Take concepts in one atomic statement, or raise QuotaExceeded and take none."""
    if count < 1:
        raise BadInput(f"{count} concepts cannot be generated.", hint="Ask for 1 or more.")
    reservation = Reservation(uuid7(), count)
    taken = func.viral.take_quota(reservation.id, count, user_id)
    if await session.scalar(select(taken)) is None:
        raise _exceeded((await session.scalars(select(Tenant))).one(), count)
    return reservation


def check_quota(tenant: Tenant, *, count: int, now: datetime) -> None:
    """Refuse with QuotaExceeded what could not be taken now; whoever takes it asks again."""
    quota = quota_of(tenant, now=now)
    if quota.allowed - quota.used < count:
        raise _exceeded(tenant, count)


def _exceeded(tenant: Tenant, count: int) -> QuotaExceeded:
    left = max(0, tenant.monthly_quota - tenant.used_quota)
    return QuotaExceeded(
        f"{count} concepts asked for, {left} of {tenant.monthly_quota} left this month.",
        hint=f"Ask for fewer, or wait until {tenant.quota_reset_at:%d %B %Y}.",
    )


async def refund_quota(session: AsyncSession, reservation: Reservation, *, count: int) -> bool:
    """Give concepts of a reservation back, once, before a generation rests on it."""
    refunded = func.viral.refund_quota(uuid7(), reservation.id, count)
    return bool(await session.scalar(select(refunded)))


async def refund_stale(session: AsyncSession) -> int:
    """Give back what was reserved long ago and neither used nor refunded."""
    refund = aliased(QuotaEntry)
    stale = await session.execute(
        select(QuotaEntry.id, QuotaEntry.amount).where(
            QuotaEntry.kind == "reserve",
            QuotaEntry.created_at < func.now() - STALE_AFTER,
            ~select(Generation.id).where(Generation.reservation_id == QuotaEntry.id).exists(),
            ~select(refund.id).where(refund.reservation_id == QuotaEntry.id).exists(),
        )
    )
    refunds = [
        await refund_quota(session, Reservation(row.id, row.amount), count=row.amount)
        for row in stale.all()
    ]
    return sum(refunds)


def _next_month(first: datetime) -> datetime:
    return (first + timedelta(days=32)).replace(day=1)
