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
from viral.schema.base import uuid7

pytest_plugins = ["exports"]


class Killed(BaseException):
    """The end of a process, as far as its code can see it."""


def killed_at(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next restore end just before its commit, or just after it."""

    @contextmanager
    def removed(folder: Path, tenant_id: UUID, *, entry_id: UUID) -> Iterator[None]:
        with tombstone_removed(folder, tenant_id, entry_id=entry_id):
            if moment == "before its commit":
                raise Killed
            yield
            raise Killed

    monkeypatch.setattr(tenant_restore, "tombstone_removed", removed)


@pytest.mark.parametrize("moment", ["before its commit", "after its commit"])
async def test_a_restore_that_is_killed_at_its_commit_is_whole_or_nothing(
    cluster: Cluster,
    app: Database,
    alice: TestTenant,
    migrator: ServerUrl,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    path = await export(app, alice, tmp_path / "alice.zip")
    await erase(migrator, home, alice)
    killed_at(moment, monkeypatch)
    with pytest.raises(Killed):
        await restore(cluster, migrator, home, path)
    is_whole = moment == "after its commit"

    assert await apply_tombstones(migrator, home) == []

    assert await erasure._those_there(migrator, [alice.id]) == ({alice.id} if is_whole else set())
    assert [each.tenant_id for each in read_tombstones(home)] == ([] if is_whole else [alice.id])


async def test_a_killed_restore_saves_nobody_from_a_backup_of_before(
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
    killed_at("after its commit", monkeypatch)
    with pytest.raises(Killed):
        await restore(cluster, migrator, home, path)
    # As a backup of before the erasure has the tenant: without the entry of its restore.
    (tombstone,) = read_tombstones(home)
    put_tombstone(home, replace(tombstone, restored_by=uuid7()))

    assert await apply_tombstones(migrator, home) == [alice.id]
    assert await erasure._those_there(migrator, [alice.id]) == set()


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
    def watched(folder: Path, tenant_id: UUID, *, entry_id: UUID) -> Iterator[None]:
        with tombstone_removed(folder, tenant_id, entry_id=entry_id):
            renewing = pool.submit(renew_tombstone, folder, tombstone)
            seen.append(pool.submit(there).result())
            yield
            seen.append(pool.submit(there).result())
            assert not renewing.done()
        assert renewing.result(10) is False

    monkeypatch.setattr(tenant_restore, "tombstone_removed", watched)

    await restore(cluster, migrator, home, path)

    assert seen == [set(), {alice.id}]
