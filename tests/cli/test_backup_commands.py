"""`viral backup` and `viral wal` as people and programs use them; recovery/ tests their work."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from viral.cli.application import application
from viral.database.encryption.keys import KeyFile
from viral.database.secrets import Secrets
from viral.errors import BackupBroken, BadInput, NotConfirmed, NotFound, RestoreRefused, ViralError
from viral.postgres.backup.physical import create_backup
from viral.postgres.backup.target import LocalFolder
from viral.postgres.bootstrap import admin_connection, bootstrap
from viral.postgres.branches.registry import MAIN, Registry
from viral.postgres.server import Server


@dataclass(frozen=True)
class BackedUp:
    """A server, its only backup, and where that is stored."""

    server: Server
    backup_id: str

    @property
    def folder(self) -> Path:
        stored = self.server.home / "backups" / self.server.installation.id
        return stored / "backups" / self.backup_id


async def viral(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, application, list(arguments))


async def refusal(*arguments: str) -> ViralError:
    """Run a command that is refused: its error, which ends the process."""
    answer = await viral(*arguments)
    assert isinstance(answer.exception, ViralError), answer.output
    assert 1 == answer.exception.exit_code
    return answer.exception


@pytest.fixture(scope="module")
async def backed_up(short_folder: Path) -> AsyncIterator[BackedUp]:
    home = short_folder / "backed-up"
    server = Server(home=home, secrets=Secrets.load_or_create(home), archives=True)
    await server.start()
    admin = server.socket_url("viral_admin")
    async with admin_connection(admin) as connection:
        await connection.execute("ALTER SYSTEM SET fsync = off")
        await connection.execute("SELECT pg_reload_conf()")
    await bootstrap(admin, server.secrets)
    ring = KeyFile.load_or_create(home, may_create=True)
    target = LocalFolder(home / "backups")
    backup = await create_backup(server, target, ring, advance=lambda *_: None)
    yield BackedUp(server, backup.id)
    await server.stop()
    shutil.rmtree(server.installation.state, ignore_errors=True)


@pytest.fixture(autouse=True)
def _here(backed_up: BackedUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRAL_HOME", str(backed_up.server.home))
    monkeypatch.chdir(tmp_path)


async def test_the_archive_is_shown_with_its_chains(backed_up: BackedUp) -> None:
    shown = await viral("wal", "status")
    document = json.loads((await viral("wal", "status", "--json")).stdout)

    assert 0 == shown.exit_code
    assert backed_up.backup_id in shown.stdout
    assert [(backed_up.backup_id, 1)] == [
        (chain["full_id"], chain["backups"]) for chain in document["chains"]
    ]
    assert (True, []) == (document["is_on"], document["problems"])


async def test_an_archive_that_is_off_is_a_warning_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VIRAL_ARCHIVE", "false")

    shown = await viral("wal", "status")

    assert 1 == shown.exit_code
    assert "warning: VIRAL_ARCHIVE is off" in shown.stderr


async def test_the_list_tells_when_a_backup_was_verified(backed_up: BackedUp) -> None:
    verified = await viral("backup", "verify")
    document = json.loads((await viral("backup", "verify", "--json")).stdout)
    (listed,) = json.loads((await viral("backup", "list", "--json")).stdout)["backups"]

    assert 0 == verified.exit_code
    assert "opened to the last byte" in verified.stdout
    assert (backed_up.backup_id, True, None) == (
        document["backup_id"],
        document["is_whole"],
        document["recovery_s"],
    )
    assert document["verified_at"] == listed["verified"]["verified_at"]


async def test_a_broken_backup_is_exit_code_1_when_verified_and_when_listed(
    backed_up: BackedUp,
) -> None:
    file = backed_up.folder / "base.tar.sealed"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    away = file.rename(file.with_name("away"))
    file.write_bytes(content)
    broken = await refusal("backup", "verify", backed_up.backup_id)
    file.unlink()
    listed = await viral("backup", "list")
    away.rename(file)

    assert isinstance(broken, BackupBroken)
    assert f"{backed_up.backup_id} is not whole" in broken.message
    assert 1 == listed.exit_code
    assert f"{backed_up.backup_id}/base.tar.sealed is missing" in listed.stderr
    assert 0 == (await viral("backup", "list")).exit_code


async def test_a_backup_that_is_not_there_is_named() -> None:
    error = await refusal("backup", "verify", "20260101T000000Z-full")

    assert isinstance(error, NotFound)
    assert "20260101T000000Z-full" in error.message


async def test_pruning_says_what_would_go_and_keeps_the_only_backup(backed_up: BackedUp) -> None:
    dry = await viral("backup", "prune", "--keep", "1d", "--dry-run")
    document = json.loads((await viral("backup", "prune", "--keep", "1d", "--json")).stdout)

    assert dry.stdout.startswith("would go: 0 backups and ")
    assert ([], False) == (document["backups"], document["is_dry_run"])
    assert backed_up.folder.is_dir()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("prune", "--keep", "7"), "no number of days"),
        (("create", "--full", "--logical"), "exclude each other"),
        (("restore", "--in-place", "--to-branch", "x"), "exclude each other"),
        (("restore", "--logical", "x"), "needs the name of a new database"),
        (("restore", "--at", "yesterday"), "yesterday"),
    ],
)
async def test_what_cannot_be_meant_is_refused(arguments: tuple[str, ...], said: str) -> None:
    error = await refusal("backup", *arguments)

    assert isinstance(error, BadInput)
    assert said in error.message


@pytest.mark.parametrize("confirm", [(), ("--confirm", "viral")], ids=["nobody", "another name"])
async def test_the_server_is_set_back_only_by_its_typed_name(
    backed_up: BackedUp, confirm: tuple[str, ...]
) -> None:
    before = await backed_up.server.status()

    error = await refusal("backup", "restore", "--in-place", *confirm)

    assert isinstance(error, NotConfirmed)
    assert before == await backed_up.server.status()
    if not confirm:
        assert f"--confirm {backed_up.server.installation.id}" in error.hint


async def test_a_moment_before_all_backups_is_refused_and_leaves_no_branch(
    backed_up: BackedUp,
) -> None:
    error = await refusal("backup", "restore", "--at", "2020-01-01", "--to-branch", "old")

    assert isinstance(error, RestoreRefused)
    assert [MAIN] == Registry(backed_up.server.home).read().all


@pytest.mark.timeout(60)
async def test_a_backup_is_restored_into_a_branch(backed_up: BackedUp) -> None:
    backup = ("--at", backed_up.backup_id)

    answer = await viral("backup", "restore", *backup, "--to-branch", "again", "--json")
    deleted = await viral("branch", "delete", "again", "--force")

    document = json.loads(answer.stdout)
    assert ("again", backed_up.backup_id) == (document["branch"], document["from"])
    assert 0 == deleted.exit_code
