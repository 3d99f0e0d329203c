"""A server as it was: unpacked beside the one that runs, recovered to a moment, and let in."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import subprocess
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING

from viral.database.faults import DRIVER_ERRORS
from viral.database.secrets import write_private
from viral.errors import BackupBroken, BackupError, RestoreRefused, ServerError, ServerUnreachable
from viral.postgres.account import run_program, server_account
from viral.postgres.backup.catalogue import BASE, backup_folder, list_backups
from viral.postgres.backup.recovery import (
    Archive,
    Plan,
    nothing_for,
    plan_backup,
    plan_moment,
    read_archive,
    system_at,
    with_waiting,
)
from viral.postgres.backup.sealing import unseal
from viral.postgres.backup.wal import ship, switch
from viral.postgres.backup.wal_supply import WalSupply, wal_bytes
from viral.postgres.binaries import find_binaries, reachable_binaries
from viral.postgres.bootstrap import admin_connection
from viral.postgres.data_folder import explained, system_of
from viral.postgres.disk import SPARE_BYTES
from viral.postgres.installation import (
    load_installation,
    load_or_create_installation,
    make_server_folders,
    make_state_folder,
)
from viral.postgres.processes import server_processes
from viral.postgres.server import Server
from viral.postgres.server_log import mark_log

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from viral.database.encryption.keys import KeyRing
    from viral.postgres.account import Account
    from viral.postgres.backup.catalogue import Backup
    from viral.postgres.backup.target import Target
    from viral.postgres.binaries import Binaries
    from viral.postgres.installation import Installation
    from viral.postgres.server_log import LogMark

    Advance = Callable[[str, int, int | None], None]
    Prepare = Callable[[Server], Awaitable[object]]

PROGRAM_TIMEOUT_S = 6 * 3600
RECOVERY_TIMEOUT_S = 6 * 3600
POLL_S = 0.05
# The default of `max_wal_size`.
MOST_WAL_BYTES = 1 << 30
_ENDED_EARLY = "recovery ended before configured recovery target was reached"
_OURS = (
    "restore_command",
    "recovery_target",
    "recovery_target_time",
    "recovery_target_lsn",
    "recovery_target_inclusive",
    "recovery_target_timeline",
    "recovery_target_action",
    "listen_addresses",
)
# What somebody set by ALTER SYSTEM on the source and a copy must not have: it would archive into
# the source's archive, listen at its address, or follow its primary.
_NOT_FOR_A_COPY = re.compile(
    r"\s*(archive_|restore_command|recovery_|primary_|port|listen_addresses|unix_socket_)"
)


@dataclass(frozen=True, slots=True)
class Restored:
    """A server that is running and promoted; `recovered_to` is its last commit's time, if any."""

    server: Server
    backup: Backup
    recovered_to: datetime | None
    timeline: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class Goal:
    """Where recovery ends: at a moment, an LSN, or the end of a backup; else at the last WAL."""

    at: datetime | None = None
    lsn: str | None = None
    backup_id: str | None = None

    @property
    def settings(self) -> dict[str, str]:
        """What PostgreSQL is told of it."""
        if self.backup_id is not None:
            return {"recovery_target": "immediate"}
        if self.lsn is not None:
            return {"recovery_target_lsn": self.lsn, "recovery_target_inclusive": "off"}
        if self.at is not None:
            return {"recovery_target_time": f"{self.at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00"}
        return {}


@dataclass(frozen=True, slots=True)
class _Site:
    """Where a copy is built."""

    installation: Installation
    account: Account
    binaries: Binaries
    folder: Path
    wal: Path

    async def run(self, program: str, *arguments: str, fault: str) -> None:
        """Run a program of PostgreSQL on the copy; `fault` says what its failure means."""
        finished = await run_program(
            self.account, self.binaries.program(program), *arguments, timeout_s=PROGRAM_TIMEOUT_S
        )
        if finished.code:
            reason = finished.output.strip().rpartition("\n")[2] or "it was stopped"
            raise BackupBroken(f"{fault}: {reason.rstrip('.')}.")


