"""PgBouncer before the embedded server: many clients share a few connections, by transaction.

After each transaction the connection is reset (`DISCARD ALL`), so that nothing of one client's
session is there for the next. The pooler outlives the process that started it, as the server does.
"""

from __future__ import annotations

import asyncio
import csv
import os
import re
import secrets
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from viral.database.driver import driver_connection
from viral.database.faults import connecting
from viral.database.foundation import quoted
from viral.database.secrets import write_private
from viral.database.urls import ServerUrl, parse_url
from viral.errors import BinariesMissing, PortInUse, ServerError
from viral.postgres.account import run_program, server_account
from viral.postgres.binaries import find_binaries, reachable_binaries
from viral.postgres.bootstrap import scram_verifier
from viral.postgres.data_folder import explained
from viral.postgres.installation import load_installation, locked
from viral.postgres.ports import HOST, is_free
from viral.postgres.server_log import mark_log

if TYPE_CHECKING:
    from viral.postgres.account import Account
    from viral.postgres.installation import Installation
    from viral.postgres.server import Server
    from viral.postgres.server_log import LogMark

PROGRAM = "pgbouncer"
# An ordinary user's PATH often lacks the folder where Debian puts it.
PROGRAM_FOLDERS = "/usr/local/sbin:/usr/sbin"
CONSOLE = "viral_pooler"
# Whom the product connects as by DATABASE_URL; every other role has to take the direct way.
POOLED_ROLES = ["viral_app"]
LARGEST_POOL = 20
# A thousand clients, their servers and the pooler's own files.
OPEN_FILES = 2048
POLL_S = 0.05
START_TIMEOUT_S = 15
STOP_TIMEOUT_S = 5
CONSOLE_TIMEOUT_S = 10
HOLD_TIMEOUT_S = 10
PROC = Path("/proc")

# https://www.pgbouncer.org/config.html. `server_reset_query` alone is not run in this mode.
_CONFIGURATION = """\
; Written by viral at each start.
[databases]
* = host={host} port={server_port}

[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
pidfile = {pid_file}
logfile = {log_file}
log_connections = 0
log_disconnections = 0
log_stats = 0
auth_type = scram-sha-256
auth_file = {users_file}
admin_users = {console}
pool_mode = transaction
server_reset_query = DISCARD ALL
server_reset_query_always = 1
ignore_startup_parameters = extra_float_digits
max_client_conn = 1000
default_pool_size = {size}
max_user_connections = {most}
server_connect_timeout = 5
server_login_retry = 1
query_wait_timeout = 30
client_login_timeout = 15
"""


@dataclass(frozen=True, slots=True)
class Pool:
    """The clients of one database and role, and the server connections that they share."""

    database: str
    role: str
    clients: int
    waiting: int
    longest_wait_s: float
    servers: int
    idle_servers: int
    is_held: bool


@dataclass(frozen=True, slots=True)
class PoolerStatus:
    """The pooler as an operator sees it."""

    is_running: bool
    port: int | None = None
    pid: int | None = None
    log_file: Path | None = None
    pools: tuple[Pool, ...] = ()


@dataclass(frozen=True, slots=True)
class _Files:
    """Where the pooler's files lie: its account reads what it may not replace."""

    folder: Path
    log_file: Path

    @property
    def configuration(self) -> Path:
        return self.folder / "pgbouncer.ini"

    @property
    def users(self) -> Path:
        return self.folder / "users.txt"

    @property
    def console_password(self) -> Path:
        return self.folder / "console.pass"

    @property
    def pid_file(self) -> Path:
        return self.log_file.with_suffix(".pid")


