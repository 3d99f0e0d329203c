"""What is served changes by adjustments alone: with evidence, and undone on request."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from clusters import Cluster
from factories import TestTenant, make_tenant
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import (
    NOW,
    add_results,
    add_trends,
    adjustments_of,
    execute,
    fetch,
    foretell,
    learn,
    many,
    post,
    result,
)

from viral.database.engine import Database
from viral.errors import AlreadyExists, BadInput, NotFound
from viral.features.reflexion.undo import undo_adjustment


@pytest.fixture
async def studio(system: Database, cluster: Cluster) -> TestTenant:
    """Make a tenant with trends and five hundred concepts a month."""
    await add_trends(system)
    return await make_tenant(system, cluster.secrets, slug="studio", tier="AGENCY")


async def undo(app: Database, tenant: TestTenant, adjustment_id: UUID) -> None:
    async with app.tenant_session(tenant.id) as session:
        await undo_adjustment(session, adjustment_id, user_id=tenant.user_id, now=NOW)


async def test_adjustments_carry_values_evidence_and_their_critique(
    app: Database, system: Database, studio: TestTenant, admin: AsyncConnection
) -> None:
    await post(app, studio, 8)

    report = await learn(app, system)

    adjustments = await adjustments_of(app, studio)
    assert len(adjustments) == report.adjustments > 0
    for each in adjustments:
        assert abs(each.new_value - each.old_value) > 0.5
        assert each.evidence["samples"] == 8 or "1 video" in each.reason or each.evidence["samples"]
        assert each.evidence["low"] < each.new_value < each.evidence["high"]  # type: ignore[operator]  # numbers of JSON
        assert "videos of yours" in each.reason or "1 video of yours" in each.reason
    live = await fetch(
        admin,
        "SELECT count(*) FROM scoring_adjustments AS a JOIN learner_effects AS e"
        " ON (e.tenant_id, e.platform, e.goal, e.family, e.key)"
        " = (a.tenant_id, a.platform, a.goal, a.adjustment_type, a.category)"
        " JOIN self_critiques AS c ON (c.tenant_id, c.id) = (a.tenant_id, a.critique_id)"
        " WHERE e.published = a.new_value AND c.applied_at IS NOT NULL",
    )
    assert live == [(len(adjustments),)]


async def test_predictions_are_served_from_published_values_only(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, many(10, views=6_000))
    await learn(app, system)
    before = await foretell(app, alice)
    effect = "tenant_id = :t AND platform = 'tiktok' AND family = 'tenant'"

    await execute(admin, f"UPDATE learner_effects SET mean = mean + 6 WHERE {effect}", t=alice.id)
    unpublished = await foretell(app, alice)
    await execute(
        admin, f"UPDATE learner_effects SET published = published + 6 WHERE {effect}", t=alice.id
    )
    published = await foretell(app, alice)

    assert unpublished.score == before.score
    assert published.score.score == pytest.approx(before.score.score + 6, abs=0.11)


async def test_an_undo_restores_the_prediction_and_freezes_the_effect(
    app: Database, system: Database, alice: TestTenant
) -> None:
    await add_results(app, alice.id, many(10))
    await learn(app, system)
    before = await foretell(app, alice)
    await add_results(app, alice.id, many(40, prefix="w", views=400, first_day=10))
    now = NOW + timedelta(days=40)
    await learn(app, system, now=now)
    newest = [each for each in await adjustments_of(app, alice) if each.applied_at == now]
    level = next(
        each for each in newest if (each.adjustment_type, each.goal) == ("tenant", "reach")
    )
    changed = await foretell(app, alice)

    await undo(app, alice, level.id)

    undone = await foretell(app, alice)
    moved = (level.new_value - level.old_value) / 2  # the score is the mean of two goals
    assert undone.score.score == pytest.approx(changed.score.score - moved, abs=0.11)
    assert changed.score != before.score
    await add_results(app, alice.id, many(40, prefix="x", views=900_000, first_day=40))
    await learn(app, system, now=NOW + timedelta(days=80))
    later = await adjustments_of(app, alice)
    same = [e for e in later if (e.adjustment_type, e.goal) == ("tenant", "reach")]
    assert level.id in {each.id for each in same}
    assert all(each.applied_at <= now for each in same)


async def test_undoing_all_adjustments_of_a_run_restores_the_prediction_exactly(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, many(10))
    await learn(app, system)
    await execute(admin, "UPDATE shared_effects SET published = 0 WHERE family <> 'global'")
    await execute(admin, "UPDATE shared_effects SET published = 50 WHERE family = 'global'")

    for each in await adjustments_of(app, alice):
        await undo(app, alice, each.id)

    assert (await foretell(app, alice)).score.score == 50


async def test_an_adjustment_is_undone_once_and_not_before_a_later_one(
    app: Database, system: Database, alice: TestTenant
) -> None:
    await add_results(app, alice.id, many(10))
    await learn(app, system)
    await add_results(app, alice.id, many(40, prefix="w", views=400, first_day=10))
    await learn(app, system, now=NOW + timedelta(days=40))
    newer, older = [
        each
        for each in await adjustments_of(app, alice)
        if (each.adjustment_type, each.goal) == ("tenant", "reach")
    ]

    with pytest.raises(BadInput, match=str(newer.id)):
        await undo(app, alice, older.id)
    await undo(app, alice, newer.id)
    with pytest.raises(AlreadyExists):
        await undo(app, alice, newer.id)
    await undo(app, alice, older.id)


async def test_anothers_adjustment_is_not_found(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant
) -> None:
    await add_results(app, alice.id, many(10))
    await learn(app, system)
    (first, *_) = await adjustments_of(app, alice)

    with pytest.raises(NotFound):
        await undo(app, bob, first.id)
    assert (await adjustments_of(app, alice))[0].reverted_at is None


async def test_a_shared_word_serves_others_once_five_tenants_used_it(
    app: Database, system: Database, cluster: Cluster, admin: AsyncConnection
) -> None:
    stranger = await make_tenant(system, cluster.secrets, slug="stranger")

    async def share_of_word() -> float:
        await execute(admin, "UPDATE shared_effects SET published = 9 WHERE family = 'word'")
        each = await foretell(app, stranger)
        return sum(reason.points for reason in each.reasons if reason.family == "word")

    for number in range(5):
        assert await share_of_word() == 0
        tenant = await make_tenant(system, cluster.secrets, slug=f"t{number}")
        await add_results(app, tenant.id, [result("v", title="Odd", tags=("snack",))])
        await learn(app, system)

    assert await share_of_word() == 9


async def test_a_newcomer_starts_at_the_level_of_the_others(
    app: Database, system: Database, cluster: Cluster, admin: AsyncConnection
) -> None:
    for number in range(4):
        tenant = await make_tenant(system, cluster.secrets, slug=f"t{number}")
        await add_results(app, tenant.id, many(15, prefix=f"p{number}-"))
        await learn(app, system, now=NOW + timedelta(days=30))
    newcomer = await make_tenant(system, cluster.secrets, slug="newcomer")

    each = await foretell(app, newcomer)

    level = [reason for reason in each.reasons if reason.family == "newcomer"]
    assert len(level) == 1
    assert level[0].points > 0.5
    votes = "SELECT count(*) FROM shared_effects WHERE family = 'newcomer' AND published > 0"
    assert await fetch(admin, votes) == [(2,)]
