"""The job that asks the sources of trends, as a worker does it."""

from __future__ import annotations

from pathlib import Path

import pytest
from queues import until, working
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import fetch

from viral.database.engine import Database
from viral.features.jobs.schedules import run_schedule
from viral.features.trends.sources import SCHEDULE, TRENDS_FETCH, NewSource, add_source
from viral.runtime import Runtime


@pytest.fixture(params=["listening"])
def jobs_listen() -> bool:
    """One way is enough: the sources are asked the same."""
    return True


async def test_a_worker_asks_the_sources_and_tells_what_failed(
    runtime: Runtime, system: Database, admin: AsyncConnection, tmp_path: Path
) -> None:
    file = tmp_path / "list.csv"
    file.write_text("topic\nNight trains\n")
    async with system.session_without_tenant() as session:
        for name, url in (("good", str(file)), ("gone", f"{file}x")):
            await add_source(session, NewSource(name=name, kind="csv", url=url))
        await run_schedule(session, SCHEDULE.name, TRENDS_FETCH)

    async def is_done() -> bool:
        return await fetch(admin, "SELECT 1 FROM job_queue WHERE status <> 'completed'") == []

    async with working(runtime):
        await until(is_done)

    results = await fetch(admin, "SELECT result FROM job_queue WHERE job_type = 'trends-fetch'")
    assert results == [({"new": 1, "refreshed": 0, "failed": ["gone"]},)]
