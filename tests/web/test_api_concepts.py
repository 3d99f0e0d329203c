"""Concepts over the API."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from web.conftest import Browser, add_sample_trends


async def test_concepts_come_with_predictions_and_reasons_that_add_up(
    alices: Browser, system: Database
) -> None:
    await add_sample_trends(system)

    answer = await alices.send("/api/v1/concepts", {"count": 2, "category": "food"})

    assert answer.status_code == 201
    concepts = answer.json()
    assert len(concepts) == 2
    for concept in concepts:
        assert concept["category"] == "food"
        platforms = {each["platform"] for each in concept["predictions"]}
        assert platforms == {"tiktok", "youtube", "instagram"}
        for each in concept["predictions"]:
            points = sum(reason["points"] for reason in each["reasons"])
            assert abs(points - each["score"]) < 0.01
            assert each["low"] <= each["score"] <= each["high"]


async def test_the_same_seed_and_history_give_the_same(
    alices: Browser, bobs: Browser, system: Database
) -> None:
    await add_sample_trends(system)

    one = await alices.send("/api/v1/concepts", {"count": 2, "seed": 7})
    other = await bobs.send("/api/v1/concepts", {"count": 2, "seed": 7})

    titles = [[each["title"] for each in answer.json()] for answer in (one, other)]
    assert titles[0] == titles[1]


async def test_a_concept_is_found_again(alices: Browser, system: Database) -> None:
    await add_sample_trends(system)
    made = (await alices.send("/api/v1/concepts", {"count": 1})).json()[0]

    answer = await alices.get(f"/api/v1/concepts/{made['id']}")

    assert (200, made) == (answer.status_code, answer.json())


async def test_a_spent_quota_is_a_problem_and_changes_nothing(
    alices: Browser, system: Database, admin: AsyncConnection
) -> None:
    await add_sample_trends(system)

    answer = await alices.send("/api/v1/concepts", {"count": 51})

    assert (answer.status_code, answer.json()["code"]) == (402, "quota_exceeded")
    assert await admin.scalar(text("SELECT used_quota FROM tenants")) == 0


async def test_pages_hold_each_concept_once_newest_first(alices: Browser, system: Database) -> None:
    await add_sample_trends(system)
    for _ in range(3):
        await alices.send("/api/v1/concepts", {"count": 2})

    seen, address = [], "/api/v1/concepts?limit=4"
    while True:
        page = (await alices.get(address)).json()
        seen.append(page["concepts"])
        if page["next_cursor"] is None:
            break
        address = f"/api/v1/concepts?limit=4&cursor={page['next_cursor']}"

    assert [len(page) for page in seen] == [4, 2]
    made = [each["created_at"] for page in seen for each in page]
    assert made == sorted(made, reverse=True)
    assert len({each["id"] for page in seen for each in page}) == 6


async def test_a_cursor_of_another_tenant_is_refused(
    alices: Browser, bobs: Browser, system: Database
) -> None:
    await add_sample_trends(system)
    await bobs.send("/api/v1/concepts", {"count": 2})
    theirs = (await bobs.get("/api/v1/concepts?limit=1")).json()["next_cursor"]

    for cursor in (theirs, "x", ""):
        answer = await alices.get(f"/api/v1/concepts?cursor={cursor}")

        assert (answer.status_code, answer.json()["code"]) == (422, "bad_input")


async def test_a_limit_has_limits(alices: Browser) -> None:
    for limit in ("0", "101", "-1", "x", "1e9"):
        answer = await alices.get(f"/api/v1/concepts?limit={limit}")

        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "limit"


async def test_an_id_that_is_no_id_is_nothing(alices: Browser) -> None:
    assert (await alices.get("/api/v1/concepts/1%20OR%201=1")).status_code == 404


async def test_concepts_are_searched_kept_and_taken_along(
    alices: Browser, system: Database
) -> None:
    await add_sample_trends(system)
    made = (await alices.send("/api/v1/concepts", {"count": 3, "category": "food"})).json()
    address = f"/api/v1/concepts/{made[0]['id']}/favorite"

    kept = await alices.send(address, {}, method="PUT")
    listed = await alices.get("/api/v1/concepts?favorite=true&category=food")
    missed = await alices.get("/api/v1/concepts?search=zzzzz")
    csv = await alices.get("/api/v1/concepts/export?favorite=true")
    lines = await alices.get("/api/v1/concepts/export?format=json")
    left = await alices.send(address, {}, method="DELETE")

    assert (kept.status_code, kept.json()["is_favorite"]) == (200, True)
    assert [made[0]["id"]] == [each["id"] for each in listed.json()["concepts"]]
    assert [] == missed.json()["concepts"]
    assert csv.headers["content-disposition"] == 'attachment; filename="concepts.csv"'
    assert (2, 3) == (len(csv.text.splitlines()), len(lines.text.splitlines()))
    assert (left.status_code, left.json()["is_favorite"]) == (200, False)


async def test_another_tenants_concept_is_not_kept(
    alices: Browser, bobs: Browser, system: Database
) -> None:
    await add_sample_trends(system)
    made = (await alices.send("/api/v1/concepts", {"count": 1})).json()[0]

    answer = await bobs.send(f"/api/v1/concepts/{made['id']}/favorite", {}, method="PUT")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_an_order_becomes_a_job(alices: Browser) -> None:
    ordered = await alices.send("/api/v1/concepts/orders", {"count": 2})
    job = await alices.get(f"/api/v1/jobs/{ordered.json()['job_id']}")
    many = await alices.send("/api/v1/concepts/orders", {"count": 101})

    assert (ordered.status_code, job.json()["job_type"]) == (202, "generate-concepts")
    assert (many.status_code, many.json()["code"]) == (422, "bad_input")
