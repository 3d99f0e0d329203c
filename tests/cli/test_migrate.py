"""`viral migrate` and `viral db push` as people and programs use them: exit codes, words, JSON."""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from clusters import Cluster, count_rows, superuser
from factories import TestTenant, fill_every_table
from schema_changes import CHANGES, PARTITION
from shell import Answer, Shell, environment_of
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

import viral
from viral.database.encryption.keys import KeyFile
from viral.database.history import read_history
from viral.postgres.backup.logical import dump_file, restore_logical

EXTRA = "ALTER TABLE videos ADD COLUMN extra text DEFAULT 'kept'"
_REVISION = '''"""A migration of a test."""

from pathlib import Path

from viral.database.migrate import run_script

revision = "{revision}"
down_revision = "{parent}"
_SCRIPTS = Path(__file__).with_suffix("")


def upgrade() -> None:
    run_script(_SCRIPTS / "up.sql")


def downgrade() -> None:
    run_script(_SCRIPTS / "down.sql")
'''
# The first eight bytes of SHA-256("viral migrate"), signed.
LOCK = 2903415108317251643


@pytest.fixture
def shell(cluster: Cluster, database_name: str, tmp_path: Path) -> Shell:
    environment = environment_of(cluster, database_name) | {"VIRAL_HOME": str(tmp_path / "home")}
    # Some build machines say so here.
    environment.pop("CI", None)
    shutil.copytree(cluster.home, tmp_path / "home", ignore=shutil.ignore_patterns("*.sock*"))
    return Shell(environment, tmp_path)


async def viral_(shell: Shell, *arguments: str, **environment: str) -> Answer:
    """Run a command; no word of it is a password."""
    answer = await asyncio.to_thread(shell.viral, *arguments, **environment)
    for name in ("DATABASE_URL", "DIRECT_URL"):
        password = shell.environment[name].partition("@")[0].rpartition(":")[2]
        assert password not in answer.out + answer.err
    return answer


async def script(admin: AsyncConnection, *statements: str) -> None:
    driver = (await admin.get_raw_connection()).driver_connection
    assert isinstance(driver, asyncpg.Connection)
    for statement in statements:
        await driver.execute(statement)


@pytest.fixture
async def filled(admin: AsyncConnection, alice: TestTenant, bob: TestTenant) -> AsyncConnection:
    await fill_every_table(admin, alice)
    await fill_every_table(admin, bob)
    return admin


@pytest.fixture
def package(shell: Shell, tmp_path: Path) -> Path:
    """A copy of the product whose migrations a test may change; the shell runs it."""
    copy = tmp_path / "package" / "viral"
    source = Path(viral.__file__).parent
    shutil.copytree(source, copy)
    shell.environment["PYTHONPATH"] = str(copy.parent)
    return copy / "migrations"


def add_revision(migrations: Path, revision: str, *, up: str, down: str = "") -> None:
    """Add a migration of two scripts to the end."""
    folder = migrations / "versions" / f"2026_12_01_{revision}_test"
    parent = read_history(migrations).revisions[-1].id
    folder.mkdir()
    (folder / "up.sql").write_text(up)
    (folder / "down.sql").write_text(down)
    folder.with_suffix(".py").write_text(_REVISION.format(revision=revision, parent=parent))


def errors(answer: Answer) -> list[str]:
    return answer.err.strip().splitlines()


async def test_status_of_a_database_as_it_should_be(shell: Shell) -> None:
    told = await viral_(shell, "migrate", "status")
    document = (await viral_(shell, "migrate", "status", "--json")).document

    assert (0, "") == (told.code, told.err)
    assert told.out.endswith("The database is as its migrations say.\n")
    assert {"pending": [], "half_done": None, "broken": [], "drift": []}.items() <= document.items()
    assert document["current"] == document["applied"][-1]
    assert None is document["drift_not_looked_for"]


@pytest.mark.parametrize(("titles", "sql"), CHANGES[1::9])
async def test_status_names_what_was_changed_and_nothing_else(
    shell: Shell, admin: AsyncConnection, titles: str, sql: str
) -> None:
    await script(admin, "SELECT viral.make_partitions()")
    names = {
        "database": await admin.scalar(text("SELECT current_database()")),
        "partition": await admin.scalar(text(PARTITION)),
    }
    await admin.rollback()
    await script(admin, sql.format(**names))

    answer = await viral_(shell, "migrate", "status", "--json")

    found = [each["object"] for each in answer.document["drift"]]
    assert (3, titles.format(**names).split(" + ")) == (answer.code, found)


