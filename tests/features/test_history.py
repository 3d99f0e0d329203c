"""Concepts are found by any of their words, kept, and taken along whole."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from clusters import Cluster
from factories import TestTenant, make_tenant
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from studio import add_trends, execute, generate

from viral.database.engine import Database
from viral.errors import BadInput, NotFound
from viral.features.generations.exports import Form, export_concepts
from viral.features.generations.history import (
    ConceptFilter,
    all_concepts,
    keep_concept,
    search_concepts,
)

ALL = ConceptFilter()


@pytest.fixture
async def studio(system: Database, cluster: Cluster) -> TestTenant:
    await add_trends(system)
    return await make_tenant(system, cluster.secrets, slug="studio", tier="AGENCY")


@pytest.fixture
async def session(app: Database, studio: TestTenant) -> AsyncIterator[AsyncSession]:
    async with app.tenant_session(studio.id) as opened:
        yield opened


async def title_all(admin: AsyncConnection, *titles: str) -> None:
    """Give the stored concepts these titles, the oldest first, and no other words."""
    await execute(
        admin,
        "WITH numbered AS (SELECT id, row_number() OVER (ORDER BY id) AS n FROM concepts)"
        " UPDATE concepts AS c SET title = (CAST(:titles AS text[]))[n], hook = '', caption = '',"
        " script = '[]' FROM numbered WHERE numbered.id = c.id",
        titles=list(titles),
    )


async def test_platforms_and_results_are_asked_for_together_with_words(
    app: Database, studio: TestTenant, session: AsyncSession
) -> None:
    for platform in ("tiktok", "youtube", "tiktok"):
        await generate(app, studio.id, 2, platform=platform)
    wanted = ConceptFilter(platform="tiktok", has_result=False)

    first = await search_concepts(session, wanted, limit=3)
    place = first[-1].created_at, first[-1].id
    second = await search_concepts(session, wanted, limit=3, before=place)

    assert [len(first), len(second)] == [3, 1]
    assert {each.platform for one in first + second for each in one.predictions} == {"tiktok"}
    word = ConceptFilter(first[0].title.split()[0], platform="youtube")
    assert first[0] not in await search_concepts(session, word, limit=9)
    assert await search_concepts(session, ConceptFilter(has_result=True), limit=3) == []


async def found(session: AsyncSession, search: str, limit: int = 50) -> set[str]:
    wanted = ConceptFilter(search)
    return {each.title for each in await search_concepts(session, wanted, limit=limit)}


# A page that the newest concepts fill, and one for which the index is asked.
@pytest.mark.parametrize("limit", [1, 50])
async def test_a_word_is_found_by_its_beginning(
    app: Database, studio: TestTenant, admin: AsyncConnection, session: AsyncSession, limit: int
) -> None:
    await generate(app, studio.id, 4)
    await title_all(admin, "push-ups", "Chickpeas/rice", "Crème brûlée", "salt")

    assert await found(session, "chick", limit) == await found(session, "Ric", limit)
    assert await found(session, "chick", limit) == {"Chickpeas/rice"}
    assert await found(session, "peas", limit) == set()
    assert (
        await found(session, "up", limit) == await found(session, "push-u", limit) == {"push-ups"}
    )
    assert await found(session, "CRÈM br", limit) == {"Crème brûlée"}


@pytest.mark.parametrize("limit", [1, 50])
async def test_words_are_found_together_with_what_else_is_asked_for(
    app: Database, studio: TestTenant, admin: AsyncConnection, session: AsyncSession, limit: int
) -> None:
    made = await generate(app, studio.id, 6)
    await title_all(admin, *["tea one"] * 6)
    kept = next(each for each in made if each.category == "food")
    await keep_concept(session, kept.id, is_favorite=True)

    async def ids(wanted: ConceptFilter) -> set[UUID]:
        return {each.id for each in await search_concepts(session, wanted, limit=limit)}

    assert await ids(ConceptFilter("tea", only_favorites=True)) == {kept.id}
    assert await ids(ConceptFilter("tea", "food", only_favorites=True)) == {kept.id}
    assert await ids(ConceptFilter("tea", "tech", only_favorites=True)) == set()
    assert await ids(ConceptFilter("tea /favorite")) == await ids(ConceptFilter("food")) == set()
    assert await ids(ConceptFilter("tea", has_result=True)) == set()
    assert len(await ids(ConceptFilter("tea", platform="tiktok", has_result=False))) == min(
        limit, 6
    )
    assert (
        await ids(ConceptFilter("one", platform="youtube"))
        == {each.id for each in made if any(one.platform == "youtube" for one in each.predictions)}
        or limit == 1
    )


async def test_pages_with_words_hold_each_concept_once(
    app: Database, studio: TestTenant, admin: AsyncConnection, session: AsyncSession
) -> None:
    made = await generate(app, studio.id, 5)
    await title_all(admin, *["tea"] * 5)

    places, before = [], None
    while page := await search_concepts(session, ConceptFilter("tea"), limit=2, before=before):
        places += [(each.created_at, each.id) for each in page]
        before = places[-1]

    assert places == sorted(((each.created_at, each.id) for each in made), reverse=True)


async def test_a_tenants_words_are_its_own_in_the_index(
    app: Database,
    studio: TestTenant,
    bob: TestTenant,
    admin: AsyncConnection,
    session: AsyncSession,
) -> None:
    await generate(app, studio.id, 1)
    await title_all(admin, "walrus 50%")
    words = text("SELECT tsvector_to_array(viral.words_of(:id, 'a walrus', '[]', '{food}'))")

    mine = await session.scalar(words, {"id": studio.id})
    others = await session.scalar(words, {"id": bob.id})

    assert {each.removeprefix(studio.id.hex[-8:]) for each in mine} == {"a", "walrus", "/food"}
    assert set(mine).isdisjoint(others)
    ids = text("SELECT viral.search_concepts(:words, NULL, NULL, NULL, false, NULL, NULL, 50)")
    searches = ["walrus", "wal", "%", f"{studio.id.hex[-8:]}walrus", "walrus'|'walrus"]
    assert [1, 1, 1, 0, 0] == [
        len((await session.scalars(ids, {"words": [each]})).all()) for each in searches
    ]
    async with app.tenant_session(bob.id) as bobs:
        for each in searches:
            assert (await bobs.scalars(ids, {"words": [each]})).all() == []


async def test_all_words_are_looked_for_in_any_case(
    app: Database, studio: TestTenant, admin: AsyncConnection, session: AsyncSession
) -> None:
    await generate(app, studio.id, 3)
    await title_all(admin, "Green Maps", "Maps of RICE", "rice")

    assert await found(session, "rice  maps") == {"Maps of RICE"}
    assert await found(session, "RICE") == {"Maps of RICE", "rice"}
    assert await found(session, "") == {"Green Maps", "Maps of RICE", "rice"}


@pytest.mark.parametrize(
    ("search", "title"), [("100%", "100% rye"), ("a_b", "a_b"), ("c\\d", "c\\d"), ("'--", "e'--")]
)
async def test_what_patterns_give_a_meaning_stands_for_itself(
    app: Database,
    studio: TestTenant,
    admin: AsyncConnection,
    session: AsyncSession,
    search: str,
    title: str,
) -> None:
    await generate(app, studio.id, 5)
    await title_all(admin, "100% rye", "a_b", "c\\d", "e'--", "1000 axb cd")

    assert await found(session, search) == {title}


@pytest.mark.parametrize("column", ["hook", "caption", "script"])
async def test_hook_caption_and_script_are_searched(
    app: Database, studio: TestTenant, admin: AsyncConnection, session: AsyncSession, column: str
) -> None:
    await generate(app, studio.id, 2)
    await title_all(admin, "one", "two")
    words = '\'[{"visual": "A Walrus"}]\'' if column == "script" else "'A Walrus'"
    await execute(admin, f"UPDATE concepts SET {column} = {words} WHERE title = 'two'")

    assert await found(session, "walrus") == {"two"}


@pytest.mark.parametrize("search", ["word " * 9, "x" * 101])
async def test_too_much_to_search_for_is_refused(session: AsyncSession, search: str) -> None:
    with pytest.raises(BadInput, match="too much"):
        await found(session, search)


async def test_pages_hold_each_concept_once(
    app: Database, studio: TestTenant, session: AsyncSession
) -> None:
    made = await generate(app, studio.id, 7)

    pages = [page async for page in all_concepts(session, ALL, most=6)]
    first = await search_concepts(session, ALL, limit=3)
    rest = await search_concepts(
        session, ALL, limit=50, before=(first[-1].created_at, first[-1].id)
    )

    assert [6] == [len(page) for page in pages]
    assert {each.id for each in made} == {each.id for each in (*first, *rest)}
    assert len(first) + len(rest) == 7


async def test_categories_and_favourites_are_filtered(
    app: Database, studio: TestTenant, session: AsyncSession
) -> None:
    made = await generate(app, studio.id, 10)
    food = next(each for each in made if each.category == "food")

    await keep_concept(session, food.id, is_favorite=True)
    kept = await search_concepts(session, ConceptFilter(only_favorites=True), limit=50)
    tech = await search_concepts(session, ConceptFilter(category="tech"), limit=50)
    await keep_concept(session, food.id, is_favorite=False)
    left = await search_concepts(session, ConceptFilter(only_favorites=True), limit=50)

    assert [food.id] == [each.id for each in kept]
    assert {"tech"} == {each.category for each in tech}
    assert left == []


async def test_another_tenants_concepts_are_neither_found_nor_kept(
    app: Database, studio: TestTenant, bob: TestTenant
) -> None:
    (concept,) = await generate(app, studio.id, 1)

    async with app.tenant_session(bob.id) as session:
        assert await search_concepts(session, ALL, limit=50) == []
        with pytest.raises(NotFound):
            await keep_concept(session, concept.id, is_favorite=True)


async def exported(session: AsyncSession, form: Form) -> str:
    return "".join([text async for text, _ in export_concepts(session, ALL, form=form)])


async def test_an_export_is_whole_and_runs_nothing(
    app: Database, studio: TestTenant, admin: AsyncConnection, session: AsyncSession
) -> None:
    await generate(app, studio.id, 3)
    await title_all(admin, '=HYPERLINK("x")', 'plain, "quoted"\nbroken', "-1")

    rows = list(csv.DictReader(io.StringIO(await exported(session, "csv"))))
    lines = [json.loads(line) for line in (await exported(session, "json")).splitlines()]

    assert [each["title"] for each in rows] == [
        "'-1",
        'plain, "quoted"\nbroken',
        '\'=HYPERLINK("x")',
    ]
    assert [each["title"].removeprefix("'") for each in rows] == [each["title"] for each in lines]
    assert {float(each["score_tiktok"]) for each in rows} == {
        one["score"] for each in lines for one in each["predictions"] if one["platform"] == "tiktok"
    }


async def test_an_export_tells_which_variant_is_posted(
    app: Database, studio: TestTenant, admin: AsyncConnection, session: AsyncSession
) -> None:
    made = await generate(app, studio.id, 2)
    await execute(
        admin,
        "INSERT INTO concept_variants"
        " (tenant_id, id, concept_id, label, title, caption, hook, hook_source, is_selected)"
        " SELECT tenant_id, gen_random_uuid(), id, label, label || '!', 'c', '=h', 'template',"
        " label = 'B' FROM concepts, unnest(ARRAY['A', 'B']) AS label WHERE id = :id",
        id=made[0].id,
    )

    rows = list(csv.DictReader(io.StringIO(await exported(session, "csv"))))
    lines = [json.loads(line) for line in (await exported(session, "json")).splitlines()]

    told = {
        each["id"]: (each["variant"], each["variant_title"], each["variant_hook"]) for each in rows
    }
    assert told == {str(made[0].id): ("B", "B!", "'=h"), str(made[1].id): ("", "", "")}
    assert {each["id"]: each["variant"] and each["variant"]["hook"] for each in lines} == {
        str(made[0].id): "=h",
        str(made[1].id): None,
    }
