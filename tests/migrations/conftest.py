"""A history to change, and a database to bring to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from clusters import Cluster
from factories import TestTenant, fill_every_table
from sqlalchemy.ext.asyncio import AsyncConnection

from migrations.histories import copy_history, multiply_videos
from viral.database.urls import ServerUrl


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A copy of the repository's migrations."""
    return copy_history(tmp_path / "migrations")


@pytest.fixture
def url(cluster: Cluster, database_name: str) -> ServerUrl:
    """The address of the test's database, for migrations."""
    return cluster.url("viral_migrator", database_name)


@pytest.fixture
async def filled(admin: AsyncConnection, alice: TestTenant, bob: TestTenant) -> AsyncConnection:
    """A database with 101 videos of each of two tenants, seen by its superuser."""
    await fill_every_table(admin, alice)
    await fill_every_table(admin, bob)
    await multiply_videos(admin, 100)
    return admin
