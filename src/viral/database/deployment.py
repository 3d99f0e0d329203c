"""One revision after the other, up or down: every step named before it runs, counted with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from viral.database import bookkeeping
from viral.database.data_loss import risks_of
from viral.database.faults import DRIVER_ERRORS, sqlstate_of
from viral.database.owner import act_as_owner, is_lost, person
from viral.database.scripts import Step
from viral.database.steps import AnyStep, Progress, carry_out
from viral.errors import DataLossRefused, MigrationFailed, ViralError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from viral.database.bookkeeping import Memory
    from viral.database.data_loss import LossGuard
    from viral.database.history import Direction, Revision

# Data exceptions quote the value that they are about.
_QUOTING_CLASS = "22"


@dataclass(frozen=True, slots=True)
class Task:
    """A revision to be applied or undone; its first `done` steps are."""

    revision: Revision
    direction: Direction
    steps: list[AnyStep]
    done: int

    @property
    def left(self) -> list[AnyStep]:
        """The steps that remain."""
        return self.steps[self.done :]


@dataclass(frozen=True, slots=True)
class Deployment:
    """What works on a connection under the lock of a deploy."""

    connection: AsyncConnection
    guard: LossGuard
    progress: Progress
    by: str = field(default_factory=person)

    async def carry_out(self, tasks: list[Task]) -> None:
        """Count what all of them would lose; then do one after the other."""
        await self.guard.look_ahead(
            [risk for task in tasks for step in task.left for risk in risks_of(step)]
        )
        for task in tasks:
            await self._carry_out(task)

    async def _carry_out(self, task: Task) -> None:
        if task.done == 0:
            await self._begin(task)
        for number, step in enumerate(task.left, start=task.done + 1):
            self.progress(f"{task.revision.name}: {step.name}", number - 1, len(task.steps))
            await self._step(task, number, step)
        self.progress(task.revision.name, len(task.steps), len(task.steps))

    async def _begin(self, task: Task) -> None:
        async with self.connection.begin():
            await bookkeeping.begin_revision(
                self.connection,
                task.revision,
                state="applying" if task.direction == "up" else "undoing",
                steps=[step.name for step in task.steps],
                by=self.by,
            )
            if not task.steps:
                await self._finish(task)

    async def _step(self, task: Task, number: int, step: AnyStep) -> None:
        async def count() -> None:
            following = task.steps[number].name if number < len(task.steps) else None
            await bookkeeping.count_step(
                self.connection, task.revision.id, done=number, following=following
            )
            if following is None:
                await self._finish(task)

        try:
            # A step leaves no setting to the next.
            await act_as_owner(self.connection)
            async with self.connection.begin():
                await bookkeeping.begin_step(
                    self.connection, task.revision.id, step=step.name, by=self.by
                )
            await self.guard.check(risks_of(step))
            await carry_out(self.connection, step, count=count, progress=self.progress)
        except DataLossRefused:
            raise
        except (*DRIVER_ERRORS, DBAPIError, ViralError) as error:
            raise await self._failure(task, number, step, error) from error

    async def _finish(self, task: Task) -> None:
        if task.direction == "up":
            await bookkeeping.finish_up(self.connection, task.revision.id)
        else:
            await bookkeeping.finish_down(
                self.connection, task.revision.id, parent=task.revision.parent
            )

    async def _failure(
        self, task: Task, number: int, step: AnyStep, error: Exception
    ) -> MigrationFailed:
        if await is_lost(self.connection):
            reason = "the connection to the server broke"
        else:
            reason = said(error)
            await self.connection.rollback()
            await act_as_owner(self.connection)
            async with self.connection.begin():
                await bookkeeping.note_failure(self.connection, task.revision.id, error=reason)
        verb = "deploy" if task.direction == "up" else "undo"
        copy = f" Restore point: {self.guard.restore_point}." if self.guard.restore_point else ""
        return MigrationFailed(
            f"{task.revision.name} stopped in step {number} of {len(task.steps)}"
            f" ({step.name}): {reason.rstrip('.')}. {_what_is_kept(number, step)}",
            hint=f"Correct the cause and run `viral migrate {verb}` again: it goes on at step"
            f" {number}.{copy}",
        )


def task_of(revision: Revision, direction: Direction, memory: Memory) -> Task:
    """Plan a revision from where it stands."""
    record = memory.records.get(revision.id)
    state = "applying" if direction == "up" else "undoing"
    done = record.steps_done if record is not None and record.state == state else 0
    return Task(revision, direction, revision.steps(direction), done)


def said(error: BaseException) -> str:
    """Say what went wrong without values of rows: the detail, which quotes them, is left out."""
    state = sqlstate_of(error)
    cause = getattr(error, "orig", None) or error
    cause = getattr(cause, "__cause__", None) or cause
    message = str(getattr(cause, "message", None) or cause).partition("\n")[0]
    if state is None:
        return message or type(cause).__name__
    if state.startswith(_QUOTING_CLASS):
        message = message.partition(":")[0]
    return f"{message} [{state}]"


def _what_is_kept(number: int, step: AnyStep) -> str:
    before = f"Steps 1 to {number - 1} are kept" if number > 1 else "No step was done before it"
    if not isinstance(step, Step):
        return f"{before}; so is what this step committed itself."
    if not step.is_transactional:
        return f"{before}; what this step left half made is found by the next run."
    return f"{before}; nothing of this step is." if number > 1 else "The database is as it was."
