"""Requests of two tenants, interleaved in one process over one pool: none sees the other's rows."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import pytest
from factories import TestTenant
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from viral.database.engine import Database
from viral.database.tenancy import set_tenant_context
from viral.schema.tenants import AuditEntry, Tenant

REQUESTS = 1_000
Style = Literal["set_tenant_context", "tenant_session"]


@asynccontextmanager
async def opened(
    app: Database, tenant: TestTenant, style: Style, rng: random.Random
) -> AsyncIterator[AsyncSession]:
    if style == "tenant_session":
        async with app.tenant_session(tenant.id) as session:
            yield session
        return
    set_tenant_context(tenant.id)
    await asyncio.sleep(rng.uniform(0, 0.02))
    async with app.session() as session:
        yield session


@pytest.mark.parametrize("style", ["set_tenant_context", "tenant_session"])
async def test_a_thousand_interleaved_requests_never_mix_two_tenants(
    app: Database, alice: TestTenant, bob: TestTenant, style: Style
) -> None:
    rng = random.Random(11)

    async def request(tenant: TestTenant, number: int) -> str:
        async with opened(app, tenant, style, rng) as session:
            first = list(await session.scalars(select(Tenant.id)))
            await asyncio.sleep(rng.uniform(0, 0.005))
            session.add(AuditEntry(action=tenant.slug, subject=str(number)))
            await session.flush()
            others = await session.scalar(
                text("SELECT count(*) FROM audit_log WHERE action <> :slug"), {"slug": tenant.slug}
            )
            return "right" if (first, others) == ([tenant.id], 0) else "mixed up"

    outcomes = await asyncio.gather(
        *(request(rng.choice([alice, bob]), number) for number in range(REQUESTS))
    )

    assert Counter(outcomes) == {"right": REQUESTS}
    stored = 0
    for tenant in (alice, bob):
        async with app.tenant_session(tenant.id) as session:
            stored += await session.scalar(select(func.count(AuditEntry.id))) or 0
    assert stored == REQUESTS
