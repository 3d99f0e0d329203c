"""Other tellings of a concept: written once, chosen by a person, seen by the learner."""

from __future__ import annotations

from random import Random
from uuid import UUID

import pytest
from factories import TestTenant
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import HASHED, NOW, add_results, add_trends, execute, fetch, generate, learn, result_of

from viral.adapters.offline_writer import OfflineWriter
from viral.database.engine import Database
from viral.errors import BadInput, NotFound, NothingToWriteAbout
from viral.features.generations.brief import topic_of
from viral.features.generations.drafts import HOOK_TYPES, Brief
from viral.features.generations.phrasing import Phrases, Said
from viral.features.generations.tellings import Telling
from viral.features.generations.variants import select_variant, variants_of, vary_concept
from viral.features.trends import TrendBrief
from viral.schema.content import Concept, ConceptVariant


@pytest.fixture
async def concept(app: Database, system: Database, alice: TestTenant) -> Concept:
    await add_trends(system)
    (made,) = await generate(app, alice.id, 1, category="food")
    return made


def telling(seed: int = 1) -> Telling:
    return Telling(OfflineWriter(), Random(seed), NOW, HASHED)


async def vary(
    app: Database, tenant: TestTenant, concept_id: UUID, count: int = 3
) -> list[ConceptVariant]:
    async with app.tenant_session(tenant.id) as session:
        return await vary_concept(session, concept_id, count=count, telling=telling())


async def choose(app: Database, tenant: TestTenant, concept_id: UUID, label: str) -> ConceptVariant:
    async with app.tenant_session(tenant.id) as session:
        return await select_variant(session, concept_id, label)


async def test_the_first_is_the_concept_and_others_open_in_other_ways(
    app: Database, alice: TestTenant, concept: Concept
) -> None:
    variants = await vary(app, alice, concept.id)

    assert ["A", "B", "C"] == [each.label for each in variants]
    assert [True, False, False] == [each.is_selected for each in variants]
    first = variants[0]
    assert (concept.title, concept.hook, concept.hook_type, concept.caption) == (
        first.title,
        first.hook,
        first.hook_type,
        first.caption,
    )
    assert 3 == len({each.hook_type for each in variants} & set(HOOK_TYPES))


async def test_no_phrase_stands_in_two_variants(
    app: Database, alice: TestTenant, concept: Concept
) -> None:
    variants = await vary(app, alice, concept.id, 5)

    phrases, topic = Phrases(), topic_of(concept.trend)
    for each in variants:
        said = Said(topic, each.title, each.hook or "", each.caption)
        assert phrases.are_fresh(said)
        phrases.add(said)


async def test_more_are_written_when_more_are_asked_for(
    app: Database, alice: TestTenant, concept: Concept
) -> None:
    first = await vary(app, alice, concept.id, 2)
    more = await vary(app, alice, concept.id, 4)

    assert ["A", "B", "C", "D"] == [each.label for each in more]
    assert [each.title for each in first] == [each.title for each in more[:2]]
    with pytest.raises(BadInput, match="has 4 variants"):
        await vary(app, alice, concept.id, 4)


async def test_variants_are_not_counted_as_concepts(
    app: Database, alice: TestTenant, concept: Concept, admin: AsyncConnection
) -> None:
    await vary(app, alice, concept.id)

    assert [(1,)] == await fetch(admin, "SELECT used_quota FROM tenants")


@pytest.mark.parametrize("count", [1, 6])
async def test_a_count_out_of_range_is_refused(
    app: Database, alice: TestTenant, concept: Concept, count: int
) -> None:
    with pytest.raises(BadInput, match="cannot have"):
        await vary(app, alice, concept.id, count)


async def test_what_was_made_elsewhere_cannot_be_told_otherwise(
    app: Database, alice: TestTenant, concept: Concept, admin: AsyncConnection
) -> None:
    await execute(admin, "UPDATE concepts SET trend = NULL")

    with pytest.raises(BadInput, match="made elsewhere"):
        await vary(app, alice, concept.id)


