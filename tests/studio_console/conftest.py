"""Two tenants with a few rows each, and the ways to their database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
from clusters import Cluster
from factories import TestTenant, make_tenant

from viral.database.console.sessions import Places
from viral.schema.tenants import Tenant


@dataclass(frozen=True)
class Ground:
    """A migrated database with Alice and Bob."""

    database: str
    places: Places
    alice: TestTenant
    bob: TestTenant

    @property
    def tenant_id(self) -> UUID:
        return self.alice.id


@pytest.fixture(scope="module")
async def ground(cluster: Cluster, module_database: str) -> AsyncIterator[Ground]:
    system = cluster.database("viral_system", module_database)
    app = cluster.database("viral_app", module_database)
    alice = await make_tenant(system, cluster.secrets, slug="alice")
    bob = await make_tenant(system, cluster.secrets, slug="bob")
    for each in (alice, bob):
        async with app.tenant_session(each.id) as session:
            tenant = await session.get(Tenant, each.id)
            assert tenant is not None
            tenant.name = f"Studio of {each.slug}"
    places = Places(
        *(
            cluster.url(role, module_database)
            for role in ("viral_readonly", "viral_app", "viral_migrator")
        )
    )
    yield Ground(module_database, places, alice, bob)
    await system.close()
    await app.close()
