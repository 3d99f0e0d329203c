"""The pages of jobs: what each person sees of the queue, and what its buttons do."""

from __future__ import annotations

import re
from uuid import UUID

import pytest
from factories import TestTenant
from litestar import Litestar
from queues import NUMBERED, Numbered, add
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.features.jobs.queue import ask_for_all
from viral.schema.base import uuid7
from viral.web.dashboard import jobs
from web.conftest import Browser, make_operator
from web.test_home import words

ROW = re.compile(r'<tr role="row" id="job-([0-9a-f-]{36})">')
OLDER = re.compile(r'href="([^"]+)">Older</a>')
FAILED = "work_failed: The oven is cold."


async def fail(admin: AsyncConnection, job_id: UUID, words: str = FAILED) -> None:
    """End a job as its last attempt would."""
    await admin.execute(
        text(
            "UPDATE job_queue SET status = 'failed', attempts = 3, error_message = :words,"
            " started_at = now(), completed_at = now() WHERE id = :id"
        ),
        {"id": job_id, "words": words},
    )
    await admin.commit()


async def states(admin: AsyncConnection) -> list[str]:
    found = list(await admin.scalars(text("SELECT status FROM job_queue ORDER BY id")))
    await admin.rollback()
    return found


async def test_a_studio_without_jobs_says_what_will_be_there(alices: Browser) -> None:
    said = words(await alices.get("/jobs"))

    assert "No jobs yet. Writing concepts and learning from results appear here" in said
    assert "All tenants" not in said


async def test_jobs_are_counted_and_filtered_by_status_and_type(
    alices: Browser, alice: TestTenant, application: Litestar, admin: AsyncConnection
) -> None:
    broken = await add(application.state.runtime, alice.id, NUMBERED, Numbered(n=1))
    await add(application.state.runtime, alice.id)
    await fail(admin, broken)

    everything = words(await alices.get("/jobs"))
    failed = words(await alices.get("/jobs?status=failed"))
    plain = words(await alices.get("/jobs?type=plain"))
    neither = words(await alices.get("/jobs?status=failed&type=plain"))

    assert "1 waiting 0 waiting for another job 0 running 0 completed 1 failed" in everything
    assert "Numbered Work failed failed 3 of 3" in everything
    assert "Numbered Work failed" in failed
    assert "Plain waiting" not in failed
    assert "Plain waiting 0 of 3" in plain
    assert "0 failed" in plain
    assert "No job is like that. Show all jobs" in neither


