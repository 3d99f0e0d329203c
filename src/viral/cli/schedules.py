"""`viral jobs schedule`: jobs that come by themselves."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from viral.cli.output import out, print_json, print_table
from viral.errors import BadInput
from viral.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.jobs.types import JobType
    from viral.schema.operations import JobSchedule

group = typer.Typer(no_args_is_help=True, help="Schedules: system jobs that come by themselves.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_T = TypeVar("_T")
Name = Annotated[str, typer.Argument(help="The schedule's name.")]


@group.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the schedules, and when each comes next. Example: viral jobs schedule list."""
    rows = asyncio.run(_list())
    if as_json:
        print_json([_document(each) for each in rows])
    elif rows:
        print_table(
            ("name", "type", "cron", "time zone", "missed", "next (UTC)", "last (UTC)"),
            [
                (
                    each.name,
                    each.job_type,
                    each.cron,
                    each.time_zone,
                    each.missed,
                    "paused" if each.is_paused else _minute(each.next_at),
                    _minute(each.last_at),
                )
                for each in rows
            ],
        )
    else:
        out.print("There is no schedule yet: a worker makes those that the product comes with.")


@group.command()
def add(
    name: Name,
    job_type: Annotated[str, typer.Option("--type", help="What it does: a type of job.")],
    cron: Annotated[str, typer.Option("--cron", help="Minute, hour, day, month, weekday.")],
    time_zone: Annotated[
        str, typer.Option("--time-zone", help="Whose clock, such as Europe/Berlin.")
    ] = "UTC",
    missed: Annotated[
        str,
        typer.Option("--missed", help="What was missed: once makes up by one job, skip does not."),
    ] = "once",
    as_json: AsJson = False,
) -> None:
    """Make a schedule.

    Example: viral jobs schedule add learn-at-noon --type reflexion --cron "0 12 * * *"
    """
    from viral.features.jobs.schedules import Schedule, add_schedule

    schedule = Schedule(name, _type(job_type), cron, time_zone, missed)
    made = asyncio.run(_change(lambda session: add_schedule(session, schedule)))
    _tell(made, as_json=as_json)


@group.command()
def pause(name: Name, as_json: AsJson = False) -> None:
    """Let no more jobs come by a schedule. Example: viral jobs schedule pause learn-daily."""
    from viral.features.jobs.schedules import pause_schedule

    _tell(asyncio.run(_change(lambda session: pause_schedule(session, name))), as_json=as_json)


@group.command()
def resume(name: Name, as_json: AsJson = False) -> None:
    """Let jobs come again, from the next moment on; what was missed in the pause stays missed.

    Example: viral jobs schedule resume learn-daily
    """
    from viral.features.jobs.schedules import resume_schedule

    _tell(asyncio.run(_change(lambda session: resume_schedule(session, name))), as_json=as_json)


@group.command()
def run(name: Name, as_json: AsJson = False) -> None:
    """Put a schedule's job into the queue now; its moments stay as they are.

    Example: viral jobs schedule run learn-daily
    """
    made = asyncio.run(_run(name))
    if as_json:
        print_json({"name": name, "job": made})
    elif made is None:
        out.print(f"A job of {name} waits already.", markup=False)
    else:
        out.print(f"It is in the queue: viral jobs show {made}", markup=False)


@group.command()
def remove(name: Name, as_json: AsJson = False) -> None:
    """Forget a schedule; one that the product comes with can only be paused.

    Example: viral jobs schedule remove learn-at-noon
    """
    from viral.features.jobs.schedules import remove_schedule

    asyncio.run(_change(lambda session: remove_schedule(session, name)))
    if as_json:
        print_json({"name": name, "is_removed": True})
    else:
        out.print(f"The schedule {name} is removed; jobs that it made stay.", markup=False)


async def _list() -> list[JobSchedule]:
    from viral.features.jobs.schedules import list_schedules

    async with _desk() as session:
        return list(await list_schedules(session))


async def _change(deed: Callable[[AsyncSession], Awaitable[_T]]) -> _T:
    async with _desk() as session:
        return await deed(session)


async def _run(name: str) -> UUID | None:
    from viral.features.jobs.schedules import find_schedule, run_schedule

    async with _desk() as session:
        schedule = await find_schedule(session, name)
        return await run_schedule(session, name, _type(schedule.job_type))


@asynccontextmanager
async def _desk() -> AsyncIterator[AsyncSession]:
    """Open a transaction of the operator's."""
    from viral.runtime import open_runtime

    async with (
        open_runtime(load_settings()) as runtime,
        runtime.system.session_without_tenant() as session,
    ):
        yield session


def _type(name: str) -> JobType:
    """Find a type of job that workers have a handler for."""
    from viral.worker.handlers import HANDLERS

    if name not in HANDLERS:
        raise BadInput(
            f"There is no type of job {name[:63]!r}.",
            hint=f"There are: {', '.join(sorted(HANDLERS))}.",
        )
    return HANDLERS[name].job_type


def _tell(schedule: JobSchedule, *, as_json: bool) -> None:
    if as_json:
        print_json(_document(schedule))
    elif schedule.is_paused:
        out.print(
            f"{schedule.name} is paused. Go on: viral jobs schedule resume {schedule.name}",
            markup=False,
        )
    else:
        out.print(f"{schedule.name} comes next at {_minute(schedule.next_at)} UTC.", markup=False)


def _document(schedule: JobSchedule) -> dict[str, object]:
    return {
        "name": schedule.name,
        "type": schedule.job_type,
        "cron": schedule.cron,
        "time_zone": schedule.time_zone,
        "missed": schedule.missed,
        "is_paused": schedule.is_paused,
        "next_at": schedule.next_at,
        "last_at": schedule.last_at,
    }


def _minute(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
