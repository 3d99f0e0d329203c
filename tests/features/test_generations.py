"""Concepts are stored whole with predictions, or not at all; the quota's ledger proves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from random import Random
from uuid import UUID

import pytest
from clusters import Cluster
from factories import TestTenant, make_tenant
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import NOW, add_results, add_trends, execute, fetch, generate, learn, result_of, trend

from viral.adapters.offline_writer import OfflineWriter
from viral.database.engine import Database
from viral.errors import BadInput, NotFound, NothingToWriteAbout, QuotaExceeded
from viral.features.generations.brief import topic_of
from viral.features.generations.concepts import find_concept, newest_concepts
from viral.features.generations.drafts import Brief, Written
from viral.features.generations.phrasing import runs_of
from viral.features.generations.quota import refund_stale, take_quota
from viral.schema.content import Concept
from viral.schema.vocabulary import PLATFORMS, category_of, platform_of


class FailingWriter:
    """A writer whose service is down."""

    name = "failing"

    async def write(
        self,
        brief: Brief,  # noqa: ARG002
        *,
        rng: Random,  # noqa: ARG002
        advance: Callable[[int], None] | None = None,  # noqa: ARG002
    ) -> Written:
        raise ConnectionError


class CountingWriter:
    """A writer that delivers another number than was asked for."""

    name = "counting"

    def __init__(self, count: int) -> None:
        self._count = count

    async def write(
        self, brief: Brief, *, rng: Random, advance: Callable[[int], None] | None = None
    ) -> Written:
        asked = replace(brief, count=self._count)
        return await OfflineWriter().write(asked, rng=rng, advance=advance)


@pytest.fixture
async def studio(system: Database, cluster: Cluster) -> TestTenant:
    """Make a tenant with fifty concepts a month, and trends."""
    await add_trends(system)
    return await make_tenant(system, cluster.secrets, slug="studio", tier="PRO")


async def quota(admin: AsyncConnection, tenant: TestTenant) -> tuple[object, object, object]:
    """Read what is used by the counter, by the ledger, and how many concepts there are."""
    return (
        await fetch(
            admin,
            "SELECT used_quota,"
            " (SELECT coalesce(sum(amount), 0) FROM quota_ledger WHERE tenant_id = t.id),"
            " (SELECT count(*) FROM concepts WHERE tenant_id = t.id)"
            " FROM tenants AS t WHERE id = :id",
            id=tenant.id,
        )
    )[0]  # type: ignore[return-value]  # three columns


async def reserve(app: Database, tenant: TestTenant, count: int) -> UUID:
    """Take quota and nothing else: a process that is killed leaves this behind."""
    async with app.tenant_session(tenant.id) as session:
        return (await take_quota(session, count=count, user_id=None)).id


def words_of(concepts: list[Concept]) -> list[tuple[object, ...]]:
    return [
        (c.title, c.hook, c.script, c.caption, c.hashtags, c.duration_s, c.post_at, c.prompts)
        for c in concepts
    ]


def forecasts_of(concepts: list[Concept]) -> list[tuple[object, ...]]:
    return [
        (p.platform, p.score, p.low, p.high, p.reasons) for c in concepts for p in c.predictions
    ]


def _runs(concept: Concept) -> set[tuple[str, ...]]:
    topic = topic_of(concept.trend)
    lines = (concept.title, concept.hook, concept.caption)
    return {run for line in lines for run in runs_of(line, topic)}


async def test_concepts_are_stored_with_a_prediction_for_every_platform(
    app: Database, studio: TestTenant
) -> None:
    made = await generate(app, studio.id, 3)

    async with app.tenant_session(studio.id) as session:
        stored = await newest_concepts(session, limit=10)
        one = await find_concept(session, made[0].id)
    assert {each.id for each in stored} == {each.id for each in made}
    assert all({p.platform for p in each.predictions} == set(PLATFORMS) for each in stored)
    assert one.title == made[0].title
    assert all(0 <= p.low <= p.score <= p.high <= 100 for c in stored for p in c.predictions)


async def test_one_platform_is_predicted_when_one_is_asked_for(
    app: Database, studio: TestTenant
) -> None:
    (concept,) = await generate(app, studio.id, 1, platform="youtube")

    assert [each.platform for each in concept.predictions] == ["youtube"]


async def test_reasons_add_up_to_the_score_to_a_tenth(
    app: Database, system: Database, studio: TestTenant
) -> None:
    first = await generate(app, studio.id, 25)
    await add_results(
        app, studio.id, [result_of(each, views=90_000, likes=9_000) for each in first]
    )
    await learn(app, system)

    predictions = [p for c in await generate(app, studio.id, 20, seed=2) for p in c.predictions]

    assert any(len(each.reasons) >= 2 for each in predictions)
    for each in predictions:
        tenths = sum(round(10 * reason["points"]) for reason in each.reasons)  # type: ignore[index]  # an object of JSON
        assert tenths == round(10 * each.score)
        assert all(reason["label"] for reason in each.reasons)  # type: ignore[index]  # an object of JSON


async def test_the_same_seed_and_history_give_the_same_concepts(
    app: Database, system: Database, studio: TestTenant, cluster: Cluster
) -> None:
    twin = await make_tenant(system, cluster.secrets, slug="twin")

    first = await generate(app, studio.id, 5, seed=7)
    second = await generate(app, twin.id, 5, seed=7)
    other = await generate(app, studio.id, 5, seed=8)

    assert words_of(first) == words_of(second)
    assert forecasts_of(first) == forecasts_of(second)
    assert words_of(first) != words_of(other)


async def test_no_line_or_phrase_stands_twice_within_the_last_two_hundred(
    app: Database, system: Database, cluster: Cluster
) -> None:
    await add_trends(system)
    agency = await make_tenant(system, cluster.secrets, slug="agency", tier="AGENCY")

    # The same seed each time: only what is taken makes the difference.
    rounds = [await generate(app, agency.id, 60, seed=1) for _ in range(4)]

    written = [concept for each in rounds for concept in each]
    assert len(written) == 240
    for attribute in ("title", "hook"):
        lines = [getattr(each, attribute).casefold() for each in written]
        for place, line in enumerate(lines):
            assert line not in lines[max(0, place - 200) : place]
    runs = [_runs(each) for each in written]
    for place, own in enumerate(runs):
        assert own.isdisjoint(set().union(*runs[max(0, place - 200) : place]))


async def test_what_is_written_is_complete(app: Database, studio: TestTenant) -> None:
    for concept in await generate(app, studio.id, 10, category="food"):
        assert concept.category == "food"
        assert concept.origin == "generated"
        assert concept.post_at is not None
        assert concept.post_at > NOW
        assert concept.prompts
        assert all(concept.prompts.values())
        scenes = concept.script
        assert scenes[0]["start_s"] == 0  # type: ignore[index]  # an object of JSON
        assert scenes[-1]["end_s"] == concept.duration_s  # type: ignore[index]  # an object of JSON
        assert concept.hook
        assert concept.hook_type
        assert concept.caption
        assert concept.hashtags
        assert concept.why_it_works
        assert concept.trend["topic"]  # type: ignore[index]  # an object of JSON


async def test_concepts_are_counted(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await generate(app, studio.id, 3)
    await generate(app, studio.id, 2, seed=2)

    assert await quota(admin, studio) == (5, 5, 5)


async def test_more_than_is_left_is_refused_and_nothing_is_taken(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await generate(app, studio.id, 48)

    with pytest.raises(QuotaExceeded, match="3 concepts asked for, 2 of 50 left"):
        await generate(app, studio.id, 3)

    assert await quota(admin, studio) == (48, 48, 48)


async def test_what_a_failing_writer_cost_is_given_back(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    with pytest.raises(ConnectionError):
        await generate(app, studio.id, 4, writer=FailingWriter())

    assert await quota(admin, studio) == (0, 0, 0)


async def test_what_a_writer_does_not_deliver_is_given_back(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    made = await generate(app, studio.id, 5, writer=CountingWriter(2))

    assert len(made) == 2
    assert await quota(admin, studio) == (2, 2, 2)


async def test_a_writer_that_delivers_nothing_costs_nothing(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    with pytest.raises(NothingToWriteAbout):
        await generate(app, studio.id, 5, writer=CountingWriter(0))

    assert await quota(admin, studio) == (0, 0, 0)


async def test_a_generation_names_its_writer(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await generate(app, studio.id, 1, writer=CountingWriter(1))

    assert await fetch(admin, "SELECT writer FROM generations") == [("counting",)]


async def test_a_writer_cannot_deliver_more_than_was_paid_for(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    made = await generate(app, studio.id, 2, writer=CountingWriter(5))

    assert len(made) == 2
    assert await quota(admin, studio) == (2, 2, 2)


async def test_what_a_killed_process_reserved_is_given_back_after_an_hour(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await reserve(app, studio, 4)
    await generate(app, studio.id, 1)
    assert await quota(admin, studio) == (5, 5, 1)

    await execute(admin, "UPDATE quota_ledger SET created_at = created_at - interval '61 minutes'")
    await generate(app, studio.id, 1, seed=2)

    assert await quota(admin, studio) == (2, 2, 2)


async def test_a_stale_reservation_is_given_back_once(
    app: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await reserve(app, studio, 4)
    await execute(admin, "UPDATE quota_ledger SET created_at = created_at - interval '2 hours'")

    async with app.tenant_session(studio.id) as session:
        assert await refund_stale(session) == 1
        assert await refund_stale(session) == 0

    assert await quota(admin, studio) == (0, 0, 0)


async def test_without_trends_nothing_is_written_and_nothing_counted(
    app: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    with pytest.raises(NothingToWriteAbout):
        await generate(app, alice.id)

    assert await quota(admin, alice) == (0, 0, 0)


@pytest.mark.parametrize("count", [0, -1, 101])
async def test_a_count_out_of_range_is_refused(
    app: Database, studio: TestTenant, admin: AsyncConnection, count: int
) -> None:
    with pytest.raises(BadInput):
        await generate(app, studio.id, count)

    assert await quota(admin, studio) == (0, 0, 0)


def test_unknown_words_are_refused_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match="'myspace' is not a platform") as raised:
        platform_of("myspace")
    assert "tiktok" in raised.value.hint
    with pytest.raises(BadInput, match="'knitting' is not a category") as raised:
        category_of("knitting")
    assert "food" in raised.value.hint
    assert (platform_of(" TikTok "), category_of("FOOD")) == ("tiktok", "food")


async def test_a_concept_of_another_tenant_is_not_found(
    app: Database, studio: TestTenant, bob: TestTenant
) -> None:
    (concept,) = await generate(app, studio.id, 1)

    async with app.tenant_session(bob.id) as session:
        with pytest.raises(NotFound):
            await find_concept(session, concept.id)
        assert await newest_concepts(session, limit=5) == []


async def test_two_requests_at_once_write_no_title_twice(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_trends(system, trend())

    # The same seed: both writers offer the same concepts.
    answers = await asyncio.gather(
        generate(app, alice.id, count=3, seed=5),
        generate(app, alice.id, count=3, seed=5),
        return_exceptions=True,
    )

    titles = await fetch(admin, "SELECT lower(title) FROM concepts")
    assert len(set(titles)) == len(titles)
    assert any(isinstance(answer, list) and len(answer) == 3 for answer in answers)
    used = await fetch(admin, f"SELECT used_quota FROM tenants WHERE id = '{alice.id}'")
    assert used == [(len(titles),)]
