"""The embedded PostgreSQL: started, joined, watched and stopped by us."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from viral.database.urls import ServerUrl
from viral.errors import ServerError, ServerNotOurs, ServerUnreachable
from viral.postgres.account import Account, run_program, server_account
from viral.postgres.binaries import Binaries, find_binaries, reachable_binaries
from viral.postgres.data_folder import (
    clear_stale_files,
    exchange,
    explained,
    make_data_folder,
    write_configuration,
)
from viral.postgres.installation import (
    Installation,
    keep_port,
    load_installation,
    load_or_create_installation,
    locked,
    make_server_folders,
    make_state_folder,
)
from viral.postgres.ports import HOST, free_port, is_free, port_in_use
from viral.postgres.probe import probe
from viral.postgres.processes import server_processes, stop_server
from viral.postgres.server_log import LogMark, mark_log
from viral.postgres.use import Use, let_go_with_last, using

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from datetime import datetime
    from pathlib import Path

    from viral.database.secrets import Secrets

START_ATTEMPTS = 5
POLL_S = 0.05
PG_CTL_WAIT_S = 5
# A recovery after a crash may take this long; a server that neither recovers nor answers is hung.
RECOVERY_TIMEOUT_S = 600
SILENCE_TIMEOUT_S = 60
LOST_SOCKET_GRACE_S = 5
STOP_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens."""

    host: str
    port: int
    socket_dir: Path


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The server as an operator sees it; paths and port are unknown before the first start."""

    is_running: bool
    version: str
    source: str
    address: Address | None = None
    data_dir: Path | None = None
    log_file: Path | None = None
    pid: int | None = None
    since: datetime | None = None


class Server:
    """The PostgreSQL of one installation; it outlives the process that started it."""

    def __init__(
        self,
        *,
        home: Path,
        secrets: Secrets,
        bindir: Path | None = None,
        port: int | None = None,
        archives: bool = False,
    ) -> None:
        """Name a server; one that `archives` keeps its WAL until `backup.wal.ship` takes it."""
        self._home = home.resolve()
        self._archives = archives
        self._secrets = secrets
        self._bindir = bindir
        self._port = port

    @property
    def home(self) -> Path:
        """The folder that remembers the server."""
        return self._home

    @property
    def secrets(self) -> Secrets:
        """The passwords and keys of the installation that the server is of."""
        return self._secrets

    @property
    def bindir(self) -> Path | None:
        """The folder of programs that was named for it, if any."""
        return self._bindir

    @property
    def installation(self) -> Installation:
        """What is remembered of the server; known from the first start on."""
        return self._installation()

    @property
    def data_dir(self) -> Path:
        """The folder of the data; known from the first start on."""
        return self._installation().data_dir

    @property
    def log_file(self) -> Path:
        """The server's log; known from the first start on."""
        return self._installation().log_file

    def url(self, role: str, database: str = "viral") -> str:
        """Give the address of a database with the role's password in it."""
        port = _kept_port(self._installation())
        password = quote(self._secrets.password(role), safe="")
        return f"postgresql://{role}:{password}@{HOST}:{port}/{quote(database, safe='')}"

    def socket_url(self, role: str, database: str = "postgres") -> ServerUrl:
        """Give the address on this machine's socket: the superuser's only one."""
        installation = self._installation()
        return ServerUrl(
            host=str(installation.socket_dir),
            port=_kept_port(installation),
            user=role,
            password=self._secrets.password(role),
            database=database,
        )

    async def is_answering(self) -> bool:
        """Say whether a connection to the server of this installation works."""
        installation = load_installation(self._home)
        return installation is not None and (
            (await probe(installation, self._secrets)).state == "ours"
        )

    async def status(self) -> ServerStatus:
        """Look at the server without changing anything."""
        binaries = await asyncio.to_thread(find_binaries, self._bindir)
        version = ".".join(map(str, binaries.version))
        status = ServerStatus(is_running=False, version=version, source=binaries.source)
        installation = load_installation(self._home)
        if installation is None:
            return status
        status = replace(status, data_dir=installation.data_dir, log_file=installation.log_file)
        answer = await probe(installation, self._secrets)
        if answer.facts is None:
            return status
        account = await asyncio.to_thread(server_account)
        processes = await server_processes(installation.data_dir, account=account)
        return replace(
            status,
            is_running=True,
            version=answer.facts.version,
            address=_address(installation),
            pid=processes.postmaster,
            since=answer.facts.since,
        )

    async def start(self, *, stays: bool = True) -> Address:
        """Start the server, or join the one that runs; make its data folder the first time.

        One that does not stay, and was not running, is stopped by the last who uses it.
        """
        binaries = await asyncio.to_thread(find_binaries, self._bindir)
        account = await asyncio.to_thread(server_account)
        with explained(self._home):
            installation = load_or_create_installation(self._home)
            make_state_folder(installation, account)
            async with locked(installation):
                make_server_folders(installation, account)
                if stays:
                    let_go_with_last(installation, goes=False)
                return await self._start(account, binaries, stays=stays)

    @asynccontextmanager
    async def used(self, *, ends_within_s: float | None = None) -> AsyncIterator[None]:
        """Use the server, which runs or is started within the block with `stays=False`.

        With a limit it goes even if it was to stay, unless somebody else uses it; who waits longer
        than that for the server's lock raises ServerError.
        """
        account = await asyncio.to_thread(server_account)
        with explained(self._home):
            installation = load_or_create_installation(self._home)
            make_state_folder(installation, account)
        async with using(installation) as use:
            try:
                yield
            finally:
                await self._leave(use, account, ends_within_s)

    async def _leave(self, use: Use, account: Account, ends_within_s: float | None) -> None:
        installation = load_installation(self._home)
        if installation is None or not installation.state.is_dir():
            return
        if ends_within_s is None and not use.may_end_it():
            return
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(ends_within_s):
                    await stack.enter_async_context(locked(installation))
            except TimeoutError as error:
                raise ServerError(
                    "Another command is at work on the server: it was not stopped.",
                    hint="Stop it when that has ended: `viral server stop`.",
                ) from error
            if ends_within_s is not None:
                let_go_with_last(installation, goes=True)
            if use.is_last():
                await _stop(installation, account)

    async def stop(self) -> None:
        """Stop the server and wait until it is gone; nothing happens where none runs."""
        installation = load_installation(self._home)
        if installation is None or not installation.state.is_dir():
            return
        account = await asyncio.to_thread(server_account)
        with explained(installation.state):
            async with locked(installation):
                await _stop(installation, account)

    async def replace_data(self, data_dir: Path, *, kept_as: str) -> Path | None:
        """Stop the server and put another data folder in place; return where its own is kept.

        None where it had none any more. It is not started: who supervises it waits for the lock,
        and then starts it.
        """
        installation = self._installation()
        kept = installation.state / kept_as
        account = await asyncio.to_thread(server_account)
        with explained(installation.state):
            make_state_folder(installation, account)
            async with locked(installation):
                await _stop(installation, account)
                exchange(installation, data_dir, kept=kept)
        return kept if kept.exists() else None

    async def _start(self, account: Account, binaries: Binaries, *, stays: bool) -> Address:
        installation = self._installation()
        if await self._joins(installation, account):
            return self._checked_address(installation)
        let_go_with_last(installation, goes=not stays)
        if account.is_separate:
            binaries = await reachable_binaries(binaries, account)
        await make_data_folder(
            installation,
            binaries=binaries,
            account=account,
            admin_password=self._secrets.password("viral_admin"),
        )
        for port in self._ports(installation):
            installation = keep_port(installation, port)
            write_configuration(
                installation,
                port=port,
                binaries=binaries,
                account=account,
                archives=self._archives,
            )
            clear_stale_files(installation)
            log = mark_log(installation.log_file)
            await _launch(installation, binaries=binaries, account=account)
            if await self._comes_up(installation, account):
                return _address(installation)
            if not log.tells_of_a_taken_port():
                raise _start_failed(log)
        raise port_in_use(_kept_port(installation))

    async def _joins(self, installation: Installation, account: Account) -> bool:
        """Join the running server; else see to it that nothing is left of an earlier one."""
        if (await probe(installation, self._secrets)).state == "ours":
            return True
        processes = await server_processes(installation.data_dir, account=account)
        if processes.postmaster is not None and await self._becomes_ready(installation, account):
            return True
        await _stop(installation, account)
        return False

    async def _comes_up(self, installation: Installation, account: Account) -> bool:
        """Wait for the server that we started; one that refuses us does not stay behind."""
        try:
            return await self._becomes_ready(installation, account)
        except ServerNotOurs:
            await _stop(installation, account)
            raise

    async def _becomes_ready(self, installation: Installation, account: Account) -> bool:
        """Wait until the server answers; say no if it ended or lost its socket."""
        clock = asyncio.get_running_loop().time
        begun = heard_at = clock()
        while clock() - heard_at < SILENCE_TIMEOUT_S and clock() - begun < RECOVERY_TIMEOUT_S:
            answer = await probe(installation, self._secrets)
            if answer.state == "ours":
                return True
            if answer.state == "not_ours":
                raise ServerNotOurs(
                    f"The server on {installation.socket_dir} is not of this installation, "
                    "or refuses its password.",
                    hint=f"Put back the secrets.json that {installation.data_dir} was made with.",
                )
            if answer.state != "silent":
                heard_at = clock()
            if (await server_processes(installation.data_dir, account=account)).postmaster is None:
                return False
            if clock() - begun > LOST_SOCKET_GRACE_S and not _socket(installation).exists():
                return False
            await asyncio.sleep(POLL_S)
        raise ServerUnreachable(
            f"The server runs but does not answer on {installation.socket_dir}.",
            hint=f"See {installation.log_file}; it may be recovering, or have no free connection.",
        )

    def _ports(self, installation: Installation) -> Iterator[int]:
        """Offer ports to start on: the one that was asked for, or the kept one and free others."""
        if self._port is not None:
            if not is_free(self._port):
                raise port_in_use(self._port)
            yield self._port
            return
        if installation.port is not None and is_free(installation.port):
            yield installation.port
        # Another program may take a port between our look and the server's start.
        for _ in range(START_ATTEMPTS):
            yield free_port()

    def _installation(self) -> Installation:
        installation = load_installation(self._home)
        if installation is None:
            raise ServerUnreachable(
                f"There is no server in {self._home} yet.", hint="Start it with `viral up`."
            )
        return installation

    def _checked_address(self, installation: Installation) -> Address:
        address = _address(installation)
        if self._port is not None and self._port != address.port:
            raise ServerError(
                f"The server already runs, on port {address.port} and not on {self._port}.",
                hint="Stop it with `viral server stop`, then start it again.",
            )
        return address


