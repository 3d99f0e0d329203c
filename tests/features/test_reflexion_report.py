"""The report says what the rows say; a replay finds what was tampered with and mends it."""

from __future__ import annotations

from datetime import timedelta

from factories import TestTenant
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import HASHED, NOW, add_results, add_trends, execute, learn, many, post

from viral.database.engine import Database
from viral.features.reflexion.replay import Replay, replay_platform
from viral.features.reflexion.report import Adjustments, calibrate, compare, reflexion_report
from viral.features.reflexion.status import ScoredResult

LATER = NOW + timedelta(days=60)


def scored(number: int, *, predicted: float, actual: float) -> ScoredResult:
    return ScoredResult(
        number=number,
        platform="tiktok",
        measured_at=NOW,
        predicted=predicted,
        actual=actual,
        is_inside=abs(predicted - actual) < 10,
        error=abs(predicted - actual),
        error_without_learning=abs(50 - actual),
    )


async def replay(system: Database, *, is_check: bool) -> Replay:
    async with system.session_without_tenant() as session:
        return await replay_platform(session, "tiktok", hashed=HASHED, is_check=is_check)


def test_a_comparison_gives_the_gain_with_its_interval() -> None:
    results = [scored(n, predicted=70, actual=70 + n % 3) for n in range(12)]

    found = compare(results)

    assert found is not None
    assert (found.without_learning, found.with_learning, found.gain) == (21, 1, 20)
    # Gains of 20 each: learning errs by as much more as not learning does.
    assert (found.low, found.high) == (20, 20)
    assert compare(results[:9]) is None


def test_predictions_are_met_bin_by_bin() -> None:
    results = [scored(1, predicted=100, actual=90), scored(2, predicted=81, actual=92)]

    (found,) = calibrate([*results])

    assert (found.low, found.high, found.results) == (80, 100, 2)
    assert (found.predicted, found.actual, found.inside) == (90.5, 91, 0)


async def test_the_report_counts_what_is_served_and_what_was_taken_back(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await add_trends(system)
    await post(app, alice, 8)
    await add_results(app, alice.id, many(16))
    await learn(app, system, now=LATER)
    async with app.tenant_session(alice.id) as session:
        before = (await reflexion_report(session)).adjustments
    reasons = "(ARRAY['by hand', 'guard: 23 results'])[1 + (goal = 'reach')::integer]"
    await execute(
        admin,
        f"UPDATE scoring_adjustments SET reverted_at = now(), revert_reason = {reasons}"
        " WHERE adjustment_type = 'tenant'",
    )
    await add_results(app, alice.id, many(3, prefix="more"))
    await learn(app, system, now=LATER)

    async with app.tenant_session(alice.id) as session:
        report = await reflexion_report(session)

    assert (report.learned, report.waiting) == (27, 0)
    assert before == Adjustments(active=2, undone_by_guard=0, undone_by_hand=0)
    assert report.adjustments == Adjustments(active=0, undone_by_guard=1, undone_by_hand=1)
    (guard,) = report.guards
    assert (guard.platform, guard.version, guard.learnt, guard.needed) == ("tiktok", 1, 27, 37)
    assert sum(each.results for each in report.calibration) == 8
    assert (report.insights, report.critics) == ((), ())


async def test_a_replay_finds_every_row_that_was_changed_and_mends_it(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, many(12))
    await add_results(app, bob.id, many(12, prefix="b", views=900))
    await learn(app, system, now=LATER)
    before = await replay(system, is_check=True)

    tampered = "UPDATE learner_effects SET mean = mean + 1e-13 WHERE family = 'tenant'"
    await execute(admin, f"{tampered} AND goal = 'reach' AND tenant_id = :t", t=alice.id)
    await execute(admin, "DELETE FROM shared_effects WHERE family = 'weekday' AND key = '1'")
    checked = await replay(system, is_check=True)
    again = await replay(system, is_check=True)
    mended = await replay(system, is_check=False)
    after = await replay(system, is_check=True)

    assert (before.results, before.missing, before.differences) == (24, 0, [])
    assert checked == again
    assert [each.key for each in checked.differences] == [
        ("", "engagement", "weekday", "1"),
        ("", "reach", "weekday", "1"),
        (str(alice.id), "reach", "tenant", ""),
    ]
    assert checked.differences[0].stored is None
    assert len(mended.differences) == 3
    assert after.differences == []


async def test_a_replay_says_that_results_were_erased(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    await add_results(app, alice.id, many(4))
    await add_results(app, bob.id, many(4, prefix="b", views=900, first_day=1))
    await learn(app, system, now=LATER)
    await execute(admin, "DELETE FROM performance_feedback WHERE tenant_id = :t", t=alice.id)

    found = await replay(system, is_check=True)

    assert (found.results, found.missing) == (4, 4)
    assert found.differences != []
