"""Databases that live for a moment: what the models or the history make of an empty one."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import asyncpg
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from viral.database.catalog import read_catalog
from viral.database.driver import driver_connection
from viral.database.faults import connecting
from viral.database.foundation import database_script, quoted, schema_script
from viral.errors import ShadowRefused, StatementFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from viral.database.catalog import Catalog
    from viral.database.scripts import Step
    from viral.database.urls import ServerUrl

# What a killed process left: the session that made a shadow bears its name, as long as it lives.
_LEFT_OVER = """
SELECT d.datname FROM pg_database AS d
WHERE d.datname ~ '^viral_shadow_[0-9a-f]{16}$' AND d.datdba = 'viral_owner'::regrole
  AND NOT EXISTS (SELECT FROM pg_stat_activity AS a
                  WHERE d.datname IN (a.application_name, a.datname))
"""


@dataclass(frozen=True, slots=True)
class Shadow:
    """An empty database as a bootstrap leaves it, owned by `viral_owner`."""

    url: ServerUrl

    async def catalog(self) -> Catalog:
        """Read what it holds."""
        return await catalog_at(self.url)

    async def run(self, statements: Iterable[str]) -> None:
        """Run statements in one transaction; raise StatementFailed for one that is refused."""
        async with driver_connection(self.url) as connection, connection.transaction():
            await connection.execute("SET LOCAL ROLE viral_owner")
            for statement in statements:
                try:
                    await connection.execute(statement)
                except asyncpg.PostgresError as error:
                    first_line = statement.strip().partition("\n")[0]
                    raise StatementFailed(
                        f"The models cannot be built: {error}.",
                        hint=f"It is about what they say by `{first_line:.200}`.",
                    ) from error

    async def run_steps(self, steps: Iterable[Step]) -> None:
        """Run steps as a migration would, without its bookkeeping: there are no rows."""
        async with driver_connection(self.url) as connection:
            await connection.execute("SET ROLE viral_owner")
            for step in steps:
                try:
                    if step.is_transactional:
                        async with connection.transaction():
                            await connection.execute(step.sql)
                    else:
                        await connection.execute(step.sql)
                except asyncpg.PostgresError as error:
                    raise StatementFailed(f"{error} ({step.name})") from error


async def catalog_at(url: ServerUrl) -> Catalog:
    """Read the catalogue of a database."""
    engine = create_async_engine(
        url.sqlalchemy, connect_args=dict(url.connect_args), poolclass=NullPool
    )
    try:
        with connecting(url):
            async with engine.connect() as connection:
                return await read_catalog(connection)
    finally:
        await engine.dispose()


@asynccontextmanager
async def shadow_database(url: ServerUrl) -> AsyncIterator[Shadow]:
    """Make an empty database beside the one of `url`, as its role; drop it at the end.

    What killed processes left is dropped as well.
    """
    if url.is_pooled:
        raise ShadowRefused(
            f"{url} goes through a pooler, which knows no shadow database.",
            hint="Set DIRECT_URL to the address of the server itself.",
        )
    name = f"viral_shadow_{secrets.token_hex(8)}"
    async with driver_connection(replace(url, application_name=name)) as connection:
        for (left_over,) in await connection.fetch(_LEFT_OVER):
            await _drop(connection, left_over)
        try:
            await connection.execute(f"CREATE DATABASE {name} OWNER viral_owner TEMPLATE template0")
        except asyncpg.InsufficientPrivilegeError as error:
            raise ShadowRefused(f"{url.user} may not make a shadow database: {error}.") from error
        try:
            shadow = Shadow(url.for_database(name))
            await _lay_foundation(shadow.url)
            yield shadow
        finally:
            await _drop(connection, name)


async def _drop(connection: asyncpg.Connection[asyncpg.Record], name: str) -> None:
    """Drop a shadow; one that is in use, or whose server is gone, is left to the next command."""
    if connection.is_closed():
        return
    await connection.execute("SET ROLE viral_owner")
    # The server itself waits five seconds for sessions that are about to end.
    with suppress(asyncpg.ObjectInUseError):
        await connection.execute(f"DROP DATABASE IF EXISTS {quoted(name)}")
    await connection.execute("RESET ROLE")


async def _lay_foundation(url: ServerUrl) -> None:
    async with driver_connection(url) as connection:
        await connection.execute("SET ROLE viral_owner")
        await connection.execute(database_script(url.database))
        # Only here: in a database of the product an administrator makes the schema.
        grant = f"CREATE ON DATABASE {quoted(url.database)}"
        await connection.execute(f"GRANT {grant} TO viral_auth")
        await connection.execute("SET ROLE viral_auth")
        await connection.execute(schema_script())
        await connection.execute("SET ROLE viral_owner")
        await connection.execute(f"REVOKE {grant} FROM viral_auth")
