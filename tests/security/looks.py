"""Looks past the product: which roles let one in, what one session shows to another."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from typing import TypeAlias

import asyncpg
from clusters import Cluster, superuser
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.features.verification.relations import ATTACKERS
from viral.postgres.binaries import find_binaries
from viral.postgres.installation import load_installation
from viral.schema.security import APP, MIGRATOR
from viral.schema.tables import METADATA

Raw: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
ADMIN = "viral_admin"
LITERAL = "a-literal-of-bob"


async def doors_that_open(cluster: Cluster) -> list[str]:
    """Try to come in as every other role with the app's password, and as the superuser over TCP."""
    url = cluster.url(APP, "postgres")
    socket = str(cluster.admin.host)
    opened = []
    for host in (url.host, socket):
        for role in (MIGRATOR, "viral_backup", ADMIN, *ATTACKERS):
            if role == APP:
                continue
            passwords = ("", url.password)
            if any([await comes_in(host, cluster.admin.port, role, each) for each in passwords]):
                opened.append(f"{role} at {host}")
    if await comes_in(url.host, cluster.admin.port, ADMIN, cluster.admin.password):
        opened.append("the superuser over TCP")
    return opened


async def comes_in(host: str, port: int, role: str, password: str) -> bool:
    try:
        connection = await asyncpg.connect(
            host=host, port=port, user=role, password=password or None, database="postgres"
        )
    except (asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    await connection.close()
    return True


async def shown_to_its_like(cluster: Cluster, database: str, watcher: Raw) -> str:
    """Run a statement with a literal as the app, and return what another of the app is shown."""
    other = await cluster.connect(APP, database)
    await other.fetch(f"SELECT '{LITERAL}'")
    pid = await other.fetchval("SELECT pg_backend_pid()")
    await other.fetch(f"SELECT '{LITERAL}'")
    rows = await watcher.fetch("SELECT pid, query FROM pg_catalog.pg_stat_activity")
    await other.close()
    assert pid in {row["pid"] for row in rows}
    return str(rows)


async def everywhere(cluster: Cluster, database: str) -> dict[str, bytes]:
    """Read all that leaves the process: rows as text, files of tables, WAL, a dump, the log."""
    async with superuser(cluster, database) as admin:
        oid = await admin.scalar(
            text("SELECT oid FROM pg_database WHERE datname = :n"), {"n": database}
        )
        names = [str(table) for table in METADATA.sorted_tables]
        rows = {
            f"rows:{name}": "\n".join(
                await _texts(admin, f"SELECT each::text FROM {name} AS each")
            ).encode()
            for name in names
        }
        await admin.execute(text("CHECKPOINT"))
        await admin.rollback()
    installation = load_installation(cluster.home)
    assert installation is not None
    folders = {
        "wal": installation.data_dir / "pg_wal",
        "table": installation.data_dir / "base" / str(oid),
        "log": installation.log_file.parent,
    }
    files = {
        f"{kind}:{path.name}": path.read_bytes()
        for kind, folder in folders.items()
        for path in folder.iterdir()
        if path.is_file()
    }
    return {**rows, **files, "dump:plain": await _dumped(cluster, database)}


async def _texts(admin: AsyncConnection, sql: str) -> list[str]:
    return [str(each) for each in await admin.scalars(text(sql))]


async def _dumped(cluster: Cluster, database: str) -> bytes:
    program = find_binaries(None).program("pg_dump")
    url = cluster.server.url("viral_backup", database)
    done = await asyncio.to_thread(
        subprocess.run, [program, url], capture_output=True, check=True, timeout=30
    )
    return done.stdout


def forms_of(secret: str) -> list[bytes]:
    """Write a text in the ways in which it could lie somewhere."""
    plain = secret.encode()
    return [plain, plain.hex().encode(), base64.b64encode(plain).rstrip(b"=")]
