"""The processes of one data folder, found by their working folder and never by a pid file.

Pids repeat after a restart of the machine or container, so a pid file may name anybody. All
processes of a PostgreSQL server work in its data folder, and no other program of that name does.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from viral.errors import ServerError
from viral.postgres.account import run_program

if TYPE_CHECKING:
    from viral.postgres.account import Account

PROC = Path("/proc")
POLL_S = 0.05
FIND_TIMEOUT_S = 30
# Children of a killed server end by themselves within moments, unless a long statement runs.
ORPHAN_GRACE_S = 5
ORPHAN_LIMIT_S = 30


@dataclass(frozen=True, slots=True)
class ServerProcesses:
    """Who works in a data folder: the postmaster, if it lives, and its children."""

    postmaster: int | None
    all: tuple[int, ...]


async def server_processes(data_dir: Path, *, account: Account) -> ServerProcesses:
    """List the live PostgreSQL processes of a data folder."""
    candidates = [pid for pid in _pids() if _runs_postgres(pid, account.uid)]
    if not candidates:
        return ServerProcesses(postmaster=None, all=())
    # Asked as the server's user: in a container, root may not look at another user's processes.
    listing = await run_program(
        account,
        "find",
        *(f"{PROC}/{pid}/cwd" for pid in candidates),
        "-maxdepth",
        "0",
        "-printf",
        "%p\\t%l\\n",
        timeout_s=FIND_TIMEOUT_S,
    )
    pids = _pids_in(listing.output, folder=str(data_dir))
    return ServerProcesses(postmaster=_postmaster_of(pids), all=pids)


async def wait_for_end(pids: tuple[int, ...], *, account: Account, timeout_s: float) -> bool:
    """Wait until none of the processes lives; say whether that came true."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while any(_runs_postgres(pid, account.uid) for pid in pids):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True


async def stop_server(processes: ServerProcesses, *, account: Account, timeout_s: float) -> None:
    """Shut down fast; at the time limit at once, which the next start repairs from the log.

    The signals are those of `pg_ctl stop`, which sends them to whatever pid stands in the file.
    """
    if processes.postmaster is not None:
        _signal(processes.postmaster, signal.SIGINT)
        if not await wait_for_end(processes.all, account=account, timeout_s=timeout_s):
            _signal(processes.postmaster, signal.SIGQUIT)
    await _end_orphans(processes, account=account)


async def _end_orphans(processes: ServerProcesses, *, account: Account) -> None:
    """Wait for children whose postmaster is gone; they hold the shared memory a start needs."""
    if await wait_for_end(processes.all, account=account, timeout_s=ORPHAN_GRACE_S):
        return
    for pid in processes.all:
        if _runs_postgres(pid, account.uid):
            _signal(pid, signal.SIGQUIT)
    if not await wait_for_end(processes.all, account=account, timeout_s=ORPHAN_LIMIT_S):
        raise ServerError(
            f"Processes of an earlier server do not end: {', '.join(map(str, processes.all))}.",
            hint="End them with `kill`, then start again.",
        )


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def _pids_in(listing: str, *, folder: str) -> tuple[int, ...]:
    lines = (line.partition("\t") for line in listing.splitlines())
    return tuple(int(path.split("/")[2]) for path, _, works_in in lines if works_in == folder)


def _runs_postgres(pid: int, uid: int) -> bool:
    folder = PROC / str(pid)
    with suppress(OSError):
        if folder.stat().st_uid != uid:
            return False
        name = (folder / "comm").read_text().strip()
        return name == "postgres" and not _is_zombie(folder)
    return False


def _is_zombie(folder: Path) -> bool:
    # The state follows the name, which stands in parentheses and may hold any character.
    return (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"


def _postmaster_of(pids: tuple[int, ...]) -> int | None:
    """Find the process that is nobody's child here; children carry a title, also as orphans."""
    for pid in pids:
        with suppress(OSError):
            folder = PROC / str(pid)
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            is_titled = (folder / "cmdline").read_bytes().startswith(b"postgres:")
            if parent not in pids and not is_titled:
                return pid
    return None


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
