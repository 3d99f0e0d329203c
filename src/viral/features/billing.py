"""Plans: what a tenant is entitled to, kept as the payments say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import structlog
from sqlalchemy import select, update

from viral.errors import BadInput
from viral.features.audit import note
from viral.features.webhooks import Delivery, finish_delivery, take_delivery
from viral.schema.tenants import Tenant
from viral.schema.vocabulary import MONTHLY_QUOTA, Tier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from viral.database.engine import Database

log = structlog.get_logger(__name__)

# While a payment is late the plan goes on; the vendor ends it when it gives up.
_ENTITLING = frozenset({"active", "trialing", "past_due"})

Outcome = Literal["applied", "known", "ignored"]


@dataclass(frozen=True, slots=True)
class Entitlement:
    """A subscription as the vendor has it now; without a tier its price is not one of ours."""

    subscription_id: str
    status: str
    tier: Tier | None


@dataclass(frozen=True, slots=True)
class PaymentEvent:
    """That something happened to a customer; what, is asked of the vendor.

    `tenant_id` is the mark that we left on the subscription, where the event shows it.
    """

    provider: str
    event_id: str
    event_type: str
    customer: str | None
    tenant_id: UUID | None


async def change_plan(system: Database, tenant_id: UUID, tier: Tier) -> None:
    """Give a tenant another plan, as the operator; what this month used stays used."""
    if tier not in MONTHLY_QUOTA:
        raise BadInput(f"{tier!r} is not a plan.", hint=f"Choose {', '.join(MONTHLY_QUOTA)}.")
    async with system.session_without_tenant() as session:
        await session.execute(
            update(Tenant)
            .where(Tenant.id == tenant_id)
            .values(subscription_tier=tier, monthly_quota=MONTHLY_QUOTA[tier])
        )
        await note(session, "changed plan", tier, tenant_id=tenant_id)


async def customer_of(
    system: Database, tenant_id: UUID, make: Callable[[str], Awaitable[str]]
) -> str:
    """Return the tenant's customer at the vendor; made with the tenant's name when there is none.

    The tenant's row is locked meanwhile, so that two clicks do not make two customers.
    """
    async with system.session_without_tenant() as session:
        found = select(Tenant).where(Tenant.id == tenant_id)
        # Rows that point at the tenant are written meanwhile.
        tenant = (await session.scalars(found.with_for_update(key_share=True))).one()
        customer = tenant.stripe_customer_id or await make(tenant.name)
        tenant.stripe_customer_id = customer
        return customer


async def apply_payment_event(
    system: Database,
    event: PaymentEvent,
    ask: Callable[[str], Awaitable[Entitlement | None]],
) -> Outcome:
    """Bring a customer's tenant to what the vendor says now; twice and in any order the same.

    The event only says whom to ask about. The tenant's row is locked while `ask` is at it: of two
    events at once none writes an older answer over a newer one. What fails leaves no trace, and the
    vendor sends it again.
    """
    delivery = Delivery(event.provider, event.event_id, event.event_type, event.customer or "")
    async with system.session_without_tenant() as session:
        if not await take_delivery(session, delivery):
            return "known"
        tenant = None
        if event.customer is not None:
            found = select(Tenant).where(Tenant.stripe_customer_id == event.customer)
            tenant = await session.scalar(found.with_for_update(key_share=True))
        await finish_delivery(session, delivery, tenant_id=None if tenant is None else tenant.id)
        if tenant is None or event.customer is None:
            log.warning("billing.unknown_customer", event_type=event.event_type)
            return "ignored"
        if event.tenant_id not in {None, tenant.id}:
            # Signed by the vendor, but marked for another tenant than the customer's.
            await note(session, "refused webhook", event.event_type, tenant_id=tenant.id)
            return "ignored"
        before = (tenant.subscription_tier, tenant.subscription_status)
        entitle(tenant, await ask(event.customer))
        if before != (tenant.subscription_tier, tenant.subscription_status):
            await note(
                session,
                "changed plan",
                tenant.subscription_tier,
                tenant_id=tenant.id,
                status=tenant.subscription_status,
                cause=event.event_type,
            )
    return "applied"


def entitle(tenant: Tenant, found: Entitlement | None) -> None:
    """Give a tenant what a subscription entitles to: its plan while it is paid, else FREE."""
    if found is None:
        tier: Tier | None = "FREE"
        tenant.subscription_status, tenant.stripe_subscription_id = "canceled", None
    else:
        tier = found.tier if found.status in _ENTITLING else "FREE"
        tenant.subscription_status = found.status
        tenant.stripe_subscription_id = found.subscription_id
    if tier is None:
        # Bought for a price that this installation does not know: nothing is taken away.
        log.error("billing.unknown_price", tenant_id=str(tenant.id))
        return
    tenant.subscription_tier = tier
    tenant.monthly_quota = MONTHLY_QUOTA[tier]
