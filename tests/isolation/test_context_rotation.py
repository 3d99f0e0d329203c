"""The change of the context key: no request fails, whatever is killed, whoever makes tenants."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from clusters import Cluster, superuser
from factories import TestTenant, make_tenant
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from tenancy import TENANTS, small, tenants_seen

from viral.database import context_keys
from viral.database.context_keys import Change, context_use, retire_context, rotate_context
from viral.database.engine import Database
from viral.database.secrets import FILE_NAME, ContextKey, ContextKeys, Secrets
from viral.database.tenancy import context_token
from viral.database.urls import ServerUrl
from viral.errors import LockNotObtained, NotAllowed, TenantContextUnknown
from viral.features.prisma_import.report import Report
from viral.features.prisma_import.steps import Entry
from viral.features.prisma_import.target import open_target
from viral.features.tenants import create_tenant
from viral.schema.base import uuid7
from viral.schema.tenants import Tenant

NOW = datetime(2026, 11, 22, tzinfo=UTC)

_WAITING = text(
    "SELECT count(*) FROM pg_locks WHERE NOT granted"
    " AND relation = 'viral.tenant_contexts'::regclass"
)


class Killed(Exception):
    """The process ends at this point."""


@pytest.fixture
def home(cluster: Cluster, tmp_path: Path) -> Path:
    """The server's installation with a file of its own, which a test may change."""
    shutil.copy2(cluster.home / FILE_NAME, tmp_path / FILE_NAME)
    return tmp_path


def _quiet(_step: str, _done: int, _total: int | None) -> None:
    pass


@dataclass(frozen=True)
class Keys:
    """What the commands work with: the migrator's address, and the file."""

    url: ServerUrl
    secrets: Secrets

    async def rotate(self, advance: Callable[[str, int, int | None], None] = _quiet) -> Change:
        return await rotate_context(self.url, self.secrets, advance=advance)

    async def retire(self) -> Change:
        return await retire_context(self.url, self.secrets, advance=_quiet)

    async def tokens(self) -> Counter[int]:
        return (await context_use(self.url)).by_key


@pytest.fixture
def keys(cluster: Cluster, database_name: str, home: Path) -> Keys:
    return Keys(cluster.url("viral_migrator", database_name), Secrets.load(home))


@pytest.fixture
async def running(cluster: Cluster, database_name: str, home: Path) -> AsyncIterator[Database]:
    """The app as another process has it: with the file as it loaded it before the change."""
    theirs = Secrets.load(home)
    url = cluster.url("viral_app", database_name)
    database = Database(url, context_key=lambda: theirs.context_key)
    yield database
    await database.close()


async def _opens(cluster: Cluster, database_name: str, token: str) -> UUID | str:
    """Use a token past the product; the tenant it opens, or the SQLSTATE."""
    raw = await cluster.connect("viral_app", database_name)
    try:
        async with raw.transaction():
            await raw.execute("SELECT set_config('app.tenant', $1, true)", token)
            found: UUID = await raw.fetchval("SELECT id FROM tenants")
            return found
    except asyncpg.PostgresError as error:
        return error.sqlstate or ""
    finally:
        await raw.close()


@asynccontextmanager
async def _locked(cluster: Cluster, database_name: str, mode: str) -> AsyncIterator[None]:
    async with superuser(cluster, database_name) as other:
        await other.execute(text(f"LOCK TABLE viral.tenant_contexts IN {mode} MODE"))
        yield


async def _until_someone_waits(admin: AsyncConnection, task: asyncio.Task[object]) -> None:
    while not await admin.scalar(_WAITING):
        await admin.rollback()
        assert not task.done(), task.result()
        await asyncio.sleep(0.02)
    await admin.rollback()


