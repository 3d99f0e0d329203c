"""`viral tenant plan`: another plan in one command, with what is used kept."""

from __future__ import annotations

import asyncio
from pathlib import Path

from clusters import Cluster
from factories import TestTenant
from shell import Shell, environment_of
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

PLAN = text("SELECT subscription_tier, monthly_quota, used_quota FROM tenants WHERE slug = 'alice'")


async def test_a_tenant_gets_another_plan_and_keeps_what_it_used(
    cluster: Cluster, database_name: str, alice: TestTenant, admin: AsyncConnection, tmp_path: Path
) -> None:
    shell = Shell(environment_of(cluster, database_name), tmp_path)
    await admin.execute(text("UPDATE tenants SET used_quota = 7, stripe_subscription_id = 'sub_1'"))
    await admin.commit()

    answer = await asyncio.to_thread(shell.viral, "tenant", "plan", alice.slug, "agency", "--json")
    unknown = await asyncio.to_thread(shell.viral, "tenant", "plan", alice.slug, "GOLD")

    assert answer.code == 0
    assert answer.document == {"slug": "alice", "plan": "AGENCY", "used": 7, "quota": 500}
    assert "Its subscription sub_1 at Stripe is as it was" in answer.err
    assert (unknown.code, unknown.out) == (1, "")
    assert "fix: Choose FREE, STARTER, PRO, AGENCY." in unknown.err
    assert (await admin.execute(PLAN)).one() == ("AGENCY", 500, 7)
