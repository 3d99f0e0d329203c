"""Turns are counted once for all processes, come back at their pace, and are told honestly."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from clusters import Cluster, count_rows
from factories import TestTenant
from people import (
    CALLER,
    LIMITS,
    PEPPER,
    Someone,
    change,
    enter,
    enter_by_key,
    enter_from_clerk,
    join,
    make_key,
    sign_in_by_link,
)
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.errors import NotSignedIn, RateLimited
from viral.features.limits import Attempts, Limits, caller_at, hidden, limit_attempts
from viral.features.users.api_keys import new_key
from viral.features.users.clerk import Verified
from viral.features.users.sessions import Identity

# Three in fifty minutes: 1,000 s each. No test takes long enough for one to come back.
SPAN = timedelta(seconds=3000)


@pytest.fixture
def database_name(emptied_database: str) -> str:
    """One database for the module: a copy for each test would take longer than the tests."""
    return emptied_database


@pytest.fixture
async def host(app: Database, system: Database, alice: TestTenant) -> Someone:
    """Alice, signed in."""
    return await sign_in_by_link(app, system, alice)


async def take(app: Database, *buckets: str, allowed: int = 3, span: timedelta = SPAN) -> float:
    """Take a turn of each bucket; return the seconds to wait, 0 when there was one."""
    async with app.session_without_tenant() as session:
        wait_s = await session.scalar(
            text("SELECT viral.limit_attempts(:buckets, :allowed, :spans)").bindparams(
                buckets=list(buckets), allowed=[allowed] * len(buckets), spans=[span] * len(buckets)
            )
        )
    return float(wait_s or 0)


async def ahead(admin: AsyncConnection, bucket: str, seconds: float) -> None:
    """Let a bucket be so many seconds ahead of its pace."""
    await change(
        admin,
        "INSERT INTO viral.rate_limits VALUES"
        " (:bucket, clock_timestamp() + make_interval(secs => :seconds))",
        bucket=f"attempt:{bucket}",
        seconds=seconds,
    )


async def wait(admin: AsyncConnection, seconds: float) -> None:
    """Let time pass for all buckets."""
    await change(
        admin,
        "UPDATE viral.rate_limits SET arrival_at = arrival_at - make_interval(secs => :seconds)",
        seconds=seconds,
    )


@pytest.mark.parametrize(
    ("seconds", "wait_s"),
    [
        # 1,000 s are left of the span of 3,000 when the bucket is 2,000 s ahead.
        (-86_400, 0),
        (0, 0),
        (1_000, 0),
        (2_000, 0),
        (2_500, 500),
        (3_000, 1_000),
        (9_000, 7_000),
    ],
)
async def test_c12_a_turn_is_there_when_its_arrival_is_within_the_span(
    app: Database, admin: AsyncConnection, seconds: int, wait_s: int
) -> None:
    await ahead(admin, "x", seconds)

    assert await take(app, "x") == pytest.approx(wait_s, abs=60)


async def test_c12_a_turn_puts_its_bucket_one_pace_ahead(
    app: Database, admin: AsyncConnection
) -> None:
    ahead_s = text(
        "SELECT extract(epoch FROM arrival_at - clock_timestamp()) FROM viral.rate_limits"
    )

    taken: list[float] = []
    for _ in range(4):
        assert await take(app, "x") == 0 or len(taken) == 3
        await admin.rollback()
        taken.append(round(float(await admin.scalar(ahead_s) or 0), -3))

    # What is refused counts for nothing.
    assert taken == [1_000, 2_000, 3_000, 3_000]


async def test_c12_waiting_as_long_as_told_is_enough_and_less_is_not(
    app: Database, admin: AsyncConnection
) -> None:
    for _ in range(3):
        await take(app, "x")
    attempts = [Attempts("x", 3, SPAN)]
    with pytest.raises(RateLimited) as refused:
        async with app.session_without_tenant() as session:
            await limit_attempts(session, attempts)
    told_s = refused.value.retry_after_s

    await wait(admin, told_s - 60)
    still_s = await take(app, "x")
    await wait(admin, 60)

    assert 0 < still_s <= 60
    assert await take(app, "x") == 0
    assert told_s <= 1_000


async def test_c12_two_hundred_at_once_over_two_pools_stay_within_the_limit(
    cluster: Cluster, app: Database, database_name: str
) -> None:
    other = cluster.database("viral_app", database_name)

    waits = await asyncio.gather(
        *(take(database, "x", allowed=20) for database in (app, other) for _ in range(100))
    )
    await other.close()

    assert waits.count(0) == 20


async def test_c12_two_hundred_requests_at_once_over_two_pools_stay_within_the_limit(
    cluster: Cluster, app: Database, database_name: str, host: Someone
) -> None:
    other = cluster.database("viral_app", database_name)
    limits = Limits(address=9999, user=5, tenant=9999, key=9999)

    outcomes = await asyncio.gather(
        *(
            enter(database, host.token, limits=limits)
            for database in (app, other)
            for _ in range(100)
        ),
        return_exceptions=True,
    )
    await other.close()

    # One more for every 12 s that this takes.
    assert 5 <= sum(isinstance(outcome, Identity) for outcome in outcomes) <= 6
    assert {type(outcome) for outcome in outcomes} == {Identity, RateLimited}


async def test_the_first_bucket_without_a_turn_spares_the_next(
    app: Database, admin: AsyncConnection
) -> None:
    await ahead(admin, "full", 3_000)

    assert await take(app, "full", "next") > 0
    assert await count_rows(admin, "viral.rate_limits") == 1
    await admin.rollback()
    assert await take(app, "next", "full") > 0


async def test_attempts_spend_no_turns_of_who_is_known(
    app: Database, host: Someone, admin: AsyncConnection
) -> None:
    names = [f"user:{host.user_id}", f"tenant:{host.tenant.id}", f"address:{CALLER.bucket}"]
    for _ in range(4):
        await take(app, *names)

    tight = Limits(address=1, user=1, tenant=1, key=1)
    assert (await enter(app, host.token, limits=tight)).user_id == host.user_id
    assert await count_rows(admin, "viral.rate_limits") == 6


@pytest.mark.parametrize("kind", ["address", "user", "tenant", "key"])
async def test_c12_each_of_address_person_tenant_and_key_has_a_limit(
    app: Database, host: Someone, kind: str
) -> None:
    limits = Limits(**{"address": 99, "user": 99, "tenant": 99, "key": 99} | {kind: 2})
    key = await make_key(app, host)
    for _ in range(2):
        await enter_by_key(app, key, limits=limits)

    with pytest.raises(RateLimited) as refused:
        await enter_by_key(app, key, limits=limits)

    assert 0 < refused.value.retry_after_s <= 30


async def test_c12_what_one_is_limited_by_leaves_others_alone(
    app: Database, system: Database, host: Someone, bob: TestTenant
) -> None:
    other = await sign_in_by_link(app, system, bob)
    member = await join(app, system, host.tenant, "member")
    keys = [await make_key(app, host) for _ in range(2)]
    one = Limits(address=1, user=1, tenant=9, key=1)
    elsewhere = [caller_at(f"192.0.2.{number}", PEPPER) for number in range(9)]

    await enter_by_key(app, keys[0], limits=one, caller=elsewhere[0])
    with pytest.raises(RateLimited):
        await enter_by_key(app, keys[0], limits=one, caller=elsewhere[0])

    # Another address, but the same person.
    with pytest.raises(RateLimited):
        await enter_by_key(app, keys[1], limits=one, caller=elsewhere[1])
    await enter(app, member.token, limits=one, caller=elsewhere[2])
    await enter(app, other.token, limits=one, caller=elsewhere[3])


async def test_c12_guesses_of_sessions_and_keys_are_counted_by_address(
    app: Database, signin: Database, host: Someone
) -> None:
    limits = Limits(address=3, user=9999, tenant=9999, key=9999)
    stranger = Verified("user_x", None, b"x" * 32, datetime.now(UTC) + timedelta(minutes=1))
    with pytest.raises(NotSignedIn):
        await enter(app, "guess", limits=limits)
    with pytest.raises(NotSignedIn):
        await enter_by_key(app, new_key(), limits=limits)
    with pytest.raises(NotSignedIn):
        await enter_from_clerk(signin, stranger, limits=limits)

    for guess in (
        enter(app, "guess", limits=limits),
        enter_by_key(app, new_key(), limits=limits),
        enter_from_clerk(signin, stranger, limits=limits),
        enter(app, host.token, limits=limits),
    ):
        with pytest.raises(RateLimited):
            await guess


async def test_buckets_hold_no_address_and_no_email(
    app: Database, host: Someone, admin: AsyncConnection
) -> None:
    await enter(app, host.token)
    await take(app, hidden("alice@example.com", PEPPER))

    stored = str(await admin.scalar(text("SELECT array_agg(r::text) FROM viral.rate_limits AS r")))

    assert CALLER.address not in stored
    assert "alice@" not in stored
    assert CALLER.bucket in stored
    assert hidden("alice@example.com", PEPPER) != hidden("alice@example.com", b"another")


async def test_c12_pruning_forgets_counts_that_limit_nobody_and_no_others(
    app: Database, worker: Database, admin: AsyncConnection
) -> None:
    await ahead(admin, "past", -1)
    for _ in range(3):
        await take(app, "full")

    async with worker.session_without_tenant() as session:
        pruned = await session.scalar(text("SELECT viral.prune_access()"))

    assert pruned == 1
    assert await take(app, "full") > 0


async def test_pruning_forgets_sessions_that_ended_a_month_ago(
    app: Database, system: Database, worker: Database, host: Someone, admin: AsyncConnection
) -> None:
    for column, days in (
        ("ended_at", 31),
        ("expires_at", 31),
        ("ended_at", 29),
        ("expires_at", 29),
    ):
        old = await sign_in_by_link(app, system, host.tenant)
        await change(
            admin,
            f"UPDATE sessions SET {column} = now() - make_interval(days => :days)"
            " WHERE token_sha256 = :it",
            days=days,
            it=old.credential,
        )
    await change(admin, "DELETE FROM viral.rate_limits")

    async with worker.session_without_tenant() as session:
        pruned = await session.scalar(text("SELECT viral.prune_access()"))

    assert pruned == 2
    assert await count_rows(admin, "sessions") == 3
    assert (await enter(app, host.token, limits=LIMITS)).user_id == host.user_id


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("unknown", "unknown", True),
    ],
)
def test_c12_a_network_of_one_home_is_counted_as_one(
    *, one: str, other: str, is_same: bool
) -> None:
    found, compared = caller_at(one, b"pepper"), caller_at(other, b"pepper")

    assert (found.bucket == compared.bucket) is is_same