async def restore_cluster(
    source: Server,
    target: Target,
    ring: KeyRing,
    *,
    home: Path,
    at: datetime | None = None,
    lsn: str | None = None,
    backup_id: str | None = None,
    prepare: Prepare,
    advance: Advance,
) -> Restored:
    """Build a server in an empty folder `home`, as the source was at a moment; it runs.

    Without a moment it is as the source is. Nobody but `prepare` gets in before that is done. A
    restore that fails leaves nothing behind. Raises RestoreRefused and BackupBroken.
    """
    begun = asyncio.get_running_loop().time()
    goal = Goal(at if at is not None and at < datetime.now(UTC) else None, lsn, backup_id)
    identity = source.installation.id
    catalogue = await list_backups(target, identity, ring)
    if not catalogue.physical:
        # With a wrong key nothing more may be put under it, either.
        raise nothing_for(catalogue, at)
    await _bring_in_wal(source, target, ring, goal)
    system = system_at(catalogue, goal.at, backup_id)
    if goal == Goal() and system_of(source.data_dir) not in {None, system}:
        raise RestoreRefused(
            "There is no backup of the server since its data folder was upgraded or replaced.",
            hint="Make one: `viral backup create --full`; or restore what was before, with --at.",
        )
    archive = await read_archive(target, identity, ring, system=system)
    if system_of(source.data_dir) in {None, system}:
        archive = with_waiting(archive, source.installation.spool, source.data_dir / "pg_wal")
    plan = plan_backup(catalogue, backup_id) if backup_id else plan_moment(catalogue, archive, at)
    _refuse_taken(home)
    server = Server(home=home, secrets=source.secrets, bindir=source.bindir)
    try:
        site = await _make_site(home, source, _needed_bytes(plan, archive, goal))
        await _unpack(site, plan, target, ring, identity, advance=advance)
        supply = WalSupply(source, target, ring, archive, site.wal, site.account, site.binaries)
        with explained(site.wal):
            supply.give_histories()
            if backup_id is None:
                await supply.gather(
                    plan, site.installation.data_dir, until=goal.at, advance=advance
                )
        recovered_to = await _recover(site, server, plan, goal, advance=advance)
        await _let_in(server, prepare, advance=advance)
        await asyncio.to_thread(shutil.rmtree, site.wal, ignore_errors=True)
    except BaseException:
        await remove_server(server)
        raise
    duration_s = asyncio.get_running_loop().time() - begun
    return Restored(server, plan.backup, recovered_to, plan.timeline, duration_s)


async def remove_server(server: Server) -> None:
    """Stop a server that was restored beside another one, and remove all that is of it."""
    installation = load_installation(server.home)
    if installation is None:
        return
    await server.stop()
    for folder in (installation.state, installation.socket_dir, installation.home):
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def open_file(
    target: Target, ring: KeyRing, installation_id: str, backup: Backup, file: str
) -> AsyncIterator[bytes]:
    """Read a file of a backup; BackupBroken names it unless it is, to the bit, what was stored."""
    name = backup_folder(installation_id, backup.id) + file
    digest = hashlib.sha256()

    async def watched() -> AsyncGenerator[bytes, None]:
        async for chunk in target.read(name):
            digest.update(chunk)
            yield chunk

    async with aclosing(unseal(watched(), ring, name=name)) as pieces:
        async for piece in pieces:
            yield piece
    if digest.hexdigest() != backup.files[file].sha256:
        raise BackupBroken(f"{name} is not the file that was stored.")


async def _bring_in_wal(source: Server, target: Target, ring: KeyRing, goal: Goal) -> None:
    """Have all in the target that was committed before; what cannot be is taken from pg_wal."""
    if goal.backup_id is None and await source.is_answering():
        with suppress(BackupError):
            await switch(source)
    with suppress(BackupError):
        await ship(source, target, ring)


def _refuse_taken(home: Path) -> None:
    found = load_installation(home)
    if found is not None and found.data_dir.exists():
        raise RestoreRefused(
            f"{home} holds a server already.", hint="Restore into a folder that is not there yet."
        )


