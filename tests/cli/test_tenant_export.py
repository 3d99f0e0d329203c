"""`viral tenant export` and `restore`, and `viral backup ... --logical`, as people run them."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from clusters import Cluster
from factories import make_tenant
from shell import Answer, Shell, environment_of
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database


@pytest.fixture
async def shell(cluster: Cluster, database_name: str, system: Database, tmp_path: Path) -> Shell:
    """An installation of the test's own, with the tenant acme."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(cluster.home / "secrets.json", home)
    await make_tenant(system, cluster.secrets, slug="acme")
    environment = environment_of(cluster, database_name) | {"VIRAL_HOME": str(home), "CI": ""}
    return Shell(environment, tmp_path)


async def run(shell: Shell, *arguments: str) -> Answer:
    return await asyncio.to_thread(shell.viral, *arguments)


async def test_a_tenant_is_exported_erased_and_back_only_when_that_is_meant(
    shell: Shell, admin: AsyncConnection
) -> None:
    exported = await run(shell, "tenant", "export", "acme", "--to", "acme.zip", "--json")
    sealed = await run(shell, "tenant", "export", "acme", "--to", "acme.sealed", "--sealed")
    again = await run(shell, "tenant", "export", "acme", "--to", "acme.zip", "--json")
    await run(shell, "tenant", "erase", "acme", "--confirm", "acme")
    refused = await run(shell, "tenant", "restore", "acme.sealed", "--json")
    unnamed = await run(shell, "tenant", "restore", "acme.sealed", "--after-erasure", "--json")
    back = await run(
        shell,
        "tenant",
        "restore",
        "acme.sealed",
        "--after-erasure",
        "--confirm",
        "acme",
        "--as",
        "acme2",
        "--json",
    )
    listed = await run(shell, "tenant", "list", "--json")

    document = exported.document
    assert (0, "acme", False) == (exported.code, document["slug"], document["is_sealed"])
    assert (1, 1) == (document["rows"]["users"], document["rows"]["tenants"])
    assert "rows of tenant acme are in" in sealed.out
    assert "not encrypted" not in sealed.err
    assert (1, "already_exists") == (again.code, again.document["error"]["code"])
    assert (1, "not_confirmed") == (refused.code, refused.document["error"]["code"])
    assert "was erased here on 20" in refused.document["error"]["message"]
    assert "--confirm acme" in unnamed.document["error"]["hint"]
    assert (0, document["id"], "acme2") == (back.code, back.document["id"], back.document["slug"])
    # Nor does the next start erase it again.
    assert ["acme2"] == [each["slug"] for each in listed.document]
    await admin.rollback()
    assert 1 == await admin.scalar(text("SELECT count(*) FROM viral.tenant_contexts"))


async def test_a_logical_backup_goes_into_a_new_database_without_who_was_erased(
    shell: Shell, cluster: Cluster
) -> None:
    made = await run(shell, "backup", "create", "--logical", "--json")
    await run(shell, "tenant", "erase", "acme", "--confirm", "acme")
    where = f"postgresql://viral_admin@host/{cluster.admin.database}"
    nobody = await run(shell, "backup", "restore", "--logical", made.document["id"], "--into", "x")
    wrong = await run(
        shell,
        "backup",
        "restore",
        "--logical",
        made.document["id"],
        "--into",
        "x",
        "--admin-url",
        where.replace("host", "127.0.0.1:1"),
        "--json",
    )

    assert (0, "logical") == (made.code, made.document["kind"])
    assert 1 == nobody.code
    assert "--admin-url" in nobody.err
    assert (1, "server_unreachable") == (wrong.code, wrong.document["error"]["code"])
