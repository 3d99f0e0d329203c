"""Whatever happens while a branch is made: the parent lets people in again, and no half stays."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest
from branching import databases, fresh_name, make, silent
from poolers import running_pooler
from servers import Homes, as_admin, ask, processes_of
from sqlalchemy import text
from tenancy import small

from viral.database.driver import driver_connection
from viral.database.engine import Database
from viral.database.secrets import Secrets
from viral.errors import BadSetting, BranchRefused, ServerError
from viral.postgres.account import server_account
from viral.postgres.backup.catalogue import Backup
from viral.postgres.backup.physical import BACKING_UP, ROLE, create_backup
from viral.postgres.backup.target import LocalFolder, Target
from viral.postgres.branches.clone import clone_database
from viral.postgres.branches.local import LocalBranches
from viral.postgres.branches.registry import MAIN, Held, Registry, new_branch
from viral.postgres.disk import SPARE_BYTES
from viral.postgres.pooler import Pooler
from viral.postgres.processes import server_processes
from viral.postgres.replica import remove_replica, start_replica
from viral.servers import (
    backup_target,
    field_keys,
    local_replica,
    main_server,
    prepare_server,
    urls_of,
)
from viral.settings import Settings

pytest_plugins = ["servers", "branching"]

CREATE = """
import asyncio, sys
from pathlib import Path
from viral.servers import local_branches
from viral.settings import Settings
branches = local_branches(Settings(home=Path(sys.argv[1])))
asyncio.run(branches.create(
    sys.argv[2], parent=None, at=None, schema_only=False, expires_at=None, protected=False,
    advance=lambda *_: None,
))
"""


RESTORE = """
import asyncio, os, signal, sys
from pathlib import Path
from viral import servers
from viral.postgres.server import Server
from viral.settings import Settings
settings = Settings(home=Path(sys.argv[1]))

async def restored(settings, *, home, at, backup_id, advance):
    await Server(home=home, secrets=servers.main_server(settings).secrets).start()
    os.kill(os.getpid(), signal.SIGKILL)

