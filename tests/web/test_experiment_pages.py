"""Experiments on their pages and variants on a concept's: begun, compared, ended, and by whom."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from clusters import Cluster

from viral.web.dashboard.experiment import POSTS_SHOWN
from viral.web.dashboard.experiments import ROWS_SHOWN
from web.concept_ground import MEASURED, Ground, open_ground
from web.conftest import Browser
from web.test_home import words

ARMS = json.dumps([{"label": "A", "hook_type": "story"}, {"label": "B", "hook_type": "question"}])
STORED = (
    "INSERT INTO experiments (tenant_id, id, name, platform, arms, status, winner, document,"
    " decided_at, created_at) SELECT t.id, :id, :name, 'tiktok', CAST(:arms AS jsonb), :status,"
    " :winner, CAST(:document AS jsonb), CASE WHEN :status <> 'running' THEN now() END,"
    " now() - interval '1 month' - :number * interval '1 hour' FROM tenants AS t"
    " WHERE t.slug = 'alice'"
)
# Told as A and as B in turn, and all that was written for it.
TOLD = (
    "INSERT INTO concept_variants (tenant_id, id, concept_id, label, title, caption, hook,"
    " hook_type, hook_source, is_selected, experiment_id)"
    " SELECT f.tenant_id, gen_random_uuid(), f.concept_id, v.label, f.concept_title, '', 'Hook',"
    " v.hook_type, 'template', (f.n % 2 = 0) = (v.label = 'A'), :id"
    " FROM (SELECT *, row_number() OVER (ORDER BY applied_no) AS n FROM performance_feedback"
    " WHERE applied_no IS NOT NULL) AS f,"
    " (VALUES ('A', 'story'), ('B', 'question')) AS v (label, hook_type)"
)
UNTOLD = "SELECT id FROM concepts WHERE origin = 'generated' ORDER BY created_at DESC LIMIT 1"
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
async def ground(
    cluster: Cluster, module_database: str, short_folder: Path
) -> AsyncIterator[Ground]:
    async with open_ground(cluster, module_database, short_folder) as ground:
        yield ground


@pytest.fixture
async def alices(ground: Ground) -> AsyncIterator[Browser]:
    """Begin without an experiment."""
    await ground.change(
        "DELETE FROM concept_variants", "DELETE FROM experiments", "DELETE FROM job_queue"
    )
    async with ground.browser_of(ground.alice) as browser:
        yield browser


@pytest.fixture
async def bobs(ground: Ground) -> AsyncIterator[Browser]:
    async with ground.browser_of(ground.bob) as browser:
        yield browser


async def stored(ground: Ground, name: str = "openers", **values: object) -> str:
    """Store an experiment past the feature, and give its id."""
    known = {"status": "running", "winner": None, "number": 0, "document": "{}"}
    row = {"id": str(uuid4()), "name": name, "arms": ARMS, **known, **values}
    await ground.change(STORED, **row)
    return str(row["id"])


async def begun(browser: Browser, **fields: str) -> str:
    """Start an experiment by the form, and give the address of its page."""
    wanted = {"name": "openers", "platform": "tiktok", "a": "story", "b": "question", **fields}
    answer = await browser.submit("/experiments", wanted)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def test_who_never_compared_is_told_what_it_is_for(bobs: Browser) -> None:
    page = await bobs.get("/experiments")

    assert "No experiments yet." in words(page)
    assert re.search(r'<select id="start-a" name="a" required>.*?selected', page.text)
    assert "experiments-status" not in page.text


async def test_one_is_begun_by_the_form_and_no_second_beside_it(alices: Browser) -> None:
    page = await alices.get(await begun(alices, name=" Story or question ", c="list"))
    second = await alices.submit(
        "/experiments", {"name": "two", "platform": "tiktok", "a": "story", "b": "list"}
    )
    everything = await alices.get("/experiments")

    assert "Story or question" in words(page)
    assert "Nothing is decided before 8 posts an arm" in words(page)
    assert "The experiment 'Story or question' is running." in words(everything)
    assert second.headers["location"] == "/experiments"
    assert "0 of at most 200 posts" in words(everything)
    assert "start-a" not in everything.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"b": "story"},
        {"b": "shouting"},
        {"b": ""},
        {"alpha": "much"},
        {"most_posts": "3"},
        {"most_posts": "nan"},
        {"name": " "},
        {"platform": "radio"},
    ],
)
async def test_what_cannot_be_compared_is_refused(
    alices: Browser, ground: Ground, wrong: dict[str, str]
) -> None:
    fields = {"name": "openers", "platform": "tiktok", "a": "story", "b": "question", **wrong}

    answer = await alices.submit("/experiments", fields)

    assert answer.headers["location"] == "/experiments"
    assert "Failed" in words(await alices.get("/experiments"))
    assert await ground.ids("SELECT id FROM experiments") == []


async def test_a_stop_keeps_its_reason_as_it_was_written(alices: Browser) -> None:
    address = await begun(alices)

    answer = await alices.submit(f"{address}/stop", {"reason": f"The {EVIL} season ended"})
    await alices.submit(f"{address}/stop", {"reason": "twice"})
    page = await alices.get(address)

    assert (answer.status_code, answer.headers["location"]) == (303, address)
    assert "The experiment 'openers' has ended." in words(page)
    assert f"The reason given: “The {html.escape(EVIL)} season ended”." in page.text
    assert "Stop it by hand" not in page.text


async def test_forms_without_their_token_change_nothing(alices: Browser, ground: Ground) -> None:
    address = await begun(alices)
    concept = (await ground.ids(UNTOLD))[0]

    for path, fields in (
        (f"{address}/stop", {"reason": "x"}),
        ("/experiments", {"name": "n", "platform": "tiktok", "a": "story", "b": "list"}),
        (f"/concepts/{concept}/variants", {"count": "3"}),
        (f"/concepts/{concept}/selection", {"label": "A"}),
    ):
        assert (await alices.submit(path, fields, token="")).status_code == 403

    assert await ground.ids("SELECT status FROM experiments") == ["running"]
    assert await ground.ids("SELECT id FROM concept_variants") == []


async def test_posts_stand_beside_what_was_foretold_of_them(
    alices: Browser, ground: Ground
) -> None:
    experiment = await stored(ground)
    await ground.change(TOLD, id=experiment)

    page = await alices.get(f"/experiments/{experiment}")
    told = await alices.get(f"/experiments/{experiment}/course.csv")

    assert f"{MEASURED} of at most 200 posts" in words(page)
    assert page.text.count('class="arm-bar"') == 2
    assert page.text.count('data-label="Apart"') == min(MEASURED, POSTS_SHOWN)
    assert f"After {MEASURED} posts:" in words(page)
    rows = list(csv.DictReader(io.StringIO(told.text)))
    assert [int(each["posts"]) for each in rows] == list(range(2, MEASURED + 1))
    assert all(float(each["from"]) < float(each["lead"]) < float(each["to"]) for each in rows)


async def test_a_winner_and_what_it_taught_are_shown(alices: Browser, ground: Ground) -> None:
    figures = {
        "posts": 19,
        "arms": [{"label": "A", "posts": 11, "mean": 9.5, "low": 1, "high": 18}],
    }
    experiment = await stored(
        ground, status="decided", winner="A", document=json.dumps(figures), number=2
    )
    await ground.change(
        "UPDATE scoring_adjustments SET adjustment_type = 'tenant_hook', category = 'story',"
        " platform = 'tiktok' WHERE id = (SELECT id FROM scoring_adjustments"
        " WHERE reverted_at IS NULL ORDER BY id LIMIT 1)"
    )

    page = await alices.get(f"/experiments/{experiment}")
    rows = await alices.get("/experiments?status=decided")

    assert "A Story wins" in words(page)
    assert "Your hooks: story" in words(page)
    assert "19 posts decided it." in words(page)
    assert re.search(r'data-label="Winner"><strong>Story', rows.text)


async def test_the_list_goes_back_a_page_at_a_time(
    alices: Browser, bobs: Browser, ground: Ground
) -> None:
    for number in range(ROWS_SHOWN + 2):
        await stored(ground, f"number {number}", status="stopped", number=number)

    first = await alices.get("/experiments?status=stopped")
    older = re.search(r'href="([^"]+cursor=[^"]+)">Older', first.text)
    assert older
    second = await alices.get(html.unescape(older[1]))
    none = await alices.get("/experiments?status=decided")

    names = re.findall(r">(number \d+)</a>", first.text + second.text)
    assert names == [f"number {number}" for number in range(ROWS_SHOWN + 2)]
    assert "No experiment is decided." in words(none)
    assert (await bobs.get(html.unescape(older[1]))).status_code == 422


async def test_another_tenants_experiment_is_not_there(
    alices: Browser, bobs: Browser, ground: Ground
) -> None:
    address = await begun(alices)

    for path in (address, f"{address}/course.csv"):
        assert (await bobs.get(path)).status_code == 404
    await bobs.submit(f"{address}/stop", {"reason": ""})
    assert "There is no experiment" in words(await bobs.get("/experiments"))
    assert "openers" not in (await bobs.get("/experiments")).text
    assert await ground.ids("SELECT status FROM experiments") == ["running"]


async def test_a_concept_is_told_in_other_ways_and_one_is_chosen(
    alices: Browser, bobs: Browser, ground: Ground
) -> None:
    concept = (await ground.ids(UNTOLD))[0]

    await alices.submit(f"/concepts/{concept}/variants", {"count": "3"})
    chosen = await alices.submit(f"/concepts/{concept}/selection", {"label": "B"})
    page = await alices.get(f"/concepts/{concept}")
    compare = re.search(r'href="(/experiments[?][^"]+)">Compare these openings', page.text)
    assert compare
    form = await alices.get(html.unescape(compare[1]))
    await bobs.submit(f"/concepts/{concept}/selection", {"label": "A"})

    assert chosen.headers["location"] == f"/concepts/{concept}#variants"
    assert re.search(r"<strong>B: [^<]+</strong> .{0,120}to be posted", page.text)
    assert page.text.count("Post this<span") == 2
    types = await ground.ids("SELECT hook_type FROM concept_variants ORDER BY label")
    assert re.findall(r'<option value="([^"]+)" selected>', form.text)[1:4] == types
    assert await ground.ids("SELECT label FROM concept_variants WHERE is_selected") == ["B"]


async def test_what_the_lot_gave_is_not_offered_to_be_chosen(
    alices: Browser, ground: Ground
) -> None:
    experiment = await stored(ground)
    await ground.change(TOLD, id=experiment)
    concept = (await ground.ids("SELECT concept_id FROM concept_variants LIMIT 1"))[0]

    page = await alices.get(f"/concepts/{concept}")

    assert "chose by lot how this concept is told: post it so." in words(page)
    assert "Post this" not in page.text
    assert "Tell it in" not in page.text
