"""The home page in its states, and what its forms do."""

from __future__ import annotations

import html
import re

import httpx
from clusters import Cluster
from factories import TestTenant, make_tenant
from litestar import Litestar
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.features.reflexion.status import scored_results
from web.conftest import Browser, browsing, live_some_weeks, sign_in

CSV = "id,platform,published_at,views,likes\n"


def words(answer: httpx.Response) -> str:
    """Give the text of a page without its markup."""
    plain = re.sub(r"<[^>]+>", " ", answer.text)
    return " ".join(html.unescape(plain).split())


async def test_an_unused_studio_says_what_to_do_first(alices: Browser) -> None:
    page = await alices.get("/")

    said = words(page)
    assert "0 of 50" in said
    assert "No concepts yet." in said
    assert "5 more results needed" in said
    assert 'href="/generate">Generate concepts' in page.text
    assert "Sample data" not in said


async def test_a_demo_is_named_as_one(
    application: Litestar, system: Database, cluster: Cluster
) -> None:
    demo = await make_tenant(system, cluster.secrets, slug="demo", is_demo=True)
    async with browsing(application) as browser:
        await sign_in(browser, system, demo)

        assert "Sample data" in words(await browser.get("/"))


async def test_the_loop_is_on_one_page(
    alices: Browser,
    alice: TestTenant,
    app: Database,
    system: Database,
    cluster: Cluster,
    admin: AsyncConnection,
) -> None:
    await live_some_weeks(app, system, cluster, alice)

    await admin.execute(
        text(
            "UPDATE concepts SET post_at = now() WHERE id = (SELECT max(id::text)::uuid FROM"
            " concepts)"
        )
    )
    await admin.execute(text("UPDATE performance_feedback SET reported_at = now()"))
    await admin.execute(text("UPDATE scoring_adjustments SET applied_at = now()"))
    await admin.commit()

    page = await alices.get("/")

    said = words(page)
    titles = list(
        await admin.scalars(text("SELECT title FROM concepts ORDER BY created_at DESC, id DESC"))
    )
    assert all(title in said for title in titles[:6])
    assert titles[6] not in said
    assert titles[0] in said.split("To post today")[1].split("Newest concepts")[0]
    assert "12 results learned from, 0 waiting." in said
    assert "12 of 50" in said
    assert "12,000,000 of 12 posts published since then" in said
    assert "Starting point" in said
    assert "Predictions miss by, last 12 results" in said
    assert re.search(r"\d+ changes? of scores", said)
    adjustments = list(await admin.scalars(text("SELECT id::text FROM scoring_adjustments")))
    linked = re.findall(r'href="/reflexion\?change=([0-9a-f-]{36})#adj', page.text)
    assert linked
    assert set(linked) <= set(adjustments)
    assert len(page.content) <= 60_000
    async with app.tenant_session(alice.id) as session:
        results = await scored_results(session)
        last = await scored_results(session, most=3)
    days = [each.measured_at for each in results]
    assert days == sorted(days)
    assert days[0] < days[-1]
    assert [each.actual for each in last] == [each.actual for each in results[-3:]]


async def test_views_are_those_of_posts_of_the_last_days(
    alices: Browser,
    alice: TestTenant,
    app: Database,
    system: Database,
    cluster: Cluster,
    admin: AsyncConnection,
) -> None:
    await live_some_weeks(app, system, cluster, alice)
    older = "published_at = published_at - interval '40 days' WHERE external_id LIKE 'v2-%'"
    await admin.execute(text(f"UPDATE performance_feedback SET {older}"))
    await admin.commit()

    assert "6,000,000 of 6 posts published since then" in words(await alices.get("/"))


async def test_work_under_way_is_shown_while_it_is(alices: Browser, admin: AsyncConnection) -> None:
    row = b"id,platform,published_at,views\nv1,tiktok,2026-01-02,1000\n"
    await alices.submit("/performance/imports", files={"file": ("r.csv", row)})
    waiting = words(await alices.get("/"))
    ended = "UPDATE job_queue SET status = 'failed', completed_at = now() - interval '{}'"
    await admin.execute(text(ended.format("5 min")))
    await admin.commit()
    failed = words(await alices.get("/"))
    await admin.execute(text(ended.format("2 hours")))
    await admin.commit()

    assert "Learning from results waiting" in waiting
    assert "Learning from results failed" in failed
    assert "No work is under way." in words(await alices.get("/"))


async def test_the_number_of_statements_does_not_grow_with_the_data(
    alices: Browser,
    application: Litestar,
    alice: TestTenant,
    app: Database,
    system: Database,
    cluster: Cluster,
) -> None:
    engine = application.state.runtime.app._engine.sync_engine
    seen: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *found: seen.append(found[2]))
    await alices.get("/")
    empty = len(seen)
    await live_some_weeks(app, system, cluster, alice)
    seen.clear()

    await alices.get("/")

    # Predictions are asked for once there are concepts, and for today's posts if there are any.
    assert empty <= len(seen) <= empty + 2
    assert len(seen) <= 13


async def test_titles_and_hooks_are_inert(
    alices: Browser,
    admin: AsyncConnection,
    app: Database,
    system: Database,
    alice: TestTenant,
    cluster: Cluster,
) -> None:
    await live_some_weeks(app, system, cluster, alice)
    hostile = "<script>alert(1)</script>"
    for column in ("title", "hook", "category"):
        await admin.execute(text(f"UPDATE concepts SET {column} = :x"), {"x": hostile})
    await admin.execute(text("UPDATE reflexion_insights SET pattern = :x"), {"x": hostile})
    await admin.execute(text("UPDATE tenants SET name = :x"), {"x": hostile})
    await admin.commit()

    page = await alices.get("/")

    assert page.status_code == 200
    assert hostile not in page.text
    assert html.escape(hostile) in page.text


async def test_a_person_sees_nothing_of_another_tenant(
    bobs: Browser,
    alice: TestTenant,
    app: Database,
    system: Database,
    cluster: Cluster,
    admin: AsyncConnection,
) -> None:
    await live_some_weeks(app, system, cluster, alice)

    page = await bobs.get("/")
    download = await bobs.get("/learning.csv")

    for title in await admin.scalars(text("SELECT title FROM concepts")):
        assert title not in html.unescape(page.text)
    assert "No concepts yet." in words(page)
    assert len(download.text.splitlines()) == 1
