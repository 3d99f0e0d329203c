"""A database with three tenants, the ways into it, and the models of what each should see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from factories import Row, TestTenant, insert_row, make_tenant, new_row
from sqlalchemy import CursorResult, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from studio import add_trends
from tenant_model import READABLE, TenantModel, stored_rows, visible_rows, visible_tokens

from viral.database.engine import Database
from viral.database.faults import sqlstate_of
from viral.database.secrets import Secrets
from viral.database.tenancy import set_tenant_context
from viral.errors import ViralError
from viral.schema.base import uuid7
from viral.schema.vocabulary import MONTHLY_QUOTA, Tier

TIERS: tuple[Tier, ...] = ("PRO", "AGENCY", "FREE")


@dataclass(frozen=True)
class Draw:
    """What is drawn for one operation: whose, on whose row, and variants of it.

    `shift` is the way from the tenant to the one whose row is meant: 0 is the tenant itself.
    """

    tenant: int
    shift: int
    place: int
    number: int
    is_named: bool
    is_raw: bool


@dataclass
class World:
    """A database with three tenants, the ways into it, and the models of what each should see."""

    app: Database
    system: Database
    worker: Database
    admin: AsyncConnection
    secrets: Secrets
    models: list[TenantModel] = field(default_factory=list)
    steps: int = 0
    fault: BaseException | None = None
    _behind: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def begin(self) -> None:
        """Make three tenants and trends."""
        await self.admin.execute(text("SELECT viral.make_partitions()"))
        await self.admin.commit()
        await add_trends(self.system)
        for slug, tier in zip(("anna", "ben", "cleo"), TIERS, strict=True):
            tenant = await make_tenant(self.system, self.secrets, slug=slug, tier=tier)
            self.models.append(await self._first_rows(tenant, tier))

    async def _first_rows(self, tenant: TestTenant, tier: Tier) -> TenantModel:
        model = TenantModel(tenant, MONTHLY_QUOTA[tier])
        model.add("tenants", tenant.id, name=tenant.slug.title(), used_quota=0)
        model.add("users", tenant.user_id, email=f"{tenant.slug}@example.com")
        parents: dict[str, Row] = {"memberships": {"user_id": tenant.user_id}}
        row = new_row(READABLE["api_keys"], tenant_id=tenant.id, parents=parents)
        key = await insert_row(self.admin, READABLE["api_keys"], row)
        await self.admin.commit()
        user = str(tenant.user_id)
        await self.name_new(model, "memberships", user_id=user, role="ADMIN")
        model.add("api_keys", key["id"], user_id=user, name=key["name"])
        return model

    async def end(self) -> None:
        """Remove all rows: the next run starts as this one did."""
        of_nobody = ("shared_effects", "model_versions", "job_workers", "job_reservations")
        for table in ("tenants", "users", *of_nobody):
            await self.admin.execute(text(f"DELETE FROM {table}"))
        await self.admin.commit()
        self.models = []

    async def name_new(self, model: TenantModel, table: str, **known: object) -> str:
        """Find the id of the one row that a feature should have made, behind row security."""
        async with self._behind:
            stored = (await stored_rows(self.admin, model, table))[table]
        new = [
            row_id
            for row_id, row in stored.items()
            if row_id not in model.rows[table] and row == model.facts(table, row_id, **known)
        ]
        assert len(new) == 1, f"{len(new)} new rows {known} in {table}"
        model.add(table, new[0], **known)
        return new[0]

    async def check(self) -> None:
        """Compare what each tenant sees with its model, the three at once over the pool."""
        await asyncio.gather(*(self._check(model) for model in self.models))

    async def _check(self, model: TenantModel) -> None:
        async with self.app.tenant_session(model.tenant.id) as session:
            rows = await visible_rows(session)
            tokens = await visible_tokens(session)
        found = model.differences(rows, tokens)
        assert not found, f"{model.tenant.slug} sees (wrongly, not): {found}"

    def move(self, draw: Draw) -> Move:
        owner = self.models[(draw.tenant + draw.shift) % len(self.models)]
        return Move(self, draw, self.models[draw.tenant], owner)


@dataclass(frozen=True)
class Move:
    """One operation of a tenant, `me`, on a row of `owner`, who is the same or another."""

    world: World
    draw: Draw
    me: TenantModel
    owner: TenantModel

    @property
    def stranger(self) -> TenantModel:
        """Another tenant in any case."""
        models = self.world.models
        return self.owner if self.owner is not self.me else models[(self.draw.tenant + 1) % 3]

    def pick(self, table: str, *, of: TenantModel | None = None) -> str:
        """Choose a row of the owner; an id of nobody where it has none."""
        rows = list((of or self.owner).rows[table])
        return rows[self.draw.place % len(rows)] if rows else str(uuid7())

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        if not self.draw.is_named:
            async with self.world.app.tenant_session(self.me.tenant.id) as session:
                yield session
            return
        set_tenant_context(self.me.tenant.id)
        await asyncio.sleep(0)
        async with self.world.app.session() as session:
            yield session

    async def answer(self, work: Callable[[AsyncSession], Awaitable[object]]) -> str | None:
        """Do the work in a session; say how it was refused, None when it was not."""
        try:
            async with self.session() as session:
                await work(session)
        except DBAPIError as error:
            return sqlstate_of(error)
        except ViralError as error:
            return type(error).__name__
        return None


async def count_touched(session: AsyncSession, statement: str, **values: object) -> int:
    """Run raw SQL, which names no tenant; return the number of rows it touched."""
    done = await session.execute(text(statement), values)
    assert isinstance(done, CursorResult)
    return done.rowcount