def _needed_bytes(plan: Plan, archive: Archive, goal: Goal) -> int:
    """Give what the backups take while they are unpacked and made one, and the WAL after them.

    What is replayed lies in the server's own pg_wal a second time, up to `max_wal_size`.
    """
    needed = sum(each.plain_bytes for each in plan.chain) + SPARE_BYTES
    if len(plan.chain) > 1:
        needed += plan.chain[0].plain_bytes
    replayed = 0 if goal.backup_id else wal_bytes(plan, archive, until=goal.at)
    return needed + replayed + min(replayed, MOST_WAL_BYTES)


async def _make_site(home: Path, source: Server, needed: int) -> _Site:
    account = await asyncio.to_thread(server_account)
    binaries = await asyncio.to_thread(find_binaries, source.bindir)
    with explained(home):
        installation = load_or_create_installation(home)
        make_state_folder(installation, account)
        make_server_folders(installation, account)
        if account.is_separate:
            binaries = await reachable_binaries(binaries, account)
        free = shutil.disk_usage(installation.state).free
        if free < needed:
            raise RestoreRefused(
                f"The restore needs {needed >> 20:,} MB in {installation.state.parent}, and"
                f" {free >> 20:,} MB are free.",
                hint="Make space there, then try again.",
            )
        folder, wal = installation.state / "data.new-restore", installation.state / "wal"
        for each in (folder, wal):
            each.mkdir(mode=0o700)
            os.chown(each, account.uid, account.gid)
    return _Site(installation, account, binaries, folder, wal)


async def _unpack(
    site: _Site,
    plan: Plan,
    target: Target,
    ring: KeyRing,
    identity: str,
    *,
    advance: Advance,
) -> None:
    """Unpack a chain of backups, make one data folder of them, and check it file by file."""
    total, done = sum(each.plain_bytes for each in plan.chain), 0

    async def counted(backup: Backup) -> AsyncIterator[bytes]:
        nonlocal done
        async for piece in open_file(target, ring, identity, backup, BASE):
            done += len(piece)
            advance("Unpacking", done, max(total, done))
            yield piece

    folders = []
    for number, backup in enumerate(plan.chain):
        folder = site.folder / str(number)
        await _untar(counted(backup), folder, site.account)
        folders.append(str(folder))
    whole = folders[0]
    fault = f"{plan.backup.id} cannot be restored"
    if len(folders) > 1:
        advance("Combining", 0, None)
        whole = str(site.folder / "whole")
        # A server brings its whole folder to the disk before it recovers.
        await site.run("pg_combinebackup", "--no-sync", *folders, f"--output={whole}", fault=fault)
        for each in folders:
            await asyncio.to_thread(shutil.rmtree, each)
    advance("Checking", 0, None)
    await site.run("pg_verifybackup", "--no-parse-wal", "--exit-on-error", whole, fault=fault)
    (site.folder / whole).rename(site.installation.data_dir)
    site.folder.rmdir()


async def _untar(chunks: AsyncIterator[bytes], folder: Path, account: Account) -> None:
    """Unpack an archive as the server's user, so that all of it is that user's."""
    process = await asyncio.to_thread(_start_tar, folder, account)
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        async for chunk in chunks:
            await asyncio.to_thread(process.stdin.write, chunk)
        await asyncio.to_thread(process.stdin.close)
    except BrokenPipeError:
        pass
    except BaseException:
        process.kill()
        with suppress(BrokenPipeError):
            process.stdin.close()
        raise
    finally:
        with process.stderr as errors:
            said = await asyncio.to_thread(_end_of, errors)
        await asyncio.to_thread(process.wait)
    if process.returncode:
        raise BackupError(
            f"The backup cannot be unpacked into {folder}: {said or 'tar was stopped'}.",
            hint="See to the space there, then try again.",
        )


def _end_of(stream: IO[bytes]) -> str:
    return stream.read().decode(errors="replace").strip().rpartition("\n")[2].rstrip(".")