async def test_status_tells_a_person_what_was_changed_and_what_to_do(
    shell: Shell, admin: AsyncConnection
) -> None:
    await script(admin, "ALTER TABLE videos NO FORCE ROW LEVEL SECURITY", "CREATE SCHEMA evil")

    answer = await viral_(shell, "migrate", "status")

    assert 3 == answer.code
    assert [
        "drift: schema evil: unexpected (owner viral_admin)",
        "drift: table public.videos: force row security is off, should be on",
        "  fix: viral migrate diff --from database --to migrations --script",
    ] == errors(answer)


async def test_status_without_the_right_to_look_for_drift_says_the_rest(
    shell: Shell, cluster: Cluster, admin: AsyncConnection
) -> None:
    await cluster.execute_as_admin("postgres", "ALTER ROLE viral_migrator NOCREATEDB")
    try:
        fine = await viral_(shell, "migrate", "status")
        await script(admin, "DELETE FROM viral.alembic_version", "TRUNCATE viral.migrations")
        pending = await viral_(shell, "migrate", "status", "--json")
    finally:
        await cluster.execute_as_admin("postgres", "ALTER ROLE viral_migrator CREATEDB")

    assert 0 == fine.code
    assert fine.err.startswith("drift was not looked for: viral_migrator may not make a shadow")
    assert fine.out.endswith("Nothing is pending.\n")
    assert (2, None) == (pending.code, pending.document["drift"])
    assert "may not make a shadow" in pending.document["drift_not_looked_for"]


async def test_a_migration_that_fails_is_half_done_until_it_is_ended(
    shell: Shell, package: Path
) -> None:
    up = "-- step: one\nSELECT 1;\n-- step: divide\nSELECT 1 / 0;\n"
    add_revision(package, "wrong", up=up)

    failed = await viral_(shell, "migrate", "deploy", "--json")
    told = await viral_(shell, "migrate", "status")
    document = (await viral_(shell, "migrate", "status", "--json")).document

    assert (4, "migration_failed") == (failed.code, failed.document["error"]["code"])
    assert "step 2 of 2 (divide): division by zero" in failed.document["error"]["message"]
    assert 4 == told.code
    assert "half done: 2026_12_01_wrong_test is half applied, at step 2 of 2" in told.err
    assert "  fix: viral migrate deploy" in told.err
    assert (["wrong"], None) == (document["pending"], document["drift"])
    assert "half applied" in document["half_done"]
    assert "between two migrations" in document["drift_not_looked_for"]


async def test_an_edited_migration_is_told_and_not_deployed(shell: Shell, package: Path) -> None:
    first = next((package / "versions").glob("*_0001_*.py"))
    first.write_text(first.read_text() + "# edited\n")

    told = await viral_(shell, "migrate", "status")
    deployed = await viral_(shell, "migrate", "deploy", "--json")

    assert (3, 3) == (told.code, deployed.code)
    assert "was edited after it was applied" in told.err
    assert "history_broken" == deployed.document["error"]["code"]


async def test_a_pending_migration_is_applied_once_and_undone(shell: Shell, package: Path) -> None:
    add_revision(package, "pending", up="SELECT 1;", down="SELECT 2;")

    status = await viral_(shell, "migrate", "status")
    first = await viral_(shell, "migrate", "deploy")
    second = await viral_(shell, "migrate", "deploy", "--json")
    undone = await viral_(shell, "migrate", "undo")

    assert 2 == status.code
    assert status.out.endswith("1 pending. Apply: viral migrate deploy\n")
    assert (0, "Applied pending.\n") == (first.code, first.out)
    assert (0, {"applied": []}) == (second.code, second.document)
    assert (0, "Took back pending.\n") == (undone.code, undone.out)


async def test_a_command_that_needs_the_schema_says_what_is_pending(
    shell: Shell, package: Path
) -> None:
    add_revision(package, "pending", up="SELECT 1;")

    answer = await viral_(shell, "tenant", "list", "--json")

    error = answer.document["error"]
    assert (2, "migrations_pending") == (answer.code, error["code"])
    assert "Run `viral migrate deploy`." == error["hint"]


