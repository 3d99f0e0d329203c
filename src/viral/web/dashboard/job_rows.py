"""Jobs as rows: what a type is called, how a state is shown, and who may do what about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from viral.features.jobs.listing import JobLine
from viral.schema.operations import Job
from viral.web.dashboard.rendering import sentence
from viral.web.dashboard.views import Choice

PAGE: Final = "/jobs"
STATES: Final = {
    "pending": "waiting",
    "blocked": "waiting for another job",
    "running": "running",
    "completed": "completed",
    "failed": "failed",
    "canceled": "canceled",
}
_COLOURS: Final = {"running": "ac", "completed": "ok", "failed": "er"}
_WORDS: Final = {
    "reflexion": "Learn from results",
    "generate-concepts": "Write concepts",
    "trends-fetch": "Fetch trends",
}
_OPEN: Final = ("pending", "blocked", "running")
_AGAIN: Final = ("failed", "canceled")


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job in a list. `tenant` is told where jobs of several are listed."""

    id: str
    what: str
    job_type: str
    state: str
    colour: str
    progress: int | None
    attempts: int
    max_attempts: int
    failure: str
    made_at: datetime
    due_at: datetime | None
    began_at: datetime | None
    ended_at: datetime | None
    tenant: str
    is_system: bool
    may_look: bool
    may_cancel: bool
    may_retry: bool


@dataclass(frozen=True, slots=True)
class StateCount:
    """How many of the newest jobs are in a state, and where they are listed."""

    label: str
    colour: str
    jobs: int
    url: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for; `view` is empty, or `all` for the jobs of all tenants."""

    status: str = ""
    job_type: str = ""
    view: str = ""

    def query(self, **others: str) -> str:
        """Write it as the query of an address, with its question mark; empty without any."""
        named = {"view": self.view, "status": self.status, "type": self.job_type, **others}
        query = urlencode({name: value for name, value in named.items() if value})
        return f"?{query}" if query else ""


@dataclass(frozen=True, slots=True)
class Moment:
    """A step of a job's way."""

    label: str
    at: datetime


def job_row(line: JobLine, tenant_id: UUID, asked: Asked, *, now: datetime) -> JobRow:
    """Show a job to somebody of a tenant, who may act on that one's jobs and the system's."""
    is_system = line.tenant_id is None
    is_near = is_system or line.tenant_id == tenant_id
    is_later = line.status == "pending" and line.scheduled_for > now
    return JobRow(
        id=str(line.id),
        what=in_words(line.job_type),
        job_type=line.job_type,
        state="scheduled" if is_later and not line.attempts else STATES[line.status],
        colour=_COLOURS.get(line.status, "mu"),
        progress=line.progress if line.status == "running" else None,
        attempts=line.attempts,
        max_attempts=line.max_attempts,
        failure=sentence((line.failure or "").replace("_", " ")),
        made_at=line.created_at,
        due_at=line.scheduled_for if is_later else None,
        began_at=line.started_at,
        ended_at=line.completed_at,
        tenant=line.tenant if asked.view else "",
        is_system=is_system,
        may_look=is_near,
        may_cancel=is_near and line.status in _OPEN,
        may_retry=is_near and line.status in _AGAIN,
    )


def state_counts(asked: Asked, counts: dict[tuple[str, str], int]) -> tuple[StateCount, ...]:
    """Sum up by state what was counted by type and status."""
    return tuple(
        StateCount(
            label=label,
            colour=_COLOURS.get(status, "mu"),
            jobs=sum(
                jobs
                for (job_type, found), jobs in counts.items()
                if found == status and asked.job_type in {"", job_type}
            ),
            url=PAGE + Asked(status, asked.job_type, asked.view).query(),
            is_chosen=asked.status == status,
        )
        for status, label in STATES.items()
    )


def type_choices(asked: Asked, counts: dict[tuple[str, str], int]) -> tuple[Choice, ...]:
    """List the types that there are, and the one that is asked for."""
    names = {job_type for job_type, _ in counts} | ({asked.job_type} - {""})
    return tuple(sorted((Choice(each, in_words(each)) for each in names), key=lambda of: of.label))


def in_words(job_type: str) -> str:
    """Say in words what a type of jobs does."""
    return _WORDS.get(job_type, sentence(job_type.replace("-", " ").replace("_", " ")))


def moments_of(job: Job) -> list[Moment]:
    """List the steps of a job's way, oldest first."""
    found = [Moment("Asked for", job.created_at)]
    if job.scheduled_for > job.created_at:
        found.append(Moment("Due", job.scheduled_for))
    if job.started_at is not None:
        found.append(Moment("Last attempt began", job.started_at))
    if job.completed_at is not None:
        found.append(Moment(sentence(STATES[job.status]), job.completed_at))
    return sorted(found, key=lambda each: each.at)
