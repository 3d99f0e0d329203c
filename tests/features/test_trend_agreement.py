"""Sources agree on topics, pages hold each once, and history gives their speed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from factories import TestTenant
from queues import until
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import NOW, add_trends, execute, fetch, trend

from viral.database.engine import Database
from viral.features.trends import (
    Topic,
    TrendRow,
    current_trends,
    history,
    import_trends,
    list_topics,
    position_of,
)
from viral.features.trends.history import history_of
from viral.features.trends.sources import NewSource, add_source


async def topics(database: Database, **wanted: str) -> list[Topic]:
    async with database.session_without_tenant() as session:
        return await list_topics(session, limit=50, **wanted)  # type: ignore[arg-type]  # names of filters


# Agreement.


def named(topic: str, source: str, score: float, *, category: str = "food") -> TrendRow:
    return TrendRow(topic, category, score, source, topic)


async def test_a_topic_of_several_sources_is_one_and_stronger(
    app: Database, system: Database, alice: TestTenant
) -> None:
    await add_trends(
        system,
        named("One-pan dinners", "feed", 60),
        named("the ONE pan dinner", "reddit", 50),
        named("Cold noodles", "feed", 65),
        named("cold noodle!", "feed", 40),
    )

    async with app.tenant_session(alice.id) as session:
        briefs = await current_trends(session)

    assert [(brief.topic, brief.source, brief.score) for brief in briefs] == [
        ("One-pan dinners", "feed, reddit", 68),
        ("Cold noodles", "feed", 65),
    ]


async def test_agreement_is_of_the_same_days(system: Database, admin: AsyncConnection) -> None:
    await add_trends(system, named("Rain", "old", 90), now=NOW - timedelta(days=3))
    await add_trends(system, named("rain", "new", 50))

    (topic,) = await topics(system)

    assert (topic.trend.source, topic.sources, topic.score) == ("new", ("new",), 50)
    await execute(admin, "UPDATE trends SET observed_at = observed_at + interval '2 days'")
    await execute(
        admin,
        "UPDATE trends SET observed_at = observed_at - interval '2 days' WHERE source = 'new'",
    )
    (topic,) = await topics(system)
    assert topic.sources == ("new", "old")


async def test_a_topic_counts_in_each_category_that_a_source_gives_it(system: Database) -> None:
    await add_trends(
        system, named("Rain", "a", 90, category="news"), named("rain", "b", 50, category="music")
    )

    assert [each.trend.source for each in await topics(system)] == ["a"]
    assert [each.trend.source for each in await topics(system, category="music")] == ["b"]
    assert [each.trend.source for each in await topics(system, source="b")] == ["b"]


async def test_trends_from_before_keys_were_kept_are_topics_of_their_own(
    system: Database, admin: AsyncConnection
) -> None:
    await add_trends(system, named("a", "x", 50), named("b", "x", 40))
    await execute(admin, "UPDATE trends SET topic_key = ''")

    assert [(each.trend.topic, each.sources) for each in await topics(system)] == [
        ("a", ("x",)),
        ("b", ("x",)),
    ]


async def test_pages_hold_every_topic_once_in_the_order_of_the_whole(system: Database) -> None:
    for day in range(3):
        rows = [named(f"topic {day}{number}", "x", number // 3) for number in range(7)]
        rows += [named(f"topic {day}{number}", "y", number // 3) for number in range(5)]
        await add_trends(system, *rows, now=NOW - timedelta(days=day))

    async with system.session_without_tenant() as session:
        whole = [each.trend.id for each in await list_topics(session, limit=100)]
        paged, after = [], None
        while page := await list_topics(session, limit=4, after=after):
            paged += [each.trend.id for each in page]
            after = position_of(page[-1])

    assert len(whole) == 21
    assert paged == whole


# History.


async def seen(system: Database, *scores: float, minutes: int = 60) -> None:
    for place, score in enumerate(scores):
        moment = NOW - timedelta(minutes=minutes * (len(scores) - 1 - place))
        await add_trends(system, trend("a", score=score), now=moment)


@pytest.mark.parametrize(
    ("scores", "minutes", "velocity"),
    [
        ([50], 60, None),
        ([40, 50], 60, 10),
        ([40, 50], 30, 20),
        ([40, 50], 29, None),
        ([40, 50, 60, 70], 60, 10),
        ([70, 60, 50], 120, -5),
        ([50, 50, 50], 60, 0),
        # A spike in the middle does not tilt the line.
        ([50, 50, 95, 50, 50], 60, 0),
        # What is older than a day does not count.
        ([0, 50, 60], 13 * 60, 10 / 13),
    ],
)
async def test_speed_is_points_an_hour_of_the_last_day(
    system: Database,
    admin: AsyncConnection,
    scores: Sequence[float],
    minutes: int,
    velocity: float | None,
) -> None:
    await seen(system, *scores, minutes=minutes)

    ((measured,),) = await fetch(admin, "SELECT velocity FROM trends")
    assert measured == (None if velocity is None else pytest.approx(velocity, abs=1e-9))


async def test_history_is_in_order_and_once_a_moment(system: Database) -> None:
    await seen(system, 10, 30, 20)
    await add_trends(system, trend("a", score=99))

    async with system.session_without_tenant() as session:
        (topic,) = await list_topics(session, limit=1)
        scores = await history_of(session, [topic.trend.id], since=NOW - timedelta(hours=1))

    assert scores == {topic.trend.id: [30, 20]}


async def test_what_is_old_goes_and_what_was_imported_stays(
    system: Database, admin: AsyncConnection
) -> None:
    now = datetime.now(UTC)
    long_ago = now - history.KEPT_TRENDS - timedelta(days=1)
    async with system.session_without_tenant() as session:
        await add_source(session, NewSource(name="one", kind="feed", url="https://a.example/"))
    await add_trends(system, named("old", "one", 50), named("mine", "by-hand", 50), now=long_ago)
    await add_trends(system, named("rising", "one", 10), now=now - timedelta(hours=30))
    await add_trends(system, named("rising", "one", 20), now=now - timedelta(hours=28))
    await execute(admin, "UPDATE trends SET velocity = 5 WHERE topic = 'rising'")

    async with system.session_without_tenant() as session:
        await history.let_go(session, now=now)

    kept = "SELECT topic, velocity FROM trends ORDER BY topic"
    assert await fetch(admin, kept) == [("mine", None), ("rising", None)]
    assert await fetch(admin, "SELECT count(*) FROM trend_observations") == [(2,)]


async def test_two_imports_of_the_same_trends_do_not_lock_each_other_out(
    system: Database, admin: AsyncConnection
) -> None:
    first, second = named("first", "x", 50), named("second", "x", 50)
    waiting = "wait_event_type = 'Lock' AND datname = current_database()"
    waits = f"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE {waiting})"

    async def is_waiting() -> bool:
        return await fetch(admin, waits) == [(True,)]

    async with system.session_without_tenant() as session:
        await import_trends(session, [first], now=NOW)
        # It meets the first one's row after it has taken its own.
        other = asyncio.create_task(add_trends(system, second, first))
        await until(is_waiting)
        await import_trends(session, [second], now=NOW)
    await other

    assert len(await topics(system)) == 2