async def test_a_deploy_waits_as_long_as_it_is_told(
    shell: Shell, cluster: Cluster, database_name: str
) -> None:
    holder = await cluster.connect("viral_migrator", database_name)
    await holder.execute("SET application_name = 'a friend'")
    await holder.execute(f"SELECT pg_advisory_lock({LOCK})")

    refused = await viral_(shell, "migrate", "deploy", "--wait", "0", "--json")
    deploying = subprocess.Popen(
        [sys.executable, "-m", "viral", "migrate", "deploy", "--wait", "30"],
        env=shell.environment,
        cwd=shell.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert deploying.stderr is not None
    told = await asyncio.to_thread(deploying.stderr.readline)
    await holder.close()
    out, err = await asyncio.to_thread(deploying.communicate)

    assert (5, "lock_not_obtained") == (refused.code, refused.document["error"]["code"])
    assert "Another deploy is at work: a friend." == refused.document["error"]["message"]
    assert "Waiting for another deploy: a friend ...\n" == told
    assert (0, "Nothing is pending.\n", "") == (deploying.returncode, out, err)


async def test_a_push_counts_refuses_copies_and_does(shell: Shell, filled: AsyncConnection) -> None:
    await script(filled, EXTRA)

    rehearsed = await viral_(shell, "db", "push", "--dry-run")
    refused = await viral_(shell, "db", "push", "--json")
    done = await viral_(shell, "db", "push", "--accept-data-loss", "--json")
    again = await viral_(shell, "db", "push")

    assert 0 == rehearsed.code
    assert "would be lost: values of public.videos.extra: 2\n" == rehearsed.err
    assert rehearsed.out.endswith("To do it: viral db push --accept-data-loss\n")
    assert (6, "data_loss_refused") == (refused.code, refused.document["error"]["code"])
    assert (0, {"values of public.videos.extra": 2}) == (done.code, done.document["losses"])
    assert done.document["applied"]
    assert Path(done.document["restore_point"]).stat().st_mode & 0o777 == 0o600
    assert (0, "The database is as the models say.\n") == (again.code, again.out)


async def test_a_loss_without_a_copy_is_possible_when_asked_for(
    shell: Shell, filled: AsyncConnection
) -> None:
    await script(filled, EXTRA)

    done = await viral_(
        shell, "db", "push", "--accept-data-loss", "--without-restore-point", "--json"
    )

    assert (0, None) == (done.code, done.document["restore_point"])
    assert not (shell.folder / "home" / "backups").exists()


async def test_diff_tells_what_differs_and_hides_passwords(
    shell: Shell, admin: AsyncConnection
) -> None:
    await script(admin, "SET ROLE viral_owner", EXTRA)
    nowhere = "postgresql://me:secret@127.0.0.1:1/none"

    told = await viral_(shell, "migrate", "diff")
    sql = await viral_(shell, "migrate", "diff", "--script")
    same = await viral_(shell, "migrate", "diff", "--from", "empty", "--to", "empty")
    unreachable = await viral_(shell, "migrate", "diff", "--from", nowhere)
    unknown = await viral_(shell, "migrate", "diff", "--to", "modles", "--json")

    assert 2 == told.code
    assert told.out.startswith("column public.videos.extra: unexpected")
    assert (2, True) == (sql.code, "DROP COLUMN extra;\n" in sql.out)
    assert (0, "They are the same.\n") == (same.code, same.out)
    assert (1, False) == (unreachable.code, "secret" in unreachable.err + unreachable.out)
    assert "127.0.0.1:1" in unreachable.err
    assert (1, "bad_input") == (unknown.code, unknown.document["error"]["code"])


async def test_a_database_is_adopted_only_as_it_should_be(
    shell: Shell, admin: AsyncConnection
) -> None:
    known = await viral_(shell, "migrate", "baseline", "--json")
    await script(admin, "DROP TABLE viral.alembic_version, viral.migrations")
    await script(admin, "ALTER TABLE videos NO FORCE ROW LEVEL SECURITY")
    differs = await viral_(shell, "migrate", "baseline", "--json")
    await script(admin, "ALTER TABLE videos FORCE ROW LEVEL SECURITY")

    adopted = await viral_(shell, "migrate", "baseline")
    status = await viral_(shell, "migrate", "status")

    assert (1, "already_exists") == (known.code, known.document["error"]["code"])
    assert (3, "schema_drift") == (differs.code, differs.document["error"]["code"])
    assert "table public.videos: force row security is off" in differs.document["error"]["message"]
    assert (0, 0) == (adopted.code, status.code)
    assert adopted.out.endswith("compared object by object.\n")


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        ("migrate reset", {}, "nobody is there to type it"),
        ("migrate reset", {"CI": "true"}, "nobody is there to type it"),
        ("migrate reset --confirm other", {}, "'other' is not the name of the database"),
        (
            "migrate reset --confirm {name}",
            {"VIRAL_ENVIRONMENT": "production"},
            "VIRAL_ENVIRONMENT is production: `viral migrate reset` does not run here",
        ),
        ("db push", {"VIRAL_ENVIRONMENT": "production"}, "`viral db push` does not run here"),
        (
            "migrate dev --name x",
            {"VIRAL_ENVIRONMENT": "production"},
            "`viral migrate dev` does not run here",
        ),
        (
            "migrate reset --confirm {name}",
            {"DATABASE_URL": "{url}", "DIRECT_URL": "{url}"},
            "db.invalid is another machine and counts as production",
        ),
        (
            "db push",
            {"DATABASE_URL": "{url}", "DIRECT_URL": "{url}"},
            "db.invalid is another machine and counts as production",
        ),
    ],
)
async def test_what_throws_data_away_is_refused(
    shell: Shell,
    database_name: str,
    filled: AsyncConnection,
    arguments: str,
    environment: dict[str, str],
    words: str,
) -> None:
    foreign = f"postgresql://viral_migrator:secret@db.invalid/{database_name}"
    values = {name: value.format(url=foreign) for name, value in environment.items()}

    answer = await viral_(shell, *arguments.format(name=database_name).split(), **values)

    assert (1, "") == (answer.code, answer.out)
    assert words in errors(answer)[0]
    assert "secret" not in answer.err
    assert 2 == await count_rows(filled, "videos")


