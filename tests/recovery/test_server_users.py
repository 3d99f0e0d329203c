"""The embedded server: other programs, other users, other disks."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from servers import PREAMBLE, Homes, ask, output_of, processes_of, run_script, server_in

from viral.errors import (
    BinariesMissing,
    ServerError,
    ServerNotOurs,
)
from viral.postgres.account import ROOT_STATE, server_account
from viral.postgres.binaries import copy_binaries, find_binaries
from viral.postgres.server import Server

pytest_plugins = ["servers"]

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")

START_AND_STOP = (
    PREAMBLE
    + """
async def main():
    address = await server.start()
    status = await server.status()
    facts = [address.port, str(address.socket_dir), status.is_running, str(status.data_dir)]
    facts += [os.stat(status.data_dir).st_uid, os.stat(f"/proc/{status.pid}").st_uid]
    await server.stop()
    print(json.dumps([*facts, await server.is_answering()]))
asyncio.run(main())
"""
)
START_AND_EXPLAIN = (
    PREAMBLE
    + """
try:
    asyncio.run(server.start())
except ViralError as error:
    print(type(error).__name__, error.message, error.hint, sep="|")
"""
)


def program_of(pid: int) -> Path:
    return Path(f"/proc/{pid}/exe").readlink()


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.skipif(not DEBIAN_15.is_dir(), reason=f"{DEBIAN_15} is not on this machine")
async def test_debians_postgresql_15_works_as_well(homes: Homes) -> None:
    home = homes.new()
    server = server_in(home, bindir=DEBIAN_15)

    await server.start()
    status = await server.status()

    assert (status.version.split(".")[0], status.source) == ("15", "VIRAL_PG_BINDIR")
    assert await ask(server, "SELECT datcollate FROM pg_database LIMIT 1") == [("C.UTF-8",)]
    await server.stop()
    with pytest.raises(ServerError, match=r"made by PostgreSQL 15; the programs are of .* 18"):
        await server_in(home).start()


def test_missing_programs_are_named(tmp_path: Path) -> None:
    with pytest.raises(BinariesMissing, match="has no initdb, pg_ctl, postgres") as caught:
        find_binaries(tmp_path)

    assert "VIRAL_PG_BINDIR" in caught.value.message
    assert "PostgreSQL 15" in caught.value.hint


def test_the_copy_of_the_programs_is_whole_and_made_once(tmp_path: Path) -> None:
    found = find_binaries(None)
    unfinished = tmp_path / f".{copy_binaries(found, store=tmp_path).folder.parents[2].name}"
    shutil.rmtree(tmp_path / unfinished.name[1:])
    unfinished.mkdir()

    copy = copy_binaries(found, store=tmp_path)
    made_at = copy.folder.stat().st_ctime_ns
    again = copy_binaries(found, store=tmp_path)

    assert again == copy
    assert copy.folder.stat().st_ctime_ns == made_at
    assert not unfinished.exists()
    for program in ("postgres", "psql", "pg_dump", "pg_basebackup"):
        subprocess.run([copy.program(program), "--version"], check=True, capture_output=True)


@as_root
async def test_root_starts_a_server_that_cannot_touch_its_own_programs(running: Server) -> None:
    account = server_account()
    postmaster = (await processes_of(running)).postmaster
    assert postmaster is not None
    programs = program_of(postmaster)
    status = status_of(postmaster)

    assert account.uid != 0
    assert status["Uid"].split() == [str(account.uid)] * 4
    assert status["Gid"].split() == [str(account.gid)] * 4
    assert status["Groups"] == ""
    assert programs.is_relative_to(ROOT_STATE / "postgres")
    assert {path.stat().st_uid for path in [programs, *programs.parents]} == {0}
    assert running.data_dir.parent.stat().st_uid == 0


@as_root
async def test_a_home_that_only_root_can_open_stays_closed(homes: Homes) -> None:
    parent = homes.new("private")
    parent.mkdir(mode=0o700)
    home = parent / "home"
    homes.made.append(home)

    await server_in(home).start()

    assert stat.S_IMODE(parent.stat().st_mode) == 0o700
    assert {path.stat().st_uid for path in [parent, home, *home.iterdir()]} == {0}
    await server_in(home).stop()


@as_root
async def test_an_ordinary_user_keeps_everything_in_its_home(homes: Homes, nobody: int) -> None:
    home = homes.new(owner=nobody)

    facts = json.loads(output_of(run_script(START_AND_STOP, home, user=nobody)))

    assert facts[1:] == [
        str(home / "postgres" / "run"),
        True,
        str(home / "postgres" / "data"),
        nobody,
        nobody,
        False,
    ]


@as_root
async def test_a_long_and_odd_name_of_the_home_is_no_obstacle(homes: Homes, nobody: int) -> None:
    home = homes.new("it's a long, odd name " + "x" * 80, owner=nobody)

    facts = json.loads(output_of(run_script(START_AND_STOP, home, user=nobody)))

    assert facts[1].startswith(f"/tmp/viral-{nobody}-")
    assert facts[2]
    shutil.rmtree(facts[1])


@as_root
async def test_a_users_server_is_not_started_a_second_time_by_root(
    homes: Homes, nobody: int
) -> None:
    home = homes.new(owner=nobody)
    output_of(run_script(START_AND_STOP, home, user=nobody))

    with pytest.raises(ServerNotOurs, match="an ordinary user"):
        await server_in(home).start()


@as_root
def test_a_folder_that_cannot_be_written_is_named(homes: Homes, nobody: int) -> None:
    home = homes.new(owner=nobody)
    output_of(run_script(PREAMBLE, home, user=nobody))
    home.chmod(0o500)

    said = output_of(run_script(START_AND_EXPLAIN, home, user=nobody))

    assert said.startswith(f"BadSetting|{home / 'installation.json'}")
    assert "Permission denied" in said
    assert "VIRAL_HOME" in said


@as_root
def test_a_full_disk_is_named(homes: Homes, nobody: int) -> None:
    home = homes.new()
    # In a mount namespace of its own: the small disk is gone with the process.
    command = (
        'mount -t tmpfs -o "size=12m,uid=$3" none "$1" && '
        'exec setpriv --reuid="$3" --clear-groups "$4" -B -c "$2" "$1/home"'
    )
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            command,
            "sh",
            str(home.parent),
            START_AND_EXPLAIN,
            str(nobody),
            sys.executable,
        ],
        capture_output=True,
        check=False,
        cwd="/",
        text=True,
        timeout=50,
    )
    if done.returncode != 0 and "mount" in done.stderr:
        pytest.skip("this machine allows no mounts")

    assert done.stdout.startswith("ServerError|The data folder")
    assert "No space left on device" in done.stdout
    assert "Free some space" in done.stdout
