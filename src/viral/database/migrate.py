"""Bring a database to the schema of the models, revision by revision."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import text

from viral.database import bookkeeping
from viral.database.backfill import drop_passes
from viral.database.bookkeeping import Memory, adopt, ensure_bookkeeping, read_memory
from viral.database.data_loss import LossGuard, RestorePoint
from viral.database.deployment import Deployment, task_of
from viral.database.history import (
    MIGRATIONS,
    History,
    Revision,
    compare,
    read_history,
    refuse_broken,
)
from viral.database.owner import (
    LOCK_WAIT_S,
    deploy_lock,
    owner_connection,
    person,
    refuse_pooler,
)
from viral.database.steps import Progress, run_script, run_step
from viral.errors import BadInput, MigrationFailed, ServerRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from viral.database.bookkeeping import Record
    from viral.database.urls import ServerUrl

# As Alembic writes it.
_BY_ONE = "-1"

# What the file of a revision imports stands here too: files that were applied are never edited.
__all__ = [
    "MIGRATIONS",
    "HalfDone",
    "Status",
    "deploy",
    "downgrade",
    "resolve",
    "run_script",
    "run_step",
    "status",
    "undo",
]


@dataclass(frozen=True, slots=True)
class HalfDone:
    """A revision that stopped on its way: at which step, and why where that is known."""

    revision: str
    name: str
    state: Literal["applying", "undoing"]
    step_number: int
    steps_total: int
    step: str | None
    error: str | None

    def __str__(self) -> str:
        reason = f": {self.error}" if self.error else ", interrupted or at work"
        step = f" ({self.step})" if self.step else ""
        return (
            f"{self.name} is half {'applied' if self.state == 'applying' else 'undone'}, at step"
            f" {self.step_number} of {self.steps_total}{step}{reason}"
        )


@dataclass(frozen=True, slots=True)
class Status:
    """Where a database stands in the history of the schema."""

    current: str | None
    applied: list[str]
    pending: list[str]
    half_done: HalfDone | None
    broken: list[str]
    records: list[Record]


@dataclass(frozen=True, slots=True)
class _Site:
    """A database under the lock of a deploy, and its history: as files, and as remembered."""

    connection: AsyncConnection
    history: History
    memory: Memory


async def deploy(
    url: ServerUrl,
    *,
    history: Path = MIGRATIONS,
    to: str | None = None,
    wait_s: float = LOCK_WAIT_S,
    on_wait: Callable[[str], None] | None = None,
    accept_data_loss: bool = False,
    restore_point: RestorePoint | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Apply what is pending, up to a revision; return its revisions. What is half done goes on.

    One deploy at a time: `on_wait` hears once who holds the lock. A revision that is half undone
    is undone first.
    """
    async with _site(url, history, wait_s, on_wait) as site:
        refuse_broken(compare(site.history, site.memory))
        half, applied = site.memory.half_done, _applied(site.history, site.memory)
        undone = [each for each in applied if half is not None and each.id == half.revision]
        pending = [*undone, *(each for each in _until(site.history, to) if each not in applied)]
        if not pending:
            return []
        deployment = Deployment(
            connection=site.connection,
            guard=LossGuard(
                site.connection,
                is_accepted=accept_data_loss,
                restore_point=restore_point,
                name=f"before-{pending[0].id}",
            ),
            progress=progress or _silent,
        )
        await deployment.carry_out(
            [task_of(each, "down", site.memory) for each in undone]
            + [task_of(each, "up", site.memory) for each in pending]
        )
        return [each.id for each in pending]


