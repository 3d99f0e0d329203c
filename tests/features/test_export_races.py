"""A tenant is put back while others look for those who were erased."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal
from uuid import UUID

import pytest
from clusters import Cluster
from exports import erase, export, restore
from factories import TestTenant

from viral.database.engine import Database
from viral.database.tombstones import (
    put_tombstone,
    read_tombstones,
    renew_tombstone,
    tombstone_removed,
)
from viral.database.urls import ServerUrl
from viral.features import erasure
from viral.features.erasure import apply_tombstones
from viral.features.export import restore as tenant_restore

pytest_plugins = ["exports"]


@pytest.mark.parametrize("state", ["done", "pending"])
async def test_a_start_at_the_same_time_does_not_erase_who_is_put_back(
    cluster: Cluster,
    app: Database,
    alice: TestTenant,
    migrator: ServerUrl,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: Literal["done", "pending"],
) -> None:
    """The other process has read the tombstones, and then sees the tenant."""
    path = await export(app, alice, tmp_path / "alice.zip")
    await erase(migrator, home, alice)
    put_tombstone(home, replace(read_tombstones(home)[0], state=state))
    look = erasure._those_there

    async def look_late(url: ServerUrl, ids: Sequence[UUID]) -> set[UUID]:
        await restore(cluster, migrator, home, path)
        return await look(url, ids)

    monkeypatch.setattr(erasure, "_those_there", look_late)
    assert await apply_tombstones(migrator, home) == []
    monkeypatch.undo()

    assert await apply_tombstones(migrator, home) == []
    assert read_tombstones(home) == []
    assert await look(migrator, [alice.id]) == {alice.id}


async def test_nobody_sees_a_tenant_that_is_put_back_and_its_tombstone(
    cluster: Cluster,
    app: Database,
    alice: TestTenant,
    migrator: ServerUrl,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = await export(app, alice, tmp_path / "alice.zip")
    await erase(migrator, home, alice)
    (tombstone,) = read_tombstones(home)
    seen: list[set[UUID]] = []
    pool = ThreadPoolExecutor()

    def there() -> set[UUID]:
        return asyncio.run(erasure._those_there(migrator, [alice.id]))

    @contextmanager
    def watched(folder: Path, tenant_id: UUID) -> Iterator[None]:
        with tombstone_removed(folder, tenant_id):
            renewing = pool.submit(renew_tombstone, folder, tombstone)
            seen.append(pool.submit(there).result())
            yield
            seen.append(pool.submit(there).result())
            assert not renewing.done()
        assert renewing.result(10) is False

    monkeypatch.setattr(tenant_restore, "tombstone_removed", watched)

    await restore(cluster, migrator, home, path)

    assert seen == [set(), {alice.id}]
