"""A studio with some weeks behind it, which the pages' tests of a module share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from clusters import Cluster, superuser
from factories import TestTenant, make_tenant
from litestar import Litestar
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.adapters.offline_writer import OfflineWriter
from viral.database.engine import Database
from viral.features.generations.concepts import generate_concepts
from viral.features.scoring.effects import word_hasher
from web.conftest import Browser, browsing, live_some_weeks, serving, settings_for, sign_in

# Of the newest ones nothing is known yet.
MEASURED, OPEN = 12, 15


@dataclass(frozen=True)
class Ground:
    """An application on a module's database; Alice has concepts, Bob has none."""

    application: Litestar
    cluster: Cluster
    database: str
    app: Database
    system: Database
    alice: TestTenant
    bob: TestTenant

    @asynccontextmanager
    async def browser_of(self, tenant: TestTenant) -> AsyncIterator[Browser]:
        async with browsing(self.application) as browser:
            await sign_in(browser, self.system, tenant)
            yield browser

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AsyncConnection]:
        async with superuser(self.cluster, self.database) as connection:
            yield connection

    async def ids(self, query: str) -> list[str]:
        """Give the first column of a query, past row security."""
        async with self.admin() as admin:
            return [str(each) for each in await admin.scalars(text(query))]

    async def change(self, *statements: str, **values: object) -> None:
        async with self.admin() as admin:
            for statement in statements:
                await admin.execute(text(statement), values)
            await admin.commit()


@asynccontextmanager
async def open_ground(cluster: Cluster, database: str, folder: Path) -> AsyncIterator[Ground]:
    """Let Alice live some weeks, and write some more that nothing is known of yet."""
    app = cluster.database("viral_app", database)
    system = cluster.database("viral_system", database)
    alice = await make_tenant(system, cluster.secrets, slug="alice")
    bob = await make_tenant(system, cluster.secrets, slug="bob")
    await live_some_weeks(app, system, cluster, alice)
    await generate_concepts(
        app,
        alice.id,
        count=OPEN,
        writer=OfflineWriter(),
        rng=Random(2),
        now=datetime.now(UTC),
        hashed=word_hasher(cluster.secrets.word_key),
    )
    async with serving(settings_for(cluster, folder / "home", database)) as application:
        yield Ground(application, cluster, database, app, system, alice, bob)
    await app.close()
    await system.close()
