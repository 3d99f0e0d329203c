"""A logical backup is whole and sealed; `psql` reads what `pg_dump` writes."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from clusters import Cluster, superuser
from factories import TestTenant, fill_every_table
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.catalog import differences, read_catalog
from viral.database.encryption.keys import FieldKey, KeyRing
from viral.database.urls import ServerUrl
from viral.errors import BackupBroken, BadInput, NotFound, RestoreRefused, ServerError
from viral.postgres.backup.catalogue import Backup, list_backups
from viral.postgres.backup.claim import claimed
from viral.postgres.backup.logical import create_logical, restore_logical, stored_dump
from viral.postgres.backup.target import LocalFolder
from viral.postgres.binaries import find_binaries
from viral.postgres.bootstrap import bootstrap
from viral.postgres.dump import client_environment
from viral.schema.tables import METADATA

RING = KeyRing([FieldKey("0123abcd", bytes(range(32)))])
OTHERS = KeyRing([FieldKey("0123abcd", bytes(32))])
ID = "abcdef012345"


@pytest.fixture
def url(cluster: Cluster, database_name: str) -> ServerUrl:
    return cluster.url("viral_backup", database_name)


@pytest.fixture
async def filled(admin: AsyncConnection, alice: TestTenant, bob: TestTenant) -> AsyncConnection:
    await fill_every_table(admin, alice)
    await fill_every_table(admin, bob)
    return admin


@pytest.fixture
def target(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path / "target")


async def create(url: ServerUrl, target: LocalFolder, home: Path) -> Backup:
    return await create_logical(
        url,
        target,
        RING,
        home=home,
        installation_id=ID,
        bindir=None,
        advance=lambda *_: None,
    )


async def restore(
    cluster: Cluster, target: LocalFolder, backup_id: str, database: str, ring: KeyRing = RING
) -> None:
    await restore_logical(
        stored_dump(target, ID, ring, backup_id),
        cluster.admin,
        cluster.secrets,
        database=database,
        bindir=None,
        advance=lambda *_: None,
    )


async def drop(cluster: Cluster, database: str) -> None:
    await cluster.execute_as_admin("postgres", f"DROP DATABASE {database} WITH (FORCE)")


async def contents(connection: AsyncConnection) -> dict[str, list[str]]:
    """Return every row of every table, as text."""
    await connection.rollback()
    return {
        str(table): list(
            await connection.scalars(text(f"SELECT t::text FROM {table} AS t ORDER BY 1"))
        )
        for table in METADATA.sorted_tables
    }


async def exists(cluster: Cluster, database: str) -> bool:
    async with superuser(cluster, "postgres") as connection:
        found = await connection.scalar(
            text("SELECT true FROM pg_database WHERE datname = :name"), {"name": database}
        )
    return bool(found)


async def refuse_difference(cluster: Cluster, filled: AsyncConnection, database: str) -> None:
    """Compare the schema, the rows and the rights of a copy with what it is of."""
    rights = text(
        "SELECT datdba::regrole::text, datacl::text FROM pg_database WHERE datname = :name"
    )
    async with superuser(cluster, database) as copy:
        assert [] == differences(await read_catalog(filled), await read_catalog(copy))
        assert await contents(filled) == await contents(copy)
        owner, privileges = (await copy.execute(rights, {"name": database})).one()
    assert "viral_owner" == owner
    assert "viral_app=c/" in privileges
    assert "{=" not in privileges


async def test_a_logical_backup_comes_back_with_the_same_schema_and_rows(
    cluster: Cluster,
    url: ServerUrl,
    target: LocalFolder,
    filled: AsyncConnection,
    tmp_path: Path,
) -> None:
    backup = await create(url, target, tmp_path)
    catalogue = await list_backups(target, ID, RING)
    sealed = b"".join(path.read_bytes() for path in (tmp_path / "target").rglob("*.sealed"))

    await restore(cluster, target, backup.id, "back")

    try:
        await refuse_difference(cluster, filled, "back")
        with pytest.raises(RestoreRefused, match="There is a database back already"):
            await restore(cluster, target, backup.id, "back")
        assert await exists(cluster, "back")
    finally:
        await drop(cluster, "back")
    assert (backup,) == catalogue.backups
    assert ("logical", url.database) == (backup.kind, backup.database)
    assert backup.plain_bytes > backup.stored_bytes == len(sealed)
    assert b"alice" not in sealed


async def test_what_cannot_be_restored_leaves_no_database(
    cluster: Cluster, url: ServerUrl, target: LocalFolder, tmp_path: Path
) -> None:
    backup = await create(url, target, tmp_path)
    [path] = (tmp_path / "target").rglob("dump.sealed")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(BackupBroken, match=r"dump\.sealed is damaged"):
        await restore(cluster, target, backup.id, "never")
    with pytest.raises(BackupBroken):
        await restore(cluster, target, backup.id, "never", ring=OTHERS)
    with pytest.raises(NotFound):
        await restore(cluster, target, "20200101T000000Z-logical", "never")
    with pytest.raises(BadInput):
        await restore(cluster, target, backup.id, "host=elsewhere")

    assert not await exists(cluster, "never")


async def test_what_pg_restore_refuses_is_one_line_and_leaves_no_database(
    cluster: Cluster,
) -> None:
    async def nonsense() -> AsyncIterator[bytes]:
        yield b"PGDMP nonsense"

    with pytest.raises(ServerError, match=r"^Nothing was restored into .*never: ") as caught:
        await restore_logical(
            nonsense(),
            cluster.admin,
            cluster.secrets,
            database="never",
            bindir=None,
            advance=lambda *_: None,
        )

    assert "\n" not in caught.value.message
    assert not await exists(cluster, "never")


async def test_a_backup_that_fails_is_not_listed_and_the_next_sweeps_it(
    cluster: Cluster, url: ServerUrl, target: LocalFolder, tmp_path: Path
) -> None:
    wrong = url.for_role("viral_app", cluster.secrets.password("viral_app"))
    with pytest.raises(ServerError, match=r"No copy of .*permission denied"):
        await create(wrong, target, tmp_path)
    left_over = tmp_path / "target" / ID / "backups" / "20200101T000000Z-logical" / "dump.sealed"
    left_over.parent.mkdir(parents=True)
    left_over.touch()

    assert () == (await list_backups(target, ID, RING)).backups
    backup = await create(url, target, tmp_path)

    assert (backup,) == (await list_backups(target, ID, RING)).backups
    assert not left_over.exists()


async def test_one_backup_at_a_time(url: ServerUrl, target: LocalFolder, tmp_path: Path) -> None:
    with claimed(tmp_path, "viral backup create"), pytest.raises(Exception, match="are in use"):
        await create(url, target, tmp_path)


def run(program: str, url: ServerUrl, *arguments: str | Path) -> tuple[int, str]:
    done = subprocess.run(
        [find_binaries(None).program(program), *map(str, arguments)],
        env={**client_environment(url), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


async def test_what_pg_dump_writes_psql_reads(
    cluster: Cluster, url: ServerUrl, filled: AsyncConnection, tmp_path: Path
) -> None:
    file = tmp_path / "backup.sql"

    dumped = await asyncio.to_thread(run, "pg_dump", url, f"--file={file}")
    prepared = cluster.admin.for_database("by_psql")
    await cluster.execute_as_admin("postgres", "CREATE DATABASE by_psql OWNER viral_owner")
    try:
        await bootstrap(prepared, cluster.secrets)
        read = await asyncio.to_thread(run, "psql", prepared, "--quiet", f"--file={file}")
        await refuse_difference(cluster, filled, "by_psql")
        cleaned = await asyncio.to_thread(
            run, "pg_dump", url, "--format=custom", f"--file={file}.custom"
        )
        over = await asyncio.to_thread(
            run,
            "pg_restore",
            prepared,
            "--clean",
            "--exit-on-error",
            "--dbname=by_psql",
            f"{file}.custom",
        )
    finally:
        await drop(cluster, "by_psql")
    assert ((0, ""), (0, "")) == (dumped, cleaned)
    # What bootstrap made already; all else is new.
    assert 0 == read[0]
    assert ['schema "viral" already exists'] == [
        line.partition("ERROR:  ")[2] for line in read[1].splitlines()
    ]
    # A known limit: over a filled database it stops at the first partition.
    assert 1 == over[0]
    assert "cannot drop inherited constraint" in over[1]
