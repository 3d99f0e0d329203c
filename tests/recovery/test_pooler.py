"""The pooler as a process: started, joined, killed, held, and told of other passwords."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from clusters import Cluster, free_port
from factories import TestTenant
from poolers import CONNECTIONS, pooled, running_pooler
from shell import Shell, environment_of
from sqlalchemy import text
from tenancy import small, tenants_seen

from viral.database.engine import Database
from viral.errors import (
    BadSetting,
    BinariesMissing,
    PortInUse,
    ServerError,
    ServerRefused,
    ServerUnreachable,
)
from viral.postgres.account import server_account
from viral.postgres.bootstrap import scram_verifier
from viral.postgres.pooler import POOLED_ROLES, Pooler, _files, find_program, leads_to_pooler
from viral.runtime import open_runtime
from viral.schema.security import LOGINS
from viral.servers import is_embedded, migrator_url, start_pooler, urls_of
from viral.settings import Settings


@pytest.fixture(scope="module")
async def pooler(cluster: Cluster) -> AsyncIterator[Pooler]:
    async with running_pooler(cluster.server) as pooler:
        yield pooler


@pytest.fixture
async def app_behind(
    cluster: Cluster, pooler: Pooler, database_name: str
) -> AsyncIterator[Database]:
    """Open the app's database through the pooler, with one connection."""
    database = Database(
        small(pooled(cluster, pooler, database_name)), context_key=cluster.secrets.context_key
    )
    yield database
    await database.close()


@asynccontextmanager
async def held(pooler: Pooler, database: str) -> AsyncIterator[None]:
    await pooler.hold(database)
    yield
    await pooler.release()


async def pid_of(pooler: Pooler) -> int:
    pid = (await pooler.status()).pid
    assert pid is not None
    return pid


async def end_sessions(cluster: Cluster, role: str) -> None:
    await cluster.execute_as_admin(
        "postgres",
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{role}'",
    )


# Its life.


async def test_a_second_start_joins_the_pooler_that_runs(pooler: Pooler) -> None:
    before = await pid_of(pooler)

    await pooler.start()

    assert before == await pid_of(pooler)


async def test_another_port_is_not_taken_silently(cluster: Cluster, pooler: Pooler) -> None:
    with pytest.raises(ServerError, match=f"already runs, on port {pooler.url.port} and not on"):
        await Pooler(cluster.server, port=free_port()).start()


async def test_a_killed_pooler_is_a_clear_error_and_the_app_finds_it_again(
    cluster: Cluster, pooler: Pooler, app_behind: Database, alice: TestTenant
) -> None:
    assert [alice.id] == await tenants_seen(app_behind, alice.id)
    os.kill(await pid_of(pooler), signal.SIGKILL)
    with pytest.raises(ServerUnreachable, match=f"127.0.0.1:{pooler.url.port}") as caught:
        await tenants_seen(app_behind, alice.id)
    assert "viral pooler status" in caught.value.hint
    assert not (await pooler.status()).is_running

    # The pid in the file is somebody else's by then.
    files = _files(cluster.server.installation)
    files.pid_file.write_text(f"{os.getpid()}\n")
    await pooler.start()

    assert [alice.id] == await tenants_seen(app_behind, alice.id)


async def test_it_stops_and_leaves_the_server_alone(cluster: Cluster, pooler: Pooler) -> None:
    await pooler.stop()

    assert await cluster.server.is_answering()
    assert not (await pooler.status()).is_running
    await pooler.stop()
    await pooler.start()


async def test_a_restart_between_two_transactions_is_not_noticed(
    pooler: Pooler, app_behind: Database, alice: TestTenant
) -> None:
    assert [alice.id] == await tenants_seen(app_behind, alice.id)

    await pooler.stop()
    await pooler.start()

    assert [alice.id] == await tenants_seen(app_behind, alice.id)


async def test_a_taken_port_is_named_with_its_setting(cluster: Cluster, pooler: Pooler) -> None:
    await pooler.stop()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(PortInUse, match="is taken") as caught:
            await Pooler(cluster.server, port=other.getsockname()[1]).start()

    assert "VIRAL_POOLER_PORT" in caught.value.hint
    await pooler.start()


def test_where_there_is_no_program_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("viral.postgres.pooler.PROGRAM_FOLDERS", str(tmp_path))

    with pytest.raises(BinariesMissing) as caught:
        find_program()

    assert "apt-get install pgbouncer" in caught.value.hint


async def test_its_files_are_private_hold_no_password_of_a_role_and_it_runs_as_the_servers_user(
    cluster: Cluster, pooler: Pooler
) -> None:
    files = _files(cluster.server.installation)
    users = files.users.read_text()

    assert 0o600 == files.users.stat().st_mode & 0o777
    assert 0o600 == files.configuration.stat().st_mode & 0o777
    assert {*POOLED_ROLES, "viral_pooler"} == {line.split('"')[1] for line in users.splitlines()}
    assert all('"SCRAM-SHA-256$' in line for line in users.splitlines())
    for role in LOGINS:
        assert cluster.secrets.password(role) not in users
    account = server_account()
    assert account.uid == Path(f"/proc/{await pid_of(pooler)}").stat().st_uid


