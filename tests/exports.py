"""A tenant taken out of a test's database, erased, and put back.

PYTEST_DONT_REWRITE: it is imported by name before pytest takes it as a plugin.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from clusters import Cluster
from factories import TestTenant

from viral.database.encryption.keys import KeyRing, new_key
from viral.database.engine import Database
from viral.database.urls import ServerUrl
from viral.features.erasure import erase_tenant
from viral.features.export.archive import open_archive
from viral.features.export.export import export_tenant
from viral.features.export.restore import Restored, restore_tenant

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEYS = KeyRing([new_key(NOW)])


def quiet(_step: str, _done: int, _total: int | None) -> None: ...


@pytest.fixture
def home(cluster: Cluster, tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(cluster.home / "secrets.json", folder)
    return folder


@pytest.fixture
def migrator(cluster: Cluster, database_name: str) -> ServerUrl:
    return cluster.url("viral_migrator", database_name)


async def export(
    app: Database, tenant: TestTenant, path: Path, keys: KeyRing | None = None
) -> Path:
    key = keys.primary if keys else None
    await export_tenant(app, tenant.id, path, key=key, now=NOW, advance=quiet)
    return path


async def restore(
    cluster: Cluster, migrator: ServerUrl, home: Path, path: Path, *, slug: str = "alice"
) -> Restored:
    async with open_archive(path, KEYS, home=home) as archive:
        return await restore_tenant(
            migrator, archive, secrets=cluster.secrets, home=home, slug=slug, advance=quiet
        )


async def erase(migrator: ServerUrl, home: Path, tenant: TestTenant) -> None:
    await erase_tenant(migrator, home, tenant_id=tenant.id, slug=tenant.slug, now=NOW)
