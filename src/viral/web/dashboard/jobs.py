"""Jobs: how slow work goes, with retry and cancel; operators see those of all tenants as well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery, QueryParameter, URLEncodedBody
from litestar.response import Redirect
from sqlalchemy.ext.asyncio import AsyncSession

from viral.errors import JobEnded, NotAllowed, NotFound
from viral.features.jobs.listing import (
    JobLine,
    cancel_system_jobs,
    count_jobs_of,
    find_system_job,
    list_jobs,
    list_jobs_of,
    queue_stats,
    retry_system_jobs,
)
from viral.features.jobs.queue import cancel_jobs, find_job, retry_jobs
from viral.features.tenants import own_tenant
from viral.features.users.sessions import Identity
from viral.runtime import Runtime
from viral.schema.operations import Job
from viral.web.cursors import Place, cursor_at, place_of
from viral.web.dashboard.flashes import send_back
from viral.web.dashboard.job_rows import (
    PAGE,
    STATES,
    Asked,
    JobRow,
    Moment,
    StateCount,
    in_words,
    job_row,
    moments_of,
    state_counts,
    type_choices,
)
from viral.web.dashboard.rendering import render, sentence
from viral.web.dashboard.switcher import page_of, send_page
from viral.web.dashboard.views import Choice, Flash
from viral.web.dependencies import Person, Transaction, Wired
from viral.web.forms import Form
from viral.web.requests import WebRequest
from viral.web.site import Site

PURPOSE: Final = "jobs page"
ROWS_SHOWN: Final = 25
# More than a person looks through; a count of all would read a whole queue.
COUNTED: Final = 10_000
_Change = Callable[[AsyncSession, Sequence[UUID]], Awaitable[list[UUID]]]
TypeAsked = Annotated[str, QueryParameter(name="type")]


@dataclass(frozen=True, slots=True)
class JobsPage:
    """A part of the list, newest first; `counted` is of how many jobs the counts are, if cut."""

    asked: Asked
    rows: tuple[JobRow, ...]
    counts: tuple[StateCount, ...]
    counted: int | None
    states: tuple[Choice, ...]
    types: tuple[Choice, ...]
    may_see_all: bool
    is_first: bool
    older_url: str | None


@dataclass(frozen=True, slots=True)
class JobPage:
    """One job whole; payload and result are JSON. `code` is the failure's, where it has one."""

    row: JobRow
    queue: str
    priority: int
    moments: tuple[Moment, ...]
    crashes: int
    error: str | None
    code: str | None
    payload: str
    result: str | None


@get(PAGE, include_in_schema=False)
async def show_jobs(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    job_type: TypeAsked = "",
    status: FromQuery[str] = "",
    view: FromQuery[str] = "",
    cursor: FromQuery[str | None] = None,
) -> Response[str]:
    """Show jobs newest first: one's tenant's, or with `view=all` those of all, for operators."""
    if view == "all" and not identity.is_operator:
        raise NotAllowed("Only the operator of this installation sees the jobs of all tenants.")
    asked = Asked(status if status in STATES else "", job_type, "all" if view == "all" else "")
    now = runtime.clock()
    tenant = await own_tenant(session)
    site: Site = request.app.state.site
    before = place_of(site, identity.tenant_id, cursor, purpose=PURPOSE)
    lines, counts = await _read(
        runtime, session, asked, tenant.slug, before=None if before is None else before[1]
    )
    rest, lines = lines[ROWS_SHOWN:], lines[:ROWS_SHOWN]
    older_url = None
    if rest:
        last = Place(lines[-1].created_at, lines[-1].id)
        older = cursor_at(site, identity.tenant_id, last, purpose=PURPOSE)
        older_url = PAGE + asked.query(cursor=older)
    total = sum(counts.values())
    shown = JobsPage(
        asked=asked,
        rows=tuple(job_row(each, identity.tenant_id, asked, now=now) for each in lines),
        counts=state_counts(asked, counts),
        counted=total if total >= COUNTED and not asked.view else None,
        states=tuple(Choice(each, sentence(label)) for each, label in STATES.items()),
        types=type_choices(asked, counts),
        may_see_all=identity.is_operator,
        is_first=cursor is None,
        older_url=older_url,
    )
    page = await page_of(request, identity, session, tenant, now=now)
    return send_page(request, render("jobs.html", page=page, jobs=shown))


