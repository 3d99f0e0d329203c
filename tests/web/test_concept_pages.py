"""History, comparison and the page of one concept: what they show, and to whom."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from clusters import Cluster
from sqlalchemy import event

from viral.web.dashboard.history import SHOWN
from web.concept_ground import MEASURED, OPEN, Ground, open_ground
from web.conftest import Browser
from web.routes import SOME_ID
from web.test_home import words

CARD = re.compile(r'<article class="card concept" id="concept-([0-9a-f-]{36})"')
HOSTILE = "<script>alert(1)</script>"
NEWEST = "SELECT id FROM concepts ORDER BY created_at DESC, id DESC"
HAS_RESULT = "SELECT concept_id FROM performance_feedback LIMIT 1"


@pytest.fixture(scope="module")
async def ground(
    cluster: Cluster, module_database: str, short_folder: Path
) -> AsyncIterator[Ground]:
    async with open_ground(cluster, module_database, short_folder) as ground:
        yield ground


@pytest.fixture
async def alices(ground: Ground) -> AsyncIterator[Browser]:
    async with ground.browser_of(ground.alice) as browser:
        yield browser


@pytest.fixture
async def bobs(ground: Ground) -> AsyncIterator[Browser]:
    async with ground.browser_of(ground.bob) as browser:
        yield browser


async def shown(browser: Browser, path: str) -> list[str]:
    """Give the ids of a page's cards."""
    answer = await browser.get(path)
    assert answer.status_code == 200
    return CARD.findall(answer.text)


async def test_history_goes_back_a_page_at_a_time(alices: Browser, ground: Ground) -> None:
    first = await alices.get("/concepts")
    older = re.search(r'href="([^"]+cursor=[^"]+)">Older', first.text)
    assert older
    second = await alices.get(html.unescape(older[1]))

    assert await ground.ids(NEWEST) == CARD.findall(first.text) + CARD.findall(second.text)
    assert len(CARD.findall(first.text)) == SHOWN
    assert ">Older" not in second.text
    assert ">Newest" in second.text


async def test_a_cursor_of_another_tenant_leads_nowhere(alices: Browser, bobs: Browser) -> None:
    first = await alices.get("/concepts")
    older = re.search(r'href="([^"]+cursor=[^"]+)">Older', first.text)
    assert older

    assert (await bobs.get(html.unescape(older[1]))).status_code == 422


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("status=measured", MEASURED),
        ("status=open", OPEN),
        ("platform=youtube", OPEN),
        ("platform=youtube&status=measured", 0),
        ("platform=tiktok&status=open&category=", OPEN),
        ("favorites=yes", 0),
    ],
)
async def test_filters_of_the_address_leave_some(alices: Browser, query: str, count: int) -> None:
    assert len(await shown(alices, f"/concepts?{query}")) == count


async def test_words_and_a_category_are_looked_for_together(
    alices: Browser, ground: Ground
) -> None:
    row = "SELECT {} FROM concepts ORDER BY id LIMIT 1"
    title, category, concept = [
        (await ground.ids(row.format(each)))[0] for each in ("title", "category", "id")
    ]

    words_of = " ".join(title.split()[:4])

    found = await alices.client.get("/concepts", params={"q": words_of, "category": category})
    other = "music" if category != "music" else "food"
    missed = await alices.client.get("/concepts", params={"q": words_of, "category": other})

    assert CARD.findall(found.text) == [concept]
    assert f"No concepts match “{words_of}” in {other.title()}." in words(missed)
    assert 'href="/concepts">Clear filters' in missed.text


async def test_what_is_no_filter_is_refused(alices: Browser) -> None:
    for query in ("category=x", "platform=x", "status=x", "view=x", f"q={'w ' * 9}"):
        assert (await alices.get(f"/concepts?{query}")).status_code in {400, 422}, query


async def test_the_table_shows_the_same_and_keeps_the_filters(alices: Browser) -> None:
    table = await alices.get("/concepts?view=table&status=measured&q=")

    assert table.text.count('<tr role="row" id="concept-') == MEASURED
    assert 'href="/concepts?status=measured">Cards' in table.text
    assert 'href="/concepts/export?status=measured&amp;format=csv"' in table.text


