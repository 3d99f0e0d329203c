"""The change of keys: nothing is ever unreadable, whatever is killed, whoever goes on writing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from clusters import Cluster, superuser
from factories import TestTenant
from sqlalchemy import column, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.bulk import as_arrays, bulk_insert
from viral.database.encryption.cipher import Place, seal
from viral.database.encryption.keys import KeyFile, KeyRing, new_key
from viral.database.encryption.rotation import Use, key_use, retire, rotate
from viral.database.engine import Database
from viral.errors import BadInput, LockNotObtained, NotAllowed
from viral.schema.base import uuid7_run
from viral.schema.encrypted import SealedSecret, Secret
from viral.schema.publishing import SocialAccount

NOW = datetime(2026, 11, 22, tzinfo=UTC)
TABLE = "social_accounts"
ACCOUNTS = 1_250
NAMES = ("tenant_id", "id", "platform", "external_id", "username", "access_token", "refresh_token")

# A rotation in a process of its own, which stops for ever once `stop_after` values are done.
_ROTATE = """
import asyncio, sys, time
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID
from viral.database.encryption.keys import KeyFile
from viral.database.encryption.rotation import rotate
from viral.database.engine import Database
from viral.database.urls import parse_url

url, context_key, home, stop_after, ready, *tenants = sys.argv[1:]

def advance(step, done, total):
    if done >= int(stop_after):
        Path(ready).touch()
        time.sleep(600)

async def main():
    keys = KeyFile.load_or_create(Path(home), may_create=False)
    app = Database(parse_url(url), context_key=bytes.fromhex(context_key), field_keys=keys)
    now = datetime.now(UTC)
    await rotate(app, [UUID(each) for each in tenants], keys=keys, now=now, advance=advance)

asyncio.run(main())
"""


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile.load_or_create(tmp_path / "keys", may_create=True)


@pytest.fixture
async def vault(cluster: Cluster, database_name: str, keys: KeyFile) -> AsyncIterator[Database]:
    """The app's database, with the keys of a file."""
    database = cluster.database("viral_app", database_name, keys)
    yield database
    await database.close()


def token(row_id: UUID, name: str) -> str:
    return f"{name} of {row_id}"


async def connect_accounts(vault: Database, keys: KeyRing, tenant: TestTenant, count: int) -> None:
    """Store accounts whose tokens tell their row; every fifth has no token to refresh with."""

    def sealed(row_id: UUID, name: str) -> SealedSecret:
        return SealedSecret(seal(token(row_id, name), Place(tenant.id, TABLE, name, row_id), keys))

    rows = [
        (
            *(tenant.id, row_id, "tiktok", f"account-{number}", "name"),
            sealed(row_id, "access_token"),
            sealed(row_id, "refresh_token") if number % 5 else None,
        )
        for number, row_id in enumerate(uuid7_run(count))
    ]
    async with vault.tenant_session(tenant.id) as session:
        await session.execute(bulk_insert(SocialAccount, NAMES), as_arrays(rows, NAMES))


async def readable(vault: Database, *tenants: TestTenant) -> int:
    """Read every token and compare it; return how many there are."""
    count = 0
    for tenant in tenants:
        async with vault.tenant_session(tenant.id) as session:
            for row in await session.scalars(select(SocialAccount)):
                assert token(row.id, "access_token") == row.access_token.reveal()
                count += 1
                if row.refresh_token is not None:
                    assert token(row.id, "refresh_token") == row.refresh_token.reveal()
                    count += 1
    return count


async def rotated(vault: Database, keys: KeyRing, *tenants: TestTenant) -> int:
    result = await rotate(
        vault,
        [tenant.id for tenant in tenants],
        keys=keys,
        now=NOW,
        advance=lambda _step, _done, _total: None,
    )
    assert [] == result.unreadable
    return result.values


@pytest.fixture
async def accounts(
    vault: Database, keys: KeyFile, alice: TestTenant, bob: TestTenant
) -> tuple[TestTenant, TestTenant]:
    """Two tenants with 2,250 tokens each."""
    for tenant in (alice, bob):
        await connect_accounts(vault, keys, tenant, ACCOUNTS)
    return alice, bob


Start = Callable[[int], subprocess.Popen[str]]


