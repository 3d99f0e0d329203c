"""One database for a module, with two tenants at work in it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from clusters import Cluster, superuser
from factories import Row, TestTenant, fill_every_table, make_tenant
from litestar import Litestar
from sqlalchemy import text
from web.conftest import Browser, browsing, serving, settings_for, sign_in

from viral.schema.security import SYSTEM

GAP = json.dumps(
    {
        "concept_title": "a title",
        "platform": "tiktok",
        "predicted_virality": 50,
        "low": 40,
        "high": 60,
        "actual_virality_score": 70,
        "direction": "under-predicted",
    }
)


@dataclass(frozen=True)
class Pair:
    """Two tenants, and the rows of each by table."""

    alice: TestTenant
    bob: TestTenant
    rows_of_alice: dict[str, Row]
    rows_of_bob: dict[str, Row]


@pytest.fixture(scope="module")
async def pair(cluster: Cluster, module_database: str) -> Pair:
    """Have two tenants at work, with a row of each in every table."""
    system = cluster.database(SYSTEM, module_database)
    alice = await make_tenant(system, cluster.secrets, slug="alice")
    bob = await make_tenant(system, cluster.secrets, slug="bob")
    await system.close()
    async with superuser(cluster, module_database) as admin:
        rows = [await fill_every_table(admin, each) for each in (alice, bob)]
        # Documents of a form that pages can show.
        await admin.execute(text("UPDATE predictions SET reasons = '[]'"))
        await admin.execute(text("UPDATE self_critiques SET performance_gap = :gap"), {"gap": GAP})
        await admin.commit()
    return Pair(alice, bob, *rows)


@pytest.fixture
async def intruder(
    cluster: Cluster, module_database: str
) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Connect to the module's database as the app's role, past the product."""
    connection = await cluster.connect("viral_app", module_database)
    yield connection
    await connection.close()


@pytest.fixture(scope="module")
async def studio(
    cluster: Cluster, module_database: str, short_folder: Path, pair: Pair
) -> AsyncIterator[Litestar]:
    """Run the application on the module's database; nobody asks too often."""
    assert pair
    settings = settings_for(cluster, short_folder / "home", module_database)
    limits = dict.fromkeys(
        ("address_requests", "key_requests", "tenant_requests", "user_requests"), 1_000_000
    )
    async with serving(settings.model_copy(update=limits)) as application:
        yield application


@pytest.fixture
async def alices(studio: Litestar, pair: Pair) -> AsyncIterator[Browser]:
    """Open a browser in which Alice is signed in."""
    async with signed_in(studio, pair.alice) as browser:
        yield browser


@pytest.fixture
async def bobs(studio: Litestar, pair: Pair) -> AsyncIterator[Browser]:
    """Open a browser in which Bob is signed in."""
    async with signed_in(studio, pair.bob) as browser:
        yield browser


@asynccontextmanager
async def signed_in(application: Litestar, tenant: TestTenant) -> AsyncIterator[Browser]:
    """Open a browser in which a tenant's admin is signed in."""
    async with browsing(application) as browser:
        await sign_in(browser, application.state.runtime.system, tenant)
        yield browser
