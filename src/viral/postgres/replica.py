"""A streaming replica of the embedded server on this machine: for trying, and for tests.

The replica is a server with a folder of its own. It is copied by `pg_basebackup` and follows
through a replication slot (PostgreSQL manual, 26.2), by which the primary keeps the log that the
replica still needs, within `max_slot_wal_keep_size`.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import asyncpg

from viral.database.driver import driver_connection
from viral.database.secrets import sync_folder, write_private
from viral.errors import ServerError
from viral.postgres.account import run_program, server_account
from viral.postgres.backup.physical import ROLE as BACKUP_ROLE
from viral.postgres.backup.physical import beside_branches
from viral.postgres.binaries import find_binaries, reachable_binaries
from viral.postgres.data_folder import explained
from viral.postgres.installation import (
    load_installation,
    load_or_create_installation,
    locked,
    make_server_folders,
    make_state_folder,
)
from viral.postgres.ports import HOST
from viral.postgres.server_log import mark_log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from viral.postgres.account import Account
    from viral.postgres.installation import Installation
    from viral.postgres.server import Address, Server

SLOT = "viral_replica"
ROLE = "viral_backup"
SETTINGS_FILE = "replica.conf"
PASSWORD_FILE = "replica.pass"  # noqa: S105 - the name of a file
UNFINISHED = "replica.new"
COPY_TIMEOUT_S = 21_600
STREAM_TIMEOUT_S = 15
POLL_S = 0.1
PROGRESS_S = 0.5
QUERY_TIMEOUT_S = 5
AGAIN = "Make it again: `viral replica start --again`."

# What a restore left in the primary's own file would end the replica's recovery.
_NOT_COPIED = re.compile(r"\s*(recovery_|restore_command|archive_|primary_|standby_)")
_SLOT_STATE = """
SELECT s.wal_status, (pg_current_wal_flush_lsn() - s.restart_lsn)::bigint AS kept, r.state
FROM pg_replication_slots AS s LEFT JOIN pg_stat_replication AS r ON r.pid = s.active_pid
WHERE s.slot_name = $1
"""
_POSITION = "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint"
_REPLAYED = """
SELECT pg_is_in_recovery() AS is_replica,
       coalesce((pg_last_wal_replay_lsn() - '0/0')::bigint, 0) AS replayed, coalesce(
         extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 0
       )::float8 AS age_s
