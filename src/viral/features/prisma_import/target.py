"""Where rows go: each table through the role that the schema names as its writer.

Tenants, keys, the quota's ledger and jobs are written by definer functions alone; here the migrator
acts as their owner, `viral_auth`. People and metrics are the system role's. Everything else is
written as the app in its tenant's session, so that row security proves each row's tenant.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import groupby
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from viral.database.bulk import as_arrays, bulk_insert
from viral.database.faults import connecting
from viral.database.tenancy import context_token, token_hash
from viral.errors import LockNotObtained
from viral.features.prisma_import.partitions import Partitions
from viral.features.prisma_import.rows import insert_rows, known_rows
from viral.schema.operations import Job, SystemMetric
from viral.schema.security import APP, AUTH, SYSTEM
from viral.schema.tenants import ApiKey, Membership, QuotaEntry, Tenant, TenantContext, User

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from viral.database.engine import Database
    from viral.database.secrets import Secrets
    from viral.database.urls import ServerUrl
    from viral.features.prisma_import.report import Report
    from viral.features.prisma_import.rows import Executor
    from viral.features.prisma_import.steps import Entry
    from viral.schema.base import Base

# Who writes a table; the app, where nothing is said.
WRITERS: dict[type[Base], str] = {
    Tenant: AUTH,
    ApiKey: AUTH,
    QuotaEntry: AUTH,
    Job: AUTH,
    User: SYSTEM,
    Membership: SYSTEM,
    SystemMetric: SYSTEM,
}
# Any number that is ours: the first eight bytes of SHA-256("viral import-prisma"), signed.
_LOCK = 4423150913344771937


class Target:
    """The database of this installation; in a dry run it is read alike and not written."""

    def __init__(
        self,
        *,
        app: Database,
        system: Database,
        migrator: AsyncConnection,
        secrets: Secrets,
    ) -> None:
        self._app = app
        self._system = system
        self._migrator = migrator
        self._secrets = secrets
        self._partitions = Partitions(migrator)
        self._tenants: set[UUID] = set()

    async def taken(self) -> tuple[dict[tuple[object, ...], UUID], dict[UUID, str]]:
        """Return the values that may occur once, with their rows; and the tenants' slugs."""
        async with self._system.session_without_tenant() as session:
            users = await session.execute(select(User.id, User.email, User.clerk_id))
            tenants = await session.execute(
                select(
                    Tenant.id,
                    Tenant.slug,
                    Tenant.stripe_customer_id,
                    Tenant.stripe_subscription_id,
                )
            )
            taken: dict[tuple[object, ...], UUID] = {}
            for user_id, email, clerk_id in users:
                taken |= {("email", email): user_id, ("clerkId", clerk_id): user_id}
            slugs = {}
            for tenant_id, slug, customer, subscription in tenants:
                slugs[tenant_id] = slug
                taken |= {
                    ("slug", slug): tenant_id,
                    ("stripe_customer_id", customer): tenant_id,
                    ("stripe_subscription_id", subscription): tenant_id,
                }
        self._tenants = set(slugs)
        return taken, slugs

    async def store(
        self, entries: Sequence[Entry], tables: Sequence[type[Base]], *, report: Report
    ) -> None:
        """Store entries, parents first; rows that are here already stay as they are."""
        for role, group in groupby(tables, key=lambda table: WRITERS.get(table, APP)):
            names = tuple(group)
            mine = [entry for entry in entries if entry.table in names]
            for tenant_id, part in _by_tenant(mine) if role == APP else [(None, mine)]:
                if tenant_id is not None and tenant_id not in self._tenants:
                    # A dry run: the tenant is still to be made, so nothing of it is here.
                    _count_new(part, report)
                    continue
                await self._prepare(part, report)
                async with self._acting(role, tenant_id) as executor:
                    for table in names:
                        rows = [entry for entry in part if entry.table is table]
                        await self._store_table(executor, table, rows, report)

    async def _prepare(self, entries: Sequence[Entry], report: Report) -> None:
        if not report.is_dry_run:
            report.partitions += await self._partitions.make_for(entries)

    async def _store_table(
        self, executor: Executor, table: type[Base], rows: Sequence[Entry], report: Report
    ) -> None:
        if not rows:
            return
        counts = report.tables[table.__tablename__]
        known = await known_rows(executor, table, rows)
        missing = [row for row, is_known in zip(rows, known, strict=True) if not is_known]
        counts.already_there += len(rows) - len(missing)
        if report.is_dry_run:
            counts.imported += len(missing)
            return
        if table is Tenant:
            counts.imported += await self._insert_tenants(executor, missing, report)
        else:
            counts.imported += await insert_rows(executor, table, missing, report)

    async def _insert_tenants(
        self, executor: Executor, rows: Sequence[Entry], report: Report
    ) -> int:
        """Make tenants together with their context tokens, in one transaction."""
        made = await insert_rows(executor, Tenant, rows, report)
        names = ("token_sha256", "tenant_id", "key_id")
        ids = [row.values["id"] for row in rows if isinstance(row.values["id"], UUID)]
        statement = bulk_insert(TenantContext, names).on_conflict_do_nothing()
        key = None
        # The key changes only while nobody writes tokens (`database/context_keys.py`): at the
        # second look it can no longer.
        while key != self._secrets.context.current:
            key = self._secrets.context.current
            contexts = [
                (token_hash(context_token(key.material, tenant_id)), tenant_id, key.id)
                for tenant_id in ids
            ]
            await executor.execute(statement, as_arrays(contexts, names))
        self._tenants |= set(ids)
        return made

    @asynccontextmanager
    async def _acting(self, role: str, tenant_id: UUID | None) -> AsyncIterator[Executor]:
        """Open a transaction as a role of ours."""
        if tenant_id is not None:
            async with self._app.tenant_session(tenant_id) as session:
                yield session
        elif role == SYSTEM:
            async with self._system.session_without_tenant() as session:
                yield session
        else:
            async with self._migrator.begin():
                await self._migrator.execute(text(f"SET LOCAL ROLE {AUTH}"))
                yield self._migrator


@asynccontextmanager
async def open_target(
    *, app: Database, system: Database, migrator: ServerUrl, secrets: Secrets
) -> AsyncIterator[Target]:
    """Connect as the migrator too, and keep a second import out."""
    engine = create_async_engine(
        migrator.sqlalchemy,
        connect_args=migrator.connect_args,
        poolclass=NullPool,
        hide_parameters=True,
    )
    try:
        async with AsyncExitStack() as stack:
            with connecting(migrator):
                connection = await stack.enter_async_context(engine.connect())
            if not await connection.scalar(text(f"SELECT pg_try_advisory_lock({_LOCK})")):
                raise LockNotObtained("Another import is at work.", hint="Wait until it ends.")
            await connection.commit()
            yield Target(app=app, system=system, migrator=connection, secrets=secrets)
    finally:
        await engine.dispose()


def _by_tenant(entries: Sequence[Entry]) -> Iterator[tuple[UUID, list[Entry]]]:
    groups: dict[UUID, list[Entry]] = defaultdict(list)
    for entry in entries:
        tenant_id = entry.values["tenant_id"]
        assert isinstance(tenant_id, UUID)
        groups[tenant_id].append(entry)
    yield from groups.items()


def _count_new(entries: Sequence[Entry], report: Report) -> None:
    for entry in entries:
        report.tables[entry.table.__tablename__].imported += 1