async def test_a_foreign_server_of_development_is_asked(shell: Shell, database_name: str) -> None:
    foreign = f"postgresql://viral_migrator:secret@db.invalid/{database_name}"

    answer = await viral_(
        shell,
        *("migrate", "reset", "--confirm", database_name),
        DATABASE_URL=foreign,
        DIRECT_URL=foreign,
        VIRAL_ENVIRONMENT="development",
    )

    assert 1 == answer.code
    assert "Can't reach the database server at db.invalid:5432" in answer.err


async def test_production_is_deployed_to(shell: Shell) -> None:
    answer = await viral_(shell, "migrate", "deploy", VIRAL_ENVIRONMENT="production")

    assert (0, "Nothing is pending.\n") == (answer.code, answer.out)


async def at_a_terminal(shell: Shell, typed: str, *arguments: str) -> Answer:
    """Run a command with a person at its standard input."""

    def run() -> Answer:
        keyboard, screen = pty.openpty()
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "viral", *arguments],
                env=shell.environment,
                cwd=shell.folder,
                stdin=screen,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            os.write(keyboard, f"{typed}\n".encode())
            out, err = process.communicate(timeout=60)
        finally:
            os.close(keyboard)
            os.close(screen)
        return Answer(process.returncode, out, err)

    return await asyncio.to_thread(run)


async def test_a_person_types_the_name_and_another_name_changes_nothing(
    shell: Shell, database_name: str, filled: AsyncConnection
) -> None:
    refused = await at_a_terminal(shell, "yes", "migrate", "reset")
    before = await count_rows(filled, "videos")
    await filled.rollback()

    done = await at_a_terminal(shell, database_name, "migrate", "reset")

    assert f"everything in the database {database_name} will be gone" in refused.err
    assert "error: 'yes' is not the name of the database: nothing was changed." in refused.err
    assert (1, 2) == (refused.code, before)
    assert 0 == done.code
    assert done.out.strip().startswith("The database is empty, at ")


@asynccontextmanager
async def restored(cluster: Cluster, copy: str) -> AsyncIterator[AsyncConnection]:
    """Open a copy as a database."""
    ring = KeyFile.load_or_create(Path(copy).parents[1], may_create=False)
    await restore_logical(
        dump_file(Path(copy), ring),
        cluster.admin,
        cluster.secrets,
        database="restored",
        bindir=None,
        advance=lambda *_: None,
    )
    try:
        async with superuser(cluster, "restored") as connection:
            yield connection
    finally:
        await cluster.execute_as_admin("postgres", "DROP DATABASE restored WITH (FORCE)")


async def test_a_reset_leaves_a_copy_of_everything_and_a_database_that_works(
    shell: Shell, cluster: Cluster, database_name: str, filled: AsyncConnection
) -> None:
    answer = await viral_(shell, "migrate", "reset", "--confirm", database_name, "--json")
    status = await viral_(shell, "migrate", "status")
    tenant = await viral_(shell, "tenant", "create", "again", "--json")

    copy = answer.document["restore_point"]
    assert (0, 0, 0) == (answer.code, status.code, tenant.code)
    assert f"The copy is {copy}" in answer.err
    assert (0, 1) == (await count_rows(filled, "videos"), await count_rows(filled, "tenants"))
    async with restored(cluster, copy) as connection:
        assert 2 == await count_rows(connection, "videos")
        assert 2 == await count_rows(connection, "viral.tenant_contexts")


async def test_no_copy_no_reset(
    shell: Shell, database_name: str, filled: AsyncConnection, tmp_path: Path
) -> None:
    (tmp_path / "home" / "backups").touch()

    answer = await viral_(shell, "migrate", "reset", "--confirm", database_name, "--json")

    assert (1, "server_error") == (answer.code, answer.document["error"]["code"])
    assert "--without-restore-point" in answer.document["error"]["hint"]
    assert 2 == await count_rows(filled, "videos")
