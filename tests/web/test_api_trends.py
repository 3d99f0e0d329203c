"""Trends over the API: read by all, written by operators."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from factories import TestTenant
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.features.trends import TrendRow, import_trends
from viral.features.trends.sources import NewSource, add_source
from web.conftest import Browser, add_sample_trends, make_operator


async def import_rows(system: Database, rows: Sequence[TrendRow]) -> None:
    async with system.session_without_tenant() as session:
        await import_trends(session, rows, now=datetime.now(UTC))


async def test_trends_are_listed(alices: Browser, system: Database) -> None:
    await add_sample_trends(system)

    page = (await alices.get("/api/v1/trends?limit=3")).json()

    assert len(page["trends"]) == 3
    scores = [each["score"] for each in page["trends"]]
    assert scores == sorted(scores, reverse=True)


async def test_pages_hold_every_topic_once(alices: Browser, system: Database) -> None:
    await add_sample_trends(system)
    whole = (await alices.get("/api/v1/trends?limit=200")).json()

    seen, address = [], "/api/v1/trends?limit=7"
    while True:
        page = (await alices.get(address)).json()
        seen += [each["topic"] for each in page["trends"]]
        if page["next_cursor"] is None:
            break
        address = f"/api/v1/trends?limit=7&cursor={page['next_cursor']}"

    assert whole["next_cursor"] is None
    assert seen == [each["topic"] for each in whole["trends"]]


async def test_a_cursor_is_of_one_tenant_and_one_list(
    alices: Browser, bobs: Browser, system: Database
) -> None:
    await add_sample_trends(system)
    theirs = (await bobs.get("/api/v1/trends?limit=1")).json()["next_cursor"]

    for cursor in (theirs, "x", "x.y"):
        answer = await alices.get(f"/api/v1/trends?cursor={cursor}")
        assert answer.status_code == 422
        assert answer.json()["detail"] == "The cursor is not one of yours."


async def test_a_list_is_of_a_category_or_a_source_and_tells_who_agrees(
    alices: Browser, system: Database
) -> None:
    rows = [
        TrendRow("Night trains", "news", 50, "a", "1"),
        TrendRow("night train", "news", 40, "b", "1"),
        TrendRow("Pizza", "food", 60, "b", "2"),
    ]
    await import_rows(system, rows)

    news = (await alices.get("/api/v1/trends?category=news")).json()["trends"]
    of_b = (await alices.get("/api/v1/trends?source=b")).json()["trends"]
    unknown = await alices.get("/api/v1/trends?category=pets")

    assert [(each["sources"], each["score"]) for each in news] == [(["a", "b"], 60)]
    assert [each["topic"] for each in of_b] == ["Pizza", "night train"]
    assert unknown.status_code == 422


async def test_a_fetch_is_a_job_that_operators_ask_for(
    alices: Browser, alice: TestTenant, system: Database, admin: AsyncConnection
) -> None:
    refused = await alices.send("/api/v1/trends/fetch")
    await make_operator(system, alice)
    nothing = await alices.send("/api/v1/trends/fetch")
    async with system.session_without_tenant() as session:
        await add_source(session, NewSource(name="one", kind="csv", url="/nowhere.csv"))

    asked = await alices.send("/api/v1/trends/fetch")
    again = await alices.send("/api/v1/trends/fetch")

    assert (refused.status_code, nothing.status_code) == (403, 422)
    assert "sources add" in nothing.json()["hint"]
    assert (asked.status_code, again.json()) == (202, {"job": None})
    jobs = "SELECT id::text, job_type, scope FROM job_queue"
    assert (await admin.execute(text(jobs))).all() == [
        (asked.json()["job"], "trends-fetch", "system")
    ]


async def test_only_operators_write_trends(alices: Browser, admin: AsyncConnection) -> None:
    answer = await alices.send("/api/v1/trends", [{"topic": "x"}])

    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
    assert await admin.scalar(text("SELECT count(*) FROM trends")) == 0


async def test_an_operator_writes_trends_and_bad_ones_are_listed(
    alices: Browser, alice: TestTenant, system: Database
) -> None:
    await make_operator(system, alice)
    entries = [
        {
            "topic": "Robots that fold laundry",
            "category": "tech",
            "score": 80,
            "keywords": ["robot"],
        },
        {"topic": " "},
        {"topic": "Too hot", "score": 101},
    ]

    answer = await alices.send("/api/v1/trends", entries)
    again = await alices.send("/api/v1/trends", entries[:1])

    assert answer.status_code == 201
    assert answer.json() == {
        "stored": 1,
        "rejects": [
            {"number": 2, "reason": "it has no topic"},
            {"number": 3, "reason": "its score 101 is not within 0 and 100"},
        ],
    }
    assert again.json()["stored"] == 1
    (trend,) = (await alices.get("/api/v1/trends")).json()["trends"]
    assert (trend["topic"], trend["source"], trend["keywords"]) == (
        "Robots that fold laundry",
        "api",
        ["robot"],
    )
    assert (trend["sources"], trend["velocity"]) == (["api"], None)


async def test_a_list_without_trends_is_a_problem_without_our_paths(
    alices: Browser, alice: TestTenant, system: Database
) -> None:
    await make_operator(system, alice)

    for entries in ([], [{"topic": " "}]):
        answer = await alices.send("/api/v1/trends", entries)

        assert (422, "bad_file") == (answer.status_code, answer.json()["code"])
        assert answer.json()["detail"] == "The list has no usable trend."
