"""The table of schedules: which system jobs come by themselves, and when."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from viral.errors import AlreadyExists, BadInput, NotFound
from viral.features.jobs.cron import next_moment
from viral.features.jobs.queue import Wish, enqueue
from viral.features.jobs.types import REFLEXION, JobType
from viral.schema.base import uuid7
from viral.schema.operations import JobSchedule

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
MISSED = ("once", "skip")


@dataclass(frozen=True, slots=True)
class Schedule:
    """What a schedule says: a moment that was missed is made up for `once`, or `skip`ped."""

    name: str
    job_type: JobType
    cron: str
    time_zone: str = "UTC"
    missed: str = "once"


# Every worker makes those that are missing, and changes none that is there.
SHIPPED = (Schedule("learn-daily", REFLEXION, "0 3 * * *"),)


async def ship_schedules(session: AsyncSession) -> None:
    """Make the schedules that the product comes with, where they are missing."""
    known = set(await session.scalars(select(JobSchedule.name)))
    for schedule in SHIPPED:
        if schedule.name not in known:
            await _insert(session, schedule)


async def list_schedules(session: AsyncSession) -> Sequence[JobSchedule]:
    """List all schedules by name."""
    return (await session.scalars(select(JobSchedule).order_by(JobSchedule.name))).all()


async def find_schedule(session: AsyncSession, name: str) -> JobSchedule:
    """Find one schedule; it is locked until the session ends."""
    found = await session.scalar(
        select(JobSchedule).where(JobSchedule.name == name).with_for_update()
    )
    if found is None:
        raise NotFound(
            f"There is no schedule {name[:63]!r}.", hint="See `viral jobs schedule list`."
        )
    return found


async def add_schedule(session: AsyncSession, schedule: Schedule) -> JobSchedule:
    """Make a schedule; its first moment is the next one by the database's clock."""
    if not _NAME.fullmatch(schedule.name):
        raise BadInput(
            f"{schedule.name[:63]!r} cannot be a schedule's name.",
            hint="Use lower-case letters, digits, - and _, at most 63.",
        )
    if schedule.missed not in MISSED:
        raise BadInput(
            f"{schedule.missed[:63]!r} is no rule for missed moments.",
            hint="Choose once (make up for them with one job) or skip.",
        )
    if schedule.job_type.payload is not None:
        raise BadInput(
            f"A job of the type {schedule.job_type.name} needs a payload, which a schedule has not."
        )
    if not await _insert(session, schedule):
        raise AlreadyExists(
            f"There is a schedule {schedule.name!r}.", hint="See `viral jobs schedule list`."
        )
    return await find_schedule(session, schedule.name)


async def pause_schedule(session: AsyncSession, name: str) -> JobSchedule:
    """Let no more jobs come by a schedule."""
    schedule = await find_schedule(session, name)
    schedule.is_paused = True
    return schedule


async def resume_schedule(session: AsyncSession, name: str) -> JobSchedule:
    """Let jobs come again; what was missed meanwhile is passed over."""
    schedule = await find_schedule(session, name)
    if schedule.is_paused:
        schedule.is_paused = False
        schedule.next_at = next_moment(schedule.cron, schedule.time_zone, after=await _now(session))
    return schedule


async def remove_schedule(session: AsyncSession, name: str) -> None:
    """Forget a schedule; one that the product comes with can only be paused."""
    schedule = await find_schedule(session, name)
    if name in {each.name for each in SHIPPED}:
        raise BadInput(
            f"{name} comes with the product: the next worker would make it again.",
            hint=f"Pause it, and it stays so: `viral jobs schedule pause {name}`.",
        )
    await session.execute(delete(JobSchedule).where(JobSchedule.id == schedule.id))


async def run_schedule(session: AsyncSession, name: str, job_type: JobType) -> UUID | None:
    """Put a schedule's job into the queue now; None while one of it waits. Its moments stay."""
    # The key is that of `viral.fire_schedule`: a job that waits already is as good.
    return await enqueue(
        session, job_type, tenant_id=None, wish=Wish(dedupe_key=f"schedule {name}")
    )


async def _insert(session: AsyncSession, schedule: Schedule) -> bool:
    first = next_moment(schedule.cron, schedule.time_zone, after=await _now(session))
    made = await session.scalar(
        insert(JobSchedule)
        .values(
            id=uuid7(),
            name=schedule.name,
            job_type=schedule.job_type.name,
            queue=schedule.job_type.queue,
            cron=schedule.cron,
            time_zone=schedule.time_zone,
            missed=schedule.missed,
            next_at=first,
        )
        .on_conflict_do_nothing(index_elements=[JobSchedule.name])
        .returning(JobSchedule.id)
    )
    return made is not None


async def _now(session: AsyncSession) -> datetime:
    return (await session.execute(select(func.now()))).scalar_one()
