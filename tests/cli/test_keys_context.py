"""`viral keys ... --context`: the change of the context key as people run it, and kill it."""

from __future__ import annotations

import asyncio
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from clusters import Cluster, superuser
from factories import TestTenant
from shell import Shell, environment_of
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from tenancy import tenants_seen
from typer.testing import CliRunner

from viral.cli.keys import group
from viral.database.context_keys import retire_context, rotate_context
from viral.database.engine import Database
from viral.database.secrets import FILE_NAME, ContextKeys, Secrets
from viral.errors import BadInput

_WAITING = text(
    "SELECT count(*) FROM pg_locks WHERE NOT granted"
    " AND relation = 'viral.tenant_contexts'::regclass"
)


@pytest.fixture
def home(cluster: Cluster, tmp_path: Path) -> Path:
    """The server's installation with a file of its own, which a test may change."""
    shutil.copy2(cluster.home / FILE_NAME, tmp_path / FILE_NAME)
    return tmp_path


@pytest.fixture
def shell(cluster: Cluster, database_name: str, home: Path) -> Shell:
    return Shell(environment_of(cluster, database_name) | {"VIRAL_HOME": str(home)}, home)


@pytest.fixture
async def running(cluster: Cluster, database_name: str, home: Path) -> AsyncIterator[Database]:
    """The app in a process that is not started again."""
    theirs = Secrets.load(home)
    url = cluster.url("viral_app", database_name)
    database = Database(url, context_key=lambda: theirs.context_key)
    yield database
    await database.close()


def _keys_in(home: Path) -> list[str]:
    context = Secrets.load(home).context
    keys = (context.current, context.coming, context.former)
    return [key.material.hex() for key in keys if key is not None]


async def test_a10_the_context_key_is_changed_while_the_app_runs(
    shell: Shell, home: Path, running: Database, alice: TestTenant, bob: TestTenant
) -> None:
    answers, seen, keys = [], [], _keys_in(home)
    commands = ("rotate --context", "status --json", "rotate --context", "retire --context")
    for command in (*commands, "status"):
        answers.append(await asyncio.to_thread(shell.viral, "keys", *command.split()))
        seen += [await tenants_seen(running, tenant.id) for tenant in (alice, bob)]
        keys += _keys_in(home)
    rotated, between, again, retired, status = answers

    assert [[alice.id], [bob.id]] * len(answers) == seen
    assert [0, 0, 1, 0, 0] == [answer.code for answer in answers]
    assert rotated.out.startswith("The context key is 2; 2 tokens were stored.\n")
    assert rotated.out.rstrip().endswith("has the new one: viral keys retire --context")
    assert 2 == between.document["tenants"]
    rows = [tuple(row.values()) for row in between.document["context_keys"]]
    assert [(2, "current", 2), (1, "former", 2)] == rows
    assert "has the key 2, run `viral keys retire --context`" in between.document["next"]
    assert "End them first: `viral keys retire --context`" in again.err
    assert "The context key is 2; 2 tokens of others ended.\n" == retired.out
    assert ["2", "current", "2"] == status.out.splitlines()[-1].split()
    assert not [key for key in keys if any(key in answer.out + answer.err for answer in answers)]
    assert 0o600 == stat.S_IMODE((home / FILE_NAME).stat().st_mode)


@asynccontextmanager
async def _held(cluster: Cluster, database_name: str, mode: str) -> AsyncIterator[None]:
    async with superuser(cluster, database_name) as other:
        await other.execute(text(f"LOCK TABLE viral.tenant_contexts IN {mode} MODE"))
        yield


async def _kill_waiting(shell: Shell, admin: AsyncConnection, *arguments: str) -> None:
    """Start a command, wait until a lock holds it up, and kill it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "viral", "keys", *arguments],
        env=shell.environment,
        cwd=shell.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        while not await admin.scalar(_WAITING):
            await admin.rollback()
            assert process.poll() is None, process.communicate()
            await asyncio.sleep(0.02)
        await admin.rollback()
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)


async def test_a_change_that_is_killed_again_and_again_is_finished(
    cluster: Cluster,
    database_name: str,
    shell: Shell,
    home: Path,
    running: Database,
    admin: AsyncConnection,
    alice: TestTenant,
) -> None:
    async with _held(cluster, database_name, "SHARE"):
        await _kill_waiting(shell, admin, "rotate", "--context")
    coming = Secrets.load(home).context.coming
    seen = await tenants_seen(running, alice.id)
    async with _held(cluster, database_name, "ROW EXCLUSIVE"):
        await _kill_waiting(shell, admin, "rotate", "--context")
    status = await asyncio.to_thread(shell.viral, "keys", "status")
    seen += await tenants_seen(running, alice.id)
    rotated = await asyncio.to_thread(shell.viral, "keys", "rotate", "--context", "--json")
    async with _held(cluster, database_name, "ROW EXCLUSIVE"):
        await _kill_waiting(shell, admin, "retire", "--context")
    former = Secrets.load(home).context.former
    retired = await asyncio.to_thread(shell.viral, "keys", "retire", "--context")
    seen += await tenants_seen(running, alice.id)

    # The first was killed before it stored a token, the second after it had stored all.
    counts = {"2": ["coming", "1"], "1": ["current", "1"]}
    rows = [line.split() for line in status.out.splitlines()]
    assert counts == {row[0]: row[1:] for row in rows if row and row[0] in counts}
    assert "is not finished: run `viral keys rotate --context`" in status.out
    expected = {"current": 2, "former": 1, "tokens": 0, "is_continued": True}
    assert expected == rotated.document
    assert former is not None
    assert "The context key is 2; 1 tokens of others ended.\n" == retired.out
    assert coming is not None
    assert ContextKeys(coming) == Secrets.load(home).context
    assert [alice.id] * 3 == seen


async def test_a_file_that_is_older_than_the_database_is_seen_and_mended(
    cluster: Cluster,
    database_name: str,
    shell: Shell,
    home: Path,
    alice: TestTenant,
    running: Database,
) -> None:
    older = (home / FILE_NAME).read_bytes()
    url, secrets = cluster.url("viral_migrator", database_name), Secrets.load(home)
    for change in (rotate_context, retire_context):
        await change(url, secrets, advance=lambda _step, _done, _total: None)
    (home / FILE_NAME).write_bytes(older)

    status = await asyncio.to_thread(shell.viral, "keys", "status")
    retired = await asyncio.to_thread(shell.viral, "keys", "retire", "--context")

    assert "1 tenants have no token of the key in force" in status.out
    assert "The context key is 1; 1 tokens of others ended.\n" == retired.out
    assert [alice.id] == await tenants_seen(running, alice.id)


@pytest.mark.parametrize("arguments", [(), ("5f1c9a2e", "--context")])
def test_one_key_is_named(arguments: tuple[str, ...]) -> None:
    answer = CliRunner().invoke(group, ["retire", *arguments])

    assert isinstance(answer.exception, BadInput)
    assert "Say which key" in answer.exception.message
