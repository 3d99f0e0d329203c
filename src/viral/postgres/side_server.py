"""A server of a data folder that nobody else reaches: for moving it to another version."""

from __future__ import annotations

import re
import shlex
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from viral.database.catalog import differences, read_catalog, summary
from viral.database.secrets import write_private
from viral.database.urls import ServerUrl
from viral.errors import ServerError
from viral.postgres.account import Account, run_program
from viral.postgres.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from viral.database.catalog import Catalog
    from viral.postgres.binaries import Binaries

START_TIMEOUT_S = 600
TRANSFER_TIMEOUT_S = 24 * 3600
_SEGMENTS = 256
_DATABASES = "SELECT datname FROM pg_database WHERE datallowconn AND datname <> 'template1'"
_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY 1
"""
_ROLES = "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'"


@dataclass(slots=True)
class Inventory:
    """What a server holds: its roles, and per database its catalogue and rows per table."""

    roles: set[str] = field(default_factory=set)
    catalogs: dict[str, Catalog] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def tables(self) -> int:
        return len(self.counts)

    @property
    def rows(self) -> int:
        return sum(self.counts.values())


def compare(before: Inventory, after: Inventory) -> None:
    """Raise ServerError, naming the first thing, where two servers do not hold the same."""
    if lost := before.roles - after.roles:
        raise _differs(f"the role {min(lost)} is missing")
    for name in sorted(before.counts.keys() | after.counts.keys()):
        expected, actual = before.counts.get(name), after.counts.get(name)
        if expected != actual:
            raise _differs(f"{name} has {actual} rows instead of {expected}")
    for name, catalog in before.catalogs.items():
        if found := summary(differences(catalog, after.catalogs.get(name, {}))):
            raise _differs(f"database {name}, {found[0]}")


def _differs(what: str) -> ServerError:
    return ServerError(
        f"The copy is not the same as what it was made from: {what}.",
        hint="Nothing was changed: the old data folder is in use as before. Please report this.",
    )


@dataclass(frozen=True, slots=True)
class SideServer:
    """A data folder, the programs that read it, and where they may write."""

    programs: Binaries
    data_dir: Path
    socket_dir: Path
    workspace: Path
    account: Account
    password: str = field(repr=False)
    is_draft: bool = False
    port: int = field(default_factory=free_port)

    def program(self, name: str) -> str:
        return self.programs.program(name)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have the server up for the length of the block: on its socket, without the network."""
        # pg_ctl hands them to a shell; the setting itself is a list of folders.
        socket = shlex.quote(f'unix_socket_directories="{self.socket_dir}"')
        options = f"-p {self.port} -c listen_addresses= -c {socket} -c autovacuum=off"
        if self.is_draft:
            # Nobody needs it before all of it is flushed at once.
            options += " -c fsync=off"
        log = self.workspace / f"{self.data_dir.parent.name}.log"
        await self._pg_ctl(f"--log={log}", f"--options={options}", "--wait", "start")
        try:
            yield
        finally:
            await self._pg_ctl("--mode=fast", "--wait", "stop")

    async def inventory(self) -> Inventory:
        """Read the catalogue and count the rows of every database."""
        found = Inventory()
        async with self.connection("postgres") as connection:
            found.roles = set((await connection.exec_driver_sql(_ROLES)).scalars())
            names = (await connection.exec_driver_sql(_DATABASES)).scalars().all()
        for name in names:
            async with self.connection(name) as connection:
                found.catalogs[name] = await read_catalog(connection)
                tables = (await connection.exec_driver_sql(_TABLES)).scalars().all()
                for table in tables:
                    query = f"SELECT count(*) FROM {table}"  # noqa: S608 - the server's own name
                    count = await connection.exec_driver_sql(query)
                    found.counts[f"{name}: {table}"] = count.scalar_one()
        return found

    async def has_checksums(self) -> bool:
        """Ask the folder's own control file, of a server that is stopped."""
        answer = await self.run("pg_controldata", f"--pgdata={self.data_dir}")
        found = re.search(r"Data page checksum version:\s+(\d+)", answer)
        return found is not None and found[1] != "0"

    async def add_checksums(self) -> None:
        """Protect every page of a stopped server, as those made by this version are."""
        await self.run("pg_checksums", "--enable", "--no-sync", f"--pgdata={self.data_dir}")

    async def begin_wal_after(self, old: SideServer) -> None:
        """Have a stopped server write its WAL under later names than another one's."""
        answer = await old.run("pg_controldata", f"--pgdata={old.data_dir}")
        found = re.search(r"REDO WAL file:\s+([0-9A-F]{24})", answer)
        assert found is not None, "pg_controldata names the file"
        # Eight digits of the timeline, then the number: 256 segments of 16 MB in a log.
        number = int(found[1][8:16], 16) * _SEGMENTS + int(found[1][16:], 16) + _SEGMENTS
        name = f"{found[1][:8]}{number // _SEGMENTS:08X}{number % _SEGMENTS:08X}"
        await self.run("pg_resetwal", f"--next-wal-file={name}", f"--pgdata={self.data_dir}")

    async def restore_from(self, old: SideServer) -> None:
        """Copy every database of another version's server; both run, the roles are there."""
        file = self.workspace / "database.dump"
        async with old.connection("postgres") as connection:
            names = (await connection.exec_driver_sql(_DATABASES)).scalars().all()
        for name in names:
            if name == "postgres":
                continue
            await old.run("pg_dump", "--format=custom", f"--file={file}", old.address(name))
            await self.run(
                "pg_restore",
                "--clean",
                "--if-exists",
                "--create",
                "--exit-on-error",
                self.address("postgres"),
                str(file),
            )
            file.unlink()

    @asynccontextmanager
    async def connection(self, database: str) -> AsyncIterator[AsyncConnection]:
        """Connect as the superuser, who sees behind row security."""
        engine = create_async_engine(self.url(database).sqlalchemy, poolclass=NullPool)
        try:
            async with engine.connect() as connection:
                yield connection
        finally:
            await engine.dispose()

    def url(self, database: str) -> ServerUrl:
        """Give the address of a database, as the superuser."""
        return ServerUrl(
            host=str(self.socket_dir),
            port=self.port,
            user="viral_admin",
            password=self.password,
            database=database,
        )

    def address(self, database: str) -> str:
        """Write the address for PostgreSQL's programs; the password stands in a file."""
        file = self.workspace / ".pgpass"
        owner = (self.account.uid, self.account.gid)
        write_private(file, f"*:*:*:viral_admin:{self.password}\n", owner=owner)
        parts = {
            "host": self.socket_dir,
            "port": self.port,
            "user": "viral_admin",
            "dbname": database,
            "passfile": file,
        }
        return "--dbname=" + " ".join(f"{name}='{value}'" for name, value in parts.items())

    async def _pg_ctl(self, *arguments: str) -> None:
        timeout = f"--timeout={START_TIMEOUT_S}"
        await self.run("pg_ctl", f"--pgdata={self.data_dir}", timeout, *arguments)

    async def run(self, name: str, *arguments: str) -> str:
        finished = await run_program(
            self.account, self.program(name), *arguments, timeout_s=TRANSFER_TIMEOUT_S
        )
        if finished.code != 0:
            lines = [line.strip() for line in finished.output.splitlines() if line.strip()]
            reason = (lines or ["it said nothing"])[-1].rstrip(".")
            raise ServerError(
                f"{name} of PostgreSQL {self.programs.major} failed: {reason}.",
                hint=f"Nothing was changed. Its log is in {self.workspace}.",
            )
        return finished.output