async def test_the_status_tells_who_uses_it_and_who_waits(
    cluster: Cluster, pooler: Pooler, database_name: str
) -> None:
    app = Database(
        small(pooled(cluster, pooler, database_name), CONNECTIONS + 1),
        context_key=cluster.secrets.context_key,
    )
    # A test before may have had its users read again, which gives it the usual size.
    await pooler.start()
    seen, found = asyncio.Event(), None

    async def work() -> None:
        async with app.session_without_tenant() as session:
            await session.execute(text("SELECT 1"))
            await seen.wait()

    working = [asyncio.create_task(work()) for _ in range(CONNECTIONS + 1)]
    async with asyncio.timeout(30):
        while found is None or not (found.waiting and found.servers == CONNECTIONS):
            pools = (await pooler.status()).pools
            found = next((pool for pool in pools if pool.database == database_name), None)
            await asyncio.sleep(0.05)
    seen.set()
    await asyncio.gather(*working)
    await app.close()
    assert (1, CONNECTIONS, "viral_app") == (found.waiting, found.servers, found.role)


# Who may use it.


@pytest.mark.parametrize("role", ["viral_migrator", "viral_worker", "viral_backup", "viral_admin"])
async def test_only_the_apps_role_comes_through(
    cluster: Cluster, pooler: Pooler, database_name: str, role: str
) -> None:
    url = pooled(cluster, pooler, database_name, role)

    with pytest.raises(asyncpg.PostgresError):
        await asyncpg.connect(
            host=url.host,
            port=url.port,
            user=role,
            password=url.password,
            database=database_name,
        )


async def test_the_apps_role_with_a_wrong_password_is_refused(
    cluster: Cluster, pooler: Pooler, database_name: str
) -> None:
    url = pooled(cluster, pooler, database_name).for_role("viral_app", "wrong")
    app = Database(url, context_key=cluster.secrets.context_key)

    with pytest.raises(ServerRefused, match="password of viral_app is wrong"):
        async with app.session_without_tenant():
            pass

    await app.close()


async def test_what_the_pooler_says_for_itself_is_passed_on(
    cluster: Cluster, pooler: Pooler
) -> None:
    url = pooled(cluster, pooler, "nowhere")
    app = Database(url, context_key=cluster.secrets.context_key)

    with pytest.raises(ServerUnreachable, match=r'The pooler .* says: .*"nowhere" does not exist'):
        async with app.session_without_tenant():
            pass

    await app.close()


async def test_a_changed_password_reaches_clients_that_were_there_before(
    cluster: Cluster, pooler: Pooler, app_behind: Database, alice: TestTenant
) -> None:
    assert [alice.id] == await tenants_seen(app_behind, alice.id)
    # The same password with another salt: what the pooler knows is of no use to the server.
    verifier = scram_verifier(cluster.secrets.password("viral_app"))
    await cluster.execute_as_admin("postgres", f"ALTER ROLE viral_app PASSWORD '{verifier}'")

    await pooler.refresh_users()
    await end_sessions(cluster, "viral_app")

    async with asyncio.timeout(5):
        assert [alice.id] == await tenants_seen(app_behind, alice.id)


# Held for a while.


async def test_clients_of_a_held_database_wait_and_go_on_without_an_error(
    cluster: Cluster,
    pooler: Pooler,
    database_name: str,
    app_behind: Database,
    system: Database,
    alice: TestTenant,
) -> None:
    await system.close()
    await tenants_seen(app_behind, alice.id)

    async with held(pooler, database_name):
        waiting = asyncio.create_task(tenants_seen(app_behind, alice.id))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        # Nobody is in the database: it can be copied.
        await cluster.execute_as_admin(
            "postgres", f"CREATE DATABASE held_copy TEMPLATE {database_name} STRATEGY FILE_COPY"
        )

    async with asyncio.timeout(10):
        assert [alice.id] == await waiting
    await cluster.execute_as_admin("postgres", "DROP DATABASE held_copy")


