"""`viral jobs`: the queue of all tenants, as the operator sees it and mends it."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

import typer

from viral.cli import schedules
from viral.cli.output import err, out, print_facts, print_json
from viral.errors import BadInput
from viral.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from rich.console import Group
    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.features.jobs.listing import JobLine, QueueStats
    from viral.runtime import Runtime

group = typer.Typer(no_args_is_help=True, help="Jobs: what waits, runs and failed, of all tenants.")
group.add_typer(schedules.group, name="schedule")

SHOWN = 50
AT_ONCE = 1000
WATCH_EVERY_S = 2.0
RUNNING_SHOWN = 10
STATUSES = ("pending", "blocked", "running", "completed", "failed", "canceled")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OfType = Annotated[str | None, typer.Option("--type", help="Only jobs of this type.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="The jobs' ids, see list.")]


@group.command("list")
def list_(
    status: Annotated[
        str | None, typer.Option("--status", help=f"{', '.join(STATUSES[:-1])} or canceled.")
    ] = None,
    job_type: OfType = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="The tenant's slug.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=AT_ONCE, help="How many.")] = SHOWN,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first. Example: viral jobs list --status failed --tenant demo."""
    if status is not None and status not in STATUSES:
        raise BadInput(f"{status!r} is no status.", hint=f"There are: {', '.join(STATUSES)}.")
    lines = asyncio.run(_list(status, job_type, tenant, limit))
    if as_json:
        print_json([asdict(line) for line in lines])
    elif lines:
        from viral.cli.job_tables import lines_table

        out.print(lines_table(lines, now=datetime.now(UTC)))
        if len(lines) == limit:
            err.print(f"These are the newest {limit:,}; see more with --limit.")
    else:
        out.print("There is no such job." if status or job_type or tenant else "There is no job.")


@group.command()
def show(
    job: Annotated[str, typer.Argument(metavar="ID", help="The job's id, see list.")],
    as_json: AsJson = False,
) -> None:
    """Show all of one job, with its payload, result and failure.

    Example: viral jobs show 0199f3a0-5c1e-7b60-8b58-0f2f3c1f2a77
    """
    document = asyncio.run(_show(_id(job)))
    if as_json:
        print_json(document)
    else:
        print_facts({name: _shown(value) for name, value in document.items()})


