"""What is served is published when proven, watched, and taken back when it is not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from factories import TestTenant
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import (
    HASHED,
    NOW,
    add_results,
    adjustments_of,
    execute,
    fetch,
    force_adjustment,
    force_version,
    foretell,
    learn,
    many,
)

from viral.database.engine import Database
from viral.errors import NotFound
from viral.features.reflexion.learning import hold_learning
from viral.features.reflexion.shared_guard import shared_standing
from viral.features.reflexion.undo import undo_run
from viral.features.reflexion.versions import undo_version
from viral.features.scoring.predictions import Forecast

LATER = NOW + timedelta(days=60)
SERVED = (
    "SELECT goal, family, key, published FROM shared_effects WHERE platform = 'tiktok'"
    " ORDER BY 1, 2, 3"
)
VERSIONS = (
    "SELECT version, is_current, document -> 'ended' ->> 'reason' FROM model_versions"
    " WHERE kind = 'effects' ORDER BY version"
)


def points_of(forecast: Forecast) -> tuple[object, ...]:
    """Give what is served without its interval, which goes on learning."""
    return forecast.score.score, forecast.reasons, forecast.model_version


async def undo(system: Database, version: int) -> list[int]:
    async with system.session_without_tenant() as session:
        await hold_learning(session, "tiktok")
        return await undo_version(session, "tiktok", version, now=LATER, reason="by hand")


async def test_the_first_version_waits_for_twenty_results_and_the_next_for_two_hundred(
    app: Database, system: Database, alice: TestTenant
) -> None:
    await add_results(app, alice.id, many(19))
    first = await learn(app, system, now=LATER)
    await add_results(app, alice.id, many(1, prefix="w"))
    second = await learn(app, system, now=LATER)
    await add_results(app, alice.id, many(30, prefix="x", views=900))
    third = await learn(app, system, now=LATER)

    assert (first.versions, second.versions, third.versions) == ([], ["tiktok"], [])
    async with system.session_without_tenant() as session:
        standing = await shared_standing(session, "tiktok")
    assert (standing.version, standing.challenger.guard.results) == (1, 30)
    assert standing.needed == 171


async def test_errors_of_every_view_are_written_once(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, many(20))
    await learn(app, system, now=LATER)
    await force_version(system, -20)
    query = (
        "SELECT external_id, challenger_error, champion_error, former_error, residual,"
        " (engagement_score + reach_score) / 2 FROM performance_feedback"
        " WHERE applied_no IS NOT NULL ORDER BY applied_no"
    )
    before = await fetch(admin, query)
    await add_results(app, alice.id, many(1, prefix="w"))

    await learn(app, system, now=LATER)
    noted = await fetch(admin, query)
    await execute(admin, "UPDATE performance_feedback SET outcome_version = -1")
    await execute(admin, "UPDATE learner_effects SET published = 99")
    await learn(app, system, now=LATER)

    _, challenger, champion, former, residual, outcome = noted[20]
    assert all(isinstance(each, float) for each in noted[20][1:])
    assert float(str(champion)) > float(str(former)) > 0
    # Nothing was published at first, so the start of the scale is what was served.
    assert before[0][2] == abs(float(str(before[0][5])) - 50)
    assert abs(float(str(residual))) == pytest.approx(float(str(challenger)))
    assert 0 <= float(str(outcome)) <= 100
    assert await fetch(admin, query) == noted


async def test_a_bad_version_is_rolled_back_by_the_results_that_follow(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, many(25))
    await learn(app, system, now=LATER)
    served = await fetch(admin, SERVED)
    before = await foretell(app, alice)
    forced = await force_version(system, -25)
    spoilt = await foretell(app, alice)

    posts = 0
    rolled_back: list[str] = []
    while not rolled_back and posts < 250:
        await add_results(app, alice.id, many(15, prefix=f"after{posts}-", first_day=10))
        rolled_back = (await learn(app, system, now=LATER)).rolled_back
        posts += 15

    assert rolled_back == ["tiktok"]
    assert posts == 45
    assert spoilt.score.score < before.score.score - 20
    assert points_of(await foretell(app, alice)) == points_of(before)
    # What was served of rows that came with the later results starts at nothing.
    known = {row[:3] for row in served}
    assert [row for row in await fetch(admin, SERVED) if row[:3] in known] == served
    *_, (version, is_current, reason) = await fetch(admin, VERSIONS)
    assert (version, is_current) == (forced, False)
    assert "guard: 22 results missed by" in str(reason)


async def test_a_good_version_stays(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, many(20))
    await learn(app, system, now=LATER)
    for turn in range(3):
        await add_results(app, alice.id, many(15, prefix=f"{turn}-", first_day=10))
        report = await learn(app, system, now=LATER)
        assert report.rolled_back == []

    assert await fetch(admin, VERSIONS) == [(1, True, None)]


async def test_one_command_takes_a_version_back_exactly(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant
) -> None:
    await add_results(app, alice.id, many(25))
    await learn(app, system, now=LATER)
    tenants = alice, bob
    first = [await foretell(app, tenant) for tenant in tenants]
    await force_version(system, -25)
    second = [await foretell(app, tenant) for tenant in tenants]
    await force_version(system, 3.3, family="weekday", key="0")
    third = [await foretell(app, tenant) for tenant in tenants]

    # The third first: it builds on the second.
    assert await undo(system, 3) == [3]
    assert [await foretell(app, tenant) for tenant in tenants] == second
    await force_version(system, 3.3, family="weekday", key="0")
    assert await undo(system, 2) == [4, 2]

    assert [await foretell(app, tenant) for tenant in tenants] == first
    assert len({each.score.score for each in (first[0], second[0], third[0])}) == 3
    with pytest.raises(NotFound):
        await undo(system, 2)
    assert await undo(system, 1) == [1]
    assert (await foretell(app, bob)).score.score == 50


async def test_a_version_that_was_taken_back_has_to_be_proven_anew(
    app: Database, system: Database, alice: TestTenant
) -> None:
    await add_results(app, alice.id, many(25))
    await learn(app, system, now=LATER)
    await undo(system, 1)
    await add_results(app, alice.id, many(30, prefix="w", first_day=3))

    report = await learn(app, system, now=LATER)

    assert report.versions == []


async def test_a_tenants_bad_adjustment_is_rolled_back_by_its_own_results(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, many(25))
    await learn(app, system, now=LATER)
    before = await foretell(app, alice)
    forced = await force_adjustment(app, alice, -30, after_no=25, now=LATER + timedelta(seconds=1))
    spoilt = await foretell(app, alice)

    for turn in range(4):
        rows = many(10, prefix=f"{turn}-", first_day=10)
        await add_results(app, alice.id, rows)
        await learn(app, system, now=LATER + timedelta(days=1 + turn))

    undone = [each for each in await adjustments_of(app, alice) if each.reverted_at is not None]
    assert spoilt.score.score < before.score.score - 20
    assert {each.id for each in undone} == set(forced)
    assert {each.revert_reason for each in undone} == {undone[0].revert_reason}
    assert "guard: 20 results missed by" in str(undone[0].revert_reason)
    assert points_of(await foretell(app, alice)) == points_of(before)
    frozen = "SELECT count(*) FROM learner_effects WHERE is_frozen"
    assert await fetch(admin, frozen) == [(0,)]


async def test_effects_that_prove_nothing_are_not_published(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, many(4))
    await learn(app, system, now=LATER)
    # As if what is learnt had missed by more than what is served.
    await execute(admin, "UPDATE performance_feedback SET challenger_error = champion_error + 500")
    await add_results(app, alice.id, many(16, prefix="w"))

    report = await learn(app, system, now=LATER)

    assert (report.results, report.versions, report.adjustments) == (16, [], 0)


async def test_a_tenant_whose_own_results_contradict_is_served_nothing_new(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, many(4))
    await add_results(app, bob.id, many(30, prefix="b"))
    await learn(app, system, now=LATER)
    mine = "UPDATE performance_feedback SET challenger_error = champion_error + 50"
    await execute(admin, f"{mine} WHERE tenant_id = :t", t=alice.id)
    await add_results(app, alice.id, many(2, prefix="w"))
    await add_results(app, bob.id, many(2, prefix="c"))

    await learn(app, system, now=LATER)

    assert await adjustments_of(app, alice) == []
    assert await adjustments_of(app, bob) != []


async def test_an_old_version_without_grounds_can_be_taken_back(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, many(25))
    await learn(app, system, now=LATER)
    before = await foretell(app, alice)
    await force_version(system, -25)
    plain = "document - 'parent' - 'after_no' - 'lead' - 'ended'"
    await execute(admin, f"UPDATE model_versions SET document = {plain} WHERE kind = 'effects'")

    assert await undo(system, 2) == [2]

    assert await foretell(app, alice) == before
    assert HASHED("snack") in {key for _, _, key, _ in await fetch(admin, SERVED)}


async def test_one_command_takes_a_bad_adjustment_back_exactly(
    app: Database, system: Database, alice: TestTenant
) -> None:
    await add_results(app, alice.id, many(25))
    await learn(app, system, now=LATER)
    before = await foretell(app, alice)
    forced = await force_adjustment(app, alice, -30, after_no=25, now=LATER + timedelta(seconds=1))
    spoilt = await foretell(app, alice)

    async with app.tenant_session(alice.id) as session:
        undone = await undo_run(session, forced[0], user_id=None, now=LATER)

    assert {each.id for each in undone} == set(forced)
    assert spoilt.score.score < before.score.score - 20
    assert await foretell(app, alice) == before