async def test_a_heart_is_kept_and_leads_back_to_its_place(alices: Browser, ground: Ground) -> None:
    concept = (await ground.ids(NEWEST))[0]
    address = "http://127.0.0.1:8000/concepts?status=open"

    kept = await alices.submit(
        f"/concepts/{concept}/favorite", {"is_favorite": "yes"}, headers={"Referer": address}
    )
    favorites = await alices.get("/concepts?favorites=yes")
    await alices.submit(f"/concepts/{concept}/favorite", {"is_favorite": "no"})

    location = kept.headers["location"]
    assert (kept.status_code, location) == (303, f"/concepts?status=open#concept-{concept}")
    assert CARD.findall(favorites.text) == [concept]
    assert 'value="no" aria-pressed="true"' in favorites.text
    assert await shown(alices, "/concepts?favorites=yes") == []


@pytest.mark.parametrize(
    "sent_from",
    ["https://evil.example/concepts", "http://127.0.0.1:8000//evil.example/", "%", ""],
)
async def test_a_heart_leads_to_no_other_site(
    alices: Browser, ground: Ground, sent_from: str
) -> None:
    concept = (await ground.ids(NEWEST))[0]

    answer = await alices.submit(
        f"/concepts/{concept}/favorite", {"is_favorite": "no"}, headers={"Referer": sent_from}
    )

    assert answer.headers["location"] == f"/concepts#concept-{concept}"


async def test_a_heart_needs_the_token_of_its_form(alices: Browser, ground: Ground) -> None:
    concept = (await ground.ids(NEWEST))[0]

    answer = await alices.submit(f"/concepts/{concept}/favorite", {"is_favorite": "yes"}, token="")

    assert answer.status_code == 403
    assert await ground.ids("SELECT id FROM concepts WHERE is_favorite") == []


async def test_two_chosen_concepts_are_compared_on_a_platform_of_both(
    alices: Browser, ground: Ground
) -> None:
    one, other = [(await ground.ids(f"{NEWEST} {end}"))[0] for end in ("LIMIT 1", "OFFSET 26")]

    sent = await alices.get(f"/concepts/compare?pick={one}&pick={other}")
    page = await alices.get(sent.headers["location"])

    assert sent.headers["location"] == f"/concepts/compare?a={one}&b={other}"
    said = words(page)
    assert "Both as posts on TikTok." in said
    assert said.count("Starting point") == 2
    assert len(re.findall(r"points against the other|The same score", said)) == 2
    assert re.search(r"actual \d+ , (inside|above|below) the interval", said)


async def test_comparing_takes_two(alices: Browser, ground: Ground) -> None:
    some = await ground.ids(NEWEST)

    for picks in (some[:1], some[:3], []):
        query = "&".join(f"pick={each}" for each in picks)
        answer = await alices.get(f"/concepts/compare?{query}")

        assert answer.headers["location"] == "/concepts"
        assert "Choose two concepts" in words(await alices.get("/concepts"))


async def test_what_is_filtered_is_taken_along(alices: Browser) -> None:
    as_csv = await alices.get("/concepts/export?format=csv&status=measured")
    as_json = await alices.get("/concepts/export?format=json&platform=youtube")

    assert as_csv.headers["content-disposition"] == 'attachment; filename="concepts.csv"'
    assert len(list(csv.DictReader(io.StringIO(as_csv.text)))) == MEASURED
    assert [len(json.loads(line)["predictions"]) for line in as_json.text.splitlines()] == [
        3
    ] * OPEN


async def test_a_concept_shows_what_it_did_and_why_it_was_scored_so(
    alices: Browser, ground: Ground
) -> None:
    concept = (await ground.ids(HAS_RESULT))[0]

    page = await alices.get(f"/concepts/{concept}")

    said = words(page)
    assert page.status_code == 200
    for part in ("Script", "Why this score", "Similar posts of yours", "When to post", "Results"):
        assert part in said, part
    assert re.search(r"1,000,000 views, 34\.0 % engaged, (inside|above) the interval", said)
    assert "The built-in writer" in said
    assert f'action="/concepts/{concept}/favorite"' in page.text


async def test_the_points_of_a_concept_add_up_to_its_score(alices: Browser, ground: Ground) -> None:
    concept = (await ground.ids(NEWEST))[0]

    for platform in ("tiktok", "instagram", "youtube"):
        page = await alices.get(f"/concepts/{concept}?platform={platform}")
        table = page.text.split('<div class="reasons"')[1].split("</section>")[0]
        said = re.findall(r'<span class="num">([^<]+)</span>\s*(?:<details|</div>)', table)
        *points, score = [float(each.replace("\N{MINUS SIGN}", "-")) for each in said]

        assert round(sum(points), 6) == score, platform
    assert 'aria-current="true"><span>YouTube' in page.text


