"""A whole run, a shared effect for one tenant: taken back, with forecasts as before."""

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
    force_version,
    foretell,
    learn,
    many,
)

from viral.database.engine import Database
from viral.errors import AlreadyExists, BadInput, NotFound
from viral.features.reflexion.overrides import override_shared
from viral.features.reflexion.report import own_guards
from viral.features.reflexion.undo import undo_adjustment, undo_insight, undo_run
from viral.schema.base import uuid7
from viral.schema.learning import ScoringAdjustment

LATER = NOW + timedelta(days=60)


async def override(
    app: Database, system: Database, tenant: TestTenant, *, family: str = "category", key: str
) -> list[ScoringAdjustment]:
    return [
        await override_shared(
            app,
            system,
            tenant.id,
            platform="tiktok",
            goal=goal,
            family=family,
            key=key,
            now=LATER + timedelta(seconds=1),
            hashed=HASHED,
        )
        for goal in ("engagement", "reach")
    ]


async def test_a_run_is_undone_whole_and_forecasts_are_as_before(
    app: Database, system: Database, alice: TestTenant
) -> None:
    await add_results(app, alice.id, many(10))
    await learn(app, system)
    before = await foretell(app, alice)
    level = {each.id for each in await adjustments_of(app, alice)}
    await add_results(app, alice.id, many(40, prefix="w", views=400, first_day=10))
    await learn(app, system, now=LATER)
    newest = [each for each in await adjustments_of(app, alice) if each.id not in level]
    learnt = await foretell(app, alice)

    async with app.tenant_session(alice.id) as session:
        with pytest.raises(BadInput, match="later adjustment"):
            await undo_run(session, min(level), user_id=alice.user_id, now=LATER)
        undone = await undo_run(session, newest[0].id, user_id=alice.user_id, now=LATER)

    assert {each.id for each in undone} == {each.id for each in newest}
    after = await foretell(app, alice)
    own = [each for each in after.reasons if each.family.startswith("tenant")]
    assert own == [each for each in before.reasons if each.family.startswith("tenant")]
    assert own != [each for each in learnt.reasons if each.family.startswith("tenant")]
    async with app.tenant_session(alice.id) as session:
        with pytest.raises(AlreadyExists):
            await undo_run(session, newest[0].id, user_id=None, now=LATER)


async def test_a_shared_effect_is_undone_for_one_tenant_and_given_back(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant
) -> None:
    await add_results(app, alice.id, many(25))
    await learn(app, system, now=LATER)
    await add_results(app, alice.id, many(4, prefix="w"))
    await learn(app, system, now=LATER)
    before = [await foretell(app, tenant) for tenant in (alice, bob)]
    await force_version(system, -25)
    spoilt = [await foretell(app, tenant) for tenant in (alice, bob)]
    async with app.tenant_session(alice.id) as session:
        watched = await own_guards(session)

    made = [
        each for tenant in (alice, bob) for each in await override(app, system, tenant, key="food")
    ]

    # Bob has no result at all: his row is made for the override.
    after = [await foretell(app, tenant) for tenant in (alice, bob)]
    assert [each.score for each in after] == [each.score for each in before]
    assert [each.reasons for each in after] == [each.reasons for each in before]
    async with app.tenant_session(alice.id) as session:
        assert await own_guards(session) == watched
    for tenant, adjustments in ((alice, made[:2]), (bob, made[2:])):
        async with app.tenant_session(tenant.id) as session:
            for each in adjustments:
                await undo_adjustment(session, each.id, user_id=None, now=LATER)
    assert [await foretell(app, tenant) for tenant in (alice, bob)] == spoilt


async def test_an_override_outlives_a_replay_and_holds_no_state(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, many(25))
    await learn(app, system, now=LATER)
    await force_version(system, -25)
    await override(app, system, bob, key="food")
    before = await foretell(app, bob)

    await execute(admin, "UPDATE performance_feedback SET outcome_version = -1")
    for table in ("shared_effects", "learner_effects"):
        await execute(admin, f"UPDATE {table} SET samples = 0, day = 0")
    await learn(app, system, now=LATER)

    assert await foretell(app, bob) == before
    state = "SELECT samples, day, is_frozen FROM learner_effects WHERE tenant_id = :tenant"
    assert set(await fetch(admin, state, tenant=bob.id)) == {(0, 0, True)}


async def test_a_shared_word_is_undone_by_its_plain_name(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, many(25))
    await learn(app, system, now=LATER)
    before = await foretell(app, alice)
    await force_version(system, 9, family="word", key=HASHED("snack"))
    await execute(admin, "UPDATE shared_effects SET tenants = 5 WHERE family = 'word'")
    lifted = await foretell(app, alice)

    await override(app, system, alice, family="word", key="Snack")

    after = await foretell(app, alice)
    assert lifted.score.score == pytest.approx(before.score.score + 9, abs=0.11)
    assert after.score.score == before.score.score


async def test_what_is_not_there_cannot_be_undone(
    app: Database, system: Database, alice: TestTenant
) -> None:
    with pytest.raises(BadInput, match="not a shared family"):
        await override(app, system, alice, family="tenant", key="")
    with pytest.raises(NotFound):
        await override(app, system, alice, key="knitting")
    async with app.tenant_session(alice.id) as session:
        with pytest.raises(NotFound):
            await undo_run(session, uuid7(), user_id=None, now=LATER)
        with pytest.raises(NotFound):
            await undo_insight(session, uuid7(), user_id=None, now=LATER)