async def test_a_topic_without_words_is_refused_and_nothing_is_kept(
    app: Database, alice: TestTenant, concept: Concept, admin: AsyncConnection
) -> None:
    await execute(admin, """UPDATE concepts SET trend = trend || '{"topic": "<b></b>"}'""")

    with pytest.raises(NothingToWriteAbout):
        await vary(app, alice, concept.id)

    assert [] == await fetch(admin, "SELECT id FROM concept_variants")


async def test_one_variant_is_selected_at_a_time(
    app: Database, alice: TestTenant, concept: Concept
) -> None:
    await vary(app, alice, concept.id)

    await choose(app, alice, concept.id, "b")

    async with app.tenant_session(alice.id) as session:
        (variants,) = (await variants_of(session, [concept.id])).values()
    assert [False, True, False] == [each.is_selected for each in variants]
    with pytest.raises(NotFound, match="no variant 'D'"):
        await choose(app, alice, concept.id, "D")


async def test_after_a_result_the_choice_is_history(
    app: Database, alice: TestTenant, concept: Concept
) -> None:
    await vary(app, alice, concept.id)
    await add_results(app, alice.id, [result_of(concept, views=9_000, likes=900)])

    with pytest.raises(BadInput, match="history"):
        await choose(app, alice, concept.id, "B")

    assert (await choose(app, alice, concept.id, "A")).label == "A"


async def test_another_tenants_concept_is_neither_varied_nor_chosen(
    app: Database, alice: TestTenant, bob: TestTenant, concept: Concept
) -> None:
    await vary(app, alice, concept.id)

    with pytest.raises(NotFound):
        await vary(app, bob, concept.id, 5)
    with pytest.raises(NotFound):
        await choose(app, bob, concept.id, "B")
    async with app.tenant_session(bob.id) as session:
        assert {} == await variants_of(session, [concept.id])


async def test_the_learner_learns_the_words_that_were_told(
    app: Database, system: Database, alice: TestTenant, concept: Concept, admin: AsyncConnection
) -> None:
    variants = await vary(app, alice, concept.id)
    told = await choose(app, alice, concept.id, "B")
    await add_results(app, alice.id, [result_of(concept, views=90_000, likes=9_000)])

    await learn(app, system)

    hooks = await fetch(
        admin, "SELECT DISTINCT key FROM learner_effects WHERE family = 'tenant_hook'"
    )
    words = await fetch(
        admin, "SELECT DISTINCT key FROM learner_effects WHERE family = 'tenant_word'"
    )
    assert [(told.hook_type,)] == hooks
    assert {"B": True, "A": False} == {
        each.label: all((word,) in words for word in each.title.lower().split() if word.isalpha())
        for each in variants[:2]
    }


async def test_a_result_that_names_its_variant_is_of_that_one(
    app: Database, system: Database, alice: TestTenant, concept: Concept, admin: AsyncConnection
) -> None:
    variants = await vary(app, alice, concept.id)
    await add_results(app, alice.id, [result_of(concept, views=90_000, likes=9_000)])
    await execute(admin, "UPDATE performance_feedback SET variant_id = :id", id=variants[2].id)

    await learn(app, system)

    assert [(variants[2].hook_type,)] == await fetch(
        admin, "SELECT DISTINCT key FROM learner_effects WHERE family = 'tenant_hook'"
    )


async def test_two_selected_variants_from_elsewhere_make_one_result_of_one(
    app: Database, system: Database, alice: TestTenant, concept: Concept, admin: AsyncConnection
) -> None:
    await vary(app, alice, concept.id)
    await execute(admin, "UPDATE concept_variants SET is_selected = true, hook = NULL")
    await add_results(app, alice.id, [result_of(concept, views=90_000, likes=9_000)])

    report = await learn(app, system)

    assert report.results == 1


async def test_a_writer_keeps_to_the_types_that_are_asked_for() -> None:
    trend = TrendBrief("one-pan dinners", "food", "test", 80.0)
    wanted = ("story", "list", "secret")

    written = await OfflineWriter().write(
        Brief((trend,), 3, NOW, category="food", hook_types=wanted), rng=Random(1)
    )

    assert wanted == tuple(each.hook_type for each in written.drafts)
