"""The form that asks for concepts."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from web.conftest import Browser, add_sample_trends
from web.test_home import words


async def test_concepts_are_written_and_counted(alices: Browser, system: Database) -> None:
    await add_sample_trends(system)

    answer = await alices.submit("/generations", {"count": "3", "category": "food"})

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    said = words(await alices.get("/"))
    assert "Done 3 concepts are written." in said
    assert "3 of 50" in said
    assert "Food" in said.split("Newest concepts")[1]
    assert "are written" not in words(await alices.get("/"))


async def test_one_platform_can_be_asked_for(
    alices: Browser, system: Database, admin: AsyncConnection
) -> None:
    await add_sample_trends(system)

    await alices.submit("/generations", {"count": "1", "platform": "youtube"})

    assert "1 concept is written." in words(await alices.get("/"))
    platforms = await admin.scalars(text("SELECT platform FROM predictions"))
    assert list(platforms) == ["youtube"]


async def test_a_spent_quota_is_told_with_its_code_and_nothing_is_written(
    alices: Browser, system: Database, admin: AsyncConnection
) -> None:
    await add_sample_trends(system)
    await admin.execute(text("UPDATE tenants SET monthly_quota = 2"))
    await admin.commit()
    await alices.submit("/generations", {"count": "2"})

    answer = await alices.submit("/generations", {"count": "1"})

    assert answer.status_code == 303
    said = words(await alices.get("/"))
    assert "Failed 1 concepts asked for, 0 of 2 left this month." in said
    assert "Code quota_exceeded , request" in said
    assert "All 2 concepts of this month are used." in said
    assert await admin.scalar(text("SELECT count(*) FROM concepts")) == 2


async def test_what_cannot_be_asked_for_is_told(alices: Browser) -> None:
    for fields in (
        {"count": "0"},
        {"count": "many"},
        {"count": "1", "category": "x"},
        {"count": "1", "platform": "x"},
        {"count": "1"},
        {},
    ):
        answer = await alices.submit("/generations", fields)

        assert answer.status_code == 303, fields
        assert "Failed" in words(await alices.get("/")), fields


async def test_a_form_takes_no_other_fields(alices: Browser, admin: AsyncConnection) -> None:
    for extra in ("tenant_id", "role", "quota", "id", "user_id", "monthly_quota"):
        await alices.submit("/generations", {"count": "1", extra: "1000"})

        assert f"unknown field {extra} " in words(await alices.get("/"))
    assert await admin.scalar(text("SELECT sum(used_quota) FROM tenants")) == 0
