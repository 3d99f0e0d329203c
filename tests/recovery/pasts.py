"""A server with a past: backups, WAL, a moment, and disasters after it.

PYTEST_DONT_REWRITE: it is imported by name before pytest takes it as a plugin.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from factories import TestTenant, make_tenant
from servers import Homes, server_in

from viral import servers
from viral.database import migrate
from viral.database.encryption.keys import KeyFile, KeyRing
from viral.database.engine import Database
from viral.database.urls import parse_url
from viral.features.erasure import erase_tenant
from viral.postgres.backup.physical import create_backup
from viral.postgres.backup.target import LocalFolder
from viral.postgres.bootstrap import admin_connection, bootstrap
from viral.postgres.server import Server
from viral.settings import Settings

ROWS = 100_000


@dataclass
class History:
    """A server with a past, and what was archived of it."""

    server: Server
    target: LocalFolder
    ring: KeyRing
    before: datetime
    moment: datetime
    alice: TestTenant
    bob: TestTenant

    @property
    def settings(self) -> Settings:
        return Settings(home=self.server.home)

    @property
    def stored(self) -> Path:
        return self.server.home / "backups" / self.server.installation.id

    async def restore(
        self, home: Path, *, at: datetime | None = None, backup_id: str | None = None
    ) -> Server:
        """Restore as the product does."""
        restored = await servers.restore_copy(
            self.settings, home=home, at=at, backup_id=backup_id, advance=silent
        )
        return restored.server


def silent(_step: str, _done: int, _total: int | None) -> None:
    """Show no progress."""


async def execute(server: Server, *statements: str, database: str = "viral") -> None:
    async with admin_connection(server.socket_url("viral_admin", database)) as connection:
        for statement in statements:
            await connection.execute(statement)


async def one(server: Server, sql: str, *, database: str = "viral") -> object:
    async with admin_connection(server.socket_url("viral_admin", database)) as connection:
        return await connection.fetchval(sql)


@pytest.fixture(scope="module")
async def history(homes: Homes) -> History:
    """Live: a full backup, many rows, a clone, an incremental one, tenants, T, and disasters."""
    home = homes.new()
    server = Server(home=home, secrets=server_in(home).secrets, archives=True)
    ring = KeyFile.load_or_create(home, may_create=True)
    target = LocalFolder(home / "backups")
    await server.start()
    await execute(
        server,
        "ALTER SYSTEM SET fsync = off",
        # It commits whenever it likes.
        "ALTER SYSTEM SET autovacuum = off",
        "SELECT pg_reload_conf()",
        database="postgres",
    )
    await bootstrap(server.socket_url("viral_admin"), server.secrets)
    await migrate.deploy(parse_url(server.url("viral_migrator")))
    before = datetime.now(UTC)
    await execute(server, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    await create_backup(server, target, ring, kind="full", advance=silent)
    await execute(server, f"INSERT INTO kept SELECT generate_series(1001, {ROWS})")
    await create_backup(server, target, ring, kind="incremental", advance=silent)
    # Its files are copied past the WAL, which holds no more than the order to copy them.
    await execute(
        server, "CREATE DATABASE clone TEMPLATE viral STRATEGY FILE_COPY", database="postgres"
    )
    await execute(server, "INSERT INTO kept VALUES (0)", database="clone")
    system = Database(parse_url(server.url("viral_system")), context_key=server.secrets.context_key)
    alice = await make_tenant(system, server.secrets, slug="alice")
    bob = await make_tenant(system, server.secrets, slug="bob")
    await system.close()
    await asyncio.sleep(0.05)
    moment = datetime.now(UTC)
    await asyncio.sleep(0.05)
    await execute(server, "INSERT INTO kept VALUES (-1)", "DROP TABLE kept", "CREATE TABLE later()")
    await erase_tenant(
        parse_url(server.url("viral_migrator")),
        home,
        tenant_id=alice.id,
        slug="alice",
        now=datetime.now(UTC),
    )
    return History(server, target, ring, before, moment, alice, bob)
