"""Results in by form and by paste, and what the page shows of them."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from clusters import Cluster

from viral.features.performance.weeks import WeekOfPosts
from viral.web.dashboard.weeks import first_monday, week_figures
from web.learned import Learned, learned_studio
from web.test_home import words

HEAD = "id\tplatform\tpublished_at\tviews\tlikes\tcategory\n"


@pytest.fixture(scope="module")
async def studio(
    cluster: Cluster, module_database: str, short_folder: Path
) -> AsyncIterator[Learned]:
    async with learned_studio(cluster, module_database, short_folder / "home") as learned:
        yield learned


def day(before: int) -> str:
    return str((datetime.now(UTC) - timedelta(days=before)).date())


async def count_of(studio: Learned, name: str) -> object:
    ((count,),) = await studio.ask(
        "SELECT count(*) FROM performance_feedback WHERE external_id LIKE $1", f"{name}%"
    )
    return count


async def test_one_result_of_a_concept_is_added_by_form(studio: Learned) -> None:
    ((concept, title, category),) = await studio.ask(
        "SELECT id, title, category FROM concepts WHERE origin = 'generated' LIMIT 1"
    )
    assert (
        f'<option value="{concept}" selected>'
        in (await studio.alices.get(f"/performance?concept={concept}")).text
    )

    answer = await studio.alices.submit(
        "/performance/results",
        {
            "concept": str(concept),
            "platform": "youtube",
            "id": "form-1",
            "published_at": f"{day(4)}T18:30",
            "views": "1200",
            "likes": "",
        },
    )

    assert (answer.status_code, answer.headers["location"]) == (303, "/performance")
    assert "Done 1 result stored." in words(await studio.alices.get("/performance"))
    (row,) = await studio.ask(
        "SELECT concept_id, concept_title, category, views, likes, data_source"
        " FROM performance_feedback WHERE external_id = 'form-1'"
    )
    assert row == (concept, title, category, 1200, None, "manual")


async def test_what_cannot_be_used_is_said_at_its_field_and_the_rest_is_kept(
    studio: Learned,
) -> None:
    answer = await studio.alices.submit(
        "/performance/results",
        {"platform": "tiktok", "id": "form-2", "published_at": f"{day(3)}T09:00", "views": "1.2M"},
    )

    assert answer.status_code == 422
    assert "Nothing was stored: views is shortened" in words(answer)
    assert 'name="views" type="text" inputmode="numeric" pattern="[0-9]*" maxlength="19"' in (
        answer.text
    )
    assert 'value="1.2M" required aria-invalid="true" aria-describedby="entry-views-note"' in (
        answer.text
    )
    assert 'value="form-2"' in answer.text
    assert await count_of(studio, "form-2") == 0


async def test_a_concept_of_another_tenant_is_no_concept(studio: Learned) -> None:
    ((theirs,),) = await studio.ask("SELECT id FROM concepts WHERE origin = 'generated' LIMIT 1")
    fields = {
        "concept": str(theirs),
        "platform": "tiktok",
        "id": "stolen",
        "published_at": f"{day(3)}T09:00",
        "views": "1",
    }

    await studio.bobs.submit("/performance/results", fields)

    assert "Code not_found" in words(await studio.bobs.get("/performance"))
    assert (await studio.bobs.get(f"/performance?concept={theirs}")).status_code == 404
    assert await count_of(studio, "stolen") == 0


async def test_pasted_rows_are_looked_at_before_anything_is_stored(studio: Learned) -> None:
    rows = HEAD + f"p1\ttiktok\t{day(9)}\t1000\t90\tfood\np2\tmyspace\t{day(9)}\t1\t1\tfood\n"
    rows += f"p3\ttiktok\t{day(1)}\t70\t1\tfood\n"

    answer = await studio.alices.submit("/performance/rows", {"rows": rows})

    said = words(answer)
    assert answer.status_code == 200
    assert "Nothing is stored yet. 2 results would be new, 1 row left out." in said
    assert "1 read within two days of publication" in said
    assert "3 platform myspace Is no known platform" in said
    assert "Store 2 results" in said
    assert html.escape(rows) in answer.text
    assert await count_of(studio, "p") == 0


async def test_pasted_rows_are_stored_once_and_learning_is_asked_for(studio: Learned) -> None:
    rows = {"rows": HEAD + f"s1\ttiktok\t{day(9)}\t1000\t90\tfood\n", "step": "store"}

    for expected in ("1 result stored.", "0 results stored, 1 known before."):
        answer = await studio.alices.submit("/performance/rows", rows)

        assert answer.headers["location"] == "/performance"
        assert expected in words(await studio.alices.get("/performance"))
    looked = await studio.alices.submit("/performance/rows", {"rows": rows["rows"]})
    assert "0 results would be new, 1 known before." in words(looked)
    assert "Store 0" not in words(looked)
    ((jobs,),) = await studio.ask("SELECT count(*) FROM job_queue WHERE job_type = 'reflexion'")
    assert jobs == 1


async def test_rows_without_a_header_are_told_and_kept(studio: Learned) -> None:
    answer = await studio.alices.submit("/performance/rows", {"rows": "<b>1</b>\t2\n3\t4"})

    assert "The table" in words(answer)
    assert "&lt;b&gt;1&lt;/b&gt;" in answer.text
    assert "<b>1</b>" not in answer.text


async def test_results_stand_beside_their_predictions(studio: Learned) -> None:
    ((concept, title),) = await studio.ask(
        "UPDATE predictions p SET high = p.score FROM performance_feedback f"
        " WHERE f.concept_id = p.concept_id AND f.platform = p.platform"
        " AND f.external_id = 'v2-0' RETURNING f.concept_id, f.concept_title"
    )

    page = await studio.alices.get("/performance?platform=tiktok")

    rows = page.text.split('<table class="stacking results"')[1].split("data-row")[1:]
    (row,) = [each for each in rows if f'href="/concepts/{concept}"' in each]
    assert html.escape(str(title)) in row
    assert 'aria-hidden="true"></span>above</span>' in row
    others = [each for each in rows if each != row]
    assert any('aria-hidden="true"></span>inside</span>' in each for each in others)


async def test_pages_of_results_follow_on_each_other(studio: Learned) -> None:
    rows = "".join(f"many{n}\tyoutube\t{day(9)}\t{n}\t1\tmusic\n" for n in range(30))
    await studio.alices.submit("/performance/rows", {"rows": HEAD + rows, "step": "store"})
    first = (await studio.alices.get("/performance?category=music")).text
    older = re.search(r'href="([^"]+)">Older', first)
    assert older

    second = (await studio.alices.get(html.unescape(older[1]))).text

    views = [re.findall(r'data-label="Views" class="num">(\d+)<', page) for page in (first, second)]
    assert sorted(int(each) for page in views for each in page) == list(range(30))
    assert "Older" not in second
    stolen = await studio.bobs.get(html.unescape(older[1]))
    assert "The cursor is not one of yours." in words(stolen)


async def test_filters_that_match_nothing_say_so(studio: Learned) -> None:
    said = words(await studio.alices.get("/performance?category=knitting&weeks=13"))

    assert "No posts of the last 13 weeks match these filters." in said
    assert "No results match these filters." in said


async def test_the_data_of_the_charts_is_complete_and_harmless(studio: Learned) -> None:
    rows = "id,platform,published_at,views,category,observed_on\n"
    # Two readings of one post.
    rows += f"calc1,tiktok,{day(9)},1000,=1+1,{day(5)}\ncalc1,tiktok,{day(9)},1000,=1+1,{day(1)}\n"
    await studio.alices.submit("/performance/rows", {"rows": rows, "step": "store"})

    answer = await studio.alices.get("/performance/weeks.csv?weeks=26")

    table = list(csv.DictReader(io.StringIO(answer.text)))
    assert {row["by"] for row in table} == {"platform", "category"}
    by = {
        kind: sum(int(row["posts"]) for row in table if row["by"] == kind)
        for kind in ("platform", "category")
    }
    ((posts,),) = await studio.ask(
        "SELECT count(DISTINCT (platform, external_id)) FROM performance_feedback"
    )
    assert by == {"platform": posts, "category": posts}
    assert "'=1+1" in {row["name"] for row in table}


async def test_a_studio_without_results_sees_what_will_be_there(studio: Learned) -> None:
    page = await studio.bobs.get("/performance")

    said = words(page)
    assert "No posts in the last 26 weeks." in said
    assert "No results yet." in said
    for (title,) in await studio.ask("SELECT concept_title FROM performance_feedback"):
        assert not title or str(title) not in html.unescape(page.text)
    assert len((await studio.bobs.get("/performance/weeks.csv")).text.splitlines()) == 1


async def test_forms_without_our_token_are_refused(studio: Learned) -> None:
    for path in ("/performance/results", "/performance/rows", "/performance/imports"):
        assert (await studio.alices.submit(path, token="")).status_code == 403


def week(name: str, number: int, *, posts: int = 2, score: float | None = 50) -> WeekOfPosts:
    monday = date(2026, 3, 2) + timedelta(weeks=number)
    return WeekOfPosts("category", name, monday, posts, 1500.0 * number, score)


def test_charts_show_the_four_with_most_posts_and_say_what_is_left_out() -> None:
    weeks = [week(name, 0, posts=n) for n, name in enumerate("abcdef", 1)]

    views, score = week_figures(weeks, csv_url="/x")

    assert views.columns == ("Week of", "F", "E", "D", "C")
    assert "2 left out." in views.caption
    assert (views.title, score.title) == ("Views by category", "Score by category")


def test_a_reading_stands_where_the_crosshair_does() -> None:
    weeks = [week("a", 0), week("a", 3), week("b", 1), week("b", 2, score=None)]

    views, score = week_figures(weeks, csv_url="/x")

    for figure, readings in ((views, 4), (score, 3)):
        assert len(figure.readings) == readings
        for chart in figure.charts:
            places = re.search(r'data-xs="([^"]+)"', chart)
            assert places
            assert len(places[1].split()) == readings
    assert views.readings[1].said == "Week of 9 Mar: B 1,500 (2 posts)."


def test_weeks_begin_on_monday() -> None:
    sunday = datetime(2026, 3, 8, 23, 59, tzinfo=UTC)

    assert first_monday(sunday, weeks=1) == datetime(2026, 3, 2, tzinfo=UTC)
    assert first_monday(sunday, weeks=3) == datetime(2026, 2, 16, tzinfo=UTC)
