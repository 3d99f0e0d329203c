"""The page of trends: what is ranked for everybody, and what operators do about its sources."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from factories import TestTenant
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.features.trends import TrendRow, import_trends
from viral.features.trends.sources import NewSource, add_source
from viral.web.dashboard import trends
from web.conftest import Browser, make_operator
from web.test_home import words

OLDER = re.compile(r'href="([^"]+)">More</a>')
HOSTILE = "<script>alert(1)</script>"
FEED = NewSource(name="world-news", kind="feed", url="https://example.com/rss")
DEEDS = (
    "/trends/sources",
    "/trends/sources/world-news/enable",
    "/trends/sources/world-news/disable",
    "/trends/fetch",
)


async def see(system: Database, *rows: TrendRow, ago_h: float = 0) -> None:
    """Import trends as they were seen some hours ago."""
    async with system.session_without_tenant() as session:
        await import_trends(session, rows, now=datetime.now(UTC) - timedelta(hours=ago_h))


async def make_source(system: Database) -> None:
    async with system.session_without_tenant() as session:
        await add_source(session, FEED)


async def sources(admin: AsyncConnection) -> list[tuple[str, str, bool]]:
    found = await admin.execute(text("SELECT name, kind, is_enabled FROM trend_sources ORDER BY 1"))
    await admin.rollback()
    return [(name, kind, is_enabled) for name, kind, is_enabled in found]


async def test_without_trends_everybody_is_told_why_and_operators_what_to_do(
    alices: Browser, bobs: Browser, alice: TestTenant, system: Database
) -> None:
    await make_operator(system, alice)

    operators = words(await alices.get("/trends"))
    others = words(await bobs.get("/trends"))

    assert "Nothing is asked of the web unless somebody turns it on." in others
    assert "The operator of this installation imports a file" in others
    assert "Where they come from" not in others
    assert "Import a file or add a source below." in operators
    assert "No source yet, so nothing is asked and nothing leaves this machine." in operators
    assert "Fetch now" not in operators


async def test_topics_are_ranked_with_score_speed_and_who_agrees(
    alices: Browser, system: Database, admin: AsyncConnection
) -> None:
    for ago_h, score in ((2, 40), (1, 45), (0, 50)):
        await see(system, TrendRow("Night trains", "news", score, "a", "1"), ago_h=ago_h)
    await see(system, TrendRow("night train", "news", 30, "b", "1"))
    await see(system, TrendRow(HOSTILE, "food", 70, "b", "2", url="https://example.com/x"))

    page = await alices.get("/trends")

    said = words(page)
    assert "Rank 2 Night trains 60 ↑ rising, +5.0 an hour News a, b today" in said
    assert said.index("Rank 1") < said.index("Rank 2")
    assert "not known yet Food" in said
    assert HOSTILE not in page.text
    assert page.text.count('<svg class="sparkline"') == 1
    first = await admin.scalar(text("SELECT id FROM trends WHERE topic = 'Night trains'"))
    assert f'href="/generate?trend={first}"' in page.text
    assert 'rel="noopener noreferrer nofollow"' in page.text


async def test_filters_stand_in_the_address_and_an_empty_answer_clears_them(
    alices: Browser, system: Database
) -> None:
    await see(
        system, TrendRow("Pizza", "food", 60, "b", "2"), TrendRow("Vote", "news", 5, "a", "1")
    )

    of_food = words(await alices.get("/trends?category=food"))
    of_a = await alices.get("/trends?source=a")
    none = words(await alices.get("/trends?category=luxury&source=a"))

    assert "Pizza" in of_food
    assert "Vote" not in of_food
    assert '<option value="a" selected>' in of_a.text
    assert "Pizza" not in words(of_a)
    assert "No topic in Luxury from “a”. Clear filters" in none


async def test_pages_of_topics_go_on_counting(
    alices: Browser, bobs: Browser, system: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await see(system, *(TrendRow(f"Topic {n}", "food", 50 - n, "a", f"{n}") for n in range(5)))
    monkeypatch.setattr(trends, "ROWS_SHOWN", 2)

    seen: list[tuple[str, str]] = []
    address = "/trends?category=food"
    for _ in range(3):
        page = await alices.get(address)
        seen += re.findall(r"Rank (\d) (Topic \d)", words(page))
        older = OLDER.search(page.text)
        address = older[1].replace("&amp;", "&") if older else ""

    assert [(f"{n + 1}", f"Topic {n}") for n in range(5)] == seen
    first = OLDER.search((await alices.get("/trends")).text)
    assert first
    assert (await bobs.get(first[1].replace("&amp;", "&"))).status_code == 422


async def test_operators_add_switch_and_ask_sources(
    alices: Browser, alice: TestTenant, system: Database, admin: AsyncConnection
) -> None:
    await make_operator(system, alice)
    fields = {"name": "world-news", "kind": "feed", "url": "https://example.com/rss"}

    made = await alices.submit("/trends/sources", fields)
    listed = words(await alices.get("/trends"))
    asked = await alices.submit("/trends/fetch")
    await alices.submit("/trends/sources/world-news/disable")
    off = words(await alices.get("/trends"))
    nobody = await alices.submit("/trends/fetch")

    assert {(each.status_code, each.headers["location"]) for each in (made, asked, nobody)} == {
        (303, "/trends")
    }
    assert "RSS or Atom feed not asked yet never in the next round Disable" in listed
    assert "Fetch now" in listed
    assert "world-news is asked no more; its trends stay." in off
    assert "off never not while it is off Enable" in off
    assert "No source of trends is enabled." in words(await alices.get("/trends"))
    await alices.submit("/trends/sources/world-news/enable")
    assert await sources(admin) == [("world-news", "feed", True)]
    jobs = await admin.execute(text("SELECT scope, job_type FROM job_queue"))
    assert [tuple(each) for each in jobs] == [("system", "trends-fetch")]


async def test_why_a_source_fails_is_told_to_operators_alone(
    alices: Browser, bobs: Browser, alice: TestTenant, system: Database, admin: AsyncConnection
) -> None:
    await make_operator(system, alice)
    await make_source(system)
    await admin.execute(
        text("UPDATE trend_sources SET failures = 3, last_error = 'It answered 503.'")
    )
    await admin.commit()

    operators = words(await alices.get("/trends"))
    others = words(await bobs.get("/trends"))

    assert "It answered 503. (3 times in a row)" in operators
    assert "failing" in operators
    assert "503" not in others
    assert "A source is on: its topics appear here after the next round" in others


async def test_a_file_of_the_server_is_no_source_of_the_web(
    alices: Browser, alice: TestTenant, system: Database, admin: AsyncConnection
) -> None:
    await make_operator(system, alice)

    await alices.submit("/trends/sources", {"name": "x", "kind": "csv", "url": "/etc/passwd"})

    assert "cannot be added here. On the server:" in words(await alices.get("/trends"))
    assert await sources(admin) == []


async def test_operators_import_a_file(
    alices: Browser, alice: TestTenant, system: Database
) -> None:
    await make_operator(system, alice)
    content = b"topic,category,score\nNight trains,news,70\n,food,1\n"

    answer = await alices.submit("/trends/imports", files={"file": ("mine.csv", content)})

    assert answer.headers["location"] == "/trends"
    said = words(await alices.get("/trends"))
    assert "1 trend stored. 1 entry left out, such as number 2: it has no topic." in said
    assert "Rank 1 Night trains 70" in said
    assert "mine" in said


@pytest.mark.parametrize("with_token", [True, False])
async def test_sources_are_for_operators_and_want_the_token_of_a_form(
    alices: Browser,
    alice: TestTenant,
    system: Database,
    admin: AsyncConnection,
    *,
    with_token: bool,
) -> None:
    await make_source(system)
    if not with_token:
        await make_operator(system, alice)

    token = None if with_token else ""
    answers = [await alices.submit(each, {}, token=token) for each in DEEDS]
    answers.append(
        await alices.submit(
            "/trends/imports", files={"file": ("x.csv", b"topic\nx\n")}, token=token
        )
    )

    assert {403} == {each.status_code for each in answers}
    assert await sources(admin) == [("world-news", "feed", True)]
    assert await admin.scalar(text("SELECT count(*) FROM trends")) == 0