async def test_a10_requests_go_on_through_a_rotation_and_the_retired_token_is_refused(
    cluster: Cluster,
    database_name: str,
    keys: Keys,
    running: Database,
    alice: TestTenant,
    bob: TestTenant,
) -> None:
    old = context_token(keys.secrets.context_key, alice.id)
    is_over = False
    tokens: list[str] = []

    async def requests(tenant: TestTenant) -> int:
        count = 0
        while not is_over:
            async with running.tenant_session(tenant.id) as session:
                assert [tenant.id] == list(await session.scalars(TENANTS))
                tokens.append(str(await session.scalar(text("SHOW app.tenant"))))
                assert [tenant.id] == list(await session.scalars(TENANTS))
            count += 1
        return count

    traffic = [asyncio.create_task(requests(tenant)) for tenant in (alice, bob, alice, bob)]
    rotated = await keys.rotate()
    new = context_token(keys.secrets.context_key, alice.id)
    between = [await _opens(cluster, database_name, token) for token in (old, new)]
    retired = await keys.retire()
    after = [await _opens(cluster, database_name, token) for token in (old, new)]
    is_over = True
    counts = await asyncio.gather(*traffic)

    assert [alice.id, alice.id] == between
    assert ["VT002", alice.id] == after
    assert min(counts) > 1
    assert {old, new} < set(tokens)
    assert (1, 2, 2) == (keys.secrets.context.current.id - 1, rotated.stored, retired.removed)
    assert ContextKeys(keys.secrets.context.current) == keys.secrets.context


async def test_a_session_that_waits_for_a_connection_takes_the_key_of_its_beginning(
    keys: Keys, cluster: Cluster, database_name: str, alice: TestTenant
) -> None:
    app = small(cluster.url("viral_app", database_name))
    narrow = Database(app, context_key=lambda: keys.secrets.context_key)
    async with narrow.session_without_tenant():
        waiting = asyncio.create_task(tenants_seen(narrow, alice.id))
        await asyncio.sleep(0.05)
        await keys.rotate()
        await keys.retire()

    assert [alice.id] == await waiting
    await narrow.close()


# Killed and finished.


def _killing(change: int) -> Callable[..., object]:
    """Die before the file is changed for the nth time, or (negative) right after it."""
    real = Secrets.change_context
    calls = 0

    def change_context(self: Secrets, how: Callable[[ContextKeys], ContextKeys]) -> ContextKeys:
        nonlocal calls
        calls += 1
        if calls == change:
            raise Killed
        keys = real(self, how)
        if calls == -change:
            raise Killed
        return keys

    return change_context


def _dying(after: int) -> Callable[[str, int, int | None], None]:
    def advance(_step: str, done: int, _total: int | None) -> None:
        if done >= after:
            raise Killed

    return advance


async def _is_whole(keys: Keys, running: Database, *ids: UUID) -> None:
    """Check that every tenant is served, and that a retirement leaves one token of each."""
    await keys.retire()
    for tenant_id in ids:
        assert [tenant_id] == await tenants_seen(running, tenant_id)
    assert Counter({keys.secrets.context.current.id: len(ids)}) == await keys.tokens()
    assert ContextKeys(keys.secrets.context.current) == keys.secrets.context


@pytest.mark.parametrize("point", [-1, 2, -2])
async def test_a_rotation_that_dies_at_a_change_of_the_file_is_finished(
    keys: Keys,
    running: Database,
    alice: TestTenant,
    bob: TestTenant,
    monkeypatch: pytest.MonkeyPatch,
    point: int,
) -> None:
    before = keys.secrets.context.current
    with monkeypatch.context() as patch:
        patch.setattr(Secrets, "change_context", _killing(point))
        with pytest.raises(Killed):
            await keys.rotate()
    made = keys.secrets.context.coming or keys.secrets.context.current
    served = [await tenants_seen(running, tenant.id) for tenant in (alice, bob)]

    if point == -2:
        with pytest.raises(NotAllowed, match=f"former key {before.id} are still valid"):
            await keys.rotate()
    else:
        assert (await keys.rotate()).is_continued

    assert [[alice.id], [bob.id]] == served
    assert made == keys.secrets.context.current != before
    await _is_whole(keys, running, alice.id, bob.id)