def _start_tar(folder: Path, account: Account) -> subprocess.Popen[bytes]:
    folder.mkdir(mode=0o700)
    os.chown(folder, account.uid, account.gid)
    return subprocess.Popen(
        ("/bin/tar", "--extract", "--file=-", f"--directory={folder}"),
        cwd="/",
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        extra_groups=[] if account.is_separate else None,
        group=account.gid if account.is_separate else None,
        user=account.uid if account.is_separate else None,
        umask=0o077,
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


async def _recover(
    site: _Site, server: Server, plan: Plan, goal: Goal, *, advance: Advance
) -> datetime | None:
    """Replay WAL up to the goal and promote; a goal past the last commit is the last commit."""
    try:
        return await _replay(site, server, plan, goal.settings, advance=advance)
    except ServerError as error:
        # All the WAL there is was gathered without a gap: the moment lies past the last commit.
        if goal.at is None or _ENDED_EARLY not in error.message:
            raise BackupError(f"The copy did not recover: {error.message}", hint="") from error
    return await _replay(site, server, plan, {}, advance=advance)


async def _replay(
    site: _Site, server: Server, plan: Plan, target: dict[str, str], *, advance: Advance
) -> datetime | None:
    _write_settings(site, plan, target)
    log = mark_log(site.installation.log_file)
    deadline = asyncio.get_running_loop().time() + RECOVERY_TIMEOUT_S
    while True:
        advance("Replaying WAL", 0, None)
        try:
            await server.start()
            break
        except ServerUnreachable:
            # It replays, and lets nobody look before it is consistent.
            if asyncio.get_running_loop().time() > deadline:
                raise
    # A server in recovery may answer, and end at the end of the WAL all the same.
    while asyncio.get_running_loop().time() < deadline:
        try:
            async with admin_connection(server.socket_url("viral_admin")) as connection:
                if not await connection.fetchval("SELECT pg_is_in_recovery()"):
                    moment = await connection.fetchval("SELECT pg_last_xact_replay_timestamp()")
                    return moment if isinstance(moment, datetime) else None
        except (ServerError, *DRIVER_ERRORS) as error:
            await _expect_alive(site, log, error)
        await asyncio.sleep(POLL_S)
    raise ServerError("it replays WAL without end.")


async def _expect_alive(site: _Site, log: LogMark, error: Exception) -> None:
    processes = await server_processes(site.installation.data_dir, account=site.account)
    if processes.postmaster is None:
        raise ServerError(f"{log.last_reason()}.") from error


def _write_settings(site: _Site, plan: Plan, target: dict[str, str]) -> None:
    """Tell the server where WAL is and where to stop; nobody reaches it but over its socket."""
    path = site.installation.data_dir / "postgresql.auto.conf"
    kept = [
        line for line in path.read_text("utf-8").splitlines() if not _NOT_FOR_A_COPY.match(line)
    ]
    is_on_it = plan.timeline == plan.backup.timeline
    settings = {
        "restore_command": f'cp "{str(site.wal).replace("%", "%%")}/%f" "%p"',
        "recovery_target_timeline": "current" if is_on_it else str(plan.timeline),
        "recovery_target_action": "promote",
        "listen_addresses": "",
        **target,
    }
    for name, value in settings.items():
        escaped = value.replace("\\", "\\\\").replace("'", "''")
        kept.append(f"{name} = '{escaped}'")
    owner = (site.account.uid, site.account.gid)
    write_private(path, "\n".join(kept) + "\n", owner=owner)
    write_private(site.installation.data_dir / "recovery.signal", "", owner=owner)


async def _let_in(server: Server, prepare: Prepare, *, advance: Advance) -> None:
    """Make the copy ready as of today, then open its port."""
    advance("Preparing", 0, None)
    async with admin_connection(server.socket_url("viral_admin")) as connection:
        for name in _OURS:
            await connection.execute(f"ALTER SYSTEM RESET {name}")
    await prepare(server)
    await server.stop()
    await server.start()
