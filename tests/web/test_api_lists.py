"""Lists over the API: each row once over all pages, narrowed by filters, none of another tenant."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from factories import TestTenant, fill_every_table
from litestar import Litestar
from queues import add
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.schema.base import uuid7
from web.conftest import Browser
from web.routes import SOME_ID

ROWS = [
    {"id": f"v{number}", "platform": platform, "published_at": "2026-01-05", "views": number}
    for number, platform in enumerate(["tiktok", "youtube", "tiktok", "tiktok", "youtube"], 1)
]


def joined(pages: list[list[str]]) -> list[str]:
    return [each for page in pages for each in page]


async def pages_of(browser: Browser, path: str, rows: str, *, size: int = 2) -> list[list[str]]:
    """Walk through a list; the ids of each page."""
    found: list[list[str]] = []
    cursor = ""
    while len(found) < 9:
        page = (await browser.get(f"{path}limit={size}{cursor}")).json()
        found.append([each["id"] for each in page[rows]])
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"
    raise AssertionError(found)


async def ids_of(admin: AsyncConnection, sql: str) -> Sequence[str]:
    found = [str(each) for each in await admin.scalars(text(sql))]
    await admin.rollback()
    return found


async def test_results_are_listed_by_pages_platform_and_concept(
    alices: Browser, bobs: Browser, admin: AsyncConnection
) -> None:
    await alices.send("/api/v1/performance", ROWS)
    newest = "SELECT id FROM performance_feedback {} ORDER BY reported_at DESC, id DESC"

    everything = await pages_of(alices, "/api/v1/performance?", "results")
    on_youtube = await pages_of(alices, "/api/v1/performance?platform=youtube&", "results")
    first = (await alices.get("/api/v1/performance?limit=1")).json()["results"][0]
    of_concept = await alices.get(f"/api/v1/performance?concept_id={first['concept_id']}")

    assert [2, 2, 1] == [len(page) for page in everything]
    assert await ids_of(admin, newest.format("")) == joined(everything)
    assert await ids_of(admin, newest.format("WHERE platform = 'youtube'")) == joined(on_youtube)
    assert [first] == of_concept.json()["results"]
    assert ("2026-01-05T00:00:00Z", "api") == (first["published_at"], first["source"])
    assert [[]] == await pages_of(bobs, "/api/v1/performance?", "results")


async def test_weeks_show_what_posts_reached(alices: Browser, bobs: Browser) -> None:
    await alices.send("/api/v1/performance", ROWS)

    weeks = (await alices.get("/api/v1/performance/weeks?weeks=104&platform=tiktok")).json()
    few = await alices.get("/api/v1/performance/weeks?weeks=1")

    (tiktok,) = [each for each in weeks if each["grouping"] == "platform"]
    assert ("tiktok", "2026-01-05", 3, 3.0) == tuple(
        tiktok[name] for name in ("name", "monday", "posts", "views")
    )
    assert [] == few.json()
    assert [] == (await bobs.get("/api/v1/performance/weeks?weeks=104")).json()


async def test_critiques_are_listed_by_pages_and_name_what_they_changed(
    alices: Browser, bobs: Browser, alice: TestTenant, admin: AsyncConnection
) -> None:
    rows = await fill_every_table(admin, alice)
    await admin.execute(
        text(
            "INSERT INTO self_critiques (id, tenant_id, performance_gap, critique,"
            " hypothesized_reasons, scoring_issues, adjustment_plan, confidence_level, critic,"
            " created_at) SELECT gen_random_uuid(), tenant_id, '{}', 'Too bold.', '[\"why\"]',"
            " '[]', 'Less.', 'low', 'offline', created_at FROM self_critiques,"
            " generate_series(1, 4)"
        )
    )
    await admin.commit()

    pages = await pages_of(alices, "/api/v1/reflexion/critiques?", "critiques")
    listed = (await alices.get("/api/v1/reflexion/critiques")).json()["critiques"]
    changed = (await alices.get("/api/v1/reflexion/adjustments")).json()
    (adjustment,) = changed["adjustments"]
    concept = rows["self_critiques"]["concept_id"]
    of_concept = await alices.get(f"/api/v1/reflexion/critiques?concept_id={concept or SOME_ID}")

    newest = "SELECT id FROM self_critiques ORDER BY created_at DESC, id DESC"
    assert await ids_of(admin, newest) == joined(pages)
    assert adjustment["critique_id"] in [each["id"] for each in listed]
    assert ("Too bold.", ["why"], "Less.", "low") in [
        (each["text"], each["reasons"], each["plan"], each["confidence"]) for each in listed
    ]
    assert int(concept is not None) == len(of_concept.json()["critiques"])
    assert [[]] == await pages_of(bobs, "/api/v1/reflexion/critiques?", "critiques")


async def test_adjustments_are_listed_by_pages_in_their_order(
    alices: Browser, bobs: Browser, alice: TestTenant, admin: AsyncConnection
) -> None:
    """Runs share a moment, and changes of a run a size: only the ids tell those apart."""
    await fill_every_table(admin, alice)
    columns = "tenant_id, critique_id, platform, goal, adjustment_type, category, reason, evidence"
    await admin.execute(
        text(
            f"INSERT INTO scoring_adjustments (id, {columns}, old_value, new_value, applied_at,"
            f" reverted_at) SELECT gen_random_uuid(), {columns}, 0.1, 0.1 + 0.7 * (n % 2),"
            " applied_at - (n / 4) * interval '1 day', CASE WHEN n = 3 THEN now() END"
            " FROM scoring_adjustments, generate_series(1, 8) AS n"
        )
    )
    await admin.commit()
    address = "/api/v1/reflexion/adjustments?"

    pages = await pages_of(alices, address, "adjustments", size=3)
    undone = await pages_of(alices, f"{address}undone=true&", "adjustments")
    served = await pages_of(alices, f"{address}undone=false&", "adjustments", size=100)

    order = "ORDER BY applied_at DESC, abs(new_value - old_value) DESC, id"
    assert await ids_of(admin, f"SELECT id FROM scoring_adjustments {order}") == joined(pages)
    is_undone = f"SELECT id FROM scoring_adjustments WHERE reverted_at IS NOT NULL {order}"
    assert await ids_of(admin, is_undone) == joined(undone)
    assert 9 - len(joined(undone)) == len(joined(served))
    assert [[]] == await pages_of(bobs, address, "adjustments")


async def test_insights_are_listed_by_pages_the_strongest_first(
    alices: Browser, bobs: Browser, alice: TestTenant, admin: AsyncConnection
) -> None:
    await fill_every_table(admin, alice)
    columns = (
        "tenant_id, platform, category, pattern, impact, low, high, evidence_count,"
        " recommendation, applied_to_scoring, last_seen_at, kind, status"
    )
    await admin.execute(
        text(
            f"INSERT INTO reflexion_insights (id, {columns}, pattern_key, effect_size)"
            f" SELECT gen_random_uuid(), {columns}, pattern_key || n, (n % 3) * (1 - n % 2 * 2)"
            " FROM reflexion_insights, generate_series(1, 7) AS n"
        )
    )
    await admin.commit()

    pages = await pages_of(alices, "/api/v1/reflexion/insights?", "insights", size=3)

    order = "ORDER BY abs(effect_size) DESC, id"
    assert await ids_of(admin, f"SELECT id FROM reflexion_insights {order}") == joined(pages)
    assert [3, 3, 2] == [len(page) for page in pages]
    assert [[]] == await pages_of(bobs, "/api/v1/reflexion/insights?", "insights")


async def test_experiments_are_listed_by_pages_newest_first(
    alices: Browser, bobs: Browser, alice: TestTenant, admin: AsyncConnection
) -> None:
    await fill_every_table(admin, alice)
    columns = "tenant_id, platform, arms, alpha, most_posts, created_at"
    await admin.execute(
        text(
            f"INSERT INTO experiments (id, {columns}, name, status)"
            f" SELECT gen_random_uuid(), {columns}, name || n, 'stopped'"
            " FROM experiments, generate_series(1, 4) AS n"
        )
    )
    await admin.commit()

    pages = await pages_of(alices, "/api/v1/experiments?", "experiments")

    newest = "SELECT id FROM experiments ORDER BY created_at DESC, id DESC"
    assert await ids_of(admin, newest) == joined(pages)
    assert [2, 2, 1] == [len(page) for page in pages]
    assert [[]] == await pages_of(bobs, "/api/v1/experiments?", "experiments")


@pytest.mark.parametrize(
    "path",
    [
        "performance",
        "reflexion/critiques",
        "reflexion/adjustments",
        "reflexion/insights",
        "experiments",
    ],
)
async def test_a_cursor_of_another_list_or_tenant_opens_nothing(
    alices: Browser, bobs: Browser, path: str
) -> None:
    await alices.send("/api/v1/performance", ROWS)
    page = (await alices.get("/api/v1/performance?limit=1")).json()
    expected = 200 if path == "performance" else 422

    own = await alices.get(f"/api/v1/{path}?cursor={page['next_cursor']}")
    other = await bobs.get(f"/api/v1/{path}?cursor={page['next_cursor']}")

    assert (expected, 422) == (own.status_code, other.status_code)


async def test_jobs_are_found_by_how_they_stand_and_what_they_do(
    alices: Browser, alice: TestTenant, application: Litestar
) -> None:
    made = [str(await add(application.state.runtime, alice.id)) for _ in range(3)]
    await alices.send(f"/api/v1/jobs/{made[1]}/cancel")
    job_type = (await alices.get(f"/api/v1/jobs/{made[0]}")).json()["job_type"]

    async def found(query: str) -> list[str]:
        page = (await alices.get(f"/api/v1/jobs?{query}")).json()
        return [each["id"] for each in page["jobs"]]

    assert [made[2], made[0]] == await found("status=pending")
    assert [made[1]] == await found(f"status=canceled&job_type={job_type}")
    assert [] == await found("job_type=other")
    assert [[made[2]], [made[0]]] == await pages_of(
        alices, "/api/v1/jobs?status=pending&", "jobs", size=1
    )
    assert 422 == (await alices.get("/api/v1/jobs?status=lost")).status_code


async def test_one_generation_is_that_of_the_list(
    alices: Browser, bobs: Browser, alice: TestTenant, admin: AsyncConnection
) -> None:
    await fill_every_table(admin, alice)
    (listed,) = (await alices.get("/api/v1/generations")).json()["generations"]
    address = f"/api/v1/generations/{listed['id']}"

    assert listed == (await alices.get(address)).json()
    assert 404 == (await bobs.get(address)).status_code
    assert 404 == (await alices.get(f"/api/v1/generations/{uuid7()}")).status_code