"""


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """A local replica as an operator sees it; what cannot be asked is None.

    `slot` is PostgreSQL's word for what the primary keeps for it: reserved, extended and unreserved
    are well, lost is the end. `kept_bytes` of log wait for it.
    """

    is_made: bool
    is_running: bool = False
    is_streaming: bool = False
    address: Address | None = None
    slot: str | None = None
    kept_bytes: int | None = None
    lag_bytes: int | None = None
    lag_s: float | None = None


async def start_replica(
    primary: Server,
    replica: Server,
    *,
    again: bool = False,
    advance: Callable[[str, int, int | None], None] = lambda _step, _done, _total: None,
) -> Address:
    """Start the replica and wait until it streams; make it the first time, or again.

    Raises ServerError when it cannot follow the primary any more, and ServerUnreachable when there
    is none yet.
    """
    _ = primary.installation
    if again:
        await remove_replica(primary, replica)
    port = (await primary.start()).port
    account = await asyncio.to_thread(server_account)
    with explained(replica.home):
        installation = load_or_create_installation(replica.home)
        make_state_folder(installation, account)
        async with locked(installation):
            make_server_folders(installation, account)
            _write_password(installation, primary, account)
            if not installation.data_dir.exists():
                await _make(primary, installation, port=port, account=account, advance=advance)
            is_changed = _write_settings(installation, port=port, account=account)
    if is_changed and await replica.is_answering():
        await replica.stop()
    await _ensure_slot(primary)
    log = mark_log(installation.log_file)
    address = await replica.start()
    if not await _streams(primary):
        raise ServerError(
            f"The replica runs but does not follow the primary: {log.last_reason()}.", hint=AGAIN
        )
    return address


async def remove_replica(primary: Server, replica: Server) -> None:
    """Stop the replica, let its slot go, and delete its copy of the data."""
    await replica.stop()
    if await primary.is_answering():
        async with _connection(primary) as connection:
            if await connection.fetchrow(_SLOT_STATE, SLOT):
                await _drop_slot(connection)
    installation = load_installation(replica.home)
    if installation is not None:
        with explained(installation.state):
            for folder in (installation.state, installation.socket_dir, replica.home):
                if folder.exists():
                    await asyncio.to_thread(shutil.rmtree, folder)


async def replica_status(primary: Server, replica: Server) -> ReplicaStatus:
    """Look at the replica and at its slot without changing anything."""
    installation = load_installation(replica.home)
    is_made = installation is not None and installation.data_dir.exists()
    status = ReplicaStatus(is_made=is_made)
    position = 0
    if await primary.is_answering():
        async with _connection(primary) as connection:
            row = await connection.fetchrow(_SLOT_STATE, SLOT)
            position = await connection.fetchval(_POSITION)
        if row is not None:
            is_streaming = row["state"] == "streaming"
            status = replace(
                status, slot=row["wal_status"], kept_bytes=row["kept"], is_streaming=is_streaming
            )
    found = await replica.status()
    if not found.is_running:
        return status
    async with _connection(replica) as connection:
        row = await connection.fetchrow(_REPLAYED)
        assert row is not None
    status = replace(status, is_running=True, address=found.address)
    if not position or not row["is_replica"]:
        return status
    lag = max(0, position - row["replayed"])
    return replace(status, lag_bytes=lag, lag_s=row["age_s"] if lag else 0.0)


async def _make(
    primary: Server,
    installation: Installation,
    *,
    port: int,
    account: Account,
    advance: Callable[[str, int, int | None], None],
) -> None:
    """Copy the primary's data; the folder appears whole or not at all."""
    for leftover in installation.state.glob(f"{UNFINISHED}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished = installation.state / f"{UNFINISHED}-{secrets.token_hex(4)}"
    unfinished.mkdir(mode=0o700)
    os.chown(unfinished, account.uid, account.gid)
    async with _connection(primary) as connection:
        total = await connection.fetchval("SELECT sum(pg_database_size(oid)) FROM pg_database")
        # A slot of an earlier replica keeps nothing that this one needs.
        if await connection.fetchrow(_SLOT_STATE, SLOT):
            await _drop_slot(connection)
        await connection.execute("SELECT pg_create_physical_replication_slot($1, true)", SLOT)
    try:
        # As a backup does: a copy of a copy that is being made would not be whole.
        async with beside_branches(primary.socket_url(BACKUP_ROLE)):
            copying = asyncio.create_task(_copy(primary, unfinished, port=port, account=account))
            while not (await asyncio.wait({copying}, timeout=PROGRESS_S))[0]:
                advance("Copying", await asyncio.to_thread(_size_of, unfinished), int(total))
            await copying
        _furnish(unfinished, account)
    except BaseException:
        # Otherwise the primary would keep its log for a replica that does not come.
        async with _connection(primary) as connection:
            await _drop_slot(connection)
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    unfinished.rename(installation.data_dir)
    sync_folder(installation.state)


async def _copy(primary: Server, folder: Path, *, port: int, account: Account) -> None:
    binaries = await asyncio.to_thread(find_binaries, primary.bindir)
    if account.is_separate:
        binaries = await reachable_binaries(binaries, account)
    finished = await run_program(
        account,
        binaries.program("pg_basebackup"),
        f"--pgdata={folder}",
        f"--dbname={_primary_address(folder.parent, port)}",
        f"--slot={SLOT}",
        "--wal-method=stream",
        "--checkpoint=fast",
        "--no-password",
        timeout_s=COPY_TIMEOUT_S,
    )
    if finished.code != 0:
        reason = (finished.output.strip().splitlines() or ["pg_basebackup said nothing"])[-1]
        raise ServerError(
            f"The replica cannot be made: {reason.rstrip('.')}.",
            hint=f"See what is wrong with the primary or {folder.parent}, then start again.",
        )


def _furnish(folder: Path, account: Account) -> None:
    """Make a replica of the copy: it reads our settings last, and never promotes itself."""
    owner = (account.uid, account.gid)
    configuration = folder / "postgresql.conf"
    text = configuration.read_text("utf-8")
    write_private(configuration, f"{text}include '{SETTINGS_FILE}'\n", owner=owner)
    changed = folder / "postgresql.auto.conf"
    lines = changed.read_text("utf-8").splitlines(keepends=True)
    write_private(
        changed, "".join(each for each in lines if not _NOT_COPIED.match(each)), owner=owner
    )
    write_private(folder / "standby.signal", "", owner=owner)


def _write_settings(installation: Installation, *, port: int, account: Account) -> bool:
    """Write where the primary is; say whether that is another place than before."""
    address = _primary_address(installation.state, port).replace("'", "''")
    text = (
        "# Written by viral at each start of the replica.\n"
        f"primary_conninfo = '{address}'\n"
        f"primary_slot_name = '{SLOT}'\n"
        "hot_standby_feedback = on\n"
        "archive_mode = off\n"
    )
    path = installation.data_dir / SETTINGS_FILE
    if path.is_file() and path.read_text("utf-8") == text:
        return False
    write_private(path, text, owner=(account.uid, account.gid))
    return True


def _write_password(installation: Installation, primary: Server, account: Account) -> None:
    """Write the password where the server alone reads it: in no setting and no argument."""
    password = primary.secrets.password(ROLE).replace("\\", "\\\\").replace(":", "\\:")
    path = installation.state / PASSWORD_FILE
    text = f"{HOST}:*:*:{ROLE}:{password}\n"
    write_private(path, text, owner=(account.uid, account.gid))


def _primary_address(state: Path, port: int) -> str:
    path = str(state / PASSWORD_FILE).replace("\\", "\\\\").replace("'", "\\'")
    return f"host={HOST} port={port} user={ROLE} application_name={SLOT} passfile='{path}'"


async def _ensure_slot(primary: Server) -> None:
    async with _connection(primary) as connection:
        slot = await connection.fetchrow(_SLOT_STATE, SLOT)
        if slot is None:
            await connection.execute("SELECT pg_create_physical_replication_slot($1, true)", SLOT)
        elif slot["wal_status"] == "lost":
            raise ServerError(
                "The replica was away for too long: the primary does not keep its log any more.",
                hint=AGAIN,
            )


async def _drop_slot(connection: asyncpg.Connection) -> None:
    """Drop the slot; a sender whose replica ended just now lets go of it within moments."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + QUERY_TIMEOUT_S
    while True:
        try:
            await connection.execute("SELECT pg_drop_replication_slot($1)", SLOT)
        except asyncpg.ObjectInUseError as error:
            if clock() > deadline:
                raise ServerError(
                    f"The slot {SLOT} is in use: {error}.",
                    hint="Another copy is being made, or was stopped; try again in a moment.",
                ) from error
            await asyncio.sleep(POLL_S)
        else:
            return


async def _streams(primary: Server) -> bool:
    """Wait until the replica has caught up; one that still does after a while is well, too."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + STREAM_TIMEOUT_S
    state = None
    async with _connection(primary) as connection:
        while state != "streaming" and clock() < deadline:
            await asyncio.sleep(POLL_S)
            slot = await connection.fetchrow(_SLOT_STATE, SLOT)
            state = None if slot is None else slot["state"]
    return state in {"streaming", "catchup"}


def _size_of(folder: Path) -> int:
    size = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118 - many files
            except FileNotFoundError:
                continue
    return size


@asynccontextmanager
async def _connection(server: Server) -> AsyncIterator[asyncpg.Connection]:
    url = replace(server.socket_url("viral_admin"), connect_timeout_s=QUERY_TIMEOUT_S)
    async with driver_connection(url, command_timeout_s=QUERY_TIMEOUT_S) as connection:
        yield connection