async def test_pages_of_jobs_hold_each_once_and_keep_the_filter(
    alices: Browser,
    bobs: Browser,
    alice: TestTenant,
    application: Litestar,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = [str(await add(application.state.runtime, alice.id)) for _ in range(5)]
    monkeypatch.setattr(jobs, "ROWS_SHOWN", 2)

    seen: list[str] = []
    address = "/jobs?status=pending"
    for _ in range(3):
        page = (await alices.get(address)).text
        seen += ROW.findall(page)
        older = OLDER.search(page)
        address = older[1].replace("&amp;", "&") if older else ""

    assert made[::-1] == seen
    assert address == ""
    first = OLDER.search((await alices.get("/jobs?status=pending")).text)
    assert first
    assert "status=pending" in first[1]
    theirs = await bobs.get(first[1].replace("&amp;", "&"))
    assert (theirs.status_code, "The cursor is not one of yours." in theirs.text) == (422, True)


async def test_a_failed_job_is_shown_whole_and_retried_where_its_list_stands(
    alices: Browser, alice: TestTenant, application: Litestar, admin: AsyncConnection
) -> None:
    job_id = await add(application.state.runtime, alice.id, NUMBERED, Numbered(n=4711))
    await fail(admin, job_id)

    page = await alices.get(f"/jobs/{job_id}")
    answer = await alices.submit(f"/jobs/{job_id}/retry?status=failed")
    again = await alices.submit(f"/jobs/{job_id}/retry?view=job")

    said = words(page)
    assert "The last attempt failed. The oven is cold. Code work_failed" in said
    assert '"n": 4711' in said
    assert "Asked for today" in said
    assert "Attempts 3 of 3" in said
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs?status=failed")
    assert again.status_code == 303
    said = words(await alices.get("/jobs"))
    assert "Failed The job is waiting: only failed and canceled ones are tried." in said
    assert await states(admin) == ["pending"]


async def test_a_waiting_job_is_canceled_from_its_own_page(
    alices: Browser, alice: TestTenant, application: Litestar, admin: AsyncConnection
) -> None:
    job_id = await add(application.state.runtime, alice.id)

    answer = await alices.submit(f"/jobs/{job_id}/cancel?view=job")

    assert answer.headers["location"] == f"/jobs/{job_id}"
    said = words(await alices.get(f"/jobs/{job_id}"))
    assert "Done “Plain” is canceled." in said
    assert "Plain canceled" in said
    assert await states(admin) == ["canceled"]


async def test_how_far_a_running_job_is_stands_in_its_row(
    alices: Browser, alice: TestTenant, application: Litestar, admin: AsyncConnection
) -> None:
    await add(application.state.runtime, alice.id)
    await admin.execute(text("UPDATE job_queue SET status = 'running', progress = 40"))
    await admin.commit()

    page = await alices.get("/jobs")

    assert "running 40 %" in words(page)
    assert 'aria-label="40 per cent done"' in page.text


async def test_the_jobs_of_others_are_not_there(
    alices: Browser,
    bobs: Browser,
    bob: TestTenant,
    application: Litestar,
    admin: AsyncConnection,
    system: Database,
) -> None:
    theirs = await add(application.state.runtime, bob.id, NUMBERED, Numbered(n=4711))
    async with system.session_without_tenant() as session:
        await ask_for_all(session)
    of_system = await admin.scalar(text("SELECT id FROM job_queue WHERE scope = 'system'"))
    await admin.rollback()
    before = await states(admin)

    pages = [await alices.get(f"/jobs/{each}") for each in (theirs, of_system, uuid7())]
    await alices.submit(f"/jobs/{theirs}/cancel")
    await alices.submit(f"/jobs/{of_system}/cancel")
    refused = await alices.get("/jobs?view=all")

    assert [404, 404, 404] == [each.status_code for each in pages]
    assert before == await states(admin)
    assert refused.status_code == 403
    assert "Numbered" not in words(await alices.get("/jobs"))
    assert "4711" in words(await bobs.get(f"/jobs/{theirs}"))


async def test_operators_see_all_tenants_and_act_on_their_own_and_the_systems_jobs(
    alices: Browser,
    alice: TestTenant,
    bob: TestTenant,
    application: Litestar,
    admin: AsyncConnection,
    system: Database,
) -> None:
    await make_operator(system, alice)
    theirs = await add(application.state.runtime, bob.id, NUMBERED, Numbered(n=4711))
    await fail(admin, theirs, "work_failed: something of Bob's")
    async with system.session_without_tenant() as session:
        await ask_for_all(session)
    of_system = await admin.scalar(text("SELECT id FROM job_queue WHERE scope = 'system'"))
    await admin.rollback()

    page = await alices.get("/jobs?view=all")
    await alices.submit(f"/jobs/{theirs}/retry?view=all")
    answer = await alices.submit(f"/jobs/{of_system}/cancel?view=all")

    said = words(page)
    assert "Numbered Work failed bob failed" in said
    assert "Learn from results the system waiting" in said
    assert "of Bob" not in said
    assert f"/jobs/{theirs}" not in page.text
    assert (await alices.get(f"/jobs/{theirs}")).status_code == 404
    assert answer.headers["location"] == "/jobs?view=all"
    assert sorted(await states(admin)) == ["canceled", "failed"]
    assert "A job of the system." in words(await alices.get(f"/jobs/{of_system}"))


async def test_buttons_of_jobs_want_the_token_of_a_form(
    alices: Browser, alice: TestTenant, application: Litestar, admin: AsyncConnection
) -> None:
    job_id = await add(application.state.runtime, alice.id)

    answers = [
        await alices.submit(f"/jobs/{job_id}/{deed}", token="") for deed in ("cancel", "retry")
    ]

    assert [403, 403] == [each.status_code for each in answers]
    assert await states(admin) == ["pending"]
