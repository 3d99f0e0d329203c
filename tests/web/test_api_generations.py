"""Generations over the API."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
from factories import TestTenant

from viral.database.engine import Database
from viral.features.generations.listing import list_generations
from viral.web.api.generations import GenerationsPage
from web.conftest import Browser, add_sample_trends

ADDRESS = "/api/v1/generations"


async def test_a_generation_holds_what_was_written_for_it(
    alices: Browser, system: Database
) -> None:
    await add_sample_trends(system)
    made = (await alices.send("/api/v1/concepts", {"count": 2, "category": "food"})).json()

    answer = await alices.get(ADDRESS)

    page = msgspec.json.decode(answer.content, type=GenerationsPage)
    assert answer.headers["content-type"] == "application/json"
    (generation,) = page.generations
    assert (generation.settings["category"], page.next_cursor) == ("food", None)
    assert (datetime.now(UTC) - generation.date).total_seconds() < 60
    written = answer.json()["generations"][0]["concepts"]
    same = sorted(set(written[0]) - {"post_at"})
    assert [{key: each[key] for key in same} for each in written] == [
        {key: each[key] for key in same} for each in sorted(made, key=lambda each: str(each["id"]))
    ]


async def test_pages_hold_each_generation_once_newest_first(
    alices: Browser, system: Database
) -> None:
    await add_sample_trends(system)
    for _ in range(3):
        await alices.send("/api/v1/concepts", {"count": 1})

    first = (await alices.get(f"{ADDRESS}?limit=2")).json()
    second = (await alices.get(f"{ADDRESS}?limit=2&cursor={first['next_cursor']}")).json()

    dates = [each["date"] for page in (first, second) for each in page["generations"]]
    assert [len(page["generations"]) for page in (first, second)] == [2, 1]
    assert dates == sorted(set(dates), reverse=True)
    assert second["next_cursor"] is None


async def test_a_tenant_sees_its_own_generations_and_cursors_only(
    alices: Browser, bobs: Browser, system: Database
) -> None:
    await add_sample_trends(system)
    for _ in range(2):
        await alices.send("/api/v1/concepts", {"count": 1})
    cursor = (await alices.get(f"{ADDRESS}?limit=1")).json()["next_cursor"]

    theirs = await bobs.get(ADDRESS)
    borrowed = await bobs.get(f"{ADDRESS}?cursor={cursor}")

    assert theirs.json() == {"generations": [], "next_cursor": None}
    assert (borrowed.status_code, borrowed.json()["code"]) == (422, "bad_input")


async def test_a_page_is_one_message_to_the_server(
    alices: Browser, alice: TestTenant, app: Database, system: Database
) -> None:
    await add_sample_trends(system)
    for _ in range(3):
        await alices.send("/api/v1/concepts", {"count": 2})
    await list_generations(app, alice.id, limit=20)
    (connection,) = app._calls._idle
    said: list[str] = []

    with connection.query_logger(lambda query: said.append(query.query)):
        found = await list_generations(app, alice.id, limit=20)
        # The driver tells it a moment later.
        await asyncio.sleep(0)

    assert (len(found), len(said)) == (3, 1)