class Pooler:
    """The PgBouncer of one installation; `size` connections for a database and role."""

    def __init__(self, server: Server, *, port: int, size: int | None = None) -> None:
        self._server = server
        self._port = port
        self._size = size

    @property
    def url(self) -> ServerUrl:
        """The address for the app, through the pooler."""
        direct = parse_url(self._server.url("viral_app"))
        return replace(direct, port=self._port, is_pooled=True)

    @property
    def lines(self) -> dict[str, str]:
        """The settings with which the product takes this way, passwords in them."""
        return {
            "DATABASE_URL": self.url.setting(password=True),
            "DIRECT_URL": self._server.url("viral_migrator"),
        }

    async def is_running(self) -> bool:
        """Say whether its process lives."""
        return await self._find() is not None

    async def start(self) -> None:
        """Start the pooler before a running server, or let the one that runs read all again."""
        installation = self._server.installation
        account = await asyncio.to_thread(server_account)
        files = _files(installation)
        with explained(files.folder):
            async with locked(installation):
                pid, kept = _find_process(files, account), _kept_port(files)
                if pid is not None and kept != self._port:
                    raise ServerError(
                        f"The pooler already runs, on port {kept} and not on {self._port}.",
                        hint="Stop it with `viral pooler stop`, then start it again.",
                    )
                await self._write_files(files, account)
                if pid is None:
                    await self._launch(files, account)
                else:
                    await self._ask(files, account, "RELOAD")
                    await self._let_all_go_on(files, account)
                await self._log_in()

    async def stop(self) -> None:
        """End the pooler: transactions may finish for some seconds, then all clients are gone."""
        installation = load_installation(self._server.home)
        if installation is None or not installation.state.is_dir():
            return
        account = await asyncio.to_thread(server_account)
        files = _files(installation)
        with explained(files.folder):
            async with locked(installation):
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
                    if (pid := _find_process(files, account)) is None:
                        break
                    with suppress(ProcessLookupError):
                        os.kill(pid, number)
                    await _wait_for_end(files, account)

    async def status(self) -> PoolerStatus:
        """Look at the pooler without changing anything."""
        if (found := await self._find()) is None:
            return PoolerStatus(is_running=False)
        files = found[0]
        held = {
            row["name"] for row in await self._ask(*found, "SHOW DATABASES") if row["paused"] == "1"
        }
        pools = [
            _pool(row, held)
            for row in await self._ask(*found, "SHOW POOLS")
            if row["user"] in POOLED_ROLES
        ]
        return PoolerStatus(
            is_running=True,
            port=_kept_port(files),
            pid=_find_process(*found),
            log_file=files.log_file,
            pools=tuple(pools),
        )

    async def refresh_users(self) -> None:
        """Take over what the server knows of the passwords; nothing happens where none runs.

        To be called after every ALTER ROLE ... PASSWORD: the pooler logs in to the server with
        what it learnt from its clients' logins, which a new salt already makes useless.
        """
        if found := await self._find():
            await Pooler(self._server, port=_kept_port(found[0]) or self._port).start()

    async def hold(self, database: str) -> None:
        """Let the clients of a database wait, without an error, until they are released.

        Raises ServerError when somebody's transaction does not end in time; then nobody is held.
        Who waits for more than 30 s loses the connection. Nothing happens where no pooler runs.
        """
        if (found := await self._find()) is None:
            return
        known = {row["name"] for row in await self._ask(*found, "SHOW DATABASES")}
        if database not in known:
            return
        try:
            await self._ask(*found, f"PAUSE {quoted(database)}", timeout_s=HOLD_TIMEOUT_S)
        except ServerError as error:
            await self._let_all_go_on(*found)
            raise ServerError(
                f"The pooler's clients of {database} cannot be held: a transaction does not end.",
                hint="End what is at work there, then try again: `viral pooler status`.",
            ) from error

    async def release(self) -> None:
        """Let all go on who are held, also by a command that was killed.

        A pooler that refuses is started anew: its clients connect again, which beats waiting.
        """
        if found := await self._find():
            try:
                await self._let_all_go_on(*found)
            except ServerError:
                port = _kept_port(found[0]) or self._port
                await self.stop()
                await Pooler(self._server, port=port, size=self._size).start()

    async def _find(self) -> tuple[_Files, Account] | None:
        """Find the files and the account of the pooler, if one runs."""
        installation = load_installation(self._server.home)
        if installation is None:
            return None
        account, files = await asyncio.to_thread(server_account), _files(installation)
        return None if _find_process(files, account) is None else (files, account)

    async def _let_all_go_on(self, files: _Files, account: Account) -> None:
        for row in await self._ask(files, account, "SHOW DATABASES"):
            if row["paused"] == "1":
                await self._ask(files, account, f"RESUME {quoted(row['name'])}")

    async def _write_files(self, files: _Files, account: Account) -> None:
        owner = (account.uid, account.gid)
        files.folder.mkdir(mode=0o755, exist_ok=True)
        verifiers, connections = await self._ask_server()
        password = _console_password(files)
        verifiers[CONSOLE] = scram_verifier(password)
        users = "".join(f'"{role}" "{verifier}"\n' for role, verifier in verifiers.items())
        configuration = _CONFIGURATION.format(
            host=HOST,
            port=self._port,
            server_port=self._server.installation.port,
            pid_file=files.pid_file,
            log_file=files.log_file,
            users_file=files.users,
            console=CONSOLE,
            size=self._size or max(1, min(LARGEST_POOL, connections // 4)),
            # Over all databases; the other half is for those who come without the pooler.
            most=max(1, connections // 2),
        )
        write_private(files.console_password, f"*:*:*:*:{password}\n", owner=owner)
        write_private(files.users, users, owner=owner)
        write_private(files.configuration, configuration, owner=owner)

    async def _ask_server(self) -> tuple[dict[str, str], int]:
        """Fetch the verifiers, which must be the server's own to the salt, and max_connections."""
        url = self._server.socket_url("viral_admin")
        async with driver_connection(url) as connection:
            rows = await connection.fetch(
                "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = ANY ($1)", POOLED_ROLES
            )
            most = await connection.fetchval("SELECT current_setting('max_connections')::integer")
        return dict(map(tuple, rows)), int(most)

    async def _launch(self, files: _Files, account: Account) -> None:
        program = find_program()
        if not is_free(self._port):
            raise PortInUse(
                f"Port {self._port} is taken by another program.",
                hint="Set VIRAL_POOLER_PORT to a free port. If it is the distribution's own"
                " PgBouncer: `systemctl disable --now pgbouncer`.",
            )
        # PgBouncer believes a file whose pid is alive, whoever that is.
        files.pid_file.unlink(missing_ok=True)
        log = mark_log(files.log_file)
        finished = await run_program(
            account,
            "/bin/sh",
            "-c",
            f'ulimit -Sn {OPEN_FILES} 2>/dev/null; exec "$0" "$@"',
            program,
            "-d",
            "-q",
            str(files.configuration),
            timeout_s=START_TIMEOUT_S,
        )
        if finished.code != 0:
            raise _start_failed(log, finished.output)
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        while asyncio.get_running_loop().time() < deadline:
            with suppress(ServerError):
                await self._ask(files, account, "SHOW VERSION")
                return
            if _find_process(files, account) is None:
                break
            await asyncio.sleep(POLL_S)
        raise _start_failed(log, "")

    async def _log_in(self) -> None:
        """Go the way of a client once: it proves the whole way, and tells the pooler its key.

        In a database that nobody copies: the pooler's connection stays there for a while.
        """
        url = self.url.for_database("postgres")
        with connecting(url):
            async with driver_connection(url) as connection:
                await connection.execute("SELECT")

    async def _ask(
        self, files: _Files, account: Account, command: str, *, timeout_s: float = CONSOLE_TIMEOUT_S
    ) -> list[dict[str, str]]:
        """Give a command to the console, which speaks a protocol that the driver does not."""
        binaries = await asyncio.to_thread(find_binaries, self._server.bindir)
        if account.is_separate:
            binaries = await reachable_binaries(binaries, account)
        passfile = str(files.console_password).replace("'", r"\'")
        finished = await run_program(
            account,
            binaries.program("psql"),
            "--no-psqlrc",
            "--csv",
            f"--dbname=host={HOST} port={_kept_port(files)} dbname={PROGRAM} user={CONSOLE}"
            f" passfile='{passfile}' sslmode=disable gssencmode=disable connect_timeout=5",
            f"--command={command}",
            timeout_s=timeout_s,
        )
        if finished.code != 0:
            raise ServerError(
                f"The pooler refuses {command}: {finished.output.strip()}.",
                hint="Start it again: `viral pooler stop`, then `viral pooler start`.",
            )
        return list(csv.DictReader(finished.output.splitlines()))


def leads_to_pooler(url: ServerUrl, home: Path) -> bool:
    """Tell whether an address is that of the pooler of an installation."""
    if not url.is_pooled or url.host not in {HOST, "localhost"}:
        return False
    installation = load_installation(home)
    return installation is not None and _kept_port(_files(installation)) == url.port


def find_program() -> str:
    """Find PgBouncer on this machine."""
    found = shutil.which(PROGRAM) or shutil.which(PROGRAM, path=PROGRAM_FOLDERS)
    if found is None:
        raise BinariesMissing(
            "PgBouncer is not on this machine.",
            hint="Install it: `apt-get install pgbouncer`; its own service is not needed:"
            " `systemctl disable --now pgbouncer`.",
        )
    return found


def _files(installation: Installation) -> _Files:
    return _Files(installation.state / "pooler", installation.log_file.with_name("pgbouncer.log"))


def _kept_port(files: _Files) -> int | None:
    with suppress(FileNotFoundError):
        text = files.configuration.read_text("utf-8")
        if found := re.search(r"^listen_port = (\d+)$", text, re.MULTILINE):
            return int(found[1])
    return None


def _console_password(files: _Files) -> str:
    """Keep the password: the pooler that runs knows no other."""
    with suppress(FileNotFoundError):
        return files.console_password.read_text("utf-8").strip().rpartition(":")[2]
    return secrets.token_urlsafe(32)


def _find_process(files: _Files, account: Account) -> int | None:
    """Find the process that runs with our configuration; no pid file is believed."""
    for entry in PROC.iterdir():
        with suppress(OSError):
            if not entry.name.isdigit() or entry.stat().st_uid != account.uid:
                continue
            words = (entry / "cmdline").read_bytes().split(b"\0")
            # Nothing is left of the words of a process that has ended.
            if Path(os.fsdecode(words[0])).name == PROGRAM and (
                os.fsencode(files.configuration) in words
            ):
                return int(entry.name)
    return None


async def _wait_for_end(files: _Files, account: Account) -> None:
    deadline = asyncio.get_running_loop().time() + STOP_TIMEOUT_S
    while asyncio.get_running_loop().time() < deadline:
        if _find_process(files, account) is None:
            return
        await asyncio.sleep(POLL_S)


def _pool(row: dict[str, str], held: set[str]) -> Pool:
    return Pool(
        database=row["database"],
        role=row["user"],
        clients=int(row["cl_active"]) + int(row["cl_waiting"]),
        waiting=int(row["cl_waiting"]),
        longest_wait_s=int(row["maxwait"]) + int(row["maxwait_us"]) / 1e6,
        servers=sum(int(row[name]) for name in ("sv_active", "sv_idle", "sv_used", "sv_tested")),
        idle_servers=int(row["sv_idle"]),
        is_held=row["database"] in held,
    )


def _start_failed(log: LogMark, output: str) -> ServerError:
    reason = output.strip().rpartition("\n")[2] or log.last_reason()
    return ServerError(f"The pooler did not start: {reason}.", hint=f"See {log.path}.")