async def test_a_transaction_that_does_not_end_keeps_the_database_from_being_held(
    pooler: Pooler,
    database_name: str,
    app_behind: Database,
    alice: TestTenant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("viral.postgres.pooler.HOLD_TIMEOUT_S", 0.5)

    async with app_behind.tenant_session(alice.id) as session:
        await session.execute(text("SELECT 1"))
        with pytest.raises(ServerError, match="a transaction does not end"):
            await pooler.hold(database_name)

    async with asyncio.timeout(5):
        assert [alice.id] == await tenants_seen(app_behind, alice.id)


async def test_what_a_killed_command_held_the_next_start_lets_go_on(
    pooler: Pooler, database_name: str, app_behind: Database, alice: TestTenant
) -> None:
    await tenants_seen(app_behind, alice.id)
    await pooler.hold(database_name)
    assert any(pool.is_held for pool in (await pooler.status()).pools)

    await pooler.start()

    assert not any(pool.is_held for pool in (await pooler.status()).pools)


async def test_where_no_pooler_knows_the_database_there_is_nobody_to_hold(
    pooler: Pooler, app_behind: Database, alice: TestTenant
) -> None:
    async with held(pooler, "nobody_came_here"), asyncio.timeout(5):
        assert [alice.id] == await tenants_seen(app_behind, alice.id)
        found = await pooler._find()
        assert found is not None
        known = await pooler._ask(*found, "SHOW DATABASES")

    assert "nobody_came_here" not in {row["name"] for row in known}


# The direct way.


def settings_of(**urls: str) -> Settings:
    return Settings(_env_file=None, **urls)  # type: ignore[call-arg,arg-type]  # pydantic's own


POOLED = "postgresql://viral_app:p@db.example.com:6432/viral"
DIRECT = "postgresql://viral_migrator:p@db.example.com/viral"


def test_a_pooled_address_needs_a_direct_one_beside_it(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="DIRECT_URL is not set") as caught:
        urls_of(settings_of(home=str(tmp_path), database_url=POOLED))

    assert "DIRECT_URL" in caught.value.hint


def test_a_direct_address_that_is_a_poolers_is_refused(tmp_path: Path) -> None:
    pooled_too = DIRECT.replace("example.com", "example.com:6432")

    with pytest.raises(BadSetting, match=r"DIRECT_URL leads to a pooler: db.example.com:6432"):
        urls_of(settings_of(home=str(tmp_path), database_url=POOLED, direct_url=pooled_too))
    urls_of(
        settings_of(
            home=str(tmp_path), database_url=POOLED, direct_url=f"{pooled_too}?pgbouncer=false"
        )
    )


def test_all_but_the_apps_own_role_go_past_the_pooler(cluster: Cluster) -> None:
    settings = settings_of(home=str(cluster.home), database_url=POOLED, direct_url=DIRECT)
    urls = urls_of(settings)

    others = [urls.for_role(role, cluster.secrets) for role in LOGINS]
    others.append(migrator_url(settings, cluster.secrets))

    assert urls.app.is_pooled
    assert [(5432, False)] * len(others) == [(url.port, url.is_pooled) for url in others]


def test_only_the_address_of_our_own_pooler_counts_as_ours(
    cluster: Cluster, pooler: Pooler, tmp_path: Path
) -> None:
    url = pooler.url

    assert leads_to_pooler(url, cluster.home)
    assert not leads_to_pooler(url, tmp_path)
    assert not leads_to_pooler(replace(url, port=free_port()), cluster.home)
    assert not leads_to_pooler(replace(url, host="db.example.com"), cluster.home)


async def test_what_it_prints_is_all_that_the_product_needs(
    cluster: Cluster, pooler: Pooler
) -> None:
    lines = {name.lower(): address for name, address in pooler.lines.items()}
    settings = settings_of(home=str(cluster.home), archive="false", **lines)

    async with open_runtime(settings) as runtime, runtime.app.session_without_tenant() as session:
        assert 42 == await session.scalar(text("SELECT 42"))
        used = {pool.database: pool.clients for pool in (await pooler.status()).pools}

    assert is_embedded(settings)
    assert 1 == used["viral"]
    # It keeps its connection to the database, which other tests copy.
    await pooler.stop()
    await pooler.start()


async def test_a_server_elsewhere_gets_no_pooler_of_ours(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="not ours to put a pooler before"):
        await start_pooler(settings_of(home=str(tmp_path), database_url=POOLED, direct_url=DIRECT))


async def test_the_commands_start_show_and_stop_it(
    cluster: Cluster, pooler: Pooler, tmp_path: Path
) -> None:
    environment = environment_of(cluster, "viral")
    del environment["DATABASE_URL"], environment["DIRECT_URL"]
    shell = Shell({**environment, "VIRAL_POOLER_PORT": str(pooler.url.port)}, tmp_path)

    started = await asyncio.to_thread(shell.viral, "pooler", "start")
    shown = await asyncio.to_thread(shell.viral, "pooler", "status", "--json")
    stopped = await asyncio.to_thread(shell.viral, "pooler", "stop")

    assert [0, 0, 0] == [started.code, shown.code, stopped.code]
    for name, address in pooler.lines.items():
        assert f"{name}={address}\n" in started.out
    assert shown.document["is_running"]
    assert not (await pooler.status()).is_running
    await pooler.start()
