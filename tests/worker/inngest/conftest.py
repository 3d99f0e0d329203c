"""A worker whose jobs a fake Inngest calls for, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from factories import TestTenant
from fakes.inngest import FakeInngest, Run, Told
from pydantic import SecretStr
from queues import (
    add,
    until,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import fetch

from viral.postgres.ports import free_port
from viral.runtime import Runtime, open_runtime
from viral.worker.handling import AtWork
from viral.worker.inngest import engine as engine_module
from worker.conftest import Installation

STATE = "SELECT status, attempts, error_message FROM job_queue"


@pytest.fixture(params=["listening"])
def jobs_listen(request: pytest.FixtureRequest) -> bool:
    """One way is enough where it does not matter."""
    return bool(request.param == "listening")


@pytest.fixture
def engine() -> Iterator[FakeInngest]:
    with FakeInngest() as running:
        yield running


@pytest.fixture
async def runtime(installation: Installation, engine: FakeInngest) -> AsyncIterator[Runtime]:
    port = free_port()
    chosen = {
        "jobs": "inngest",
        "inngest_event_key": SecretStr(engine.event_key),
        "inngest_signing_key": SecretStr(engine.signing_key),
        "inngest_api_url": engine.url,
        "inngest_event_url": engine.url,
        "inngest_serve_url": f"http://127.0.0.1:{port}/api/inngest",
        "inngest_port": port,
    }
    async with open_runtime(installation.settings.model_copy(update=chosen)) as opened:
        yield opened


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send again what nobody called for within moments."""
    monkeypatch.setattr(engine_module, "SEND_AGAIN_EVERY_S", 0.1)
    monkeypatch.setattr(engine_module, "SILENCE", timedelta(seconds=0.2))
    monkeypatch.setattr(engine_module, "GIVEN_UP", timedelta(seconds=1))


class Notes:
    """A handler that notes which jobs it did, and does nothing else."""

    def __init__(self) -> None:
        self.done: list[UUID] = []
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.began: list[UUID] = []

    async def __call__(self, at_work: AtWork, *_payload: object) -> dict[str, object]:
        self.began.append(at_work.id)
        await self.may_end.wait()
        self.done.append(at_work.id)
        return {"attempt": at_work.attempt}


async def ended(admin: AsyncConnection, condition: str = "status = 'completed'") -> None:
    """Wait until all jobs fulfil a condition."""
    left = f"SELECT id FROM job_queue WHERE NOT coalesce({condition}, false)"

    async def is_so() -> bool:
        return not await fetch(admin, left)

    await until(is_so)


async def call(
    runtime: Runtime, engine: FakeInngest, job_id: UUID, attempt: int = 1, **how: Any
) -> Told:
    """Call for a job as Inngest does, or nearly so."""
    data = {"job_id": str(job_id), "attempt": attempt}
    url = f"{runtime.settings.inngest_serve_url}?fnId=viral-job&stepId=step"
    document = {"event": {"name": "viral/job", "data": data}}
    return await asyncio.to_thread(lambda: engine.ask("POST", url, document, **how))


async def handed_over(runtime: Runtime, tenant: TestTenant, engine: FakeInngest) -> UUID:
    """Put in a job whose event Inngest takes and forgets, and wait until it is there."""
    engine.drop()
    job_id = await add(runtime, tenant.id)

    async def is_taken() -> bool:
        return f"{job_id}-1" in engine.events

    await until(is_taken)
    return job_id


def outcome(run: Run) -> tuple[str, list[int]]:
    return run.status, [told.status for told in run.told if told is not None]


async def until_begun(notes: Notes) -> None:
    """Wait until a handler is at work."""

    async def is_so() -> bool:
        return bool(notes.began)

    await until(is_so)


async def until_known(engine: FakeInngest) -> None:
    """Wait until a worker has told Inngest where it is."""

    async def is_so() -> bool:
        return "viral" in engine.apps

    await until(is_so)
