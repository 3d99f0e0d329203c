"""Slow work is put into the queue in the caller's transaction: it exists when that commits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import (
    ARRAY,
    Interval,
    Text,
    Uuid,
    and_,
    case,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm.attributes import set_committed_value

from viral.database.engine import announce_after_commit, tenant_of, wake_after_commit
from viral.database.faults import sqlstate_of
from viral.errors import BadInput, NotFound
from viral.features.jobs.types import REFLEXION, JobType
from viral.schema.base import uuid7, uuid7_run
from viral.schema.operations import Job

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Select
    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.database.engine import Database
    from viral.schema.vocabulary import JobStatus

# Named in enqueue_jobs.sql as well.
CHANNEL = "viral_jobs"
LARGEST_PAYLOAD_BYTES = 256 << 10
# A job that a worker has reserved runs, though its row does not say so yet.
STATUS_NOW = case(
    (
        and_(Job.status == "pending", Job.id.in_(select(func.viral.jobs_at_work()))),
        literal_column("'running'"),
    ),
    else_=Job.status,
).label("status_now")
_NOW = timedelta(0)
_ENQUEUE = "SELECT viral.enqueue_jobs($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
# Seen by workers before it is on the disk, which takes as long as all else of a job that meets an
# idle one; what a job leaves behind comes after it in the same log, so it is never kept without it.
_ENQUEUE_SEEN = _ENQUEUE.replace("SELECT", "SELECT set_config('synchronous_commit', 'off', true),")


@dataclass(frozen=True, slots=True)
class Wish:
    """How a job is to be run. A larger priority runs first, among the jobs of a tenant.

    While a job with the same `dedupe_key` and type waits, another one is not made. With `after` it
    waits until those jobs are completed, and is canceled when one of them does not.
    """

    priority: int = 5
    delay: timedelta = _NOW
    dedupe_key: str | None = None
    batch_id: UUID | None = None
    after: Sequence[UUID] = ()


async def enqueue(
    session: AsyncSession,
    job_type: JobType,
    payload: msgspec.Struct | None = None,
    *,
    tenant_id: UUID | None,
    wish: Wish = Wish(),
) -> UUID | None:
    """Put a job into the queue; None when one with the same key waits already.

    Without a tenant it is a system job, which only the system role may ask for.
    """
    values = _values(job_type, payload, wish)
    job_id = await session.scalar(
        insert(Job)
        .values(
            id=uuid7(),
            scope="system" if tenant_id is None else "tenant",
            tenant_id=tenant_id,
            is_due=wish.delay <= _NOW,
            scheduled_for=func.now() + wish.delay,
            **values,
        )
        .on_conflict_do_nothing()
        .returning(Job.id)
    )
    if job_id is not None:
        if wish.after:
            await _wait_for(session, job_id, wish.after)
        wake_after_commit(session, CHANNEL)
    return job_id


async def enqueue_many(
    session: AsyncSession,
    job_type: JobType,
    payloads: Sequence[msgspec.Struct | None],
    *,
    wish: Wish = Wish(),
) -> list[UUID]:
    """Put many jobs of the session's tenant into the queue in one statement; return their ids.

    A batch is told by `wish.batch_id`. A key against twins and parents are for single jobs.
    """
    if wish.dedupe_key is not None or wish.after:
        raise BadInput("Many jobs at once have no key and no parents; put them in one by one.")
    ids = uuid7_run(len(payloads))
    # The transaction's own context: another would not be known here.
    context = func.current_setting("app.tenant")
    asked = (
        literal(ids, ARRAY(Uuid)),
        job_type.name,
        job_type.queue,
        literal(_array([_encoded(job_type, payload) for payload in payloads]), Text).cast(JSONB),
        wish.priority,
        job_type.max_attempts,
        literal(None, Text),
        literal(wish.delay, Interval),
        literal(wish.batch_id, Uuid),
        False,
    )
    await session.execute(select(func.viral.enqueue_jobs(context, *asked)))
    wake_after_commit(session, CHANNEL)
    announce_after_commit(session, "jobs")
    return ids


async def enqueue_now(
    database: Database,
    tenant_id: UUID,
    job_type: JobType,
    payloads: Sequence[msgspec.Struct | None],
    *,
    wish: Wish = Wish(),
) -> list[UUID]:
    """Put jobs into a tenant's queue, for callers without a transaction.

    One round trip, and the first of a while another one for the disk. What several callers ask for
    at once goes in one statement. Parents are for `enqueue`.
    """
    if wish.after:
        raise BadInput("A job that waits for others is put in by `enqueue`, in a transaction.")
    ids = uuid7_run(len(payloads))
    rows = [
        (job_id, _encoded(job_type, payload)) for job_id, payload in zip(ids, payloads, strict=True)
    ]
    kind = (
        tenant_id,
        job_type.name,
        job_type.queue,
        job_type.max_attempts,
        wish.priority,
        wish.delay,
        wish.dedupe_key,
        wish.batch_id,
    )
    await database.together.send(kind, rows, partial(_put, database, tenant_id, job_type, wish))
    return ids


async def _put(
    database: Database,
    tenant_id: UUID,
    job_type: JobType,
    wish: Wish,
    rows: Sequence[tuple[UUID, str]],
) -> None:
    wakes = database.may_wake(CHANNEL)
    await database.call_for(
        tenant_id,
        _ENQUEUE_SEEN if wakes else _ENQUEUE,
        [row[0] for row in rows],
        job_type.name,
        job_type.queue,
        _array([row[1] for row in rows]),
        wish.priority,
        job_type.max_attempts,
        wish.dedupe_key,
        wish.delay,
        wish.batch_id,
        wakes,
    )
    if wakes:
        await database.flush()
    else:
        database.wake(CHANNEL)
    database.announce(tenant_id, "jobs")


async def ask_for_reflexion(session: AsyncSession) -> UUID:
    """Have results learnt for the session's tenant; the job that waits already is as good."""
    made = await enqueue(
        session, REFLEXION, tenant_id=tenant_of(session), wish=Wish(dedupe_key=REFLEXION.name)
    )
    if made is not None:
        return made
    waiting = await session.scalar(
        select(Job.id).where(
            Job.tenant_id == tenant_of(session),
            Job.job_type == REFLEXION.name,
            Job.dedupe_key == REFLEXION.name,
            Job.status == "pending",
        )
    )
    # Claimed between the two statements: it may have begun before the newest results.
    return waiting if waiting is not None else await ask_for_reflexion(session)


