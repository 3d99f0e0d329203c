"""An installation that sells plans through a Stripe of the test's own."""

from __future__ import annotations

from uuid import UUID

import httpx
from fakes.stripe import Delivery, FakeStripe
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.settings import Settings
from web.conftest import Browser

PRICES = "STARTER=price_1,PRO=price_2,AGENCY=price_3"


def selling(settings: Settings, account: FakeStripe, *, webhook_secrets: str = "") -> Settings:
    """Give an installation the keys of a Stripe account."""
    secrets = webhook_secrets or account.webhook_secret
    return settings.model_copy(
        update={
            "stripe_api_key": SecretStr(account.api_key),
            "stripe_api_url": account.url,
            "stripe_prices": PRICES,
            "stripe_webhook_secret": SecretStr(secrets),
        }
    )


async def deliver(browser: Browser, delivery: Delivery) -> httpx.Response:
    """Send a webhook as Stripe does: no cookies, no form token."""
    return await browser.client.post(
        "/webhooks/stripe", content=delivery.body, headers=delivery.headers
    )


async def become_customer(admin: AsyncConnection, tenant_id: UUID, customer: str) -> None:
    await admin.execute(
        text("UPDATE tenants SET stripe_customer_id = :customer WHERE id = :id"),
        {"customer": customer, "id": tenant_id},
    )
    await admin.commit()


async def plan_of(admin: AsyncConnection, tenant_id: UUID) -> tuple[str, str, int]:
    """Read plan, status and quota of a tenant."""
    found = await admin.execute(
        text(
            "SELECT subscription_tier, subscription_status, monthly_quota FROM tenants"
            " WHERE id = :id"
        ),
        {"id": tenant_id},
    )
    tier, status, quota = found.one()
    await admin.rollback()
    return tier, status, quota


async def log_of(admin: AsyncConnection, tenant_id: UUID) -> list[tuple[str, str]]:
    """Read action and subject of a tenant's log, oldest first."""
    found = await admin.execute(
        text("SELECT action, subject FROM audit_log WHERE tenant_id = :id ORDER BY created_at, id"),
        {"id": tenant_id},
    )
    entries = [(row.action, row.subject) for row in found]
    await admin.rollback()
    return entries