@pytest.fixture
async def start(
    cluster: Cluster,
    database_name: str,
    accounts: tuple[TestTenant, TestTenant],
    tmp_path: Path,
) -> AsyncIterator[Start]:
    """Start rotations that stop after a number of values, and end them with the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(stop_after: int) -> subprocess.Popen[str]:
        url = cluster.server.url("viral_app", database_name)
        arguments = [url, cluster.secrets.context_key.hex(), str(tmp_path / "keys")]
        arguments += [str(stop_after), str(tmp_path / "ready")]
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", _ROTATE, *arguments, *(str(each.id) for each in accounts)],
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            await kill(process)


async def wait_until(process: subprocess.Popen[str], is_reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the rotation never came to that point"
        await asyncio.sleep(0.02)


async def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    await asyncio.to_thread(process.communicate)


@pytest.mark.parametrize("stop_after", [0, 900, 2_250, 4_500])
async def test_c03_a_rotation_that_is_killed_between_batches_is_finished_by_the_next(
    vault: Database,
    keys: KeyFile,
    accounts: tuple[TestTenant, TestTenant],
    start: Start,
    tmp_path: Path,
    stop_after: int,
) -> None:
    old = keys.primary.id
    process = start(stop_after)
    await wait_until(process, (tmp_path / "ready").exists)
    await kill(process)
    made = keys.primary.id
    between = await readable(vault, *accounts)

    is_finished = stop_after == 4_500
    values = 0 if is_finished else await rotated(vault, keys, *accounts)

    assert old != made == keys.primary.id
    assert 4_500 == between == await readable(vault, *accounts)
    assert 4_500 >= values + stop_after > 4_500 - 2_250
    use = await key_use(vault, [tenant.id for tenant in accounts])
    assert {Use(made, TABLE): 4_500} == use
    await retire(vault, [tenant.id for tenant in accounts], keys=keys, key_id=old)
    assert [made] == [key.id for key in keys.keys]


async def test_c03_a_rotation_that_is_killed_within_a_batch_loses_nothing(
    cluster: Cluster,
    database_name: str,
    vault: Database,
    keys: KeyFile,
    accounts: tuple[TestTenant, TestTenant],
    start: Start,
) -> None:
    old = keys.primary.id
    async with superuser(cluster, database_name) as other:
        # The last row of the first tenant: the rotation waits in the middle of a batch.
        await other.execute(
            text(
                f"SELECT FROM {TABLE} WHERE tenant_id = :tenant ORDER BY id DESC LIMIT 1 FOR UPDATE"
            ),
            {"tenant": accounts[0].id},
        )
        process = start(10_000)
        async with superuser(cluster, database_name) as admin:
            while not await _someone_waits(admin):
                assert process.poll() is None, process.communicate()
                await asyncio.sleep(0.02)
        await kill(process)
    between = await key_use(vault, [tenant.id for tenant in accounts])

    values = await rotated(vault, keys, *accounts)

    assert 4_500 == await readable(vault, *accounts)
    assert {Use(old, TABLE): values, Use(keys.primary.id, TABLE): 4_500 - values} == between
    assert 0 < values < 4_500


async def _someone_waits(admin: AsyncConnection) -> bool:
    found = await admin.scalar(
        text(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    )
    await admin.rollback()
    return bool(found)


async def test_c03_a_key_is_retired_only_when_nothing_is_under_it(
    vault: Database, keys: KeyFile, alice: TestTenant, bob: TestTenant
) -> None:
    await connect_accounts(vault, keys, alice, 3)
    await connect_accounts(vault, keys, bob, 1)
    old = keys.primary.id
    await rotated(vault, keys, alice)

    with pytest.raises(NotAllowed, match=f"1 values are under the key {old}"):
        await retire(vault, [alice.id, bob.id], keys=keys, key_id=old)
    await rotated(vault, keys, alice, bob)
    await retire(vault, [alice.id, bob.id], keys=keys, key_id=old)

    assert old not in {key.id for key in keys.keys}
    assert 6 == await readable(vault, alice, bob)


async def test_an_app_that_runs_meanwhile_reads_both_keys_and_writes_with_the_new_one(
    cluster: Cluster,
    database_name: str,
    vault: Database,
    keys: KeyFile,
    alice: TestTenant,
    tmp_path: Path,
) -> None:
    await connect_accounts(vault, keys, alice, 2)
    theirs = KeyFile.load_or_create(tmp_path / "keys", may_create=False)
    running = cluster.database("viral_app", database_name, theirs)
    async with running.tenant_session(alice.id) as session:
        first, second = list(await session.scalars(select(SocialAccount)))

        await rotated(vault, keys, alice)

        assert token(first.id, "access_token") == first.access_token.reveal()
        await session.refresh(second)
        assert token(second.id, "access_token") == second.access_token.reveal()
        second.access_token = Secret(token(second.id, "access_token"))
    await running.close()

    assert {Use(keys.primary.id, TABLE): 3} == await key_use(vault, [alice.id])
    assert 3 == await readable(vault, alice)


async def test_a_token_that_is_refreshed_during_the_rotation_is_not_written_over(
    vault: Database, keys: KeyFile, alice: TestTenant
) -> None:
    await connect_accounts(vault, keys, alice, 1)
    async with vault.tenant_session(alice.id) as session:
        row = (await session.scalars(select(SocialAccount))).one()
        row.access_token = Secret("refreshed")
        await session.flush()
        rotating = asyncio.create_task(rotated(vault, keys, alice))
        async with vault.session_without_tenant() as watcher:
            while not await watcher.scalar(select(func.count()).select_from(_WAITING)):
                assert not rotating.done()
                await asyncio.sleep(0.02)
    await rotating

    async with vault.tenant_session(alice.id) as session:
        row = (await session.scalars(select(SocialAccount))).one()
        assert row.access_token.reveal() == "refreshed"


_WAITING = text("SELECT pid FROM pg_locks WHERE NOT granted").columns(column("pid")).subquery()


async def test_a_rotation_does_not_count_as_a_change_of_the_row(
    vault: Database, keys: KeyFile, alice: TestTenant, admin: AsyncConnection
) -> None:
    await connect_accounts(vault, keys, alice, 2)
    times = text(f"SELECT updated_at FROM {TABLE} ORDER BY id")
    before = (await admin.execute(times)).all()
    await admin.rollback()

    await rotated(vault, keys, alice)

    assert before == (await admin.execute(times)).all()


async def test_what_cannot_be_opened_is_named_left_alone_and_keeps_its_key(
    vault: Database, keys: KeyFile, alice: TestTenant, admin: AsyncConnection
) -> None:
    await connect_accounts(vault, keys, alice, 3)
    await admin.execute(
        text(f"UPDATE {TABLE} SET access_token = refresh_token WHERE external_id = 'account-1'")
    )
    await admin.commit()
    old = keys.primary.id

    result = await rotate(
        vault, [alice.id], keys=keys, now=NOW, advance=lambda _step, _done, _total: None
    )

    assert 4 == result.values
    assert ["access_token"] == [place.column for place in result.unreadable]
    with pytest.raises(NotAllowed):
        await retire(vault, [alice.id], keys=keys, key_id=old)


async def test_keys_of_the_environment_are_changed_there(
    vault: Database, alice: TestTenant, keys: KeyFile
) -> None:
    await connect_accounts(vault, keys, alice, 1)
    fixed = KeyRing([new_key(NOW), *keys.keys])

    assert 1 == await rotated(vault, fixed, alice)

    with pytest.raises(BadInput, match="Everything is under the first key of VIRAL_FIELD_KEYS"):
        await rotated(vault, fixed, alice)


async def test_retiring_waits_for_those_who_are_writing(
    vault: Database, keys: KeyFile, alice: TestTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viral.database.encryption.rotation.WRITERS_TIMEOUT_S", 1)
    old = keys.primary.id
    async with vault.tenant_session(alice.id) as session:
        session.add(
            SocialAccount(
                platform="tiktok", external_id="x", username="x", access_token=Secret("late")
            )
        )
        await session.flush()
        keys.add_primary(new_key(NOW))

        with pytest.raises(LockNotObtained, match=f"writing to {TABLE}"):
            await retire(vault, [alice.id], keys=keys, key_id=old)

    with pytest.raises(NotAllowed, match=f"1 values are under the key {old}"):
        await retire(vault, [alice.id], keys=keys, key_id=old)
    assert Counter({Use(old, TABLE): 1}) == await key_use(vault, [alice.id])
