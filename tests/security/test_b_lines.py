"""B01 to B25 at the surface of the application; what happens inside is in test_b_inside.py."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from clusters import Cluster, superuser
from litestar import Litestar
from sqlalchemy import text
from verifications import installation_of
from web.conftest import Browser, settings_for
from web.routes import routes_of

from security.conftest import Pair
from viral.features.verification import run
from viral.features.verification.report import Report
from viral.schema.base import uuid7
from viral.web.verification.family import api_family

REQUESTS = 1_000
# Words in which other products let one ask for more than was meant.
REACHING = (
    "tenant_id={bob}",
    "tenant={bob}",
    "filter[tenant_id]={bob}",
    "where=tenant_id%3D{bob}",
    "include=tenant,members&expand=tenant&fields=*",
    "sort=tenant_id&order_by=tenant_id&group_by=tenant_id",
    "q={bob}&search=%25",
    "limit=100&offset=0&all=true&scope=system",
)
LEADING_ELSEWHERE = (
    "../../pyproject.toml",
    "..%2f..%2fpyproject.toml",
    "%2e%2e/%2e%2e/settings.py",
    "....//viral.css",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "..\\..\\settings.py",
    "%5c..%5csettings.py",
    "viral.css%00.png",
    "%c0%ae%c0%ae/settings.py",
    "file:///etc/passwd",
    "templates/home.html",
    ".",
    "",
)


@pytest.fixture(scope="module")
async def attacked(cluster: Cluster, module_database: str, pair: Pair) -> Report:
    """Attack the application by what no other test names."""
    assert pair
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "FAMILIES", ())
        async with api_family(settings_for(cluster, cluster.home, module_database)) as api:
            some = tuple(each for each in api.attacks if each.id in {"B03", "B07", "B20"})
            return await run.verify(
                installation_of(cluster, module_database),
                clock=lambda: datetime.now(UTC),
                progress=lambda _step, _done, _total: None,
                more=[replace(api, attacks=some)],
            )


def assert_held(report: Report, line: str) -> None:
    """Say that a line was tried, and that nothing came through."""
    mine = [trial for trial in report.trials if trial.attack.id == line]
    assert "held" in {trial.verdict.result for trial in mine}
    assert [] == [
        f"{trial.target.object}: {trial.verdict.detail}"
        for trial in mine
        if trial.verdict.result == "leaked"
    ]


def test_b03_an_id_of_another_inside_a_body_is_like_a_random_one(attacked: Report) -> None:
    assert_held(attacked, "B03")


def test_b07_no_header_chooses_a_tenant_or_a_host(attacked: Report) -> None:
    assert_held(attacked, "B07")


def test_b20_failures_tell_nothing_of_the_inside(attacked: Report) -> None:
    assert_held(attacked, "B20")


def marks_of_bob(pair: Pair) -> set[str]:
    """List what stands in Bob's rows alone; a table without a tenant, such as trends, is all's."""
    rows = [row for row in pair.rows_of_bob.values() if "tenant_id" in row]
    ids = {str(row["id"]) for row in rows if "id" in row}
    people = {str(pair.rows_of_bob["users"]["id"])}
    return ids | people | {str(pair.bob.id), "bob@example.com", "Bob"}


def lists_of(application: Litestar) -> list[str]:
    """List what can be read without an id."""
    return [
        path
        for method, path in routes_of(application)
        if method == "GET" and "{" not in path and not path.startswith(("/schema", "/health"))
    ]


@pytest.mark.parametrize("reaching", REACHING)
async def test_b04_no_word_in_a_query_reaches_another_tenant(
    studio: Litestar, alices: Browser, pair: Pair, reaching: str
) -> None:
    marks = marks_of_bob(pair)
    query = reaching.replace("{bob}", str(pair.bob.id))
    seen, statuses = {}, set()
    for path in lists_of(studio):
        answer = await alices.get(f"{path}?{query}")
        seen[path] = [mark for mark in marks - {str(pair.bob.id)} if mark in answer.text]
        statuses.add(answer.status_code)

    assert len(seen) > 10
    assert statuses <= {200, 303, 403, 404, 422}
    assert {} == {path: found for path, found in seen.items() if found}


async def test_b04_the_owner_is_shown_what_the_other_is_not(
    studio: Litestar, bobs: Browser, pair: Pair
) -> None:
    pages = [(await bobs.get(path)).text for path in lists_of(studio)]

    shown = {mark for mark in marks_of_bob(pair) if any(mark in page for page in pages)}
    assert {"Bob", "bob@example.com", str(pair.rows_of_bob["memberships"]["id"])} <= shown


async def test_b05_a_row_with_a_foreign_id_is_one_with_a_random_id(
    alices: Browser, cluster: Cluster, module_database: str, pair: Pair
) -> None:
    own, theirs = (rows["concepts"]["id"] for rows in (pair.rows_of_alice, pair.rows_of_bob))
    rows = [
        {
            "id": f"b05-{name}",
            "platform": "tiktok",
            "published_at": "2026-01-05T10:00:00Z",
            "observed_on": "2026-01-12",
            "views": 10,
            "title": "a result",
            "category": "food",
            "concept_id": str(concept_id),
        }
        for name, concept_id in (("own", own), ("theirs", theirs), ("random", uuid7()))
    ]

    answer = await alices.send("/api/v1/performance", rows)

    told = answer.json()
    rejected = {each["line"]: (each["column"], each["reason"]) for each in told["rejects"]}
    async with superuser(cluster, module_database) as admin:
        kept = await admin.execute(
            text(
                "SELECT external_id, tenant_id, concept_id FROM performance_feedback"
                " WHERE external_id LIKE 'b05-%'"
            )
        )
        stored = {row.external_id: (row.tenant_id, row.concept_id) for row in kept}
    assert stored["b05-own"] == (pair.alice.id, own)
    assert {tenant for tenant, _ in stored.values()} == {pair.alice.id}
    assert theirs not in {concept for _, concept in stored.values()}
    # Whatever is done with an id that is nobody's is done with another tenant's.
    assert ("b05-theirs" in stored) == ("b05-random" in stored)
    assert rejected.get(2) == rejected.get(3)


async def test_b09_a_job_of_another_tenant_cannot_be_watched(
    studio: Litestar, alices: Browser, bobs: Browser, pair: Pair
) -> None:
    theirs = f"/api/v1/jobs/{pair.rows_of_bob['job_queue']['id']}"

    answers = [await alices.get(theirs), await alices.get(f"/api/v1/jobs/{uuid7()}")]
    own = await bobs.get(theirs)

    assert [404, 404] == [each.status_code for each in answers]
    codes = {each.json()["code"] for each in answers}
    assert {"not_found"} == codes
    assert own.status_code == 200
    # Every route is plain HTTP: there is no stream to subscribe to.
    assert list(routes_of(studio))


async def test_b11_a_thousand_requests_of_two_tenants_at_once_are_never_mixed(
    alices: Browser, bobs: Browser, pair: Pair
) -> None:
    rng = random.Random(11)
    people = {"alice": alices, "bob": bobs}
    emails = {pair.alice.slug: "alice@example.com", pair.bob.slug: "bob@example.com"}
    few = asyncio.Semaphore(50)

    async def ask() -> str:
        slug = rng.choice(list(people))
        async with few:
            if rng.random() < 0.5:
                answer = await people[slug].get("/api/v1/tenant")
                return "right" if answer.json()["slug"] == slug else "mixed up"
            answer = await people[slug].get("/api/v1/members")
            seen = [each["email"] for each in answer.json()]
            return "right" if seen == [emails[slug]] else "mixed up"

    outcomes = Counter(await asyncio.gather(*(ask() for _ in range(REQUESTS))))

    assert {"right": REQUESTS} == outcomes


@pytest.mark.parametrize("name", LEADING_ELSEWHERE)
async def test_b25_a_name_that_leads_elsewhere_is_no_file(alices: Browser, name: str) -> None:
    answer = await alices.get(f"/static/{name}")

    assert 400 <= answer.status_code < 500
    assert "root:" not in answer.text
    assert "[project]" not in answer.text


@pytest.mark.parametrize(
    "name", ["../../../out.csv", "/etc/cron.d/x.csv", "a/../../b.csv", "x\\y.csv"]
)
async def test_b25_the_name_of_an_uploaded_file_is_no_place(alices: Browser, name: str) -> None:
    rows = b"id,platform,published_at,views\nb25,tiktok,2026-01-05T10:00:00Z,10\n"

    answer = await alices.upload("/api/v1/performance/imports", name, rows)

    assert answer.status_code == 201
    assert name not in answer.text
    assert not Path(name).is_file()
