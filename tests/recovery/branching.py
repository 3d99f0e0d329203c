"""An installation with branches, for the tests of them.

PYTEST_DONT_REWRITE: it is imported by name before pytest takes it as a plugin.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import count

import asyncpg
import pytest
from servers import Homes, ask, discard

from viral.database import migrate
from viral.database.driver import driver_connection
from viral.database.urls import ServerUrl, parse_url
from viral.postgres.branches.local import LocalBranches
from viral.postgres.branches.provider import Branch
from viral.servers import local_branches, main_server, prepare_server, urls_of
from viral.settings import Settings

WITH_A_PAST = "with-a-past"
_numbers = count(1)


@pytest.fixture(scope="module")
async def settings(homes: Homes) -> AsyncIterator[Settings]:
    """Give an installation whose migrated server runs; it loses what the machine loses."""
    home = homes.new()
    settings = Settings(home=home)
    await prepare_server(settings)
    await ask(main_server(settings), "ALTER SYSTEM SET fsync = off")
    await ask(main_server(settings), "SELECT pg_reload_conf()")
    await migrate.deploy(urls_of(settings).direct)
    yield settings
    for branch in local_branches(settings).registry.read().branches:
        if branch.home is not None:
            await discard(branch.home)


@pytest.fixture
async def branches(settings: Settings) -> AsyncIterator[LocalBranches]:
    """Give the branches, and take away what a test made: every database is restored elsewhere."""
    branches = local_branches(settings)
    known = {each.id for each in branches.registry.read().all}
    yield branches
    for branch in reversed(branches.registry.read().branches):
        if branch.id not in known and branch.name != WITH_A_PAST:
            await branches._discard(branch)


def fresh_name() -> str:
    return f"feature/number-{next(_numbers)}"


async def make(
    branches: LocalBranches,
    name: str | None = None,
    *,
    parent: str | None = None,
    at: datetime | None = None,
    schema_only: bool = False,
    expires_at: datetime | None = None,
    protected: bool = False,
) -> Branch:
    return await branches.create(
        name or fresh_name(),
        parent=parent,
        at=at,
        schema_only=schema_only,
        expires_at=expires_at,
        protected=protected,
        advance=silent,
    )


def silent(step: str, done: int, total: int | None) -> None:
    """Hear of progress and say nothing."""


async def query(branches: LocalBranches, branch: Branch, sql: str) -> object:
    """Ask a branch as the app's role; the first value."""
    address = await branches.connection_string(branch, pooled=False, password=True)
    connection = await asyncpg.connect(address)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def as_superuser(branches: LocalBranches, branch: Branch, *statements: str) -> None:
    """Change a branch behind its back."""
    async with driver_connection(_admin_of(branches, branch)) as connection:
        for statement in statements:
            await connection.execute(statement)


async def rows_of(branches: LocalBranches, branch: Branch, sql: str) -> list[tuple[object, ...]]:
    """Look into a branch, as who passes row security."""
    async with driver_connection(_admin_of(branches, branch)) as connection:
        return [tuple(row) for row in await connection.fetch(sql)]


def _admin_of(branches: LocalBranches, branch: Branch) -> ServerUrl:
    return branches._servers.admin(branch.home).for_database(branch.database)


async def databases(settings: Settings) -> set[str]:
    rows = await ask(main_server(settings), "SELECT datname FROM pg_database")
    return {str(name) for (name,) in rows}


def now() -> datetime:
    return datetime.now(UTC)


def is_direct(address: str, branch: Branch) -> bool:
    url = parse_url(address)
    return (url.database, url.user, url.is_pooled) == (branch.database, "viral_app", False)
