"""The learnt state is a function of the stored results, whatever was tried and undone meanwhile."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from factories import TestTenant
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import (
    HASHED,
    NOW,
    TellingCritic,
    add_results,
    add_trends,
    adjustments_of,
    execute,
    fetch,
    force_version,
    foretell,
    foretell_video,
    kinds,
    learn,
    many,
    suggest,
)

from viral.database.engine import Database
from viral.features.reflexion import outcomes, trials
from viral.features.reflexion.replay import Replay, replay_platform
from viral.features.reflexion.undo import undo_adjustment, undo_insight, undo_run

GUESS = "word:alpha & word:beta"
STATE = (
    "SELECT platform, goal, family, key, published, former{more} FROM {table}"
    " ORDER BY platform, goal, family, key{more}"
)
FORGOTTEN = "UPDATE {table} SET mean = 0, variance = 1, samples = 0, day = 0"


async def replay(system: Database, *, is_check: bool) -> Replay:
    async with system.session_without_tenant() as session:
        return await replay_platform(session, "tiktok", hashed=HASHED, is_check=is_check)


async def live_long(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    """Learn, guess, publish, roll back, undo: every way in which what is served can change."""
    await add_trends(system)
    await add_results(app, alice.id, kinds(40, prefix="a", first_day=0))
    await add_results(app, bob.id, many(30, prefix="b", views=900))
    await learn(app, system, now=NOW + timedelta(days=60))
    await suggest(app, system, alice, admin, TellingCritic(GUESS, "hour:9..17"))
    newest = (await adjustments_of(app, bob))[0]
    async with app.tenant_session(bob.id) as session:
        await undo_adjustment(session, newest.id, user_id=None, now=NOW)
    await force_version(system, -25)
    for turn in range(3):
        rows = kinds(30, prefix=f"c{turn}-", first_day=61 + turn)
        await add_results(app, alice.id, rows)
        await add_results(app, bob.id, many(5, prefix=f"d{turn}-", first_day=61 + 5 * turn))
        await learn(app, system, now=NOW + timedelta(days=100 + turn))
    served = (await adjustments_of(app, alice))[0]
    insights = "SELECT id FROM reflexion_insights WHERE status = 'confirmed'"
    ((insight_id,),) = await fetch(admin, insights)
    async with app.tenant_session(alice.id) as session:
        await undo_insight(session, UUID(str(insight_id)), user_id=None, now=NOW)
    async with app.tenant_session(alice.id) as session:
        await undo_run(session, served.id, user_id=None, now=NOW)
    await add_results(app, alice.id, kinds(12, prefix="e", first_day=120))
    await learn(app, system, now=NOW + timedelta(days=130))


async def test_a_long_history_is_rebuilt_to_the_last_bit(
    app: Database,
    system: Database,
    alice: TestTenant,
    bob: TestTenant,
    admin: AsyncConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trials, "MOST_FIRINGS", 20)
    # Tables of its own come before the end, and so a replay of everything by the run itself.
    monkeypatch.setattr(outcomes, "FEWEST_RESULTS", 150)
    await live_long(app, system, alice, bob, admin)
    forecasts = [await foretell(app, tenant) for tenant in (alice, bob)]
    forecasts.append(await foretell_video(app, alice, title="alpha beta"))
    tables = (("shared_effects", ""), ("learner_effects", ", tenant_id, is_frozen"))
    served = [await fetch(admin, STATE.format(table=table, more=more)) for table, more in tables]
    happened = await fetch(
        admin,
        "SELECT (SELECT array_agg(status ORDER BY pattern_key) FROM reflexion_insights"
        " WHERE kind = 'hypothesis'), (SELECT bool_or(document ? 'ended') FROM model_versions"
        " WHERE kind = 'effects'), (SELECT array_agg(DISTINCT revert_reason ORDER BY revert_reason)"
        " FROM scoring_adjustments WHERE reverted_at IS NOT NULL), (SELECT max(version)"
        " FROM model_versions WHERE kind = 'outcomes')",
    )

    before = await replay(system, is_check=True)
    for table, _ in tables:
        await execute(admin, FORGOTTEN.format(table=table))
    forgotten = await foretell_video(app, alice, title="alpha beta")
    written = await replay(system, is_check=False)
    after = await replay(system, is_check=True)

    assert happened == [(["refuted", "retired"], True, ["by hand"], 1)]
    assert (before.differences, before.missing, after.differences) == ([], 0, [])
    assert before.results == 40 + 30 + 1 + 3 * 35 + 12
    assert len(written.differences) == written.rows
    again = [await foretell(app, tenant) for tenant in (alice, bob)]
    again.append(await foretell_video(app, alice, title="alpha beta"))
    assert again == forecasts
    assert forgotten != forecasts[2]
    for (table, more), rows in zip(tables, served, strict=True):
        assert await fetch(admin, STATE.format(table=table, more=more)) == rows
