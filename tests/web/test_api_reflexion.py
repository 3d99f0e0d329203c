"""Learning over the API: status, runs, adjustments, insights, jobs."""

from __future__ import annotations

from clusters import Cluster
from factories import TestTenant
from litestar import Litestar
from queues import work_off
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from web.conftest import Browser, live_some_weeks


async def test_status_tells_errors_with_learning_and_without(
    alices: Browser, alice: TestTenant, app: Database, system: Database, cluster: Cluster
) -> None:
    await live_some_weeks(app, system, cluster, alice)

    answer = (await alices.get("/api/v1/reflexion")).json()

    assert (answer["learned"], answer["waiting"]) == (12, 0)
    assert answer["accuracy"]["results"] == 12
    assert 0 <= answer["accuracy"]["inside_interval"] <= 1


async def test_a_run_is_asked_for_once_and_can_be_followed(
    alices: Browser, alice: TestTenant, application: Litestar
) -> None:
    first = await alices.send("/api/v1/reflexion/runs")
    second = await alices.send("/api/v1/reflexion/runs")

    assert first.status_code == 202
    assert first.json() == second.json()
    job = first.json()["id"]
    assert (await alices.get(f"/api/v1/jobs/{job}")).json()["status"] == "pending"
    await work_off(application.state.runtime, alice.id)
    done = (await alices.get(f"/api/v1/jobs/{job}")).json()
    assert (done["status"], done["job_type"], done["attempts"]) == ("completed", "reflexion", 1)
    assert "result" not in done


async def test_adjustments_are_listed_and_undone_once(
    alices: Browser,
    alice: TestTenant,
    app: Database,
    system: Database,
    cluster: Cluster,
    admin: AsyncConnection,
) -> None:
    await live_some_weeks(app, system, cluster, alice)
    listed = (await alices.get("/api/v1/reflexion/adjustments?limit=200")).json()
    newest = max(listed, key=lambda each: str(each["id"]))
    address = f"/api/v1/reflexion/adjustments/{newest['id']}/undo"

    undone = await alices.send(address)
    again = await alices.send(address)

    assert undone.status_code == 200
    assert undone.json()["undone_at"] is not None
    assert (again.status_code, again.json()["code"]) == (409, "already_exists")
    served = await admin.scalar(
        text(
            "SELECT e.published FROM learner_effects e JOIN scoring_adjustments a ON"
            " (e.platform, e.goal, e.family, e.key)"
            " = (a.platform, a.goal, a.adjustment_type, a.category) WHERE a.id = :id"
        ),
        {"id": newest["id"]},
    )
    assert served == newest["old"]


async def test_insights_are_listed(
    alices: Browser, alice: TestTenant, app: Database, system: Database, cluster: Cluster
) -> None:
    await live_some_weeks(app, system, cluster, alice)

    assert (await alices.get("/api/v1/reflexion/insights")).status_code == 200
