"""The forms that feed learning, and the data of its curve."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from clusters import Cluster
from factories import TestTenant
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.features.reflexion.status import ScoredResult
from viral.web.dashboard.curve import MOST_POINTS, learning_curve
from viral.web.dashboard.figures import Figure
from web.conftest import Browser, live_some_weeks
from web.test_home import words

HEAD = b"id,platform,published_at,views,likes\n"
GOOD = HEAD + b"v1,tiktok,2026-01-02,1000,90\nv2,youtube,2026-01-03,2000,50\n"
START = datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_file_of_results_is_taken_in_and_learning_is_asked_for(
    alices: Browser, admin: AsyncConnection
) -> None:
    answer = await alices.submit("/performance/imports", files={"file": ("r.csv", GOOD)})

    assert (answer.status_code, answer.headers["location"]) == (303, "/performance")
    said = words(await alices.get("/performance"))
    assert "Done 2 results stored. They are learned from in a moment." in said
    assert "2 waiting" in said
    jobs = await admin.execute(text("SELECT job_type, scope, status FROM job_queue"))
    assert [tuple(row) for row in jobs] == [("reflexion", "tenant", "pending")]


async def test_a_file_that_is_sent_again_changes_nothing(alices: Browser) -> None:
    for expected in ("2 results stored.", "0 results stored, 2 known before."):
        await alices.submit("/performance/imports", files={"file": ("r.csv", GOOD)})

        assert expected in words(await alices.get("/performance"))


async def test_bad_rows_are_counted_and_named_and_the_others_are_in(
    alices: Browser, admin: AsyncConnection
) -> None:
    bad = b"v3,tiktok,2026-01-02,-1,\nv4,myspace,2026-01-02,1,\n"
    bad += b",tiktok,2026-01-02,1,\nv6,tiktok,x,1,\n"

    await alices.submit("/performance/imports", files={"file": ("r.csv", GOOD + bad)})

    said = words(await alices.get("/performance"))
    assert "They are learned from in a moment. 4 rows left out: line 4, views: is negative" in said
    assert "line 5, platform: is no known platform" in said
    assert "; and 1 more." in said
    assert "Code rows_left_out" in said
    assert await admin.scalar(text("SELECT count(*) FROM performance_feedback")) == 2


async def test_a_concept_of_another_tenant_is_no_concept(
    alices: Browser,
    bob: TestTenant,
    app: Database,
    system: Database,
    cluster: Cluster,
    admin: AsyncConnection,
) -> None:
    await live_some_weeks(app, system, cluster, bob)
    theirs = await admin.scalar(text("SELECT id FROM concepts LIMIT 1"))
    row = f"id,platform,published_at,views,concept_id\nv1,tiktok,2026-01-02,5,{theirs}\n"

    await alices.submit("/performance/imports", files={"file": ("r.csv", row.encode())})

    assert "line 2, concept_id: there is no such concept" in words(await alices.get("/performance"))


async def test_a_file_without_results_is_told_without_our_paths(alices: Browser) -> None:
    for name, content in (("r.csv", b""), ("r.csv", b"a,b\n1,2\n"), ("r.json", b"{"), ("x", b"\0")):
        await alices.submit("/performance/imports", files={"file": (name, content)})

        said = words(await alices.get("/performance"))
        assert "Failed The file" in said
        assert "Code bad_file" in said
        assert tempfile.gettempdir() not in said


async def test_a_form_without_a_file_is_told(alices: Browser) -> None:
    await alices.submit("/performance/imports", {"file": ""}, files={"none": ("x", b"x")})

    assert "Failed" in words(await alices.get("/performance"))


async def test_learning_is_asked_for_once(alices: Browser, admin: AsyncConnection) -> None:
    await alices.submit("/performance/imports", files={"file": ("r.csv", GOOD)})

    for _ in range(2):
        answer = await alices.submit("/reflexion/runs")

        assert answer.status_code == 303
    assert "Learning from 2 results has begun." in words(await alices.get("/reflexion"))
    assert await admin.scalar(text("SELECT count(*) FROM job_queue")) == 1


async def test_where_nothing_waits_nothing_has_begun(
    alices: Browser, admin: AsyncConnection
) -> None:
    await alices.submit("/reflexion/runs")

    assert "Nothing waits" in words(await alices.get("/reflexion"))
    assert await admin.scalar(text("SELECT count(*) FROM job_queue")) == 0


async def test_what_is_stored_is_told_when_it_is_learned_from(
    alices: Browser, admin: AsyncConnection
) -> None:
    today = datetime.now(UTC).date()
    early = HEAD + f"v1,tiktok,{today},1000,90\n".encode()
    later = HEAD[:-1] + b",observed_on\nv2,youtube,2026-01-02,9,1,2026-02-01\n"

    await alices.submit("/performance/imports", files={"file": ("r.csv", early)})
    waits = words(await alices.get("/performance"))
    await alices.submit("/performance/imports", files={"file": ("r.csv", GOOD)})
    assert "1 result stored, 1 known before. It is learned from" in words(await alices.get("/"))
    await admin.execute(text("UPDATE performance_feedback SET applied_no = 1 WHERE is_mature"))
    await admin.commit()
    await alices.submit("/performance/imports", files={"file": ("r.csv", later)})
    once = words(await alices.get("/performance"))

    assert "1 result stored. 1 was read within two days of publication: learning waits" in waits
    assert "1 result stored. Nothing of it waits: a video is learned from once" in once


async def test_the_data_of_the_curve_is_complete(
    alices: Browser, alice: TestTenant, app: Database, system: Database, cluster: Cluster
) -> None:
    await live_some_weeks(app, system, cluster, alice)

    answer = await alices.get("/learning.csv")

    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="learning.csv"'
    assert [row["result"] for row in rows] == [str(number) for number in range(1, 13)]
    for row in rows:
        missed = abs(float(row["predicted"]) - float(row["actual"]))
        assert abs(missed - float(row["error_with_learning"])) < 1e-9


def results(count: int) -> list[ScoredResult]:
    return [
        ScoredResult(
            number=number,
            platform="tiktok",
            measured_at=START + timedelta(days=number),
            predicted=50,
            actual=60,
            is_inside=True,
            error=10,
            error_without_learning=20,
        )
        for number in range(1, count + 1)
    ]


def curve_of(count: int, changes: Sequence[tuple[datetime, int]] = ()) -> Figure:
    figure = learning_curve(results(count), changes, now=START)
    assert figure is not None
    return figure


def test_a_curve_needs_five_results() -> None:
    assert learning_curve(results(4), [], now=START) is None
    assert ["5", "6"] == [each.cells[0] for each in curve_of(6).readings]


def test_a_rule_stands_after_the_results_before_it() -> None:
    early, late = START + timedelta(days=7, hours=1), START + timedelta(days=7, hours=2)

    figure = curve_of(9, [(early, 2), (late, 1)])

    assert "Dotted line" in figure.caption
    for chart in figure.charts:
        assert 1 == chart.count("3 changes")
    assert "Dotted line" not in curve_of(9).caption


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    readings = curve_of(5000).readings

    assert MOST_POINTS == len(readings)
    assert ("5", "5,000") == (readings[0].cells[0], readings[-1].cells[0])
    assert readings[-1].said.endswith("learning 10.0, without 20.0.")
