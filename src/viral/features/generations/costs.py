"""What models cost a tenant, and who writes once the day's money is spent."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from viral.schema.content import Generation
from viral.schema.learning import SelfCritique

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.generations.drafts import Writer


@dataclass(frozen=True, slots=True)
class Budget:
    """USD that a tenant may cost a day (UTC), and the writer that costs nothing."""

    daily_cost: Decimal
    offline: Writer


async def spent_today(session: AsyncSession, *, now: datetime) -> Decimal:
    """Add up what models have cost the session's tenant since midnight, UTC, in USD."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    total = Decimal(0)
    for cost, made_at in (
        (SelfCritique.cost, SelfCritique.created_at),
        (Generation.cost, Generation.date),
    ):
        total += await session.scalar(select(func.sum(cost)).where(made_at >= midnight)) or 0
    return total


async def affordable_writer(
    session: AsyncSession, writer: Writer, budget: Budget | None, *, now: datetime
) -> tuple[Writer, str]:
    """Choose who writes, and say why where it is not the writer that was asked."""
    if budget is None or writer.name == budget.offline.name:
        return writer, ""
    if await spent_today(session, now=now) < budget.daily_cost:
        return writer, ""
    return budget.offline, (
        f"Today's {budget.daily_cost:.2f} USD for {writer.name} are spent; tomorrow (UTC) it"
        " writes again."
    )
