"""Deliveries from outside: each has an effect once, and none over a newer one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, DateTime, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from viral.schema.base import uuid7
from viral.schema.tenants import WebhookEvent

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery: whose, its own id, its kind, what it is about, and when that happened.

    `ends` says that it tells of an end. No more of it is kept: bodies hold names and addresses of
    people.
    """

    provider: str
    event_id: str
    event_type: str
    subject: str
    occurred_at: datetime | None = None
    ends: bool = False


async def wait_for_others(session: AsyncSession) -> None:
    """Let one transaction at a time go on from here; whoever takes deliveries alone is not held.

    Two events about one thing at the same moment would not see each other. The mode conflicts with
    itself, and with no reader or writer.
    """
    await session.execute(text("LOCK TABLE webhook_events IN SHARE UPDATE EXCLUSIVE MODE"))


async def take_delivery(session: AsyncSession, delivery: Delivery) -> bool:
    """Note a delivery, as the system role; False when it came before.

    A second one at the same moment waits here until the first is through, or failed.
    """
    made = await session.scalar(
        insert(WebhookEvent)
        .values(
            id=uuid7(),
            provider=delivery.provider,
            event_id=delivery.event_id,
            event_type=delivery.event_type,
            payload={
                "subject": delivery.subject,
                "occurred_at": delivery.occurred_at and delivery.occurred_at.isoformat(),
                "ends": delivery.ends,
            },
        )
        .on_conflict_do_nothing(index_elements=["provider", "event_id"])
        .returning(WebhookEvent.id)
    )
    return made is not None


async def is_outdated(session: AsyncSession, delivery: Delivery) -> bool:
    """Tell whether something newer about the same subject has been applied already.

    At one moment the end is newer than a change. What has no time gives way to everything.
    """
    newer = select(WebhookEvent.id).where(
        WebhookEvent.provider == delivery.provider,
        WebhookEvent.event_id != delivery.event_id,
        WebhookEvent.processed_at.is_not(None),
        WebhookEvent.payload["subject"].astext == delivery.subject,
    )
    if delivery.occurred_at is not None:
        # As times: in some collations a text with a fraction of a second sorts elsewhere.
        moment = WebhookEvent.payload["occurred_at"].astext.cast(DateTime(timezone=True))
        newer = newer.where(
            (moment > delivery.occurred_at) | (moment == delivery.occurred_at) & _tells_of_an_end()
        )
    return await session.scalar(newer.limit(1)) is not None


async def is_over(session: AsyncSession, provider: str, subjects: Collection[str]) -> bool:
    """Tell whether the end of one of these was told; for what a vendor never names again."""
    ends = select(WebhookEvent.id).where(
        WebhookEvent.provider == provider,
        WebhookEvent.processed_at.is_not(None),
        WebhookEvent.payload["subject"].astext.in_(subjects),
        _tells_of_an_end(),
    )
    return await session.scalar(ends.limit(1)) is not None


async def finish_delivery(
    session: AsyncSession, delivery: Delivery, *, tenant_id: UUID | None
) -> None:
    """Note that a delivery had its effect, on a tenant where there is one."""
    await session.execute(
        update(WebhookEvent)
        .where(
            WebhookEvent.provider == delivery.provider,
            WebhookEvent.event_id == delivery.event_id,
        )
        .values(tenant_id=tenant_id, processed_at=func.now())
    )


def _tells_of_an_end() -> ColumnElement[bool]:
    tells: ColumnElement[bool] = WebhookEvent.payload["ends"].astext == "true"
    return tells