@pytest.mark.parametrize("after", [1, 2])
async def test_a_rotation_that_dies_between_batches_is_finished(
    keys: Keys,
    running: Database,
    alice: TestTenant,
    bob: TestTenant,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    monkeypatch.setattr(context_keys, "BATCH", 1)
    with pytest.raises(Killed):
        await keys.rotate(_dying(after))
    coming = keys.secrets.context.coming

    finished = await keys.rotate()

    assert (2 - after, True) == (finished.stored, finished.is_continued)
    assert coming == keys.secrets.context.current
    await _is_whole(keys, running, alice.id, bob.id)


async def test_a_retirement_that_dies_before_the_file_is_changed_is_finished(
    keys: Keys, running: Database, alice: TestTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keys.rotate()
    with monkeypatch.context() as patch:
        patch.setattr(Secrets, "change_context", _killing(1))
        with pytest.raises(Killed):
            await keys.retire()
    assert keys.secrets.context.former is not None

    with pytest.raises(NotAllowed, match="still valid"):
        await keys.rotate()

    await _is_whole(keys, running, alice.id)


async def test_an_unfinished_rotation_cannot_be_retired(
    keys: Keys, running: Database, alice: TestTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Secrets, "change_context", _killing(2))
        with pytest.raises(Killed):
            await keys.rotate()

    with pytest.raises(NotAllowed, match="is not finished"):
        await keys.retire()

    assert [alice.id] == await tenants_seen(running, alice.id)
    assert [1, 1] == list((await keys.tokens()).values())


async def test_two_rotations_at_once_make_one_key(
    keys: Keys,
    home: Path,
    running: Database,
    alice: TestTenant,
    bob: TestTenant,
    cluster: Cluster,
    database_name: str,
    admin: AsyncConnection,
) -> None:
    number = keys.secrets.context.current.id
    async with _locked(cluster, database_name, "SHARE"):
        first = asyncio.create_task(keys.rotate())
        await _until_someone_waits(admin, first)
        second = asyncio.create_task(replace(keys, secrets=Secrets.load(home)).rotate())
        await asyncio.sleep(0.2)
    changes = await asyncio.gather(first, second)

    assert {number + 1} == {change.current.id for change in changes}
    context = keys.secrets.context
    assert context.former is not None
    assert (number + 1, number) == (context.current.id, context.former.id)
    await _is_whole(keys, running, alice.id, bob.id)


# Tenants that are made meanwhile.


def _put_another_in_force(secrets: Secrets) -> None:
    """Change the file as a rotation does when no tenant lacks a token."""
    current = secrets.context.current
    another = ContextKey(current.id + 1, b"k" * 32)
    secrets.change_context(lambda _: ContextKeys(another, former=current))


async def test_a_tenant_whose_making_began_before_the_rotation_is_waited_for(
    keys: Keys,
    home: Path,
    running: Database,
    system: Database,
    alice: TestTenant,
    admin: AsyncConnection,
) -> None:
    before = keys.secrets.context.current
    async with system.session_without_tenant() as session:
        made = await create_tenant(session, slug="made", secrets=Secrets.load(home))
        rotating = asyncio.create_task(keys.rotate())
        await _until_someone_waits(admin, rotating)
        assert before == keys.secrets.context.current
    change = await rotating

    assert 2 == change.stored
    assert [made] == await tenants_seen(running, made)
    await _is_whole(keys, running, alice.id, made)


async def test_a_tenant_is_made_with_the_key_that_came_into_force_meanwhile(
    cluster: Cluster,
    database_name: str,
    keys: Keys,
    home: Path,
    running: Database,
    system: Database,
    admin: AsyncConnection,
) -> None:
    theirs = Secrets.load(home)
    async with _locked(cluster, database_name, "SHARE ROW EXCLUSIVE"):
        making = asyncio.create_task(make_tenant(system, theirs, slug="made"))
        await _until_someone_waits(admin, making)
        _put_another_in_force(keys.secrets)
    made = await making

    assert [made.id] == await tenants_seen(running, made.id)
    assert Counter({keys.secrets.context.current.id: 1}) == await keys.tokens()


async def test_imported_tenants_get_the_token_of_a_key_that_came_into_force_meanwhile(
    cluster: Cluster,
    database_name: str,
    keys: Keys,
    home: Path,
    running: Database,
    system: Database,
    admin: AsyncConnection,
) -> None:
    made = uuid7()
    entry = Entry(Tenant, "1", {"id": made, "slug": "made", "name": "Made", "created_at": NOW})
    report = Report("a source", is_dry_run=False)
    async with open_target(
        app=running, system=system, migrator=keys.url, secrets=Secrets.load(home)
    ) as target:
        async with _locked(cluster, database_name, "SHARE ROW EXCLUSIVE"):
            storing = asyncio.create_task(target.store([entry], [Tenant], report=report))
            await _until_someone_waits(admin, storing)
            _put_another_in_force(keys.secrets)
        await storing

    assert [made] == await tenants_seen(running, made)


async def test_a_tenant_made_elsewhere_with_the_former_key_gets_its_token_at_the_retirement(
    keys: Keys, home: Path, running: Database, system: Database, alice: TestTenant
) -> None:
    copy = home / "another machine"
    copy.mkdir()
    shutil.copy2(home / FILE_NAME, copy / FILE_NAME)
    await keys.rotate()
    made = await make_tenant(system, Secrets.load(copy), slug="made")
    with pytest.raises(TenantContextUnknown):
        await tenants_seen(running, made.id)

    retired = await keys.retire()

    assert (1, 2) == (retired.stored, retired.removed)
    await _is_whole(keys, running, alice.id, made.id)


async def test_a_tenant_that_is_erased_meanwhile_is_left_out(
    cluster: Cluster,
    database_name: str,
    keys: Keys,
    running: Database,
    alice: TestTenant,
    bob: TestTenant,
) -> None:
    async with superuser(cluster, database_name) as eraser:
        await eraser.execute(text("DELETE FROM tenants WHERE id = :id"), {"id": bob.id})
        rotating = asyncio.create_task(keys.rotate())
        await asyncio.sleep(0.3)
        assert not rotating.done()
        await eraser.commit()
    await rotating

    await _is_whole(keys, running, alice.id)


# What retiring waits for, and what is refused.


async def test_retiring_waits_for_a_transaction_that_has_the_former_token_and_no_later_one(
    keys: Keys, running: Database, alice: TestTenant
) -> None:
    async with AsyncExitStack() as stack:
        async with running.tenant_session(alice.id) as session:
            assert [alice.id] == list(await session.scalars(TENANTS))
            await keys.rotate()
            retiring = asyncio.create_task(keys.retire())
            await asyncio.sleep(0.3)
            assert not retiring.done()
            assert [alice.id] == list(await session.scalars(TENANTS))
            later = await stack.enter_async_context(running.tenant_session(alice.id))
            assert [alice.id] == list(await later.scalars(TENANTS))

        assert 1 == (await asyncio.wait_for(retiring, 10)).removed
        assert [alice.id] == list(await later.scalars(TENANTS))


async def test_retiring_gives_up_on_a_transaction_that_does_not_end(
    keys: Keys, running: Database, alice: TestTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_keys, "WAIT_S", 0.2)
    async with running.tenant_session(alice.id) as session:
        await session.execute(TENANTS)
        await keys.rotate()

        with pytest.raises(LockNotObtained, match="1 transactions that began before"):
            await keys.retire()

        assert [alice.id] == list(await session.scalars(TENANTS))
    assert keys.secrets.context.former is not None


async def test_a_rotation_gives_up_on_a_tenant_that_is_made_without_end(
    cluster: Cluster,
    database_name: str,
    keys: Keys,
    running: Database,
    alice: TestTenant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("viral.database.lock_patience._PAUSES_S", ())
    async with _locked(cluster, database_name, "ROW EXCLUSIVE"):
        with pytest.raises(LockNotObtained, match="makes or erases a tenant"):
            await keys.rotate()

    assert [alice.id] == await tenants_seen(running, alice.id)
    assert keys.secrets.context.coming is not None


async def test_the_coming_key_has_a_number_that_no_token_has(
    keys: Keys, running: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await admin.execute(
        text(
            "INSERT INTO viral.tenant_contexts"
            " SELECT sha256('lost'), tenant_id, 7 FROM viral.tenant_contexts"
        )
    )
    await admin.commit()

    assert 8 == (await keys.rotate()).current.id

    await _is_whole(keys, running, alice.id)
