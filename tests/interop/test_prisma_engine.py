"""Prisma's own parser, formatter and schema engine judge our schema.prisma."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from clusters import Cluster
from javascript import GUIDE, make_workspace, run

# The first run installs the packages.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("engine"))


async def look(workspace: Path, cluster: Cluster, command: str, database: str) -> str:
    """Let the schema engine look at a database with all its partitions, as the tables' owner."""
    await cluster.execute_as_admin(database, "SELECT viral.make_partitions()")
    return await asyncio.to_thread(
        run,
        workspace,
        "node",
        "prisma_tools.mjs",
        command,
        DATABASE_URL=cluster.server.url("viral_migrator", database),
        PGOPTIONS="-c role=viral_owner",
    )


def test_prismas_validator_accepts_the_schema(workspace: Path) -> None:
    assert "" == run(workspace, "node", "prisma_tools.mjs", "validate")


def test_prismas_formatter_changes_nothing(workspace: Path) -> None:
    schema = (workspace / "schema.prisma").read_text("utf-8")

    assert schema == run(workspace, "node", "prisma_tools.mjs", "format")


async def test_prisma_finds_the_differences_that_the_guide_names(
    workspace: Path, cluster: Cluster, module_database: str
) -> None:
    named = re.findall(
        r"^```\n(\[\*\].*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )

    found = await look(workspace, cluster, "diff", module_database)

    assert named == [f"{found.strip()}\n"]


async def test_prisma_sees_a_column_that_the_schema_does_not_know(
    workspace: Path, cluster: Cluster, database_name: str
) -> None:
    await cluster.execute_as_admin(database_name, "ALTER TABLE videos ADD COLUMN colour text")

    found = await look(workspace, cluster, "diff", database_name)

    assert "[-] Removed column `colour`" in found


async def test_the_guide_names_all_that_prisma_calls_unsupported(
    workspace: Path, cluster: Cluster, module_database: str
) -> None:
    named = set(re.findall(r"https://pris\.ly/d/[a-z-]+", GUIDE.read_text("utf-8")))

    pulled = await look(workspace, cluster, "pull", module_database)

    assert named == set(re.findall(r"https://pris\.ly/d/[a-z-]+", pulled))
