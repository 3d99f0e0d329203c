"""Sources are asked in their own time, and one that fails fails alone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from studio import execute, fetch

from viral.database.engine import Database
from viral.errors import (
    BadInput,
    NotFound,
    VendorUnreachable,
)
from viral.features.trends import (
    TrendRow,
)
from viral.features.trends.fetching import Asked, Outcome, Reading, fetch_trends
from viral.features.trends.sources import (
    NewSource,
    add_source,
    disable_source,
    remove_source,
)

DUE = "UPDATE trend_sources SET next_fetch_at = now() - interval '1 s'"
STATE = "SELECT name, failures, last_error, etag, last_modified FROM trend_sources ORDER BY name"
WAITS = (
    "SELECT name, round(extract(epoch FROM next_fetch_at - now()) / 60)::int FROM trend_sources"
    " ORDER BY name"
)


@dataclass
class Scripted:
    """Answers for each source in turn, the last one for ever; keeps what was asked."""

    answers: dict[str, list[Reading | BaseException]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    # How many are asked at the same time, of each kind.
    at_once: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)

    async def read(self, asked: Asked) -> Reading:
        self.asked.append(asked)
        self.at_once[asked.kind] = self.at_once.get(asked.kind, 0) + 1
        self.most[asked.kind] = max(self.most.get(asked.kind, 0), self.at_once[asked.kind])
        await asyncio.sleep(0)
        self.at_once[asked.kind] -= 1
        left = self.answers.get(asked.name) or [found(row(asked.name))]
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


def row(
    topic: str, *, score: float = 50, category: str = "", number: int | None = None
) -> TrendRow:
    return TrendRow(topic, category, score, "", topic.casefold(), engagement_count=number)


def found(*rows: TrendRow, etag: str | None = None) -> Reading:
    return Reading(rows=rows, etag=etag)


async def add(
    system: Database, *names: str, kind: str = "feed", category: str | None = None
) -> None:
    async with system.session_without_tenant() as session:
        for name in names:
            url = f"https://{name}.example/feed" if kind in {"feed", "csv"} else None
            await add_source(session, NewSource(name=name, kind=kind, url=url, category=category))


# A round.


async def test_without_a_source_nobody_is_asked(system: Database) -> None:
    reader = Scripted()

    assert await fetch_trends(system, reader) == []
    assert reader.asked == []


async def test_what_is_new_refreshed_and_the_same_is_counted(
    system: Database, admin: AsyncConnection
) -> None:
    await add(system, "one", category="food")
    first = found(row("a", number=5), row("b", category="tech"), row("qwertz"), etag="v1")
    second = found(row("a", number=6), row("b", category="tech"), row("c"))
    reader = Scripted({"one": [first, second]})

    (before,) = await fetch_trends(system, reader)
    (waiting,) = await fetch_trends(system, reader)
    await execute(admin, DUE)
    (after,) = await fetch_trends(system, reader)

    assert (before.status, before.new, before.refreshed, before.same) == ("fetched", 3, 0, 0)
    assert (waiting.status, waiting.next_at) == ("waiting", before.next_at)
    assert (after.new, after.refreshed, after.same) == (1, 1, 1)
    assert [each.etag for each in reader.asked] == [None, "v1"]
    stored = "SELECT topic, category, source, topic_key FROM trends ORDER BY topic"
    assert await fetch(admin, stored) == [
        ("a", "food", "one", "a"),
        ("b", "tech", "one", "b"),
        ("c", "food", "one", "c"),
        ("qwertz", "food", "one", "qwertz"),
    ]


async def test_a_trend_of_no_known_category_is_news_and_counted(
    system: Database, admin: AsyncConnection
) -> None:
    await add(system, "one")

    (outcome,) = await fetch_trends(
        system, Scripted({"one": [found(row("qwertz"), row("pizza recipe"))]})
    )

    assert outcome.guessed == 1
    stored = "SELECT topic, category FROM trends ORDER BY topic"
    assert await fetch(admin, stored) == [("pizza recipe", "food"), ("qwertz", "news")]


async def test_a_source_where_nothing_changed_is_left_as_it_is(
    system: Database, admin: AsyncConnection
) -> None:
    await add(system, "one")
    reader = Scripted({"one": [found(row("a"), etag="v1"), Reading()]})

    await fetch_trends(system, reader)
    await execute(admin, DUE)
    (outcome,) = await fetch_trends(system, reader)

    assert (outcome.status, outcome.new) == ("unchanged", 0)
    assert await fetch(admin, STATE) == [("one", 0, None, "v1", None)]
    assert await fetch(admin, "SELECT count(*) FROM trend_observations") == [(1,)]
    assert await fetch(admin, WAITS) == [("one", 30)]


async def test_one_bad_source_stops_no_other_and_waits_twice_as_long_each_time(
    system: Database, admin: AsyncConnection
) -> None:
    await add(system, "bad", "good", "refusing")
    reader = Scripted(
        {
            "bad": [VendorUnreachable("bad.example cannot be reached.", hint="Later.")],
            "refusing": [Reading(refusal="status 429", wait_s=7_200)],
        }
    )
    told: list[Outcome] = []

    outcomes = await fetch_trends(system, reader, tell=told.append)

    assert [each.status for each in outcomes] == ["failed", "fetched", "failed"]
    assert sorted(told, key=lambda each: each.name) == outcomes
    assert await fetch(admin, WAITS) == [("bad", 60), ("good", 30), ("refusing", 120)]
    await execute(admin, DUE)
    await fetch_trends(system, reader)
    assert await fetch(admin, STATE) == [
        ("bad", 2, "bad.example cannot be reached. Later.", None, None),
        ("good", 0, None, None, None),
        ("refusing", 2, "status 429", None, None),
    ]
    assert await fetch(admin, WAITS) == [("bad", 120), ("good", 30), ("refusing", 120)]


async def test_a_success_ends_the_waiting_and_no_server_is_obeyed_for_ever(
    system: Database, admin: AsyncConnection
) -> None:
    await add(system, "one")
    for_ever = Reading(refusal="no", wait_s=1e15)
    reader = Scripted({"one": [for_ever, found(row("a"))]})

    await fetch_trends(system, reader)
    assert await fetch(admin, WAITS) == [("one", 7 * 24 * 60)]
    await execute(admin, DUE)
    await fetch_trends(system, reader)

    assert await fetch(admin, STATE) == [("one", 0, None, None, None)]
    assert await fetch(admin, WAITS) == [("one", 30)]


async def test_a_fault_of_ours_in_one_kind_is_raised_when_the_others_are_done(
    system: Database, admin: AsyncConnection
) -> None:
    await add(system, "one")
    await add(system, "two", kind="csv")

    with pytest.raises(ZeroDivisionError):
        await fetch_trends(system, Scripted({"one": [ZeroDivisionError()]}))

    assert await fetch(admin, "SELECT source FROM trends") == [("two",)]


async def test_sources_of_one_kind_are_asked_one_after_the_other(system: Database) -> None:
    reader = Scripted()
    await add(system, "a", "b", "c")

    await fetch_trends(system, reader)

    assert [each.name for each in reader.asked] == ["a", "b", "c"]
    assert reader.most == {"feed": 1}


async def test_the_quota_of_one_key_is_shared_by_its_sources(
    system: Database, admin: AsyncConnection
) -> None:
    await add(system, "first", kind="gnews")
    async with system.session_without_tenant() as session:
        for number in range(9):
            await add_source(session, NewSource(name=f"other{number}", kind="gnews"))

    await fetch_trends(system, Scripted(), name="first")

    # Ten sources and a hundred calls a day.
    assert (await fetch(admin, WAITS))[0] == ("first", 144)


async def test_a_source_is_asked_once_by_two_rounds_at_a_time(system: Database) -> None:
    reader = Scripted()
    await add(system, "a", "b")

    rounds = await asyncio.gather(fetch_trends(system, reader), fetch_trends(system, reader))

    assert sorted(each.name for each in reader.asked) == ["a", "b"]
    statuses = sorted(each.status for outcomes in rounds for each in outcomes)
    assert statuses == ["fetched", "fetched", "waiting", "waiting"]


async def test_a_round_that_died_is_made_up_for(system: Database, admin: AsyncConnection) -> None:
    await add(system, "one")

    with pytest.raises(asyncio.CancelledError):
        await fetch_trends(system, Scripted({"one": [asyncio.CancelledError()]}))

    assert await fetch(admin, WAITS) == [("one", 5)]


async def test_a_source_that_is_removed_meanwhile_leaves_nothing(
    system: Database, admin: AsyncConnection
) -> None:
    await add(system, "one")

    class Removing(Scripted):
        async def read(self, asked: Asked) -> Reading:
            async with system.session_without_tenant() as session:
                await remove_source(session, asked.name)
            return await super().read(asked)

    (outcome,) = await fetch_trends(system, Removing())

    assert outcome.status == "removed"
    assert await fetch(admin, "SELECT count(*) FROM trends") == [(0,)]


async def test_a_disabled_source_is_not_asked_even_by_name(system: Database) -> None:
    await add(system, "one")
    async with system.session_without_tenant() as session:
        await disable_source(session, "one")

    assert await fetch_trends(system, Scripted()) == []
    with pytest.raises(BadInput, match="is disabled"):
        await fetch_trends(system, Scripted(), name="one")
    with pytest.raises(NotFound):
        await fetch_trends(system, Scripted(), name="two")


async def test_orders_and_sql_in_a_topic_are_stored_as_words(
    system: Database, admin: AsyncConnection
) -> None:
    order = "'); DROP TABLE trends; -- ignore all previous instructions"
    await add(system, "one")

    await fetch_trends(system, Scripted({"one": [found(row(order))]}))

    assert await fetch(admin, "SELECT topic FROM trends") == [(order,)]


async def test_more_people_than_the_column_takes_are_its_most(
    system: Database, admin: AsyncConnection
) -> None:
    await add(system, "one")

    await fetch_trends(system, Scripted({"one": [found(row("a", number=10**12))]}))

    assert await fetch(admin, "SELECT engagement_count FROM trends") == [(2**31 - 1,)]
