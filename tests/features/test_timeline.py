"""What learning changed, told back: the gain of each run since, and what stands in its place."""

from __future__ import annotations

from datetime import timedelta

from factories import TestTenant
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import NOW, add_results, execute, fetch, learn, many

from viral.database.engine import Database
from viral.features.reflexion.timeline import ChangeFilter, gains_of, list_changes, runs_of

LATER = NOW + timedelta(days=60)


async def test_a_run_gains_what_later_results_miss_less_until_the_next(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, many(10))
    await learn(app, system)
    await add_results(app, alice.id, many(40, prefix="w", views=400, first_day=10))
    await learn(app, system, now=LATER)
    # Only every other result tells of a tenant's own effects.
    await execute(
        admin,
        "UPDATE performance_feedback SET former_error = 10,"
        " champion_error = CASE WHEN applied_no % 2 = 0 THEN 7 ELSE 99 END",
    )
    ((first, second),) = await fetch(
        admin, "SELECT min(after_no), max(after_no) FROM scoring_adjustments"
    )
    ((between,),) = await fetch(
        admin,
        "SELECT count(*) FROM performance_feedback"
        " WHERE applied_no > :first AND applied_no <= :second AND applied_no % 2 = 0",
        first=first,
        second=second,
    )

    async with app.tenant_session(alice.id) as session:
        changes = await list_changes(session, ChangeFilter(), limit=100)
        found = await gains_of(session, changes)
        runs = await runs_of(session, {each.adjustment.applied_at for each in changes})

    moments = sorted({each.adjustment.applied_at for each in changes})
    assert len(moments) == 2
    assert [(moment, each.results, each.points) for (moment, _), each in found.items()] == [
        (moments[0], between, 3)
    ]
    replaced = [each for each in changes if each.standing == "replaced"]
    assert runs[moments[0]].replaced == len(replaced) > 0
    assert runs[moments[1]].replaced == 0
    assert {each.adjustment.applied_at for each in replaced} == {moments[0]}


async def test_filters_part_what_is_served_from_what_is_not(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, many(10))
    await learn(app, system)
    await execute(
        admin,
        "UPDATE scoring_adjustments SET reverted_at = now()"
        " WHERE id = (SELECT id FROM scoring_adjustments ORDER BY id LIMIT 1)",
    )

    async with app.tenant_session(alice.id) as session:
        everything = await list_changes(session, ChangeFilter(), limit=100)
        undone = await list_changes(session, ChangeFilter(standing="undone"), limit=100)
        served = await list_changes(session, ChangeFilter(standing="served"), limit=100)
        of_insights = await list_changes(session, ChangeFilter(kind="insight"), limit=100)
        elsewhere = await list_changes(session, ChangeFilter(platform="youtube"), limit=100)

    assert len(undone) == 1
    assert len(undone) + len(served) == len(everything)
    assert of_insights == elsewhere == []