@group.command()
def retry(
    jobs: Ids = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="All that failed, of all tenants.")
    ] = False,
    job_type: Annotated[
        str | None, typer.Option("--type", help="With --failed: only those of this type.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put failed and canceled jobs back into the queue, with all attempts before them.

    Example: viral jobs retry --failed --type reflexion
    """
    if failed == bool(jobs) or (job_type and not failed):
        raise BadInput(
            "Say which jobs.", hint="Give their ids, or --failed, with --type T where it is wanted."
        )
    wanted = None if failed else [_id(each) for each in jobs or ()]
    lines, done = asyncio.run(_retry(wanted, job_type))
    _tell("retried", lines, done, rule="only failed and canceled jobs are retried", as_json=as_json)


@group.command()
def cancel(jobs: Ids = None, as_json: AsJson = False) -> None:
    """Cancel jobs that have not ended; one that runs is interrupted within seconds.

    Example: viral jobs cancel 0199f3a0-5c1e-7b60-8b58-0f2f3c1f2a77
    """
    if not jobs:
        raise BadInput("Say which jobs.", hint="Give their ids; see `viral jobs list`.")
    lines, done = asyncio.run(_cancel([_id(each) for each in jobs]))
    _tell("canceled", lines, done, rule="it has ended", as_json=as_json)


@group.command()
def stats(as_json: AsJson = False) -> None:
    """Count the jobs by tenant and type: those open now, and those that ended in the last hour.

    Example: viral jobs stats --json
    """
    counts = asyncio.run(_stats())
    if as_json:
        print_json([asdict(each) for each in counts])
        return
    from viral.cli.job_tables import picture

    out.print(picture(counts, [], now=datetime.now(UTC)))


@group.command()
def watch() -> None:
    """Show the queue, anew every two seconds until Ctrl-C; once where there is no terminal.

    Example: viral jobs watch
    """
    asyncio.run(_watch())


async def _list(
    status: str | None, job_type: str | None, slug: str | None, limit: int
) -> list[JobLine]:
    from viral.features.jobs.listing import list_jobs, list_jobs_of
    from viral.features.tenants import find_tenant

    async with _desk() as (runtime, session):
        if slug is None:
            return await list_jobs(session, status=status, job_type=job_type, limit=limit)
        tenant = await find_tenant(session, slug)
        async with runtime.app.tenant_session(tenant.id) as own:
            return await list_jobs_of(own, slug, status=status, job_type=job_type, limit=limit)


async def _show(job_id: UUID) -> dict[str, object]:
    from viral.features.jobs.listing import find_jobs, find_system_job
    from viral.features.jobs.queue import find_job

    async with _desk() as (runtime, session):
        (line,) = await find_jobs(session, [job_id])
        if line.tenant_id is None:
            job = await find_system_job(session, job_id)
        else:
            # What a job is about is its tenant's: row security has the last word.
            async with runtime.app.tenant_session(line.tenant_id) as own:
                job = await find_job(own, job_id)
    about = {each.name: getattr(line, each.name) for each in fields(line)}
    return about | {
        "failure": job.error_message,
        "batch_id": job.batch_id,
        "dedupe_key": job.dedupe_key,
        "waits_for": job.waits_for,
        "crashes": job.crashes,
        "worker_id": job.worker_id,
        "payload": job.payload,
        "result": job.result,
    }


async def _retry(
    job_ids: Sequence[UUID] | None, job_type: str | None
) -> tuple[list[JobLine], set[UUID]]:
    from viral.features.jobs.listing import find_jobs, list_jobs

    async with _desk() as (runtime, session):
        if job_ids is not None:
            lines = await find_jobs(session, job_ids)
            return lines, await _act(runtime, session, lines, "retry")
        seen: list[JobLine] = []
        done: set[UUID] = set()
        before = None
        while lines := await list_jobs(
            session, status="failed", job_type=job_type, before=before, limit=AT_ONCE
        ):
            done |= await _act(runtime, session, lines, "retry")
            seen += lines
            before = lines[-1].id
        return seen, done


async def _cancel(job_ids: Sequence[UUID]) -> tuple[list[JobLine], set[UUID]]:
    from viral.features.jobs.listing import find_jobs

    async with _desk() as (runtime, session):
        lines = await find_jobs(session, job_ids)
        return lines, await _act(runtime, session, lines, "cancel")


async def _act(
    runtime: Runtime,
    session: AsyncSession,
    lines: Iterable[JobLine],
    deed: Literal["retry", "cancel"],
) -> set[UUID]:
    """Retry or cancel jobs, each as its tenant, whose rights decide; return those that were."""
    from viral.features.jobs import listing, queue

    for_tenant, for_system = {
        "retry": (queue.retry_jobs, listing.retry_system_jobs),
        "cancel": (queue.cancel_jobs, listing.cancel_system_jobs),
    }[deed]
    by_tenant: defaultdict[UUID | None, list[UUID]] = defaultdict(list)
    for line in lines:
        by_tenant[line.tenant_id].append(line.id)
    done: set[UUID] = set()
    for tenant_id, ids in by_tenant.items():
        if tenant_id is None:
            done.update(await for_system(session, ids))
            continue
        async with runtime.app.tenant_session(tenant_id) as own:
            done.update(await for_tenant(own, ids))
    return done


async def _stats() -> list[QueueStats]:
    from viral.features.jobs.listing import queue_stats

    async with _desk() as (_, session):
        return await queue_stats(session)


async def _watch() -> None:
    from rich.live import Live

    from viral.cli.job_tables import picture
    from viral.features.jobs.listing import list_jobs, queue_stats
    from viral.runtime import open_runtime

    async with open_runtime(load_settings()) as runtime:

        async def look() -> Group:
            async with runtime.system.session_without_tenant() as session:
                stats = await queue_stats(session)
                running = await list_jobs(session, status="running", limit=RUNNING_SHOWN)
                return picture(stats, running, now=runtime.clock())

        if not out.is_terminal:
            out.print(await look())
            return
        with Live(await look(), console=out, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(WATCH_EVERY_S)
                live.update(await look(), refresh=True)


@asynccontextmanager
async def _desk() -> AsyncIterator[tuple[Runtime, AsyncSession]]:
    """Open the operator's transaction over all tenants."""
    from viral.runtime import open_runtime

    async with (
        open_runtime(load_settings()) as runtime,
        runtime.system.session_without_tenant() as session,
    ):
        yield runtime, session


def _tell(
    deed: str, lines: Sequence[JobLine], done: set[UUID], *, rule: str, as_json: bool
) -> None:
    """Say what was done; exit with 1 where something was not."""
    left = [line for line in lines if line.id not in done]
    if as_json:
        about = [{"id": line.id, "status": line.status} for line in left]
        print_json({deed: [line.id for line in lines if line.id in done], "left": about})
    else:
        out.print(f"{len(done):,} {deed}.")
        for line in left:
            err.print(f"{line.id} is {line.status}: {rule}.", markup=False)
    if left:
        raise typer.Exit(1)


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise BadInput(
            f"{text[:60]!r} is not a job's id.", hint="See `viral jobs list`."
        ) from error


def _shown(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