@get("/jobs/{job_id:uuid}", include_in_schema=False)
async def show_job(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    job_id: FromPath[UUID],
) -> Response[str]:
    """Show one job of the tenant, or for operators a system job: what it is about and its way."""
    now = runtime.clock()
    tenant = await own_tenant(session)
    job = await _find(runtime, identity, session, job_id)
    line = JobLine(
        id=job.id,
        tenant_id=job.tenant_id,
        tenant="",
        queue=job.queue,
        job_type=job.job_type,
        status=job.status,
        priority=job.priority,
        attempts=job.attempts,
        max_attempts=job.max_attempts,
        progress=job.progress,
        failure=job.error_message,
        created_at=job.created_at,
        scheduled_for=job.scheduled_for,
        started_at=job.started_at,
        completed_at=job.completed_at,
    )
    code, _, words = (job.error_message or "").partition(": ")
    shown = JobPage(
        row=job_row(line, identity.tenant_id, Asked(), now=now),
        queue=job.queue,
        priority=job.priority,
        moments=tuple(moments_of(job)),
        crashes=job.crashes,
        error=words or job.error_message,
        code=code if words else None,
        payload=_pretty(job.payload),
        result=None if job.result is None else _pretty(job.result),
    )
    page = await page_of(request, identity, session, tenant, now=now)
    return send_page(request, render("job.html", page=page, job=shown))


@post("/jobs/{job_id:uuid}/retry", include_in_schema=False)
async def retry_job(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    job_id: FromPath[UUID],
    data: URLEncodedBody[Form],  # noqa: ARG001 - its shape is checked
    job_type: TypeAsked = "",
    status: FromQuery[str] = "",
    view: FromQuery[str] = "",
) -> Redirect:
    """Put a failed or canceled job back into the queue."""
    job = await _find(runtime, identity, session, job_id)
    if not await _changed(runtime, session, job, own=retry_jobs, of_system=retry_system_jobs):
        raise JobEnded(f"The job is {STATES[job.status]}: only failed and canceled ones are tried.")
    note = Flash("success", f"“{in_words(job.job_type)}” is in the queue again.")
    return send_back(request, note, _back(job_id, Asked(status, job_type, view)))


@post("/jobs/{job_id:uuid}/cancel", include_in_schema=False)
async def cancel_job(
    request: WebRequest,
    runtime: Wired,
    identity: Person,
    session: Transaction,
    job_id: FromPath[UUID],
    data: URLEncodedBody[Form],  # noqa: ARG001 - its shape is checked
    job_type: TypeAsked = "",
    status: FromQuery[str] = "",
    view: FromQuery[str] = "",
) -> Redirect:
    """Cancel a job that has not ended; one that runs is interrupted within seconds."""
    job = await _find(runtime, identity, session, job_id)
    if not await _changed(runtime, session, job, own=cancel_jobs, of_system=cancel_system_jobs):
        raise JobEnded(f"The job is {STATES[job.status]}: there is nothing left to cancel.")
    note = Flash("success", f"“{in_words(job.job_type)}” is canceled.")
    return send_back(request, note, _back(job_id, Asked(status, job_type, view)))


async def _changed(
    runtime: Runtime, session: AsyncSession, job: Job, *, own: _Change, of_system: _Change
) -> bool:
    """Change a job of the session's tenant, or as the system one of nobody's."""
    if job.tenant_id is not None:
        return bool(await own(session, [job.id]))
    async with runtime.system.session_without_tenant() as system:
        return bool(await of_system(system, [job.id]))


def _back(job_id: UUID, asked: Asked) -> str:
    """Give the page on which a button stands: the job's own, or a list as it was asked for."""
    return f"{PAGE}/{job_id}" if asked.view == "job" else PAGE + asked.query()


async def _find(runtime: Runtime, identity: Identity, session: AsyncSession, job_id: UUID) -> Job:
    """Find a job that this person may see; NotFound tells nothing of those that they may not."""
    try:
        return await find_job(session, job_id)
    except NotFound:
        if not identity.is_operator:
            raise
    async with runtime.system.session_without_tenant() as system:
        job = await find_system_job(system, job_id)
        system.expunge(job)
        return job


async def _read(
    runtime: Runtime, session: AsyncSession, asked: Asked, slug: str, *, before: UUID | None
) -> tuple[list[JobLine], dict[tuple[str, str], int]]:
    """Read one row more than is shown, and how many there are by type and status."""
    status, job_type, limit = asked.status or None, asked.job_type or None, ROWS_SHOWN + 1
    if not asked.view:
        lines = await list_jobs_of(
            session, slug, status=status, job_type=job_type, before=before, limit=limit
        )
        return lines, await count_jobs_of(session, newest=COUNTED)
    counts: dict[tuple[str, str], int] = {}
    async with runtime.system.session_without_tenant() as system:
        lines = await list_jobs(
            system, status=status, job_type=job_type, before=before, limit=limit
        )
        for each in await queue_stats(system):
            place = each.job_type, each.status
            counts[place] = counts.get(place, 0) + each.jobs
    return lines, counts


def _pretty(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


ROUTES: Final = (show_jobs, show_job, retry_job, cancel_job)
