"""A session ends when it is idle, too old or ended, and moves under another token."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from factories import TestTenant
from people import (
    Someone,
    change,
    enter,
    sign_in_by_link,
)
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.errors import (
    NotFound,
    NotSignedIn,
)
from viral.features.users.members import add_member
from viral.features.users.sessions import (
    IDLE_LIFETIME,
    end_all_sessions,
    end_session,
    list_own_sessions,
    list_own_tenants,
    switch_tenant,
)

NEW_PASSWORD = "another horse battery"


@pytest.fixture
def database_name(emptied_database: str) -> str:
    """One database for the module: a copy for each test would take longer than the tests."""
    return emptied_database


@pytest.mark.parametrize(
    ("idle", "is_in"), [(timedelta(minutes=-1), True), (timedelta(minutes=1), False)]
)
async def test_c09_a_session_nobody_used_for_a_week_is_over(
    app: Database,
    system: Database,
    alice: TestTenant,
    admin: AsyncConnection,
    idle: timedelta,
    *,
    is_in: bool,
) -> None:
    someone = await sign_in_by_link(app, system, alice)
    await change(
        admin,
        "UPDATE sessions SET last_seen_at = now() - CAST(:span AS interval)",
        span=IDLE_LIFETIME + idle,
    )

    try:
        identity = await enter(app, someone.token)
    except NotSignedIn:
        assert not is_in
    else:
        assert is_in
        assert identity.user_id == alice.user_id


async def test_c09_a_session_in_use_stays_awake_until_its_absolute_end(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    someone = await sign_in_by_link(app, system, alice)
    before = await admin.scalar(text("SELECT expires_at FROM sessions"))
    await change(admin, "UPDATE sessions SET last_seen_at = now() - interval '2 minutes'")

    await enter(app, someone.token)

    seen, until = (
        await admin.execute(text("SELECT now() - last_seen_at, expires_at FROM sessions"))
    ).one()
    assert seen < timedelta(minutes=1)
    assert until == before


async def in_both(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant
) -> tuple[Someone, UUID]:
    """Let Alice into Bob's tenant, too; give her session and the membership there."""
    async with system.session_without_tenant() as session:
        member = await add_member(session, tenant_id=bob.id, user_id=alice.user_id, role="MEMBER")
        membership_id = member.id
    return await sign_in_by_link(app, system, alice), membership_id


async def switched(app: Database, token: str, membership_id: UUID) -> str:
    async with app.session_without_tenant() as session:
        return (await switch_tenant(session, token, membership_id)).token


async def test_c09_a_session_that_moves_to_another_tenant_gets_another_token(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant
) -> None:
    someone, there = await in_both(app, system, alice, bob)

    token = await switched(app, someone.token, there)

    identity = await enter(app, token)
    assert (bob.id, "MEMBER") == (identity.tenant_id, identity.role)
    with pytest.raises(NotSignedIn):
        await enter(app, someone.token)
    with pytest.raises(NotFound):
        await switched(app, someone.token, there)


async def test_a_session_moves_once_when_it_is_moved_twenty_times_at_once(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant
) -> None:
    someone, there = await in_both(app, system, alice, bob)

    outcomes = await asyncio.gather(
        *(switched(app, someone.token, there) for _ in range(20)), return_exceptions=True
    )

    assert sum(isinstance(outcome, str) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, NotFound) for outcome in outcomes) == 19


async def test_a_session_does_not_move_to_a_tenant_of_others(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    someone, there = await in_both(app, system, alice, bob)
    theirs = await sign_in_by_link(app, system, bob)
    await change(admin, "UPDATE memberships SET ended_at = now() WHERE id = :id", id=there)

    said = set()
    for membership_id in (theirs.membership_id, there, UUID(int=0)):
        with pytest.raises(NotFound) as refused:
            await switched(app, someone.token, membership_id)
        said.add(refused.value.message)

    assert len(said) == 1
    assert (await enter(app, someone.token)).tenant_id == alice.id


async def test_c09_signing_out_everywhere_ends_all_of_ones_own(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant
) -> None:
    someone, there = await in_both(app, system, alice, bob)
    other = await sign_in_by_link(app, system, alice)
    moved = await switched(app, other.token, there)
    theirs = await sign_in_by_link(app, system, bob)

    async with app.session_without_tenant() as session:
        ended = await end_all_sessions(session, someone.credential)

    assert ended == 2
    for token in (someone.token, moved):
        with pytest.raises(NotSignedIn):
            await enter(app, token)
    assert (await enter(app, theirs.token)).user_id == bob.user_id


async def test_c09_a_session_that_is_over_ends_moves_and_tells_nothing(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant
) -> None:
    someone, there = await in_both(app, system, alice, bob)
    other = await sign_in_by_link(app, system, alice)
    async with app.session_without_tenant() as session:
        await end_session(session, someone.token)

    async with app.session_without_tenant() as session:
        assert await end_all_sessions(session, someone.credential) == 0
        assert await list_own_sessions(session, someone.credential) == []
        assert await list_own_tenants(session, someone.credential) == []
    with pytest.raises(NotFound):
        await switched(app, someone.token, there)
    assert (await enter(app, other.token)).user_id == alice.user_id


async def test_a_person_sees_their_own_sessions_and_tenants_only(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant
) -> None:
    someone, there = await in_both(app, system, alice, bob)
    await switched(app, (await sign_in_by_link(app, system, alice)).token, there)
    await sign_in_by_link(app, system, bob)

    async with app.session_without_tenant() as session:
        sessions = await list_own_sessions(session, someone.credential)
        tenants = await list_own_tenants(session, someone.credential)

    assert {("Alice", True), ("Bob", False)} == {
        (each.tenant_name, each.is_current) for each in sessions
    }
    assert [("alice", "ADMIN", True), ("bob", "MEMBER", False)] == [
        (each.slug, each.role, each.is_current) for each in tenants
    ]
