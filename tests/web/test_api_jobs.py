"""Jobs over the API: pages, cancel, retry; another tenant's are not there."""

from __future__ import annotations

from factories import TestTenant
from litestar import Litestar
from queues import add

from viral.schema.base import uuid7
from web.conftest import Browser


async def test_jobs_are_listed_newest_first_a_page_at_a_time(
    alices: Browser, bobs: Browser, alice: TestTenant, application: Litestar
) -> None:
    made = [str(await add(application.state.runtime, alice.id)) for _ in range(5)]

    pages: list[list[str]] = []
    cursor = ""
    while len(pages) < 5:
        page = (await alices.get(f"/api/v1/jobs?limit=2{cursor}")).json()
        pages.append([job["id"] for job in page["jobs"]])
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert [made[4:2:-1], made[2:0:-1], made[0:1]] == pages
    assert (await bobs.get("/api/v1/jobs")).json() == {"jobs": [], "next_cursor": None}


async def test_a_job_is_canceled_once_and_retried_once(
    alices: Browser, bobs: Browser, alice: TestTenant, application: Litestar
) -> None:
    job = f"/api/v1/jobs/{await add(application.state.runtime, alice.id)}"

    answers = [
        await bobs.send(f"{job}/cancel"),
        await alices.send(f"{job}/retry"),
        await alices.send(f"{job}/cancel"),
        await alices.send(f"{job}/cancel"),
        await alices.send(f"{job}/retry"),
        await alices.send(f"/api/v1/jobs/{uuid7()}/cancel"),
    ]

    assert [404, 409, 200, 409, 200, 404] == [answer.status_code for answer in answers]
    states = [answers[place].json()["status"] for place in (2, 4)]
    assert ["canceled", "pending"] == states
    assert answers[3].json()["code"] == "job_ended"