async def test_a_learned_reason_tells_its_chain(alices: Browser, ground: Ground) -> None:
    query = "SELECT id FROM concepts WHERE origin = 'generated' ORDER BY id DESC LIMIT 1"

    page = await alices.get(f"/concepts/{(await ground.ids(query))[0]}?platform=tiktok")

    said = words(page)
    adjustment = re.search(r'href="/reflexion\?change=([0-9a-f-]{36})#adj', page.text)
    assert adjustment
    assert adjustment[1] in await ground.ids("SELECT id FROM scoring_adjustments")
    assert re.search(r"Changed (reach|engagement) 0\.0 → ", said)
    assert re.search(r"Because \w+", said)


async def test_what_is_another_tenants_is_like_what_does_not_exist(
    bobs: Browser, ground: Ground
) -> None:
    theirs = (await ground.ids(NEWEST))[0]
    for path in ("/concepts/{}", "/concepts/compare?a={0}&b={0}"):
        answers = [await bobs.get(path.format(each)) for each in (theirs, SOME_ID)]
        told = [re.sub(r"[0-9a-f-]{16,36}", "", words(each)) for each in answers]

        assert [each.status_code for each in answers] == [404, 404]
        assert told[0] == told[1]
    await bobs.submit(f"/concepts/{theirs}/favorite", {"is_favorite": "yes"})
    assert "Code not_found" in words(await bobs.get("/concepts"))
    assert await ground.ids("SELECT id FROM concepts WHERE is_favorite") == []
    assert await shown(bobs, "/concepts") == []
    assert "No concepts yet." in words(await bobs.get("/concepts"))
    assert (await bobs.get("/concepts/export?format=json")).text == ""


async def test_variants_and_foreign_scripts_are_shown_as_they_are(
    alices: Browser, ground: Ground
) -> None:
    concept = (await ground.ids(f"{NEWEST} OFFSET 3"))[0]
    await ground.change(
        "INSERT INTO concept_variants (id, tenant_id, concept_id, label, title, caption, hook,"
        " hook_source) SELECT gen_random_uuid(), tenant_id, id, 'B', 'Told otherwise', 'c', 'h?',"
        " 'template' FROM concepts WHERE id = CAST(:id AS uuid)",
        """UPDATE concepts SET script = '["First a pan", {"then": "an egg"}]', prompts = '{}',
           why_it_works = 'No word of posting.' WHERE id = CAST(:id AS uuid)""",
        id=concept,
    )

    said = words(await alices.get(f"/concepts/{concept}"))

    assert "B: Told otherwise" in said
    assert "First a pan" in said
    assert '{"then":"an egg"}' in said
    assert "Why it should work No word of posting." in said


async def test_titles_hooks_and_critiques_are_inert(alices: Browser, ground: Ground) -> None:
    concept = (await ground.ids(HAS_RESULT))[0]
    before = "SELECT title FROM concepts WHERE id = '{}'"
    title = (await ground.ids(before.format(concept)))[0]
    change = "UPDATE concepts SET title = :x, hook = :x WHERE id = CAST(:id AS uuid)"
    await ground.change(change, x=HOSTILE, id=concept)

    for path in (f"/concepts/{concept}", "/concepts?status=measured", "/concepts?view=table&q=<s"):
        page = await alices.get(path)

        assert page.status_code == 200
        assert HOSTILE not in page.text
        assert html.escape(HOSTILE) in page.text
    await ground.change(change, x=title, id=concept)


async def test_the_number_of_statements_does_not_grow_with_the_concepts(
    alices: Browser, bobs: Browser, ground: Ground
) -> None:
    engine = ground.application.state.runtime.app._engine.sync_engine
    seen: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *found: seen.append(found[2]))
    counts = []
    for browser in (alices, bobs):
        await browser.get("/concepts?platform=tiktok")
        counts.append(len(seen))
        seen.clear()

    # Loading concepts and their predictions are two more, once there are any.
    assert counts[0] <= counts[1] + 2
    assert counts[0] <= 8