async def _launch(installation: Installation, *, binaries: Binaries, account: Account) -> None:
    """Start the server and wait a moment; whether it came up is for the caller to find out."""
    launch = asyncio.ensure_future(
        run_program(
            account,
            binaries.program("pg_ctl"),
            f"--pgdata={installation.data_dir}",
            f"--log={installation.log_file}",
            "--wait",
            f"--timeout={PG_CTL_WAIT_S}",
            "start",
            timeout_s=PG_CTL_WAIT_S + SILENCE_TIMEOUT_S,
        )
    )
    try:
        await asyncio.shield(launch)
    except asyncio.CancelledError:
        # Whoever stops the server now has to find what was started.
        await launch
        raise


async def _stop(installation: Installation, account: Account) -> None:
    while (processes := await server_processes(installation.data_dir, account=account)).all:
        await stop_server(processes, account=account, timeout_s=STOP_TIMEOUT_S)


def _start_failed(log: LogMark) -> ServerError:
    return ServerError(f"The server did not start: {log.last_reason()}.", hint=f"See {log.path}.")


def _address(installation: Installation) -> Address:
    return Address(HOST, _kept_port(installation), installation.socket_dir)


def _kept_port(installation: Installation) -> int:
    if installation.port is None:
        raise ServerUnreachable(
            f"The server in {installation.home} was never started.",
            hint="Start it with `viral up`.",
        )
    return installation.port


def _socket(installation: Installation) -> Path:
    return installation.socket_dir / f".s.PGSQL.{_kept_port(installation)}"