async def ask_for_all(session: AsyncSession) -> None:
    """Have the results of all tenants learnt, as the system."""
    wish = Wish(dedupe_key=REFLEXION.name)
    await enqueue(session, REFLEXION, tenant_id=None, wish=wish)


async def find_job(session: AsyncSession, job_id: UUID) -> Job:
    """Find one job of the tenant."""
    found = await jobs_as_they_are(session, select(Job).where(Job.id == job_id))
    if not found:
        raise NotFound(f"There is no job {job_id}.")
    return found[0]


async def newest_jobs(
    session: AsyncSession,
    *,
    limit: int,
    before: UUID | None = None,
    status: JobStatus | None = None,
    job_type: str | None = None,
) -> list[Job]:
    """Return the tenant's newest jobs; with `before`, those that are older than that one."""
    wanted = select(Job).order_by(Job.id.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(Job.id < before)
    if status is not None:
        wanted = wanted.where(STATUS_NOW.in_([status]))
    if job_type is not None:
        wanted = wanted.where(Job.job_type == job_type)
    return await jobs_as_they_are(session, wanted)


async def jobs_as_they_are(session: AsyncSession, wanted: Select[Job]) -> list[Job]:
    """Read jobs of the tenant; those that are at work and not marked yet are shown as running."""
    rows = await session.execute(
        wanted.add_columns(STATUS_NOW).where(Job.tenant_id == tenant_of(session))
    )
    jobs = []
    for job, status in rows:
        set_committed_value(job, "status", status)
        jobs.append(job)
    return jobs


async def cancel_jobs(session: AsyncSession, job_ids: Sequence[UUID]) -> list[UUID]:
    """Cancel the tenant's jobs that have not ended; return those that were canceled.

    One that runs is interrupted by its worker within seconds, and its result is refused.
    """
    announce_after_commit(session, "jobs")
    return list(await session.scalars(select(func.viral.cancel_jobs(list(job_ids)))))


async def retry_jobs(session: AsyncSession, job_ids: Sequence[UUID]) -> list[UUID]:
    """Put the tenant's failed and canceled jobs back into the queue; return those that were."""
    again = list(await session.scalars(select(func.viral.retry_jobs(list(job_ids)))))
    wake_after_commit(session, CHANNEL)
    announce_after_commit(session, "jobs")
    return again


async def batch_status(session: AsyncSession, batch_id: UUID) -> dict[str, int]:
    """Count the jobs of one batch of the tenant by their status."""
    rows = await session.execute(
        select(STATUS_NOW, func.count())
        .where(Job.tenant_id == tenant_of(session), Job.batch_id == batch_id)
        .group_by(STATUS_NOW)
    )
    return {row[0]: row[1] for row in rows}


async def _wait_for(session: AsyncSession, job_id: UUID, parents: Sequence[UUID]) -> None:
    try:
        await session.execute(select(func.viral.wait_for_jobs(job_id, list(set(parents)))))
    except DBAPIError as error:
        match sqlstate_of(error):
            case "VT404":
                raise NotFound("A job that this one is to wait for does not exist.") from error
            case "VT409":
                raise BadInput(
                    "A job that this one is to wait for has failed or was canceled.",
                    hint="Retry that one first: `viral jobs retry ID`.",
                ) from error
        raise


def _values(job_type: JobType, payload: msgspec.Struct | None, wish: Wish) -> dict[str, object]:
    return {
        "job_type": job_type.name,
        "queue": job_type.queue,
        "max_attempts": job_type.max_attempts,
        "payload": _built(job_type, payload),
        "priority": wish.priority,
        "dedupe_key": wish.dedupe_key,
        "batch_id": wish.batch_id,
    }


def _built(job_type: JobType, payload: msgspec.Struct | None) -> object:
    return msgspec.json.decode(_encoded(job_type, payload))


def _array(encoded: Sequence[str]) -> str:
    return f"[{','.join(encoded)}]"


def _encoded(job_type: JobType, payload: msgspec.Struct | None) -> str:
    expected = job_type.payload
    if payload is None and expected is None:
        return "{}"
    if expected is None or not isinstance(payload, expected):
        raise BadInput(f"A job of the type {job_type.name} does not take {payload!r:.80}.")
    encoded = msgspec.json.encode(payload)
    if len(encoded) > LARGEST_PAYLOAD_BYTES:
        raise BadInput(
            f"The payload of a {job_type.name} has {len(encoded):,} bytes, of"
            f" {LARGEST_PAYLOAD_BYTES:,} allowed.",
            hint="Store the data, and give the job its id.",
        )
    return encoded.decode()
