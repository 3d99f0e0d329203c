"""Ordering concepts: the form, what becomes of an order, and what is refused."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from clusters import Cluster
from factories import TestTenant, make_tenant
from queues import work_off
from sqlalchemy import text

from viral.database.engine import Database
from web.concept_ground import Ground
from web.conftest import Browser, add_sample_trends, serving, settings_for
from web.routes import SOME_ID
from web.test_home import words

CARD = re.compile(r'<article class="card concept" id="concept-([0-9a-f-]{36})"')


@pytest.fixture(scope="module")
async def ground(
    cluster: Cluster, module_database: str, short_folder: Path
) -> AsyncIterator[Ground]:
    app = cluster.database("viral_app", module_database)
    system = cluster.database("viral_system", module_database)
    await add_sample_trends(system)
    tenants = [await make_tenant(system, cluster.secrets, slug=each) for each in ("ann", "ben")]
    settings = settings_for(cluster, short_folder / "home", module_database)
    async with serving(settings) as application:
        yield Ground(application, cluster, module_database, app, system, *tenants)
    await app.close()
    await system.close()


@pytest.fixture
async def carol(ground: Ground) -> TestTenant:
    """Make a tenant of the test's own."""
    slug = f"t{uuid4().hex[:12]}"
    return await make_tenant(ground.system, ground.cluster.secrets, slug=slug)


@pytest.fixture
async def carols(ground: Ground, carol: TestTenant) -> AsyncIterator[Browser]:
    async with ground.browser_of(carol) as browser:
        yield browser


@pytest.fixture
def system(ground: Ground) -> Database:
    return ground.system


async def order(browser: Browser, **fields: str) -> str:
    """Send the form; the address where the order is shown."""
    answer = await browser.submit("/generations", fields)
    assert answer.status_code == 303
    return answer.headers["location"]


async def jobs_of(ground: Ground, tenant: TestTenant) -> list[str]:
    return await ground.ids(f"SELECT id FROM job_queue WHERE tenant_id = '{tenant.id}'")


async def test_an_order_waits_is_written_and_shows_its_concepts(
    carols: Browser, carol: TestTenant, ground: Ground
) -> None:
    address = await order(carols, count="3", category="food", platform="youtube")
    waiting = words(await carols.get(address))
    await work_off(ground.application.state.runtime, carol.id)
    page = await carols.get(address)

    assert re.fullmatch(r"/generate\?order=[0-9a-f-]{36}", address)
    assert "3 concepts in Food for YouTube ordered today" in waiting
    assert "Waiting for a worker" in waiting
    said = words(page)
    assert "3 concepts, picked from 10 candidates, the most promising first." in said
    assert "47 concepts left" in said
    assert len(CARD.findall(page.text)) == 3
    stored = f"SELECT category || platform FROM concepts JOIN predictions AS p ON p.concept_id = \
concepts.id WHERE concepts.tenant_id = '{carol.id}'"
    assert await ground.ids(stored) == ["foodyoutube"] * 3


async def test_an_order_from_a_trend_is_about_that_alone(
    carols: Browser, carol: TestTenant, ground: Ground
) -> None:
    trend, topic = (
        await ground.ids("SELECT id || '|' || topic FROM trends ORDER BY score LIMIT 1")
    )[0].split("|")
    form = await carols.get(f"/generate?trend={trend}")

    await order(carols, count="2", trend=trend)
    await work_off(ground.application.state.runtime, carol.id)

    assert f'<option value="{trend}" selected>' in form.text
    assert f"/generate?count=2&amp;trend={trend}" not in form.text
    topics = f"SELECT trend->>'topic' FROM concepts WHERE tenant_id = '{carol.id}'"
    assert await ground.ids(topics) == [topic] * 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("status = 'running', started_at = now(), progress = 45", "Writing candidates, 5 of 10"),
        ("status = 'running', started_at = now(), progress = 90", "Scoring 10 candidates"),
        (
            "scheduled_for = now() - interval '16 s'",
            "No worker has taken it yet. viral up runs one",
        ),
        (
            "attempts = 1, error_message = 'server_unreachable: No answer.'",
            "Waiting to try again The last try failed: No answer.",
        ),
        (
            "status = 'failed', completed_at = now(), error_message = 'x: There is no trend.'",
            "Nothing was written. There is no trend. None of it is counted.",
        ),
    ],
)
async def test_each_step_of_an_order_is_said(
    carols: Browser, carol: TestTenant, ground: Ground, change: str, said: str
) -> None:
    address = await order(carols, count="1")
    await ground.change(f"UPDATE job_queue SET {change} WHERE tenant_id = :tenant", tenant=carol.id)

    assert said in words(await carols.get(address))
    await ground.change("DELETE FROM job_queue WHERE tenant_id = :tenant", tenant=carol.id)


