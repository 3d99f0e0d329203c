"""Ten thousand generations, processes that are killed, and what another import finds."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
from clusters import Cluster, copy_template, count_rows, superuser
from prisma_source import all_rows, prisma_database, run_import
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.errors import BadInput, LockNotObtained, ServerUnreachable
from viral.features.prisma_import.target import open_target

GENERATIONS = 10_000
PROGRAM = (
    "import typer; from viral.cli.import_prisma import import_prisma; typer.run(import_prisma)"
)
# The table that the import is at when the process is killed, and how many rows are in by then.
POINTS = [("tenants", 1), ("concepts", 300), ("social_posts", 1), ("api_usage", 200)]
_numbers = count(1)


@asynccontextmanager
async def another_database(cluster: Cluster) -> AsyncIterator[str]:
    name = f"import_{next(_numbers)}"
    await copy_template(cluster, name)
    try:
        yield name
    finally:
        await cluster.execute_as_admin("postgres", f"DROP DATABASE {name} WITH (FORCE)")


def start_import(cluster: Cluster, database: str, url: str, folder: Path) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "VIRAL_HOME": str(cluster.home),
        "DATABASE_URL": cluster.server.url("viral_app", database),
        "DIRECT_URL": cluster.server.url("viral_migrator", database),
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url, "--yes"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


async def kill_at(
    process: subprocess.Popen[str], admin: AsyncConnection, table: str, rows: int
) -> None:
    """Wait until so many rows are in, then kill the process at once."""
    while await count_rows(admin, table) < rows:
        await admin.rollback()
        assert process.poll() is None, process.communicate()[0]
        await asyncio.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    await asyncio.to_thread(process.communicate)


@pytest.mark.timeout(300)
async def test_ten_thousand_generations_come_in_and_a_second_run_finds_them(
    cluster: Cluster, database_name: str, admin: AsyncConnection, tmp_path: Path
) -> None:
    async with prisma_database(cluster, tenants=50, generations=GENERATIONS) as url:
        first = await run_import(cluster, database_name, url, tmp_path)
        second = await run_import(cluster, database_name, url)

    assert ([], 0, first.rows) == (
        first.rejects,
        second.rows,
        sum(each.already_there for each in second.tables.values()),
    )
    for table, expected in (
        ("generations", GENERATIONS),
        ("concepts", 3 * GENERATIONS),
        ("performance_feedback", GENERATIONS),
        ("analytics_snapshots", 2 * GENERATIONS),
        ("api_usage", GENERATIONS),
    ):
        assert expected == await count_rows(admin, table)


@pytest.mark.timeout(300)
async def test_killed_again_and_again_it_ends_like_one_that_was_not(
    cluster: Cluster, database_name: str, admin: AsyncConnection, tmp_path: Path
) -> None:
    async with (
        prisma_database(cluster, generations=1_000) as url,
        another_database(cluster) as whole,
        superuser(cluster, whole) as other,
    ):
        for table, rows in POINTS:
            process = start_import(cluster, database_name, url, tmp_path)
            await kill_at(process, admin, table, rows)
        between = await count_rows(admin, "api_usage")
        await admin.rollback()
        last = start_import(cluster, database_name, url, tmp_path)
        said, _ = await asyncio.to_thread(last.communicate)
        await run_import(cluster, whole, url, tmp_path)

        assert 200 <= between < 1_000
        assert (0, True) == (last.returncode, "rows are in" in said)
        killed, undisturbed = await all_rows(admin), await all_rows(other)
    assert 1 == len(killed.pop("job_queue")) - len(undisturbed.pop("job_queue"))
    assert undisturbed == killed


async def test_the_results_are_given_to_the_learner(
    cluster: Cluster, database_name: str, admin: AsyncConnection, tmp_path: Path
) -> None:
    async with prisma_database(cluster) as url:
        process = start_import(cluster, database_name, url, tmp_path)
        said, _ = await asyncio.to_thread(process.communicate)

    query = "SELECT scope FROM job_queue WHERE job_type = 'reflexion' AND status = 'pending'"
    assert 0 == process.returncode, said
    assert ["system"] == list(await admin.scalars(text(query)))


async def test_one_import_at_a_time(cluster: Cluster, database_name: str) -> None:
    app = cluster.database("viral_app", database_name)
    migrator, secrets = cluster.url("viral_migrator", database_name), cluster.secrets

    async with open_target(app=app, system=app, migrator=migrator, secrets=secrets):
        with pytest.raises(LockNotObtained, match="Another import"):
            async with open_target(app=app, system=app, migrator=migrator, secrets=secrets):
                pass
    await app.close()


async def test_a_person_of_this_installation_stays_who_they_are(
    cluster: Cluster, database_name: str, admin: AsyncConnection, tmp_path: Path
) -> None:
    await admin.execute(
        text("INSERT INTO users (id, email) VALUES (gen_random_uuid(), 'person1@example.com')")
    )
    await admin.commit()

    async with prisma_database(cluster) as url:
        report = await run_import(cluster, database_name, url, tmp_path)

    assert [("users", "user_1", "email", "another row has the same")] == report.rejects


async def test_a_row_that_the_database_refuses_is_left_out_alone(
    cluster: Cluster, database_name: str, admin: AsyncConnection, tmp_path: Path
) -> None:
    """A concept here has the key of one there: what refers to that one cannot be stored."""
    named = """UPDATE performance_feedback SET "conceptId" = 'named' WHERE id = 'feedback_1'"""
    same_key = text(
        "INSERT INTO concepts (tenant_id, id, origin, source_platform, source_id, category, title)"
        " SELECT id, gen_random_uuid(), 'imported', 'youtube', 'named', 'tech', 'Mine'"
        " FROM tenants WHERE slug = 'studio-2'"
    )
    async with prisma_database(cluster) as first, prisma_database(cluster, named) as second:
        await run_import(cluster, database_name, first, tmp_path)
        await admin.execute(text("DELETE FROM performance_feedback"))
        await admin.execute(same_key)
        await admin.commit()
        report = await run_import(cluster, database_name, second, tmp_path)

    assert [
        ("concepts", "named", "*", "another row here has the same key"),
        (
            "performance_feedback",
            "feedback_1",
            "*",
            "breaks fk_performance_feedback_tenant_id_concept_id",
        ),
    ] == report.rejects
    assert (39, 40) == (
        report.tables["performance_feedback"].imported,
        report.tables["performance_feedback"].source,
    )


async def test_another_database_is_refused_with_what_it_lacks(
    cluster: Cluster, database_name: str
) -> None:
    changed = 'ALTER TABLE users DROP "apiKey"; DROP TABLE system_metrics'
    async with prisma_database(cluster, changed) as url:
        with pytest.raises(BadInput, match=r"the table system_metrics, users\.apiKey\."):
            await run_import(cluster, database_name, url)
    ours = cluster.server.url("viral_readonly", database_name)
    with pytest.raises(BadInput, match=r"and .* more"):
        await run_import(cluster, database_name, ours)


async def test_the_schema_of_the_url_is_read(cluster: Cluster, database_name: str) -> None:
    moved = "ALTER SCHEMA public RENAME TO app; CREATE SCHEMA public; GRANT USAGE ON SCHEMA app"
    # The functions that filled the tables are named without a schema; nothing needs them later.
    async with prisma_database(cluster) as url:
        name = url.rpartition("/")[2]
        await cluster.execute_as_admin(name, f"{moved} TO prisma")
        report = await run_import(cluster, database_name, f"{url}?schema=app")

    assert 40 == report.tables["generations"].imported


async def test_json_that_holds_nul_is_left_out(
    cluster: Cluster, database_name: str, tmp_path: Path
) -> None:
    nul = """
    ALTER TABLE generations ALTER concepts TYPE json;
    UPDATE generations SET concepts = '[{"title": "a\\u0000b"}]' WHERE id = 'generation_1';
    UPDATE generations SET concepts = '[{"title": "a\\\\u0000b", "category": "tech"}]'
      WHERE id = 'generation_3'
    """
    async with prisma_database(cluster, nul) as url:
        report = await run_import(cluster, database_name, url, tmp_path)

    rejects = [each for each in report.rejects if each.table == "generations"]
    assert [("generations", "generation_1", "*", "holds the character NUL")] == rejects


async def test_a_source_that_is_not_there_is_named_without_its_password(
    cluster: Cluster, database_name: str
) -> None:
    with pytest.raises(ServerUnreachable, match=r"127\.0\.0\.1:1:") as raised:
        await run_import(cluster, database_name, "postgresql://a:hidden@127.0.0.1:1/viral")

    assert "hidden" not in raised.value.message
