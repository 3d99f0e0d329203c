"""One's own tenant, and for operators all of them."""

from __future__ import annotations

from factories import TestTenant
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from web.conftest import Browser, make_operator


async def test_ones_own_tenant_comes_with_its_quota(alices: Browser, alice: TestTenant) -> None:
    tenant = (await alices.get("/api/v1/tenant")).json()

    renews_at = tenant["quota"].pop("renews_at")
    assert tenant == {
        "id": str(alice.id),
        "slug": "alice",
        "name": "Alice",
        "plan": "PRO",
        "is_demo": False,
        "quota": {"used": 0, "allowed": 50},
    }
    assert renews_at.endswith("-01T00:00:00Z")


async def test_a_month_that_has_ended_counts_as_none(
    alices: Browser, admin: AsyncConnection
) -> None:
    await admin.execute(
        text("UPDATE tenants SET used_quota = 50, quota_reset_at = now() - interval '40 days'")
    )
    await admin.commit()

    quota = (await alices.get("/api/v1/tenant")).json()["quota"]

    assert quota["used"] == 0
    assert quota["renews_at"] > "2026-11-22"


async def test_only_operators_list_tenants(
    alices: Browser, alice: TestTenant, bob: TestTenant, system: Database
) -> None:
    refused = await alices.get("/api/v1/tenants")
    await make_operator(system, alice)
    listed = await alices.get("/api/v1/tenants")

    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    assert {each["id"] for each in listed.json()} == {str(alice.id), str(bob.id)}
