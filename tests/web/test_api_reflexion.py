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
    listed = (await alices.get("/api/v1/reflexion/adjustments?limit=200")).json()["adjustments"]
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


async def test_the_report_and_the_reasons_are_the_tenants_own(
    alices: Browser,
    bobs: Browser,
    alice: TestTenant,
    app: Database,
    system: Database,
    cluster: Cluster,
) -> None:
    await live_some_weeks(app, system, cluster, alice)
    concept = (await alices.get("/api/v1/concepts?limit=1")).json()["concepts"][0]["id"]

    report = (await alices.get("/api/v1/reflexion/report")).json()
    whys = (await alices.get(f"/api/v1/reflexion/why/{concept}")).json()
    foreign = await bobs.get(f"/api/v1/reflexion/why/{concept}")

    assert report["comparison"]["results"] == 12
    assert sum(each["results"] for each in report["calibration"]) == 12
    assert {each["platform"] for each in whys} >= {"tiktok"}
    for each in whys:
        points = sum(round(10 * share["points"]) for share in each["shares"])
        assert points == round(10 * each["score"])
    assert foreign.status_code == 404


async def test_a_whole_run_is_undone_over_the_api(
    alices: Browser, alice: TestTenant, app: Database, system: Database, cluster: Cluster
) -> None:
    await live_some_weeks(app, system, cluster, alice)
    listed = (await alices.get("/api/v1/reflexion/adjustments?limit=200")).json()["adjustments"]
    newest = max(listed, key=lambda each: str(each["id"]))

    undone = await alices.send(f"/api/v1/reflexion/adjustments/{newest['id']}/undo-run")
    insight = await alices.send(f"/api/v1/reflexion/insights/{newest['id']}/undo")

    together = [each for each in listed if each["applied_at"] == newest["applied_at"]]
    assert {each["id"] for each in undone.json()} == {each["id"] for each in together}
    assert {each["undone_because"] for each in undone.json()} == {"by hand"}
    assert insight.status_code == 404


async def test_a_shared_effect_is_undone_for_oneself_and_replays_are_for_operators(
    alices: Browser, alice: TestTenant, app: Database, system: Database, cluster: Cluster
) -> None:
    await live_some_weeks(app, system, cluster, alice)
    effect = {"platform": "tiktok", "goal": "reach", "family": "global", "key": ""}

    made = await alices.send("/api/v1/reflexion/shared/undo", effect)
    unknown = await alices.send("/api/v1/reflexion/shared/undo", effect | {"key": "x"})
    replay = await alices.send("/api/v1/reflexion/replays", {"platform": "tiktok"})

    assert (made.status_code, made.json()["new"]) == (200, 50.0)
    assert (unknown.status_code, replay.status_code) == (404, 403)
