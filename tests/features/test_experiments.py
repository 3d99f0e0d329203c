"""Experiments: concepts get their arm by lot, posts decide, and an end stays as it was."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from uuid import UUID

import pytest
from clusters import Cluster
from factories import TestTenant, make_tenant
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import NOW, add_results, add_trends, execute, fetch, generate, learn, result_of

from viral.database.engine import Database
from viral.errors import AlreadyExists, BadInput, NotFound
from viral.features.experiments.arms import label_of, make_arms
from viral.features.experiments.trials import (
    find_experiment,
    list_experiments,
    start_experiment,
)
from viral.features.experiments.verdicts import Outlook, settle_experiment, stop_experiment
from viral.features.generations.brief import topic_of
from viral.features.generations.drafts import HOOK_TYPES
from viral.features.generations.phrasing import Phrases, Said
from viral.features.generations.variants import select_variant, variants_of
from viral.schema.content import Concept, ConceptVariant, Experiment
from viral.schema.vocabulary import Platform

LATER = NOW + timedelta(days=9)


@pytest.fixture
async def studio(system: Database, cluster: Cluster) -> TestTenant:
    await add_trends(system)
    return await make_tenant(system, cluster.secrets, slug="studio", tier="AGENCY")


async def start(
    app: Database,
    tenant: TestTenant,
    name: str = "openers",
    *,
    hook_types: tuple[str, ...] = ("story", "question"),
    platform: Platform = "tiktok",
    alpha: float = 0.05,
    most_posts: int = 200,
) -> Experiment:
    async with app.tenant_session(tenant.id) as session:
        return await start_experiment(
            session,
            name,
            platform=platform,
            arms=make_arms(hook_types, known=HOOK_TYPES),
            now=NOW,
            alpha=alpha,
            most_posts=most_posts,
        )


async def settle(app: Database, tenant: TestTenant, name: str = "openers") -> Outlook:
    async with app.tenant_session(tenant.id) as session:
        return await settle_experiment(session, await find_experiment(session, name), now=LATER)


async def stop(app: Database, tenant: TestTenant, name: str = "openers") -> Outlook:
    async with app.tenant_session(tenant.id) as session:
        return await stop_experiment(session, await find_experiment(session, name), now=LATER)


async def told(app: Database, tenant: TestTenant) -> dict[UUID, ConceptVariant]:
    """Give the selected variant of each concept that has one."""
    async with app.tenant_session(tenant.id) as session:
        ids = list(await session.scalars(select(ConceptVariant.concept_id).distinct()))
        found = await variants_of(session, ids)
    return {
        concept_id: each
        for concept_id, variants in found.items()
        for each in variants
        if each.is_selected
    }


async def report(
    app: Database, tenant: TestTenant, concepts: list[Concept], better: str, views: int = 900_000
) -> None:
    """Post concepts; those that are told as the better arm do far better."""
    arms = await told(app, tenant)
    await add_results(
        app,
        tenant.id,
        [
            result_of(
                each,
                views=views + place if arms[each.id].label == better else 300 + place,
                likes=views // 6 if arms[each.id].label == better else 1,
            )
            for place, each in enumerate(concepts)
        ],
    )


async def test_each_new_concept_is_told_as_every_arm_and_one_is_drawn(
    app: Database, studio: TestTenant
) -> None:
    before = await generate(app, studio.id, 2)
    experiment = await start(app, studio)

    concepts = await generate(app, studio.id, 8, seed=2)

    drawn = await told(app, studio)
    assert {each.id for each in concepts} == drawn.keys()
    assert not {each.id for each in before} & drawn.keys()
    expected = [label_of(experiment.id, ["A", "B"], number) for number in range(8)]
    assert expected == [drawn[each.id].label for each in concepts]
    async with app.tenant_session(studio.id) as session:
        variants = await variants_of(session, drawn.keys())
    for concept in concepts:
        arms = variants[concept.id]
        assert [("A", "story"), ("B", "question")] == [(e.label, e.hook_type) for e in arms]
        own = [each.title for each in arms if each.hook_type == concept.hook_type]
        assert own in ([], [concept.title])


async def test_no_arm_repeats_a_phrase_of_another_concept(
    app: Database, studio: TestTenant
) -> None:
    await start(app, studio, hook_types=("story", "question", "list"))
    concepts = await generate(app, studio.id, 24, category="food")

    async with app.tenant_session(studio.id) as session:
        variants = await variants_of(session, [each.id for each in concepts])

    phrases = Phrases()
    for concept in concepts:
        topic = topic_of(concept.trend)
        phrases.add(Said(topic, concept.title, concept.hook, concept.caption))
    for concept in concepts:
        for each in variants.get(concept.id, []):
            if each.title != concept.title:
                said = Said(topic_of(concept.trend), each.title, each.hook or "", each.caption)
                assert phrases.are_fresh(said)
                phrases.add(said)
    assert len(variants) > 12


async def test_the_draw_goes_on_where_the_last_request_ended(
    app: Database, studio: TestTenant
) -> None:
    await start(app, studio, hook_types=("story", "question", "list"))

    for seed in range(6):
        await generate(app, studio.id, 2, seed=seed)

    counts = Counter(each.label for each in (await told(app, studio)).values())
    assert counts == {"A": 4, "B": 4, "C": 4}


async def test_concepts_for_another_platform_take_no_part(
    app: Database, studio: TestTenant
) -> None:
    await start(app, studio, platform="tiktok")

    await generate(app, studio.id, 2, platform="youtube")

    assert {} == await told(app, studio)


async def test_posts_decide_and_generation_goes_on_without_arms(
    app: Database, system: Database, studio: TestTenant
) -> None:
    await start(app, studio)
    concepts = await generate(app, studio.id, 40)
    await report(app, studio, concepts, "B")
    await learn(app, system)

    outlook = await settle(app, studio)

    assert ("decided", "B") == (outlook.experiment.status, outlook.experiment.winner)
    assert outlook.experiment.decided_at is not None
    assert outlook.concepts == 40
    assert 16 <= outlook.posts < 40
    (difference,) = outlook.comparisons
    assert (difference.better, difference.is_sure) == ("B", True)
    fresh = await generate(app, studio.id, 2, seed=3)
    assert not {each.id for each in fresh} & (await told(app, studio)).keys()


async def test_an_end_stays_as_it_was(
    app: Database, system: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await start(app, studio)
    await report(app, studio, await generate(app, studio.id, 40), "B")
    await learn(app, system)
    first = await settle(app, studio)

    await execute(admin, "UPDATE performance_feedback SET reach_score = 0, engagement_score = 0")
    again = await settle(app, studio)

    assert (first.posts, first.arms, first.comparisons) == (
        again.posts,
        again.arms,
        again.comparisons,
    )


async def test_learning_looks_at_the_posts_by_itself(
    app: Database, system: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await start(app, studio)
    await report(app, studio, await generate(app, studio.id, 40), "A")

    await learn(app, system)

    assert [("decided", "A")] == await fetch(admin, "SELECT status, winner FROM experiments")


async def test_without_a_difference_it_ends_undecided(
    app: Database, system: Database, studio: TestTenant
) -> None:
    await start(app, studio, most_posts=16)
    concepts = await generate(app, studio.id, 16)
    await add_results(app, studio.id, [result_of(c, views=5_000, likes=400) for c in concepts])
    await learn(app, system)

    outlook = await settle(app, studio)

    assert ("undecided", None, 16) == (
        outlook.experiment.status,
        outlook.experiment.winner,
        outlook.posts,
    )


async def test_what_counts_is_learnt_on_the_platform_and_foretold(
    app: Database, system: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await start(app, studio)
    concepts = await generate(app, studio.id, 4)
    rows = [result_of(each, views=5_000, likes=400) for each in concepts[:3]]
    elsewhere = [result_of(concepts[3], views=5_000, likes=400, platform="youtube")]
    await add_results(app, studio.id, [*rows, *elsewhere])

    waiting = await settle(app, studio)
    await learn(app, system)
    await execute(
        admin,
        "UPDATE predictions SET model_version = -1 WHERE concept_id = :id",
        id=concepts[0].id,
    )
    learnt = await settle(app, studio)

    assert (0, 2) == (waiting.posts, learnt.posts)


async def test_a_value_is_the_score_less_what_was_foretold(
    app: Database, system: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await start(app, studio)
    concepts = await generate(app, studio.id, 6)
    await report(app, studio, concepts, "A")
    await learn(app, system)

    arms = {each.label: each for each in (await settle(app, studio)).arms}

    expected = await fetch(
        admin,
        "SELECT v.label, avg((f.engagement_score + f.reach_score) / 2 - p.score)"
        " FROM performance_feedback AS f"
        " JOIN predictions AS p ON p.concept_id = f.concept_id AND p.platform = 'tiktok'"
        " JOIN concept_variants AS v ON v.concept_id = f.concept_id AND v.is_selected"
        " GROUP BY 1 ORDER BY 1",
    )
    assert ["A", "B"] == [label for label, _ in expected]
    means = [float(str(mean)) for _, mean in expected]
    assert [arms["A"].mean, arms["B"].mean] == pytest.approx(means)


async def test_one_experiment_runs_at_a_time(app: Database, studio: TestTenant) -> None:
    await start(app, studio)
    with pytest.raises(AlreadyExists, match="'openers' is running") as raised:
        await start(app, studio, "second")
    assert "viral experiments stop openers" in raised.value.hint

    stopped = await stop(app, studio)
    with pytest.raises(BadInput, match="has ended"):
        await stop(app, studio)
    with pytest.raises(AlreadyExists, match="There is an experiment"):
        await start(app, studio)
    await start(app, studio, "second")

    assert ("stopped", None) == (stopped.experiment.status, stopped.experiment.winner)
    async with app.tenant_session(studio.id) as session:
        assert ["openers", "second"] == sorted(e.name for e in await list_experiments(session))


async def test_what_the_lot_drew_is_not_changed_while_the_experiment_runs(
    app: Database, studio: TestTenant
) -> None:
    await start(app, studio)
    (concept,) = await generate(app, studio.id, 1)
    drawn = (await told(app, studio))[concept.id].label
    other = "B" if drawn == "A" else "A"

    async with app.tenant_session(studio.id) as session:
        with pytest.raises(BadInput, match="by lot"):
            await select_variant(session, concept.id, other)
    await stop(app, studio)
    async with app.tenant_session(studio.id) as session:
        chosen = await select_variant(session, concept.id, other)

    assert other == chosen.label


@pytest.mark.parametrize(
    ("name", "alpha", "most_posts", "message"),
    [
        ("", 0.05, 200, "cannot have this name"),
        ("a\nb", 0.05, 200, "cannot have this name"),
        (" a", 0.05, 200, "cannot have this name"),
        ("x" * 61, 0.05, 200, "cannot have this name"),
        ("x", 0.0, 200, "no useful risk"),
        ("x", float("nan"), 200, "no useful risk"),
        ("x", 0.6, 200, "no useful risk"),
        ("x", 0.05, 15, "15 posts cannot decide"),
        ("x", 0.05, 5_001, "5,001 posts cannot decide"),
    ],
)
async def test_what_makes_no_experiment_is_refused(
    app: Database, alice: TestTenant, name: str, alpha: float, most_posts: int, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        await start(app, alice, name, alpha=alpha, most_posts=most_posts)


@pytest.mark.parametrize(
    "hook_types", [("story",), ("story", "story"), HOOK_TYPES[:6], ("story", "shouting")]
)
def test_arms_are_two_to_five_known_types_each_once(hook_types: tuple[str, ...]) -> None:
    with pytest.raises(BadInput):
        make_arms(hook_types, known=HOOK_TYPES)


async def test_another_tenants_experiment_is_not_there(
    app: Database, studio: TestTenant, bob: TestTenant
) -> None:
    await start(app, studio)

    async with app.tenant_session(bob.id) as session:
        assert [] == await list_experiments(session)
        with pytest.raises(NotFound):
            await find_experiment(session, "openers")
    await start(app, bob)
    await generate(app, bob.id, 2)

    assert {} == await told(app, studio)


async def test_arms_that_somebody_wrote_by_hand_stop_nobody(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await start(app, studio)
    await execute(admin, """UPDATE experiments SET arms = '{"A": "story"}'""")

    concepts = await generate(app, studio.id, 2)
    outlook = await settle(app, studio)

    assert (2, {}) == (len(concepts), await told(app, studio))
    assert (0, (), "running") == (outlook.posts, outlook.arms, outlook.experiment.status)
