"""Calls of the schema's functions: a full pool, callers that go together, and when others wake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from time import monotonic

import asyncpg
import pytest
from clusters import Cluster

from viral.database.engine import Database
from viral.database.together import Together
from viral.errors import PoolExhausted, ServerUnreachable


@pytest.fixture
async def narrow(cluster: Cluster, database_name: str) -> AsyncIterator[Database]:
    """Yield a database with one connection for calls."""
    url = replace(cluster.url("viral_system", database_name), pool_size=2, pool_timeout_s=0.2)
    database = Database(url, context_key=b"k" * 32)
    yield database
    await database.close()


async def test_a_full_pool_of_calls_says_so(narrow: Database) -> None:
    slow = asyncio.create_task(narrow.call("SELECT pg_sleep(1)"))
    await asyncio.sleep(0.1)

    with pytest.raises(PoolExhausted, match=r"All 1 connections .* in use for 0.2 s") as caught:
        await narrow.call("SELECT 1")

    assert "connection_limit=4" in caught.value.hint
    await slow
    assert [tuple(row) for row in await narrow.call("SELECT 2")] == [(2,)]


async def test_who_gives_up_waiting_leaves_the_connection_to_the_next(narrow: Database) -> None:
    calls = narrow._calls
    await calls._turn()
    first, second, third = (asyncio.create_task(narrow.call("SELECT 1")) for _ in range(3))
    await asyncio.sleep(0)

    first.cancel()
    calls._pass_on()
    # Its turn has come, and it does not know yet.
    second.cancel()

    assert [tuple(row) for row in await third] == [(1,)]
    assert first.cancelled()
    assert second.cancelled()


async def test_a_server_that_is_gone_is_no_full_pool(narrow: Database) -> None:
    gone = Database(replace(narrow.url, port=1), context_key=b"k" * 32)

    with pytest.raises(ServerUnreachable):
        await gone.call("SELECT 1")

    await gone.close()


class Counter:
    """Takes rows in, a moment for each time, and refuses the row -1."""

    def __init__(self) -> None:
        self.sent: list[list[int]] = []
        self.fault: BaseException | None = None

    async def send(self, rows: Sequence[int]) -> None:
        self.sent.append(list(rows))
        await asyncio.sleep(0.01)
        if self.fault is not None:
            raise self.fault
        if -1 in rows:
            raise asyncpg.DataError("refused")


async def test_callers_at_once_go_together_and_one_alone_at_once() -> None:
    together: Together[int] = Together()
    counter = Counter()

    await together.send("a", [1], counter.send)
    others = [together.send("b", [10], counter.send)]
    await asyncio.gather(*(together.send("a", [n, n], counter.send) for n in range(2, 6)), *others)

    assert counter.sent == [[1], [2, 2], [10], [3, 3, 4, 4, 5, 5]]


async def test_what_is_refused_is_told_to_its_caller_alone() -> None:
    together: Together[int] = Together()
    counter = Counter()

    found = await asyncio.gather(
        *(together.send("a", [n], counter.send) for n in (1, 2, -1, 3)), return_exceptions=True
    )

    assert [type(each) for each in found] == [type(None)] * 2 + [asyncpg.DataError, type(None)]
    assert counter.sent == [[1], [2, -1, 3], [2], [-1], [3]]


async def test_a_lost_server_is_told_to_all_at_once() -> None:
    together: Together[int] = Together()
    counter = Counter()
    counter.fault = ServerUnreachable("gone")

    found = await asyncio.gather(
        *(together.send("a", [n], counter.send) for n in range(4)), return_exceptions=True
    )

    assert [type(each) for each in found] == [ServerUnreachable] * 4
    assert counter.sent == [[0], [1, 2, 3]]


async def test_nobody_waits_for_a_caller_that_gave_up() -> None:
    together: Together[int] = Together()
    counter = Counter()
    first = asyncio.create_task(together.send("a", [1], counter.send))
    await asyncio.sleep(0)
    second, third = (asyncio.create_task(together.send("a", [n], counter.send)) for n in (2, 3))
    await asyncio.sleep(0)

    first.cancel()
    second.cancel()
    await third

    assert counter.sent == [[1], [2, 3]]
    assert first.cancelled()
    assert second.cancelled()


async def test_a_channel_is_woken_at_once_and_then_not_too_often(
    narrow: Database, cluster: Cluster, database_name: str
) -> None:
    heard: list[float] = []
    listener = await cluster.connect("viral_worker", database_name)
    await listener.add_listener("news", lambda *_: heard.append(monotonic()))

    begun = monotonic()
    rides = 0
    while monotonic() - begun < 0.2:
        if narrow.may_wake("news"):
            rides += 1
            await narrow.call("NOTIFY news")
        else:
            narrow.wake("news")
        await asyncio.sleep(0.001)
    narrow.wake("news")
    ended = monotonic()
    await narrow.close()
    await listener.execute("SELECT 1")
    await listener.close()

    assert heard[-1] >= ended - 0.001
    assert 1 < rides <= len(heard) <= 42
