"""F05 and F06: what is between a worker and PostgreSQL is cut, or delivers nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from clusters import Cluster
from factories import TestTenant
from fakes.platform import Client, FakePlatform
from queues import NUMBERED, Numbered, add, handled, until, working
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs
from studio import fetch

from viral.database.urls import parse_url
from viral.features.jobs.types import JobType
from viral.runtime import Runtime, open_runtime
from viral.worker import keeper, lane
from viral.worker.handling import AtWork
from worker.conftest import Installation
from worker.history import changes, watch
from worker.wire import Place, Wire, wired
from worker.worker_with_test_jobs import Step, poster

# A lane of its own: what is sent for it can be told by its name.
FAR = JobType("far-job", queue="far-lane")
STATE = "SELECT status, attempts, crashes FROM job_queue"
# A claim that was committed, and whose answer did not come.
UNHEARD = {("claim", "in the answer"), ("claim", "after"), ("claim", "never")}
PLACES: tuple[Place, ...] = ("before", "in the request", "in the answer", "after", "never")


@pytest.fixture(params=["listening"])
def jobs_listen(request: pytest.FixtureRequest) -> bool:
    """One way is enough where it does not matter."""
    return bool(request.param == "listening")


@pytest.fixture
def platform() -> Iterator[FakePlatform]:
    with FakePlatform() as fake:
        yield fake


@pytest.fixture
async def wire(cluster: Cluster) -> AsyncIterator[Wire]:
    url = cluster.url("viral_migrator", "postgres")
    async with wired(url.host, url.port) as between:
        yield between


@pytest.fixture
async def far(installation: Installation, wire: Wire) -> AsyncIterator[Runtime]:
    """Have a runtime whose worker's connections go over the wire."""
    direct = installation.settings.direct_url
    assert direct is not None
    near = f":{parse_url(direct).port}/"
    settings = installation.settings.model_copy(
        update={"direct_url": direct.replace(near, f":{wire.port}/") + "?pool_timeout=0.5"}
    )
    async with open_runtime(settings) as opened:
        yield opened


async def is_completed(admin: AsyncConnection) -> bool:
    return await fetch(admin, "SELECT count(*) FROM job_queue WHERE status <> 'completed'") == [
        (0,)
    ]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("step", ["claim", "ending"])
async def test_f05_a_connection_that_is_cut_at_an_exchange_loses_no_job(
    cluster: Cluster,
    database_name: str,
    runtime: Runtime,
    far: Runtime,
    wire: Wire,
    alice: TestTenant,
    admin: AsyncConnection,
    platform: FakePlatform,
    step: str,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    posting = poster(Client(platform.port))

    async def post(at_work: AtWork) -> object:
        return await posting(at_work, Step())

    monkeypatch.setattr(lane, "RECONNECT_S", 0.05)
    monkeypatch.setattr(lane, "ANSWER_S", 1.0)
    await watch(cluster, database_name)
    asked_with = b"far-lane" if step == "claim" else b'"post"'
    answered_with = b"far-job" if step == "claim" else asked_with
    wire.cut_at(asked_with if place in {"before", "in the request"} else answered_with, place)

    with handled(FAR, post):
        async with working(far):
            await add(runtime, alice.id, FAR)
            await until(lambda: is_completed(admin))

    seen = await changes(cluster, database_name)
    assert wire.cuts == 1
    # What nobody heard of was given back, and what was handed in was refused the second time.
    given_back = ["pending", "running"] if (step, place) in UNHEARD else []
    assert [each.became for each in seen] == ["pending", "running", *given_back, "completed"]
    assert await fetch(admin, STATE) == [("completed", 1, 0)]
    assert platform.effects.total() == platform.requests.total() == 1


async def test_f05_a_worker_that_is_cut_off_loses_its_jobs_to_another(
    runtime: Runtime,
    far: Runtime,
    wire: Wire,
    alice: TestTenant,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await assert_jobs_go_to_another(runtime, far, wire, alice, admin, monkeypatch, wire.cut)


async def test_f06_a_worker_that_is_not_heard_loses_its_jobs_to_another(
    runtime: Runtime,
    far: Runtime,
    wire: Wire,
    alice: TestTenant,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Its connections stand, and so does its lease.
    await assert_jobs_go_to_another(runtime, far, wire, alice, admin, monkeypatch, wire.hold)


async def assert_jobs_go_to_another(
    runtime: Runtime,
    far: Runtime,
    wire: Wire,
    alice: TestTenant,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
    part: Callable[[], None],
) -> None:
    """Part a worker with two jobs from its server: one ends by itself, and one does not."""
    started, may_end, interrupted = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work(at_work: AtWork, request: Numbered) -> dict[str, object]:
        if at_work.runtime is runtime:
            return {"by": "the near one"}
        if request.n == 2:
            started.set()
        try:
            await (may_end.wait() if request.n == 1 else asyncio.Event().wait())
        except asyncio.CancelledError:
            interrupted.set()
            raise
        return {"by": "the far one"}

    monkeypatch.setattr(lane, "RECONNECT_S", 0.05)
    monkeypatch.setattr(keeper, "RECONNECT_S", 0.05)
    monkeypatch.setattr(keeper, "HEARTBEAT_S", 0.3)
    monkeypatch.setattr(keeper, "SILENCE", timedelta(seconds=2))
    ids = [await add(runtime, alice.id, NUMBERED, Numbered(number)) for number in (1, 2)]
    with handled(NUMBERED, work), capture_logs() as logs:
        async with working(far):
            await started.wait()
            async with working(runtime):
                part()
                await until(lambda: is_completed(admin))
                may_end.set()
                wire.heal()
                await asyncio.wait_for(interrupted.wait(), 20)
                await until(partial(is_logged, logs, "job.refused"))

    assert await fetch(admin, f"{STATE} ORDER BY id") == [("completed", 2, 1)] * 2
    assert await fetch(admin, "SELECT DISTINCT result ->> 'by' FROM job_queue") == [
        ("the near one",)
    ]
    assert [str(ids[0])] == [each["job_id"] for each in logs if each["event"] == "job.refused"]


async def is_logged(logs: list[MutableMapping[str, Any]], event: str) -> bool:
    return any(each["event"] == event for each in logs)
