"""Generations over the API."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from asyncpg import Record
from factories import TestTenant
from sqlalchemy import text

from viral.database.engine import Database
from viral.features.generations.listing import list_generations
from viral.web.api import generations
from viral.web.api.generations import GenerationsPage
from viral.web.page_cache import ADDRESS_BYTES, PageCache
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


LAST = "WHERE id = (SELECT id FROM {} ORDER BY id DESC LIMIT 1)"
CHANGES = {
    "a generation": "UPDATE generations SET is_favorite = NOT is_favorite",
    "a concept": f"UPDATE concepts SET hook = hook || '!' {LAST.format('concepts')}",
    "a concept goes": f"DELETE FROM concepts {LAST.format('concepts')}",
    "a generation goes": f"DELETE FROM generations {LAST.format('generations')}",
}


async def test_a_page_is_made_once_for_the_rows_that_it_shows(
    alices: Browser, system: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_sample_trends(system)
    await alices.send("/api/v1/concepts", {"count": 2})
    made: list[UUID] = []

    async def counted(database: Database, tenant_id: UUID, **how: Any) -> list[Record]:
        made.append(tenant_id)
        return await list_generations(database, tenant_id, **how)

    monkeypatch.setattr(generations, "list_generations", counted)

    first, again = [await alices.get(ADDRESS) for _ in range(2)]
    shorter = await alices.get(f"{ADDRESS}?limit=1")

    assert len(made) == 2
    assert first.content == again.content == shorter.content
    assert first.headers["etag"] == again.headers["etag"]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_page_shows_at_once_what_changed(
    alices: Browser, alice: TestTenant, app: Database, system: Database, change: str
) -> None:
    await add_sample_trends(system)
    for _ in range(2):
        await alices.send("/api/v1/concepts", {"count": 2})
    before = await alices.get(ADDRESS)

    async with app.tenant_session(alice.id) as session:
        await session.execute(text(CHANGES[change]))
    after = await alices.get(ADDRESS)

    (whole,) = [
        [msgspec.json.decode(row["document"]) for row in rows]
        for rows in [await list_generations(app, alice.id, limit=20)]
    ]
    assert after.json()["generations"] == whole != before.json()["generations"]


async def test_a_page_shows_what_was_written_since(alices: Browser, system: Database) -> None:
    await add_sample_trends(system)
    sizes = []
    for _ in range(3):
        await alices.send("/api/v1/concepts", {"count": 1})
        sizes.append(len((await alices.get(ADDRESS)).json()["generations"]))

    assert sizes == [1, 2, 3]


async def test_each_tenant_has_pages_of_its_own(
    alices: Browser, bobs: Browser, system: Database
) -> None:
    await add_sample_trends(system)
    for browser in (alices, bobs):
        await browser.send("/api/v1/concepts", {"count": 1})

    hers, his = [[await browser.get(ADDRESS) for browser in (alices, bobs)] for _ in range(2)]

    assert [each.content for each in hers] == [each.content for each in his]
    assert hers[0].content != hers[1].content


async def test_the_cache_keeps_what_was_asked_for_last_and_no_more_than_it_may() -> None:
    cache, made = PageCache(most_bytes=2 * ADDRESS_BYTES + 100), []

    async def ask(address: str, version: bytes = b"1", *, size: int = 40) -> bytes:
        async def current() -> bytes:
            return version

        async def make() -> bytes:
            made.append(address)
            return address.encode() * size

        return await cache.get(address, current, make)

    for address in ("a", "b", "a", "c", "a", "b"):
        assert await ask(address) == address.encode() * 40
    assert made == ["a", "b", "c", "b"]

    # Too long to be kept, and nothing is left of what made room for it.
    for _ in range(2):
        await ask("a", b"2", size=2 * ADDRESS_BYTES)
    await ask("b")
    assert made[4:] == ["a", "a", "b"]


async def test_a_cache_of_no_bytes_asks_for_no_version() -> None:
    async def version() -> bytes:
        raise AssertionError

    async def make() -> bytes:
        return b"page"

    assert await PageCache(most_bytes=0).get("a", version, make) == b"page"
