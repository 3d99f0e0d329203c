"""The table of sources: who may be added, and the schedule that lives by them."""

from __future__ import annotations

import pytest
from factories import TestTenant
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import fetch

from viral.database.engine import Database
from viral.errors import (
    AlreadyExists,
    BadInput,
    NotFound,
)
from viral.features.jobs.schedules import pause_schedule
from viral.features.trends.sources import (
    NewSource,
    add_source,
    disable_source,
    enable_source,
    list_sources,
    remove_source,
)

SCHEDULES = "SELECT name, cron, is_paused FROM job_schedules"


async def add(
    system: Database, *names: str, kind: str = "feed", category: str | None = None
) -> None:
    async with system.session_without_tenant() as session:
        for name in names:
            url = f"https://{name}.example/feed" if kind in {"feed", "csv"} else None
            await add_source(session, NewSource(name=name, kind=kind, url=url, category=category))


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (NewSource(name="Bad Name", kind="feed", url="https://a.example/"), "cannot be a source's"),
        (NewSource(name="a", kind="tiktok"), "no kind of source"),
        (NewSource(name="a", kind="feed"), "needs its address"),
        (NewSource(name="a", kind="feed", url="/etc/passwd"), "no address of a source"),
        (NewSource(name="a", kind="feed", url="file:///etc/passwd"), "no address of a source"),
        (NewSource(name="a", kind="feed", url="https://["), "no address of a source"),
        (NewSource(name="a", kind="feed", url="https://a/\n"), "needs its address"),
        (NewSource(name="a", kind="csv", url="list.csv"), "no address of a source"),
        (NewSource(name="a", kind="feed", url="https://a.example/", section="x"), "no sections"),
        (NewSource(name="a", kind="reddit", url="https://a.example/"), "its own address"),
        (NewSource(name="a", kind="youtube", category="pets"), "not a category"),
    ],
)
async def test_a_source_that_could_not_be_asked_is_refused(
    system: Database, wanted: NewSource, words: str
) -> None:
    async with system.session_without_tenant() as session:
        with pytest.raises(BadInput, match=words):
            await add_source(session, wanted)


async def test_a_source_has_its_address_by_kind_and_its_name_once(
    system: Database, admin: AsyncConnection
) -> None:
    async with system.session_without_tenant() as session:
        await add_source(
            session, NewSource(name="de", kind="gnews", section="technology", region="de")
        )
        await add_source(session, NewSource(name="here", kind="csv", url="/data/list.csv"))

        with pytest.raises(AlreadyExists):
            await add_source(session, NewSource(name="de", kind="youtube"))

    rows = await fetch(admin, "SELECT url, region, is_enabled FROM trend_sources ORDER BY name")
    assert rows == [
        (
            "https://gnews.io/api/v4/top-headlines?category=technology&country=DE&lang=en",
            "DE",
            True,
        ),
        ("/data/list.csv", None, True),
    ]


async def test_the_schedule_is_there_while_a_source_is_enabled(
    system: Database, admin: AsyncConnection
) -> None:
    assert await fetch(admin, SCHEDULES) == []

    await add(system, "one", "two")
    assert await fetch(admin, SCHEDULES) == [("trends-fetch", "*/15 * * * *", False)]

    async with system.session_without_tenant() as session:
        await pause_schedule(session, "trends-fetch")
        await disable_source(session, "one")
        await enable_source(session, "one")
    assert await fetch(admin, SCHEDULES) == [("trends-fetch", "*/15 * * * *", True)]

    async with system.session_without_tenant() as session:
        await disable_source(session, "one")
        await remove_source(session, "two")
    assert await fetch(admin, SCHEDULES) == []
    async with system.session_without_tenant() as session:
        await enable_source(session, "one")
    assert await fetch(admin, SCHEDULES) == [("trends-fetch", "*/15 * * * *", False)]


async def test_the_app_sees_sources_and_changes_none(
    app: Database, system: Database, alice: TestTenant
) -> None:
    await add(system, "one")

    async with app.tenant_session(alice.id) as session:
        assert [each.name for each in await list_sources(session)] == ["one"]
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with app.tenant_session(alice.id) as session:
            await remove_source(session, "one")


async def test_a_source_that_is_not_there_cannot_be_changed(system: Database) -> None:
    for deed in (enable_source, disable_source, remove_source):
        async with system.session_without_tenant() as session:
            with pytest.raises(NotFound, match="no source 'nowhere'"):
                await deed(session, "nowhere")