async def downgrade(
    url: ServerUrl,
    revision: str,
    *,
    history: Path = MIGRATIONS,
    wait_s: float = LOCK_WAIT_S,
    on_wait: Callable[[str], None] | None = None,
    accept_data_loss: bool = False,
    restore_point: RestorePoint | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Go back to a revision and return what was undone; `base` is the empty database."""
    async with _site(url, history, wait_s, on_wait) as site:
        tasks = [task_of(each, "down", site.memory) for each in _after(site, revision)]
        if tasks:
            deployment = Deployment(
                connection=site.connection,
                guard=LossGuard(
                    site.connection,
                    is_accepted=accept_data_loss,
                    restore_point=restore_point,
                    name=f"before-undo-{tasks[0].revision.id}",
                ),
                progress=progress or _silent,
            )
            await deployment.carry_out(tasks)
        return [task.revision.id for task in tasks]


async def undo(
    url: ServerUrl,
    *,
    history: Path = MIGRATIONS,
    wait_s: float = LOCK_WAIT_S,
    on_wait: Callable[[str], None] | None = None,
    accept_data_loss: bool = False,
    restore_point: RestorePoint | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Go back by one revision, and return it."""
    return await downgrade(
        url,
        _BY_ONE,
        history=history,
        wait_s=wait_s,
        on_wait=on_wait,
        accept_data_loss=accept_data_loss,
        restore_point=restore_point,
        progress=progress,
    )


async def resolve(
    url: ServerUrl,
    revision: str,
    *,
    outcome: Literal["applied", "rolled back"],
    history: Path = MIGRATIONS,
) -> None:
    """Write down how a half-done revision was ended by hand."""
    async with _site(url, history) as site:
        half, found = site.memory.half_done, site.history.find(revision)
        if half is None or found is None or half.revision != revision:
            raise BadInput(
                f"{revision} is not half done: there is nothing to resolve.",
                hint=f"Half done is: {half.revision}." if half else "See `viral migrate status`.",
            )
        async with site.connection.begin():
            if outcome == "applied":
                await bookkeeping.begin_revision(
                    site.connection, found, state="applying", steps=[], by=person()
                )
                await bookkeeping.finish_up(site.connection, revision)
            else:
                await bookkeeping.finish_down(site.connection, revision, parent=found.parent)


async def status(url: ServerUrl, *, history: Path = MIGRATIONS) -> Status:
    """Compare what the database remembers with the history; nothing is changed."""
    async with owner_connection(url) as connection:
        memory = await read_memory(connection)
    files = read_history(history)
    half = memory.half_done
    whole = [each for each in _applied(files, memory) if half is None or each.id != half.revision]
    return Status(
        current=memory.current,
        applied=[each.id for each in whole],
        pending=[each.id for each in files.revisions if each not in whole],
        half_done=None if half is None else _half_done(half),
        broken=[problem.message for problem in compare(files, memory)],
        records=list(memory.records.values()),
    )


@asynccontextmanager
async def _site(
    url: ServerUrl,
    history: Path,
    wait_s: float = LOCK_WAIT_S,
    on_wait: Callable[[str], None] | None = None,
) -> AsyncIterator[_Site]:
    refuse_pooler(url)
    async with (
        owner_connection(url) as connection,
        deploy_lock(connection, wait_s=wait_s, on_wait=on_wait),
    ):
        files = read_history(history)
        await _prepare(connection, url, files)
        async with connection.begin():
            memory = await read_memory(connection)
        yield _Site(connection, files, memory)


async def _prepare(connection: AsyncConnection, url: ServerUrl, history: History) -> None:
    """Have the bookkeeping, for a database that is older than it too."""
    async with connection.begin():
        if not await connection.scalar(text("SELECT to_regnamespace('viral') IS NOT NULL")):
            raise ServerRefused(
                f"The database {url.database} is not prepared: it has no schema viral.",
                hint="Set it up with `viral server bootstrap --admin-url URL`.",
            )
        await ensure_bookkeeping(connection)
        memory = await read_memory(connection)
        if not memory.records:
            await adopt(connection, history.up_to(memory.current), by=person())
    await drop_passes(connection)


def _until(history: History, revision: str | None) -> tuple[Revision, ...]:
    return history.revisions if revision is None else history.up_to(revision)


def _applied(history: History, memory: Memory) -> tuple[Revision, ...]:
    """List the revisions that are in the database, the half-undone one among them."""
    if memory.current is None or history.find(memory.current):
        return history.up_to(memory.current)
    # The database is ahead of these files: what it has of them is written in its rows.
    return tuple(each for each in history.revisions if each.id in memory.records)


def _after(site: _Site, target: str) -> list[Revision]:
    """List the revisions to undo, the last first."""
    refuse_broken(compare(site.history, site.memory))
    half, applied = site.memory.half_done, _applied(site.history, site.memory)
    if half is not None and half.state == "applying":
        raise MigrationFailed(
            f"{half.name} is half applied: there is no way back from the middle.",
            hint="Finish it with `viral migrate deploy`, or end it by hand and say so with"
            f" `viral migrate resolve {half.revision}`.",
        )
    ids = [each.id for each in applied]
    if target == _BY_ONE and ids:
        return [applied[-1]]
    if target not in {*ids, "base"}:
        raise BadInput(
            "Nothing is applied." if target == _BY_ONE else f"{target} is not applied.",
            hint="See `viral migrate status`.",
        )
    kept = ids.index(target) + 1 if target in ids else 0
    return list(applied[kept:][::-1])


def _half_done(record: Record) -> HalfDone:
    assert record.state != "applied"
    return HalfDone(
        revision=record.revision,
        name=record.name,
        state=record.state,
        step_number=min(record.steps_done + 1, record.steps_total),
        steps_total=record.steps_total,
        step=record.step,
        error=record.error,
    )


def _silent(_what: str, _done: int, _total: int | None) -> None:
    """Show no progress."""
