"""Variants and experiments over the API."""

from __future__ import annotations

from viral.database.engine import Database
from web.conftest import Browser, add_sample_trends

OPENERS = {"name": "openers", "platform": "tiktok", "hook_types": ["story", "question"]}


async def test_variants_are_written_listed_and_chosen(alices: Browser, system: Database) -> None:
    await add_sample_trends(system)
    (made,) = (await alices.send("/api/v1/concepts", {"count": 1, "category": "food"})).json()
    address = f"/api/v1/concepts/{made['id']}/variants"

    none = await alices.get(address)
    written = await alices.send(address, {"count": 3, "seed": 1})
    choice = f"/api/v1/concepts/{made['id']}/selection"
    chosen = await alices.send(choice, {"label": "C"}, method="PUT")
    listed = await alices.get(address)

    assert (none.status_code, none.json()) == (200, [])
    assert [201, 200] == [written.status_code, chosen.status_code]
    assert [("A", made["title"])] == [(e["label"], e["title"]) for e in written.json()[:1]]
    assert ["A", "B", "C"] == [each["label"] for each in listed.json()]
    assert [False, False, True] == [each["is_selected"] for each in listed.json()]


async def test_another_tenants_variants_are_not_there(
    alices: Browser, bobs: Browser, system: Database
) -> None:
    await add_sample_trends(system)
    (made,) = (await alices.send("/api/v1/concepts", {"count": 1})).json()
    address = f"/api/v1/concepts/{made['id']}/variants"
    await alices.send(address, {"count": 2})

    answers = [
        await bobs.get(address),
        await bobs.send(address, {"count": 4}),
        await bobs.send(f"/api/v1/concepts/{made['id']}/selection", {"label": "B"}, method="PUT"),
    ]

    assert [(404, "not_found")] * 3 == [(e.status_code, e.json()["code"]) for e in answers]


async def test_an_experiment_is_begun_watched_and_stopped(
    alices: Browser, bobs: Browser, system: Database
) -> None:
    await add_sample_trends(system)

    begun = await alices.send("/api/v1/experiments", OPENERS)
    made = (await alices.send("/api/v1/concepts", {"count": 2, "platform": "tiktok"})).json()
    address = f"/api/v1/experiments/{begun.json()['id']}"
    shown = (await alices.get(address)).json()
    variants = (await alices.get(f"/api/v1/concepts/{made[0]['id']}/variants")).json()
    theirs = [await bobs.get(address), await bobs.send(f"{address}/stop", {})]
    stopped = await alices.send(f"{address}/stop", {})
    listed = await alices.get("/api/v1/experiments")

    assert begun.status_code == 201
    assert [{"label": "A", "hook_type": "story"}] == begun.json()["arms"][:1]
    assert (2, 0) == (shown["concepts"], shown["posts"])
    assert [None, None] == [each["low"] for each in shown["arms"]]
    assert {begun.json()["id"]} == {each["experiment_id"] for each in variants}
    assert [404, 404] == [each.status_code for each in theirs]
    assert (200, "stopped") == (stopped.status_code, stopped.json()["experiment"]["status"])
    assert ["stopped"] == [each["status"] for each in listed.json()["experiments"]]
    assert [] == (await bobs.get("/api/v1/experiments")).json()["experiments"]


async def test_promising_types_are_compared_where_none_are_named(alices: Browser) -> None:
    wanted = {"name": "x", "platform": "youtube", "arms": 3}

    begun = await alices.send("/api/v1/experiments", wanted)
    again = await alices.send("/api/v1/experiments", {**wanted, "name": "y"})

    assert 3 == len({arm["hook_type"] for arm in begun.json()["arms"]})
    assert (again.status_code, again.json()["code"]) == (409, "already_exists")


async def test_what_makes_no_experiment_is_a_problem(alices: Browser) -> None:
    for change in ({"name": ""}, {"arms": 99, "hook_types": None}, {"hook_types": ["loud", "x"]}):
        answer = await alices.send("/api/v1/experiments", {**OPENERS, **change})

        assert (answer.status_code, answer.json()["code"]) == (422, "bad_input")
    strange = await alices.send("/api/v1/experiments", {**OPENERS, "platform": "myspace"})
    assert strange.status_code in {400, 422}
