"""A link signs in once; a session ends when it is ended, too old, or its person is let go."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from clusters import count_rows
from factories import TestTenant
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.database.faults import sqlstate_of
from viral.database.tenancy import token_hash
from viral.errors import LinkUsed, NotSignedIn
from viral.features.limits import Limits, caller_at
from viral.features.users.members import OPERATOR_EMAIL, add_member, ensure_operator
from viral.features.users.sessions import (
    LINK_LIFETIME,
    Identity,
    end_session,
    identify,
    make_sign_in_link,
    open_session,
)

CALLER = caller_at("192.0.2.1", b"pepper")
LIMITS = Limits(address=100, user=100, tenant=100, key=100)


async def link_for(system: Database, tenant: TestTenant, *, now: datetime | None = None) -> str:
    async with system.session_without_tenant() as session:
        return await make_sign_in_link(
            session, tenant_id=tenant.id, user_id=tenant.user_id, now=now or datetime.now(UTC)
        )


async def signed_in(app: Database, link: str) -> str:
    async with app.session_without_tenant() as session:
        return (await open_session(session, link)).token


async def identity(app: Database, token: str) -> Identity:
    return await identify(app, token, caller=CALLER, limits=LIMITS)


async def test_a_link_becomes_the_session_of_its_person(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    token = await signed_in(app, await link_for(system, alice))

    assert await identity(app, token) == Identity(
        user_id=alice.user_id,
        tenant_id=alice.id,
        role="ADMIN",
        is_operator=False,
        email="alice@example.com",
        credential=token_hash(token),
    )
    assert await admin.scalar(text("SELECT count(last_login_at) FROM users")) == 1


async def test_a_link_opens_once(app: Database, system: Database, alice: TestTenant) -> None:
    link = await link_for(system, alice)
    token = await signed_in(app, link)

    with pytest.raises(LinkUsed):
        await signed_in(app, link)
    assert (await identity(app, token)).user_id == alice.user_id


async def test_a_link_pressed_many_times_at_once_opens_once(
    app: Database, system: Database, alice: TestTenant
) -> None:
    link = await link_for(system, alice)

    outcomes = await asyncio.gather(
        *(signed_in(app, link) for _ in range(10)), return_exceptions=True
    )

    assert [type(o) for o in outcomes if isinstance(o, BaseException)] == [LinkUsed] * 9


async def test_a_link_of_yesterday_opens_nothing(
    app: Database, system: Database, alice: TestTenant
) -> None:
    past = datetime.now(UTC) - LINK_LIFETIME - timedelta(seconds=1)

    with pytest.raises(LinkUsed):
        await signed_in(app, await link_for(system, alice, now=past))


@pytest.mark.parametrize("link", ["", "x", "' OR true --", "0" * 43])
@pytest.mark.usefixtures("alice")
async def test_a_link_that_was_guessed_opens_nothing(app: Database, link: str) -> None:
    with pytest.raises(LinkUsed):
        await signed_in(app, link)
    with pytest.raises(NotSignedIn):
        await identity(app, link)


async def test_a_link_is_no_session_and_a_session_no_link(
    app: Database, system: Database, alice: TestTenant
) -> None:
    link = await link_for(system, alice)
    with pytest.raises(NotSignedIn):
        await identity(app, link)

    token = await signed_in(app, link)

    with pytest.raises(NotSignedIn):
        await identity(app, link)
    with pytest.raises(LinkUsed):
        await signed_in(app, token)


async def test_a_session_that_was_ended_is_over_and_others_go_on(
    app: Database, system: Database, alice: TestTenant
) -> None:
    token = await signed_in(app, await link_for(system, alice))
    other = await signed_in(app, await link_for(system, alice))

    async with app.session_without_tenant() as session:
        await end_session(session, token)

    with pytest.raises(NotSignedIn):
        await identity(app, token)
    assert (await identity(app, other)).user_id == alice.user_id


async def test_a_session_that_is_too_old_is_over(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    token = await signed_in(app, await link_for(system, alice))
    await admin.execute(text("UPDATE sessions SET expires_at = now()"))
    await admin.commit()

    with pytest.raises(NotSignedIn):
        await identity(app, token)


async def test_a_session_lasts_at_most_ninety_days(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    await link_for(system, alice)
    async with app.session_without_tenant() as session:
        await session.execute(
            text(
                "SELECT viral.open_session(s, sha256('t'), '100 years')"
                " FROM (VALUES (sha256('guess'))) AS v (s)"
            )
        )
    await signed_in(app, await link_for(system, alice))

    longest = await admin.scalar(text("SELECT max(expires_at) - now() FROM sessions"))
    assert timedelta(days=29) < longest < timedelta(days=90)


async def test_a_removed_member_is_out_at_the_next_request(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    token = await signed_in(app, await link_for(system, alice))
    await admin.execute(text("UPDATE memberships SET ended_at = now()"))
    await admin.commit()

    with pytest.raises(NotSignedIn):
        await identity(app, token)
    later = await link_for(system, alice)
    with pytest.raises(LinkUsed):
        await signed_in(app, later)
    assert await admin.scalar(text("SELECT count(*) FROM sessions WHERE opened_at IS NULL")) == 1


async def test_a_former_member_comes_back_with_the_role_of_now(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    token = await signed_in(app, await link_for(system, alice))
    await admin.execute(text("UPDATE memberships SET ended_at = now()"))
    await admin.commit()

    async with system.session_without_tenant() as session:
        await add_member(session, tenant_id=alice.id, user_id=alice.user_id, role="MEMBER")

    with pytest.raises(NotSignedIn):
        await identity(app, token)
    again = await signed_in(app, await link_for(system, alice))
    assert (await identity(app, again)).role == "MEMBER"
    assert await count_rows(admin, "memberships") == 1


async def test_a_link_into_a_tenant_of_others_cannot_be_made(
    system: Database, alice: TestTenant, bob: TestTenant
) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with system.session_without_tenant() as session:
            await make_sign_in_link(
                session, tenant_id=alice.id, user_id=bob.user_id, now=datetime.now(UTC)
            )

    assert sqlstate_of(caught.value) == "23503"


async def test_the_operator_is_one_person(system: Database, admin: AsyncConnection) -> None:
    for _ in range(2):
        async with system.session_without_tenant() as session:
            operator = await ensure_operator(session)

    assert (operator.email, operator.is_operator) == (OPERATOR_EMAIL, True)
    assert await count_rows(admin, "users") == 1


async def test_no_secret_of_a_link_or_session_is_stored(
    app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    link = await link_for(system, alice)
    token = await signed_in(app, link)

    stored = str(await admin.scalar(text("SELECT array_agg(s::text) FROM sessions AS s")))

    for secret in (link, token, link.encode().hex(), token.encode().hex()):
        assert secret not in stored


async def test_the_app_cannot_read_or_write_sessions(app: Database, alice: TestTenant) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with app.tenant_session(alice.id) as session:
            await session.execute(text("SELECT id FROM sessions"))

    assert sqlstate_of(caught.value) == "42501"
