"""A studio that has learned for some weeks, and its neighbour: shared by the tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from clusters import Cluster
from factories import TestTenant, make_tenant

from viral.database.engine import Database
from web.conftest import Browser, browsing, live_some_weeks, serving, settings_for, sign_in


@dataclass(frozen=True)
class Learned:
    """Alice's studio with a history, Bob's without; each with a browser."""

    cluster: Cluster
    database: str
    app: Database
    system: Database
    alice: TestTenant
    alices: Browser
    bobs: Browser

    async def ask(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """Read or change rows behind row security; values stand for $1, $2 and so on."""
        connection = await self.cluster.connect_as_admin(self.database)
        try:
            return [tuple(row) for row in await connection.fetch(sql, *values)]
        finally:
            await connection.close()


@asynccontextmanager
async def learned_studio(cluster: Cluster, database: str, home: Path) -> AsyncIterator[Learned]:
    """Make both tenants in a database and serve them."""
    async with AsyncExitStack() as stack:
        app = cluster.database("viral_app", database)
        system = cluster.database("viral_system", database)
        stack.push_async_callback(app.close)
        stack.push_async_callback(system.close)
        alice = await make_tenant(system, cluster.secrets, slug="alice")
        bob = await make_tenant(system, cluster.secrets, slug="bob")
        await live_some_weeks(app, system, cluster, alice)
        application = await stack.enter_async_context(
            serving(settings_for(cluster, home, database))
        )
        browsers = []
        for tenant in (alice, bob):
            browser = await stack.enter_async_context(browsing(application))
            await sign_in(browser, system, tenant)
            browsers.append(browser)
        yield Learned(cluster, database, app, system, alice, *browsers)
