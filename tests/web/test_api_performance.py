"""Results over the API."""

from __future__ import annotations

import tempfile

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from web.conftest import Browser

ROW = {"id": "v1", "platform": "tiktok", "published_at": "2026-01-02", "views": 1000}


async def test_results_are_stored_once(alices: Browser, admin: AsyncConnection) -> None:
    first = await alices.send("/api/v1/performance", [ROW, {**ROW, "id": "v2", "likes": 5}])
    second = await alices.send("/api/v1/performance", [ROW])

    assert first.json() == {"stored": 2, "known": 0, "early": 0, "rejects": []}
    assert first.status_code == 201
    assert second.json() == {"stored": 0, "known": 1, "early": 0, "rejects": []}
    likes = await admin.scalars(text("SELECT likes FROM performance_feedback ORDER BY external_id"))
    assert list(likes) == [None, 5]
    assert await admin.scalar(text("SELECT count(*) FROM job_queue")) == 1


async def test_bad_rows_are_listed_and_the_others_stored(alices: Browser) -> None:
    rows = [
        ROW,
        {**ROW, "id": "v2", "views": -1},
        {**ROW, "id": "v3", "platform": "myspace"},
        {**ROW, "id": "v4", "title": "a\x00b"},
        {**ROW, "id": "v5", "concept_id": "0199f3a0-0000-7000-8000-000000000000"},
    ]

    answer = (await alices.send("/api/v1/performance", rows)).json()

    assert answer["stored"] == 1
    found = [(each["line"], each["column"]) for each in answer["rejects"]]
    assert found == [(2, "views"), (3, "platform"), (4, "title"), (5, "concept_id")]


async def test_an_empty_list_is_named(alices: Browser) -> None:
    answer = await alices.send("/api/v1/performance", [])

    assert (answer.status_code, answer.json()["code"]) == (422, "bad_input")


async def test_a_file_of_more_than_a_megabyte_is_taken_in(
    alices: Browser, admin: AsyncConnection
) -> None:
    title = "t" * 500
    lines = [f"v{number},tiktok,2026-01-02,10,{title}" for number in range(2500)]
    content = "\n".join(["id,platform,published_at,views,title", *lines]).encode()
    assert len(content) > 1_200_000

    answer = await alices.upload("/api/v1/performance/imports", "r.csv", content)

    assert answer.json() == {"stored": 2500, "known": 0, "early": 0, "rejects": []}
    assert await admin.scalar(text("SELECT count(*) FROM performance_feedback")) == 2500


async def test_json_lines_are_known_by_their_name(alices: Browser) -> None:
    content = b'{"id":"v1","platform":"tiktok","published_at":"2026-01-02","views":1}\n'

    answer = await alices.upload("/api/v1/performance/imports", "../../r.jsonl", content)

    assert answer.json()["stored"] == 1


async def test_a_file_without_results_is_a_problem_without_our_paths(alices: Browser) -> None:
    answer = await alices.upload("/api/v1/performance/imports", "r.json", b"{")

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "bad_file")
    assert problem["detail"].startswith("The file is no JSON")
    assert tempfile.gettempdir() not in answer.text


async def test_a_form_without_a_file_is_named(alices: Browser) -> None:
    answer = await alices.upload("/api/v1/performance/imports", "", b"x")

    assert answer.status_code == 422
