"""The server that the tests of one process share, and ways to look into it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from viral.database.encryption.keys import KeyRing
from viral.database.engine import Database
from viral.database.secrets import Secrets
from viral.database.tenancy import context_token
from viral.database.urls import ServerUrl, parse_url
from viral.postgres.pooler import POOLED_ROLES
from viral.postgres.server import Server
from viral.schema.security import LOGINS

TEMPLATE = "viral"
# Leaves a database as its migrations made it: those keep two tables of their own.
NO_ROWS = """
DO $$ DECLARE each regclass; BEGIN
  -- Who writes in the background is waited for, and nobody for two of these locks.
  LOCK TABLE public.tenants;
  -- No trigger fires, so that any order of the tables will do.
  SET LOCAL session_replication_role = replica;
  FOR each IN
    SELECT oid FROM pg_class
    WHERE relkind IN ('r', 'p') AND NOT relispartition
      AND relnamespace IN ('public'::regnamespace, 'viral'::regnamespace)
      AND relname NOT IN ('alembic_version', 'migrations')
  LOOP
    EXECUTE format('DELETE FROM %s', each);
  END LOOP;
END $$
"""


@dataclass(frozen=True)
class Cluster:
    """The server of this test process."""

    home: Path
    server: Server
    secrets: Secrets
    admin: ServerUrl

    def url(self, role: str, database: str) -> ServerUrl:
        return parse_url(self.server.url(role, database))

    def direct_url(self, role: str, database: str) -> ServerUrl:
        """Give a role's address past a pooler, as the product makes it of DIRECT_URL."""
        migrator = self.url("viral_migrator", database)
        return migrator.for_role(role, self.secrets.password(role))

    async def execute_as_admin(self, database: str, *statements: str) -> None:
        connection = await self.connect_as_admin(database)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def connect(self, role: str, database: str) -> asyncpg.Connection[asyncpg.Record]:
        """Connect past the product, as an intruder in the app's process would."""
        url = self.url(role, database)
        return await asyncpg.connect(
            url.libpq(password=True), statement_cache_size=0 if url.is_pooled else 100
        )

    def database(self, role: str, name: str, keys: KeyRing | None = None) -> Database:
        return Database(self.url(role, name), context_key=self.secrets.context_key, field_keys=keys)

    def token(self, tenant_id: UUID) -> str:
        """Give a tenant's capability, as the product derives it."""
        return context_token(self.secrets.context_key, tenant_id)

    async def connect_as_admin(self, database: str) -> asyncpg.Connection[asyncpg.Record]:
        return await asyncpg.connect(
            host=self.admin.host,
            port=self.admin.port,
            user=self.admin.user,
            password=self.admin.password,
            database=database,
        )


async def copy_template(cluster: Cluster, name: str, template: str = TEMPLATE) -> None:
    """Make a database like the template, with the privileges that a copy does not take along.

    Its files are copied, which takes half the time of writing each of its pages to the WAL. A
    pooler keeps a connection of whoever asked it for the template, which could not be copied then.
    """
    await cluster.execute_as_admin(
        "postgres",
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        f" WHERE datname = '{template}' AND usename IN ({', '.join(map(repr, POOLED_ROLES))})",
        f"CREATE DATABASE {name} TEMPLATE {template} OWNER viral_owner STRATEGY file_copy",
        f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {name} TO {', '.join(LOGINS)}",
        f"GRANT CREATE ON DATABASE {name} TO viral_owner",
    )


@asynccontextmanager
async def superuser(cluster: Cluster, database: str) -> AsyncIterator[AsyncConnection]:
    """Open a connection that looks behind row security."""
    engine = create_async_engine(
        cluster.admin.for_database(database).sqlalchemy, poolclass=NullPool
    )
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


async def count_rows(connection: AsyncConnection, table: str) -> int:
    """Count all rows of a table, behind row security."""
    return int(await connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
