"""Tenants are made once, found by their slug, and begin empty."""

from __future__ import annotations

import pytest
from clusters import Cluster, count_rows
from factories import TestTenant
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.database.faults import sqlstate_of
from viral.errors import AlreadyExists, BadInput, NotFound
from viral.features.tenants import create_tenant, find_tenant, list_tenants
from viral.schema.tenants import Tenant
from viral.schema.vocabulary import MONTHLY_QUOTA, Tier


@pytest.mark.parametrize("tier", list(MONTHLY_QUOTA))
async def test_a_tenant_begins_with_its_plans_quota(
    system: Database, cluster: Cluster, tier: Tier
) -> None:
    async with system.session_without_tenant() as session:
        await create_tenant(session, slug="acme", tier=tier, secrets=cluster.secrets)
        made = await find_tenant(session, "acme")

    assert (made.name, made.subscription_tier) == ("acme", tier)
    assert (made.monthly_quota, made.used_quota) == (MONTHLY_QUOTA[tier], 0)
    assert made.quota_reset_at > made.created_at
    assert (made.quota_reset_at.day, made.quota_reset_at.hour) == (1, 0)
    assert not made.is_demo


async def test_a_new_tenant_can_be_worked_in_at_once(
    app: Database, cluster: Cluster, alice: TestTenant
) -> None:
    async with app.session_without_tenant() as session:
        made = await create_tenant(session, slug="acme", secrets=cluster.secrets)

    async with app.tenant_session(made) as session:
        assert list(await session.scalars(select(Tenant.slug))) == ["acme"]
    async with app.tenant_session(alice.id) as session:
        assert list(await session.scalars(select(Tenant.slug))) == ["alice"]


async def test_a_slug_is_taken_once_and_the_transaction_goes_on(
    system: Database, cluster: Cluster, admin: AsyncConnection
) -> None:
    async with system.session_without_tenant() as session:
        await create_tenant(session, slug="acme", secrets=cluster.secrets)
        with pytest.raises(AlreadyExists, match="'acme' exists"):
            await create_tenant(session, slug="acme", secrets=cluster.secrets)
        await create_tenant(session, slug="bcme", secrets=cluster.secrets)

    assert await count_rows(admin, "tenants") == 2
    assert await count_rows(admin, "viral.tenant_contexts") == 2


@pytest.mark.parametrize("slug", ["", "Acme", "a b", "../x", "-a", "ä", "a" * 64, "a\n", "a'; --"])
async def test_a_bad_slug_is_refused(system: Database, cluster: Cluster, slug: str) -> None:
    with pytest.raises(BadInput, match="cannot be a tenant's slug") as caught:
        async with system.session_without_tenant() as session:
            await create_tenant(session, slug=slug, name="x", secrets=cluster.secrets)

    assert "lower-case" in caught.value.hint


async def test_a_name_too_long_is_refused(system: Database, cluster: Cluster) -> None:
    with pytest.raises(BadInput):
        async with system.session_without_tenant() as session:
            await create_tenant(session, slug="acme", name="x" * 201, secrets=cluster.secrets)


async def test_a_plan_that_is_none_is_refused(system: Database, cluster: Cluster) -> None:
    with pytest.raises(BadInput, match="'GOLD' is not a plan") as caught:
        async with system.session_without_tenant() as session:
            await create_tenant(session, slug="acme", tier="GOLD", secrets=cluster.secrets)  # type: ignore[arg-type]  # the mistake under test

    assert "FREE, STARTER, PRO, AGENCY" in caught.value.hint


@pytest.mark.usefixtures("bob", "alice")
async def test_all_tenants_are_listed_by_slug(system: Database) -> None:
    async with system.session_without_tenant() as session:
        listed = await list_tenants(session)

    assert [tenant.slug for tenant in listed] == ["alice", "bob"]


async def test_a_tenant_that_is_not_there_is_not_found(system: Database) -> None:
    with pytest.raises(NotFound, match="no tenant 'nobody'"):
        async with system.session_without_tenant() as session:
            await find_tenant(session, "nobody")


@pytest.mark.parametrize(
    "change",
    [
        "monthly_quota = 1000",
        "used_quota = 0",
        "subscription_tier = 'AGENCY'",
        "quota_reset_at = now()",
        "is_demo = true",
        "slug = 'other'",
        "stripe_customer_id = 'x'",
    ],
)
async def test_a_tenant_cannot_change_what_is_billed(
    app: Database, alice: TestTenant, change: str
) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with app.tenant_session(alice.id) as session:
            await session.execute(text(f"UPDATE tenants SET {change}"))

    assert sqlstate_of(caught.value) == "42501"


async def test_the_app_cannot_make_a_tenant_under_an_id_that_exists(
    app: Database, bob: TestTenant, alice: TestTenant
) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with app.tenant_session(alice.id) as session:
            await session.execute(
                text(
                    "SELECT viral.create_tenant(:id, 'evil', 'x', 'FREE', 1, false,"
                    " sha256('known'), 2)"
                ),
                {"id": bob.id},
            )

    assert sqlstate_of(caught.value) == "23505"


async def test_the_only_tenant_need_not_be_named(system: Database, alice: TestTenant) -> None:
    async with system.session_without_tenant() as session:
        found = await find_tenant(session, None)

    assert alice.id == found.id


@pytest.mark.usefixtures("alice", "bob")
async def test_one_of_several_tenants_has_to_be_named(system: Database) -> None:
    async with system.session_without_tenant() as session:
        with pytest.raises(BadInput, match="There are 2 tenants"):
            await find_tenant(session, None)