async def test_an_order_is_canceled_by_its_button(carols: Browser) -> None:
    address = await order(carols, count="4", category="food")
    job_id = address.partition("=")[2]
    assert f'action="/generations/{job_id}/cancel"' in (await carols.get(address)).text

    first = await carols.submit(f"/generations/{job_id}/cancel")
    said = words(await carols.get(address))
    await carols.submit(f"/generations/{job_id}/cancel")
    again = await carols.get(address)

    assert first.headers["location"] == address
    assert "Done The order is canceled" in said
    assert "This order of 4 concepts in Food was canceled." in said
    assert "The order had ended already." in words(again)
    assert 'href="/generate?count=4&amp;category=food&amp;platform="' in again.text


async def test_orders_under_way_are_shown_without_their_address(carols: Browser) -> None:
    for count in ("2", "3"):
        await order(carols, count=count)

    said = words(await carols.get("/generate"))

    assert "3 concepts ordered today" in said
    assert "2 concepts ordered today" in said


async def test_what_the_quota_cannot_give_is_refused_at_once(
    carols: Browser, carol: TestTenant, ground: Ground
) -> None:
    await ground.change(
        "UPDATE tenants SET monthly_quota = 5, used_quota = 4 WHERE id = :id", id=carol.id
    )
    near = words(await carols.get("/generate"))

    assert await order(carols, count="2") == "/generate"
    refused = words(await carols.get("/generate"))
    await ground.change("UPDATE tenants SET used_quota = 5 WHERE id = :id", id=carol.id)
    spent = await carols.get("/generate")

    assert "1 concept left until" in near
    assert "Failed 2 concepts asked for, 1 of 5 left this month." in refused
    assert "Code quota_exceeded" in refused
    assert "All 5 concepts of this month are used." in words(spent)
    assert 'aria-describedby="quota-reason">Generate' in spent.text
    assert await jobs_of(ground, carol) == []


async def test_what_cannot_be_asked_for_is_told(
    carols: Browser, carol: TestTenant, ground: Ground
) -> None:
    for fields in (
        {"count": "0"},
        {"count": "many"},
        {"count": "1", "category": "x"},
        {"count": "1", "platform": "x"},
        {"count": "1", "trend": "x"},
        {"count": "1", "trend": str(SOME_ID)},
        {"count": "1", "seed": "-1"},
        {"count": "1", "seed": "9" * 10},
        {},
    ):
        assert await order(carols, **fields) == "/generate", fields
        assert "Failed" in words(await carols.get("/generate")), fields
    assert await jobs_of(ground, carol) == []


async def test_a_form_takes_no_other_fields(
    carols: Browser, carol: TestTenant, ground: Ground
) -> None:
    for extra in ("tenant_id", "role", "quota", "id", "user_id", "monthly_quota"):
        await carols.submit("/generations", {"count": "1", extra: "1000"})

        assert f"unknown field {extra} " in words(await carols.get("/generate"))
    assert await jobs_of(ground, carol) == []


async def test_forms_are_refused_without_their_token(
    carols: Browser, carol: TestTenant, ground: Ground
) -> None:
    job_id = (await order(carols, count="1")).partition("=")[2]

    answers = [
        await carols.submit(path, fields, token="")
        for path, fields in (
            ("/generations", {"count": "1"}),
            (f"/generations/{job_id}/cancel", {}),
        )
    ]

    assert [each.status_code for each in answers] == [403, 403]
    assert await jobs_of(ground, carol) == [job_id]


async def test_an_order_of_another_tenant_is_like_none(carols: Browser, ground: Ground) -> None:
    async with ground.browser_of(ground.alice) as anns:
        theirs = UUID((await order(anns, count="1")).partition("=")[2])

    said = []
    for each in (theirs, SOME_ID):
        shown = await carols.get(f"/generate?order={each}")
        await carols.submit(f"/generations/{each}/cancel")
        note = words(await carols.get("/generate")).split("Failed")[1].split(", request")[0]
        said.append((shown.status_code, note.replace(str(each), "ID")))

    assert said[0] == said[1]
    assert said[0][0] == 404
    async with ground.admin() as admin:
        status = await admin.scalar(
            text("SELECT status FROM job_queue WHERE id = :id"), {"id": theirs}
        )
    assert status == "pending"


async def test_a_job_of_another_type_is_no_order(
    carols: Browser, carol: TestTenant, ground: Ground
) -> None:
    row = b"id,platform,published_at,views\nv1,tiktok,2026-01-02,1000\n"
    await carols.submit("/performance/imports", files={"file": ("r.csv", row)})
    job_id = (await jobs_of(ground, carol))[0]

    assert (await carols.get(f"/generate?order={job_id}")).status_code == 404
