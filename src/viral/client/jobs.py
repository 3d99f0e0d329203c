"""/api/v1/jobs: how slow work goes.

Written by `make docs`; do not edit.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from viral.client.calls import Calls, read


class JobOut(msgspec.Struct, frozen=True):
    """A piece of slow work. Its result stays inside: a run learns from all tenants at once."""

    id: UUID
    job_type: str
    status: str
    progress: int
    attempts: int
    max_attempts: int
    created_at: datetime
    scheduled_for: datetime
    started_at: datetime | None
    completed_at: datetime | None


class JobsPage(msgspec.Struct, frozen=True):
    """Jobs, newest first; `next_cursor` leads to older ones and is null at the end."""

    jobs: list[JobOut]
    next_cursor: str | None


class Jobs(Calls):
    """How slow work goes."""

    def list_jobs(
        self,
        *,
        page_size: int = 20,
        status: Literal["pending", "blocked", "running", "completed", "failed", "canceled"]
        | None = None,
        job_type: str | None = None,
    ) -> Iterator[JobOut]:
        """List jobs, newest first, a page at a time."""
        for page in self._pages(
            "/jobs", JobsPage, {"limit": page_size, "status": status, "job_type": job_type}
        ):
            yield from page.jobs

    def get_job(self, job_id: UUID) -> JobOut:
        """Show how a job goes."""
        return read(self._ask("GET", f"/jobs/{job_id}"), JobOut)

    def cancel_job(self, job_id: UUID, *, idempotency_key: str | None = None) -> JobOut:
        """Cancel a job that has not ended; one that runs is interrupted within seconds."""
        return read(
            self._ask("POST", f"/jobs/{job_id}/cancel", idempotency_key=idempotency_key), JobOut
        )

    def retry_job(self, job_id: UUID, *, idempotency_key: str | None = None) -> JobOut:
        """Put a failed or canceled job back into the queue."""
        return read(
            self._ask("POST", f"/jobs/{job_id}/retry", idempotency_key=idempotency_key), JobOut
        )