servers.restore_copy = restored
branches = servers.local_branches(settings)
asyncio.run(branches.bring_back(
    sys.argv[2], at=None, backup_id=None, advance=lambda *_: None,
))
"""


@asynccontextmanager
async def stuck(settings: Settings) -> AsyncIterator[Callable[[], None]]:
    """Keep every copy of main waiting in the server, after its sessions were held off."""
    blocker = await as_admin(main_server(settings))
    try:
        # Its lock of the database is at odds with the one that CREATE DATABASE takes.
        await blocker.execute("BEGIN; COMMENT ON DATABASE viral IS 'blocked'")
        yield blocker.terminate
    finally:
        blocker.terminate()


async def is_copying(settings: Settings) -> bool:
    rows = await ask(
        main_server(settings),
        "SELECT true FROM pg_stat_activity WHERE query ~ '^CREATE DATABASE' AND state = 'active'",
    )
    return bool(rows)


async def starts_copying(settings: Settings) -> None:
    async with asyncio.timeout(15):
        while not await is_copying(settings):
            await asyncio.sleep(0.05)


async def is_held_off(settings: Settings) -> bool:
    sql = "SELECT 1 FROM pg_database WHERE datname = 'viral' AND NOT datallowconn"
    return await ask(main_server(settings), sql) == [(1,)]


async def enter(settings: Settings) -> None:
    connection = await asyncpg.connect(urls_of(settings).app.libpq(password=True), timeout=5)
    await connection.close()


async def strategies(settings: Settings) -> list[object]:
    """Tell how the copies that are at work are made."""
    rows = await ask(
        main_server(settings),
        "SELECT substring(query FROM 'STRATEGY (.*)') FROM pg_stat_activity"
        " WHERE query ~ '^CREATE DATABASE' AND state = 'active'",
    )
    return [strategy for (strategy,) in rows]


async def backing_up(settings: Settings) -> list[object]:
    """Name the sessions beside copies of the server."""
    rows = await ask(
        main_server(settings),
        "SELECT application_name FROM pg_stat_activity"
        f" WHERE usename = '{ROLE}' AND backend_type = 'client backend'",
    )
    return [name for (name,) in rows]


async def back_up(settings: Settings, target: Target | None = None) -> Backup:
    target = target or backup_target(settings)
    return await create_backup(main_server(settings), target, field_keys(settings), advance=silent)


async def look_in(database: Database) -> object:
    async with database.session_without_tenant() as session:
        return await session.scalar(text("SELECT current_database()"))


@pytest.fixture
async def pooler(settings: Settings) -> AsyncIterator[Pooler]:
    async with running_pooler(main_server(settings)) as pooler:
        yield pooler


@pytest.fixture
async def behind(settings: Settings, pooler: Pooler) -> AsyncIterator[Database]:
    """Open main through the pooler, which knows it by then."""
    key = Secrets.load_or_create(settings.home).context_key
    database = Database(small(pooler.url.for_database("viral")), context_key=key)
    await look_in(database)
    yield database
    await database.close()


@asynccontextmanager
async def creating(
    settings: Settings, name: str, script: str = CREATE
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        str(settings.home),
        name,
        env={"PATH": os.environ["PATH"]},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_a_copy_that_fails_lets_everybody_in_again(
    settings: Settings, branches: LocalBranches
) -> None:
    admin = main_server(settings).socket_url("viral_admin")

    with pytest.raises(asyncpg.DuplicateDatabaseError):
        await clone_database(
            admin, branches.registry, None, source=Held("viral"), target="template1"
        )

    await enter(settings)
    assert branches.registry.read().held == []


async def test_a_copy_that_does_not_fit_disturbs_nobody(
    settings: Settings, branches: LocalBranches, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, inside = fresh_name(), await asyncpg.connect(urls_of(settings).app.libpq(password=True))
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=SPARE_BYTES))

    with pytest.raises(BranchRefused, match=r"A copy of viral needs [0-9,]+ MB"):
        await make(branches, name)

    assert await inside.fetchval("SELECT current_database()") == "viral"
    await inside.close()
    assert branches.registry.read().find(name) is None


@pytest.mark.parametrize("goes_on", [False, True], ids=["waits", "ends"])
async def test_what_a_killed_command_left_is_repaired_by_the_next(
    settings: Settings, branches: LocalBranches, *, goes_on: bool
) -> None:
    name, before = fresh_name(), await databases(settings)
    async with stuck(settings) as release, creating(settings, name) as process:
        await starts_copying(settings)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert await is_held_off(settings)
        if goes_on:
            release()
            async with asyncio.timeout(15):
                while await databases(settings) == before:
                    await asyncio.sleep(0.05)

        listed = await branches.list()

    await enter(settings)
    assert name not in {each.name for each in listed}
    assert await databases(settings) == before
    assert not await is_copying(settings)


async def test_the_poolers_clients_wait_for_a_copy_and_go_on(
    settings: Settings, branches: LocalBranches, pooler: Pooler, behind: Database
) -> None:
    async with stuck(settings) as release:
        copying = asyncio.create_task(make(branches))
        await starts_copying(settings)
        assert {"viral"} == {
            each.database for each in (await pooler.status()).pools if each.is_held
        }
        waiting = asyncio.create_task(look_in(behind))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        release()
        await copying

    async with asyncio.timeout(10):
        assert await waiting == "viral"


async def test_a_pooler_that_refuses_to_let_its_clients_go_on_is_started_anew(
    settings: Settings, branches: LocalBranches, pooler: Pooler, behind: Database
) -> None:
    before = (await pooler.status()).pid
    async with stuck(settings) as release:
        copying = asyncio.create_task(make(branches))
        await starts_copying(settings)
        # Its console takes no other password than that of its start.
        password = main_server(settings).installation.state / "pooler" / "console.pass"
        password.write_text("*:*:*:*:another\n")
        release()
        branch = await copying

    assert branches.registry.read().held == []
    assert (await branches.get(branch.id)).state == "ready"
    assert (await pooler.status()).pid != before
    async with asyncio.timeout(10):
        assert await look_in(behind) == "viral"


async def test_the_poolers_clients_go_on_after_a_command_that_was_killed(
    settings: Settings, branches: LocalBranches, behind: Database
) -> None:
    async with stuck(settings), creating(settings, fresh_name()) as process:
        await starts_copying(settings)
        process.send_signal(signal.SIGKILL)
        await process.wait()

        await branches.repair()

    async with asyncio.timeout(10):
        assert await look_in(behind) == "viral"


async def test_a_backup_waits_for_a_copy_of_files(
    settings: Settings, branches: LocalBranches
) -> None:
    async with stuck(settings) as release:
        copying = asyncio.create_task(make(branches))
        await starts_copying(settings)
        assert await strategies(settings) == ["FILE_COPY"]
        backup = asyncio.create_task(back_up(settings))
        await asyncio.sleep(2)
        assert not backup.done()
        assert await ask(main_server(settings), "TABLE pg_stat_progress_basebackup") == []
        release()
        await copying

    assert (await backup).plain_bytes > 0


async def test_a_replica_waits_for_a_copy_of_files(
    settings: Settings, branches: LocalBranches
) -> None:
    primary, replica = main_server(settings), local_replica(settings)
    try:
        async with stuck(settings) as release:
            copying = asyncio.create_task(make(branches))
            await starts_copying(settings)
            starting = asyncio.create_task(start_replica(primary, replica))
            await asyncio.sleep(1.5)
            assert not starting.done()
            assert await ask(primary, "TABLE pg_stat_progress_basebackup") == []
            assert [BACKING_UP] == await backing_up(settings)
            release()
            branch = await copying
        await starting

        found = await ask(replica, "SELECT datname FROM pg_database WHERE datname ~ '^viral_'")
        assert (branch.database,) in found
    finally:
        await remove_replica(primary, replica)


async def test_a_backup_goes_on_while_a_copy_is_made(
    settings: Settings, branches: LocalBranches
) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    class Slow(LocalFolder):
        async def write(self, name: str, chunks: AsyncIterator[bytes]) -> int:
            begun.set()
            await goes_on.wait()
            return await super().write(name, chunks)

    backup = asyncio.create_task(back_up(settings, Slow(settings.home / "backups")))
    await begun.wait()
    assert await backing_up(settings) == [BACKING_UP]
    await make(branches)
    goes_on.set()

    assert (await backup).plain_bytes > 0


async def test_a_copy_is_logged_from_the_moment_that_a_backup_is_about_to_begin(
    settings: Settings, branches: LocalBranches
) -> None:
    beginning = replace(main_server(settings).socket_url(ROLE), application_name=BACKING_UP)
    async with driver_connection(beginning), stuck(settings) as release:
        copying = asyncio.create_task(make(branches))
        await starts_copying(settings)
        assert await strategies(settings) == ["WAL_LOG"]
        release()
        await copying


async def test_a_killed_restore_into_a_branch_leaves_no_server_behind(
    settings: Settings, branches: LocalBranches
) -> None:
    name = fresh_name()
    async with creating(settings, name, RESTORE) as process:
        assert await process.wait() == -signal.SIGKILL
    left = branches.registry.get(name)
    assert left.home is not None
    server = branches._servers.at(left.home)
    assert (left.state, await server.is_answering()) == ("making", True)
    state, data_dir = server.installation.state, server.data_dir
    assert (await processes_of(server)).all

    listed = await branches.list()

    assert name not in {each.name for each in listed}
    assert not left.home.exists()
    assert not state.exists()
    assert not (await server_processes(data_dir, account=server_account())).all


async def test_a_folder_without_a_server_in_it_is_removed(branches: LocalBranches) -> None:
    """A restore was killed before it had made more than that."""
    made = new_branch(fresh_name(), parent_id=MAIN.id, kind="cluster")
    home = branches.registry.home_of(made)
    home.mkdir(parents=True)
    with branches.registry.change() as contents:
        contents.add(replace(made, home=home))

    await branches.repair()

    assert (branches.registry.read().find(made.id), home.exists()) == (None, False)


async def test_an_interrupted_command_cleans_up_itself(
    settings: Settings, branches: LocalBranches
) -> None:
    name, before = fresh_name(), await databases(settings)
    async with stuck(settings):
        task = asyncio.create_task(make(branches, name))
        await starts_copying(settings)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    await enter(settings)
    contents = branches.registry.read()
    assert (contents.find(name), contents.held) == (None, [])
    assert await databases(settings) == before


async def test_a_server_that_dies_under_a_copy_lets_people_in_when_it_is_back(
    settings: Settings, branches: LocalBranches
) -> None:
    name = fresh_name()
    async with stuck(settings):
        task = asyncio.create_task(make(branches, name))
        await starts_copying(settings)
        postmaster = (await processes_of(main_server(settings))).postmaster
        assert postmaster is not None
        os.kill(postmaster, signal.SIGKILL)
        with pytest.raises(ServerError):
            await task

    await prepare_server(settings)

    await enter(settings)
    contents = branches.registry.read()
    assert (contents.find(name), contents.held) == (None, [])


async def test_two_commands_at_once_take_turns(branches: LocalBranches) -> None:
    made = await asyncio.gather(make(branches), make(branches))

    assert {each.state for each in made} == {"ready"}


def test_what_is_remembered_survives_another_process(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    branch = replace(
        new_branch("a/b", parent_id=MAIN.id, kind="cluster"), home=tmp_path / "branches" / "x"
    )

    with registry.change() as contents:
        contents.add(branch)
        contents.held.append(Held("viral", tmp_path / "elsewhere"))

    again = Registry(tmp_path).read()
    assert (again.branches, again.held) == ([branch], [Held("viral", tmp_path / "elsewhere")])
    assert (tmp_path / "branches.json").stat().st_mode & 0o777 == 0o600


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    registry = Registry(tmp_path)

    with suppress(ZeroDivisionError), registry.change() as contents:
        contents.add(new_branch("a", parent_id=MAIN.id, kind="database"))
        raise ZeroDivisionError

    assert registry.read().all == [MAIN]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"branches": [{}], "held": [], "current": ""}'])
def test_a_damaged_list_says_so(tmp_path: Path, text: str) -> None:
    file = tmp_path / "branches.json"
    file.touch(mode=0o600)
    file.write_text(text)

    with pytest.raises(BadSetting, match="damaged"):
        Registry(tmp_path).read()


async def test_a_server_whose_folder_was_removed_is_forgotten(
    homes: Homes, branches: LocalBranches
) -> None:
    gone = homes.new()
    with branches.registry.change() as contents:
        contents.held.append(Held("viral", gone))
        contents.add(replace(new_branch("gone", parent_id=MAIN.id, kind="cluster"), home=gone))

    await branches.repair()

    contents = branches.registry.read()
    assert (contents.held, contents.find("gone")) == ([], None)
    assert not gone.exists()
