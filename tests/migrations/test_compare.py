"""Two schemas are compared, wherever each of them is, and the script leads to the other."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
from clusters import Cluster, copy_template

from viral.database.catalog import Catalog, differences
from viral.database.compare import compare_schemas
from viral.database.develop import lead
from viral.database.drift import catalog_of_models, without_bookkeeping
from viral.database.scripts import parse_script
from viral.database.shadow import catalog_at, shadow_database
from viral.database.urls import ServerUrl
from viral.errors import BadInput, BadSetting

CHANGED = "column public.videos.extra"
ELSEWHERE = "table public.films"


@pytest.fixture(scope="module")
async def live(cluster: Cluster, module_database: str) -> ServerUrl:
    """A database with a column too many."""
    await cluster.execute_as_admin(
        module_database, "SET ROLE viral_owner", "ALTER TABLE videos ADD COLUMN extra text"
    )
    return cluster.url("viral_migrator", module_database)


@pytest.fixture(scope="module")
async def elsewhere(cluster: Cluster) -> AsyncIterator[ServerUrl]:
    """Another database, with a table too many."""
    await copy_template(cluster, "elsewhere")
    await cluster.execute_as_admin(
        "elsewhere", "SET ROLE viral_owner", "CREATE TABLE films (id uuid PRIMARY KEY)"
    )
    yield cluster.url("viral_migrator", "elsewhere")
    await cluster.execute_as_admin("postgres", "DROP DATABASE elsewhere WITH (FORCE)")


async def catalog_of(source: str, live: ServerUrl, elsewhere: ServerUrl) -> Catalog:
    match source:
        case "database":
            found = await catalog_at(live)
        case "url":
            found = await catalog_at(elsewhere)
        case "empty":
            async with shadow_database(live) as shadow:
                found = await shadow.catalog()
        case _:
            found = await catalog_of_models(live)
    return without_bookkeeping(found)


@pytest.mark.parametrize(
    ("start", "end", "title"),
    [
        ("models", "database", CHANGED),
        ("migrations", "url", ELSEWHERE),
        ("database", "url", f"{CHANGED} + {ELSEWHERE}"),
        ("models", "migrations", ""),
    ],
)
async def test_what_differs_is_named_in_both_directions(
    live: ServerUrl, elsewhere: ServerUrl, start: str, end: str, title: str
) -> None:
    address = elsewhere.libpq(password=True)
    start, end = (address if each == "url" else each for each in (start, end))

    there = await compare_schemas(live, start=start, end=end)
    back = await compare_schemas(live, start=end, end=start)

    titles = title.split(" + ") if title else []
    assert titles == [each.title for each in there.differences]
    assert titles == [each.title for each in back.differences]
    assert None is there.script
    assert [(each.expected, each.actual) for each in there.differences] == [
        (each.actual, each.expected) for each in back.differences
    ]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("empty", "models"),
        ("models", "empty"),
        ("models", "database"),
        ("database", "migrations"),
        ("database", "url"),
    ],
)
async def test_the_script_leads_from_one_to_the_other(
    live: ServerUrl, elsewhere: ServerUrl, start: str, end: str
) -> None:
    address = elsewhere.libpq(password=True)
    given = [address if each == "url" else each for each in (start, end)]
    wanted = await catalog_of(end, live, elsewhere)

    found = await compare_schemas(live, start=given[0], end=given[1], with_script=True)

    assert found.differences
    assert found.script is not None
    assert not re.search(re.escape(elsewhere.password), found.script)
    async with shadow_database(live) as shadow:
        await lead(shadow, await catalog_of(start, live, elsewhere))
        await shadow.run_steps(parse_script(found.script, name="found"))
        assert [] == differences(wanted, await shadow.catalog())


async def test_a_source_that_is_none_is_told_with_those_there_are(live: ServerUrl) -> None:
    with pytest.raises(BadInput, match="'modles' is no schema") as caught:
        await compare_schemas(live, start="modles", end="empty")

    assert "models, migrations, database, empty, or a URL" in caught.value.hint


async def test_an_address_that_cannot_be_read_is_not_repeated(live: ServerUrl) -> None:
    with pytest.raises(BadSetting, match="an @ too many") as caught:
        await compare_schemas(live, start="postgresql://me:sec@ret@host/db", end="empty")

    assert "ret" not in str(caught.value)
