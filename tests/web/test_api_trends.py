"""Trends over the API: read by all, written by operators."""

from __future__ import annotations

from factories import TestTenant
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from web.conftest import Browser, add_sample_trends, make_operator


async def test_trends_are_listed(alices: Browser, system: Database) -> None:
    await add_sample_trends(system)

    listed = (await alices.get("/api/v1/trends?limit=3")).json()

    assert len(listed) == 3
    scores = [each["score"] for each in listed]
    assert scores == sorted(scores, reverse=True)


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
    (trend,) = (await alices.get("/api/v1/trends")).json()
    assert (trend["topic"], trend["source"], trend["keywords"]) == (
        "Robots that fold laundry",
        "api",
        ["robot"],
    )


async def test_a_list_without_trends_is_a_problem_without_our_paths(
    alices: Browser, alice: TestTenant, system: Database
) -> None:
    await make_operator(system, alice)

    for entries in ([], [{"topic": " "}]):
        answer = await alices.send("/api/v1/trends", entries)

        assert (422, "bad_file") == (answer.status_code, answer.json()["code"])
        assert answer.json()["detail"] == "The list has no usable trend."
