"""The page of learning: the proof, the story of changes with undo, insights on trial."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from clusters import Cluster

from viral.schema.base import uuid7, uuid7_run
from web.conftest import make_operator
from web.learned import Learned, learned_studio
from web.routes import SOME_ID
from web.test_home import words


@pytest.fixture(scope="module")
async def studio(
    cluster: Cluster, module_database: str, short_folder: Path
) -> AsyncIterator[Learned]:
    async with learned_studio(cluster, module_database, short_folder / "home") as learned:
        yield learned


async def add_changes(
    studio: Learned, count: int, *, hours: int, insight: UUID | None = None
) -> None:
    """Add adjustments of one moment, long before the history, of effects that it does not know."""
    await studio.ask(
        "INSERT INTO scoring_adjustments (tenant_id, id, critique_id, platform, goal,"
        " adjustment_type, category, old_value, new_value, reason, evidence, applied_at, after_no,"
        " insight_id)"
        " SELECT tenant_id, new_id, critique_id, 'tiktok', 'reach', 'tenant_word',"
        "  'word' || $1::text || 'x' || n, 0, n, 'for a test', '{}', $4, 1, $3"
        " FROM (SELECT * FROM scoring_adjustments LIMIT 1) one,"
        "  unnest($2::uuid[]) WITH ORDINALITY AS made (new_id, n)",
        str(hours),
        uuid7_run(count),
        insight,
        datetime.now(UTC) - timedelta(days=400, hours=hours),
    )


async def add_insight(studio: Learned, status: str = "confirmed") -> UUID:
    insight = uuid7()
    await studio.ask(
        "INSERT INTO reflexion_insights (tenant_id, id, category, platform, pattern_key, pattern,"
        " evidence_count, impact, effect_size, low, high, status, recommendation, kind, born_no,"
        " confidence, critic, confirmed_at, gain, sign, z)"
        " VALUES ($1, $2, 'all', 'tiktok', 'tag=' || gen_random_uuid(),"
        " 'TikTok: with the tag of a test', 31,"
        " 'positive', 6.5, 4.1, 8.9, $3, 'Do more of it.', 'hypothesis', 3, 'high', 'claude',"
        " now(), 1.75, 1, 4.2)",
        studio.alice.id,
        insight,
        status,
    )
    return insight


async def newest_of(studio: Learned, hours: int) -> UUID:
    ((found,),) = await studio.ask(
        "SELECT id FROM scoring_adjustments WHERE category LIKE 'word' || $1::text || 'x%'"
        " ORDER BY id LIMIT 1",
        str(hours),
    )
    return UUID(str(found))


async def test_the_proof_comes_first_in_words_and_in_figures(studio: Learned) -> None:
    page = await studio.alices.get("/reflexion")

    said = words(page)
    found = re.search(
        r"(\d+\.\d) to (\d+\.\d) points on 12 posts; 95 % interval of the gain"
        r" (.?\d+\.\d) to (.?\d+\.\d)\.",
        said,
    )
    assert found
    download = await studio.alices.get("/reflexion/accuracy.csv")
    (row,) = csv.DictReader(io.StringIO(download.text))
    assert (row["posts_of"], row["posts"]) == ("All posts", "12")
    assert found[1] == f"{float(row['without_learning']):.1f}"
    assert found[2] == f"{float(row['with_learning']):.1f}"
    for question in ("How far do", "Does the error fall", "Do posts reach", "Do predicted interv"):
        assert question in said
    assert page.text.count('role="img"') == 2 * 4


async def test_bands_are_told_beside_what_became_of_them(studio: Learned) -> None:
    answer = await studio.alices.get("/reflexion/calibration.csv")

    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert sum(int(row["posts"]) for row in rows) == 12
    assert all(0 <= float(row["share_inside"]) <= 1 for row in rows)


async def test_each_change_stands_under_the_critique_that_led_to_it(studio: Learned) -> None:
    rows = await studio.ask(
        "SELECT a.id, c.critique FROM scoring_adjustments a JOIN self_critiques c"
        " ON c.id = a.critique_id WHERE a.insight_id IS NULL AND a.reason <> 'for a test'"
    )
    page = await studio.alices.get("/reflexion?kind=effect")

    told = 0
    for adjustment, critique in rows:
        if f'id="adjustment-{adjustment}"' in page.text:
            before = page.text.split(f'id="adjustment-{adjustment}"')[0]
            chain = html.unescape(before.rsplit('<li class="chain">', 1)[1])
            assert str(critique) in chain
            told += 1
    assert told


async def test_filters_live_in_the_address(studio: Learned) -> None:
    youtube = words(await studio.alices.get("/reflexion?platform=youtube"))
    served = await studio.alices.get("/reflexion?platform=tiktok&standing=served")

    assert "No change matches these filters." in youtube
    assert '<option value="tiktok" selected>' in served.text
    assert '<option value="served" selected>' in served.text
    assert 'class="chain"' in served.text


async def test_pages_of_changes_follow_on_each_other(studio: Learned) -> None:
    await add_changes(studio, 25, hours=9)
    seen: list[str] = []
    address: str | None = "/reflexion"
    while address:
        page = (await studio.alices.get(address)).text
        seen += re.findall(r'id="adjustment-([0-9a-f-]{36})"', page)
        older = re.search(r'href="([^"]+)">Older', page)
        address = html.unescape(older[1]) if older else None

    ((count,),) = await studio.ask("SELECT count(*) FROM scoring_adjustments")
    assert len(seen) == len(set(seen)) == count


async def test_a_link_to_a_change_leads_to_the_page_that_it_is_on(studio: Learned) -> None:
    await add_changes(studio, 45, hours=30)
    order = "ORDER BY applied_at DESC, id"
    changes = [
        str(each) for (each,) in await studio.ask(f"SELECT id FROM scoring_adjustments {order}")
    ]

    opened = 0
    for place in {0, 19, 20, len(changes) - 1, *range(0, len(changes), 7)}:
        page = (await studio.alices.get(f"/reflexion?change={changes[place]}")).text
        opened += '<details class="more" open>' in page

        first = place - place % 20
        assert set(changes[first : first + 20]) == set(re.findall(r'id="adjustment-([^"]+)"', page))
        assert ("Newest</a>" in page) == (first > 0)
    # What is folded away (a row's fifth change and later ones) is opened for who looks for it.
    assert opened
    for unseen in (changes[0], SOME_ID):
        assert 404 == (await studio.bobs.get(f"/reflexion?change={unseen}")).status_code


async def test_a_cursor_is_of_no_use_to_another_tenant(studio: Learned) -> None:
    await add_changes(studio, 21, hours=8)
    page = (await studio.alices.get("/reflexion")).text
    older = re.search(r'href="([^"]+)">Older', page)
    assert older

    answer = await studio.bobs.get(html.unescape(older[1]))

    assert "The cursor is not one of yours." in words(answer)


async def test_a_studio_without_results_is_told_what_is_missing(studio: Learned) -> None:
    page = await studio.bobs.get("/reflexion")

    said = words(page)
    assert "Too early to tell" in said
    assert "10 more posts with a result are needed" in said
    assert "No changes yet." in said
    assert 'class="chain"' not in page.text
    assert 'role="img"' not in page.text
    for (title,) in await studio.ask("SELECT title FROM concepts"):
        assert str(title) not in html.unescape(page.text)
    for name in ("accuracy", "calibration"):
        download = await studio.bobs.get(f"/reflexion/{name}.csv")
        assert len(download.text.splitlines()) == 1


async def test_a_run_is_undone_whole_after_a_question(studio: Learned) -> None:
    await add_changes(studio, 3, hours=7)
    newest = await newest_of(studio, 7)

    answer = await studio.alices.submit(f"/reflexion/adjustments/{newest}/undo-run")

    place = f"/reflexion?change={newest}#adjustment-{newest}"
    assert (answer.status_code, answer.headers["location"]) == (303, place)
    said = words(await studio.alices.get("/reflexion"))
    assert re.search(r"Done 3 changes of .* are undone; what counted before counts again\.", said)
    (counts,) = await studio.ask(
        "SELECT count(*), count(reverted_at) FROM scoring_adjustments WHERE category LIKE 'word7x%'"
    )
    assert counts == (3, 3)


async def test_what_was_changed_again_since_offers_no_undo(studio: Learned) -> None:
    await add_changes(studio, 1, hours=5)
    first = await newest_of(studio, 5)
    await add_changes(studio, 1, hours=5)

    page = (await studio.alices.get("/reflexion?standing=replaced")).text

    assert f'id="adjustment-{first}"' in page
    assert f"/reflexion/adjustments/{first}/undo" not in page
    assert "changed again since" in page


async def test_an_insight_is_rolled_back_with_its_number(studio: Learned) -> None:
    insight = await add_insight(studio)
    await add_changes(studio, 2, hours=6, insight=insight)
    page = words(await studio.alices.get("/reflexion"))
    assert "Roll back 2 adjustments?" in page
    assert "TikTok: with the tag of a test" in page

    await studio.alices.submit(f"/reflexion/insights/{insight}/undo")

    said = words(await studio.alices.get("/reflexion"))
    assert "The insight is retired and 2 adjustments rolled back." in said
    ((status,),) = await studio.ask("SELECT status FROM reflexion_insights WHERE id = $1", insight)
    assert status == "retired"


async def test_what_others_have_is_like_nothing(studio: Learned) -> None:
    insight = await add_insight(studio, "candidate")
    await add_changes(studio, 1, hours=4)
    theirs = {"adjustments": await newest_of(studio, 4), "insights": insight}
    for kind, verb in (("adjustments", "undo"), ("adjustments", "undo-run"), ("insights", "undo")):
        said = []
        for an_id in (theirs[kind], SOME_ID):
            await studio.bobs.submit(f"/reflexion/{kind}/{an_id}/{verb}")
            page = words(await studio.bobs.get("/reflexion"))
            said.append(page.split("Failed")[1].split(", request")[0].replace(str(an_id), "ID"))

        assert said[0] == said[1]
        assert "Code not_found" in said[0]


async def test_versions_are_shown_to_operators_and_undone_by_them_alone(
    studio: Learned,
) -> None:
    await studio.ask(
        "INSERT INTO model_versions (id, kind, platform, version, document)"
        " SELECT gen_random_uuid(), 'effects', 'instagram', 1,"
        ' \'{"changes": [], "parent": 0, "after_no": 0}\''
    )
    assert "What all tenants share" not in words(await studio.bobs.get("/reflexion"))
    refused = await studio.bobs.submit("/reflexion/versions/instagram/undo", {"version": "1"})
    assert refused.status_code == 403
    await make_operator(studio.system, studio.alice)
    assert "Undo version 1 of Instagram?" in words(await studio.alices.get("/reflexion"))

    await studio.alices.submit("/reflexion/versions/instagram/undo", {"version": "1"})

    said = words(await studio.alices.get("/reflexion"))
    assert "Instagram: version 1 is undone for all tenants." in said
    ((is_current,),) = await studio.ask(
        "SELECT is_current FROM model_versions WHERE kind = 'effects' AND platform = 'instagram'"
    )
    assert is_current is False


async def test_forms_without_our_token_are_refused(studio: Learned) -> None:
    for path in (
        f"/reflexion/adjustments/{SOME_ID}/undo-run",
        f"/reflexion/insights/{SOME_ID}/undo",
        "/reflexion/versions/tiktok/undo",
        "/reflexion/runs",
    ):
        answer = await studio.alices.submit(path, token="")

        assert answer.status_code == 403, path
