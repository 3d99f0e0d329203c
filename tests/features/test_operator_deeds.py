"""What the operator does to people holds at once, is noted, and nothing of it comes back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from factories import TestTenant
from people import Someone, enter, enter_by_key, join, make_key, sign_in_by_link
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from viral.database.engine import Database
from viral.errors import AlreadyExists, LastAdmin, LinkUsed, NotFound, NotSignedIn
from viral.features.audit import list_entries
from viral.features.tenants import find_tenant
from viral.features.users.members import (
    add_member,
    add_person,
    assign_role,
    link_for,
    list_everybody,
    remove_member,
    sign_out_everywhere,
)
from viral.features.users.sessions import open_session
from viral.schema.tenants import Tenant
from viral.schema.vocabulary import Role


@pytest.fixture
def database_name(emptied_database: str) -> str:
    """One database for the module: a copy for each test would take longer than the tests."""
    return emptied_database


async def place(session: AsyncSession, tenant: TestTenant) -> Tenant:
    return await find_tenant(session, tenant.slug)


async def give_role(system: Database, someone: Someone, role: Role) -> None:
    async with system.session_without_tenant() as session:
        await assign_role(session, await place(session, someone.tenant), someone.email, role)


async def let_go(system: Database, someone: Someone) -> None:
    async with system.session_without_tenant() as session:
        await remove_member(session, await place(session, someone.tenant), someone.email)


async def people(system: Database) -> list[tuple[str, str, Role]]:
    async with system.session_without_tenant() as session:
        return [
            (slug, each.email.partition("@")[0], each.role)
            for slug, each in await list_everybody(session)
        ]


async def deeds(app: Database, tenant: TestTenant) -> list[tuple[str, str, dict[str, object]]]:
    async with app.tenant_session(tenant.id) as session:
        return [(e.action, e.subject, e.details) for e in await list_entries(session, limit=99)]


async def test_who_is_removed_is_out_at_once_and_no_key_or_session_comes_back_with_them(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant
) -> None:
    member = await join(app, system, alice, "member")
    key = await make_key(app, member)
    async with system.session_without_tenant() as session:
        await add_member(session, tenant_id=bob.id, user_id=member.user_id, role="MEMBER")
    elsewhere = await sign_in_by_link(app, system, bob, member.user_id)

    await let_go(system, member)

    with pytest.raises(NotSignedIn):
        await enter(app, member.token)
    async with system.session_without_tenant() as session:
        await add_person(
            session, await place(session, alice), email=member.email, name=None, role="MEMBER"
        )
    with pytest.raises(NotSignedIn):
        await enter(app, member.token)
    with pytest.raises(NotSignedIn):
        await enter_by_key(app, key)
    # An account that nobody has shown to be theirs begins anew, in every tenant.
    with pytest.raises(NotSignedIn):
        await enter(app, elsewhere.token)
    assert await deeds(app, alice) == [
        ("joined", member.email, {"role": "MEMBER", "by": "the operator"}),
        ("ended membership", member.email, {"by": "the operator"}),
    ]


async def test_a_former_member_comes_back_with_nothing_that_let_them_in_however_they_went(
    app: Database, system: Database, alice: TestTenant
) -> None:
    member = await join(app, system, alice, "member")
    key = await make_key(app, member)
    async with system.session_without_tenant() as session:
        gone = await add_member(session, tenant_id=alice.id, user_id=member.user_id, role="MEMBER")
        # As Clerk's news do it: the membership alone.
        gone.ended_at = datetime.now(UTC)

    async with system.session_without_tenant() as session:
        await add_member(session, tenant_id=alice.id, user_id=member.user_id, role="MEMBER")

    with pytest.raises(NotSignedIn):
        await enter(app, member.token)
    with pytest.raises(NotSignedIn):
        await enter_by_key(app, key)


async def test_a_member_who_stays_keeps_sessions_and_keys(
    app: Database, system: Database, alice: TestTenant
) -> None:
    member = await join(app, system, alice, "member")
    key = await make_key(app, member)

    async with system.session_without_tenant() as session:
        await add_member(session, tenant_id=alice.id, user_id=member.user_id, role="MEMBER")
    await give_role(system, member, "MEMBER")

    assert (await enter(app, member.token)).user_id == member.user_id
    assert (await enter_by_key(app, key)).user_id == member.user_id
    assert await deeds(app, alice) == []
    await give_role(system, member, "ADMIN")
    assert (await enter_by_key(app, key)).scopes == {"read"}


@pytest.mark.usefixtures("bob")
async def test_the_last_admin_is_not_removed_and_stays_admin(
    app: Database, system: Database, alice: TestTenant
) -> None:
    host = await sign_in_by_link(app, system, alice)

    with pytest.raises(LastAdmin, match=r"alice@example\.com is the last admin"):
        await let_go(system, host)
    with pytest.raises(LastAdmin):
        await give_role(system, host, "MEMBER")

    assert (await enter(app, host.token)).is_admin
    assert await people(system) == [("alice", "alice", "ADMIN"), ("bob", "bob", "ADMIN")]


async def test_of_two_admins_removed_at_the_same_moment_one_stays(
    app: Database, system: Database, alice: TestTenant
) -> None:
    one = await sign_in_by_link(app, system, alice)
    other = await join(app, system, alice, "other", "ADMIN")

    ended = await asyncio.gather(let_go(system, one), let_go(system, other), return_exceptions=True)

    assert [type(each) for each in ended if each is not None] == [LastAdmin]
    assert len(await people(system)) == 1


async def test_who_is_no_admin_any_more_signs_in_anew_and_their_keys_are_never_an_admins_again(
    app: Database, system: Database, alice: TestTenant
) -> None:
    deputy = await join(app, system, alice, "deputy", "ADMIN")
    key = await make_key(app, deputy, "read", "admin")

    await give_role(system, deputy, "MEMBER")

    with pytest.raises(NotSignedIn):
        await enter(app, deputy.token)
    with pytest.raises(NotSignedIn):
        await enter_by_key(app, key)
    await give_role(system, deputy, "ADMIN")
    with pytest.raises(NotSignedIn):
        await enter_by_key(app, key)
    assert [details["role"] for _, _, details in await deeds(app, alice)] == ["ADMIN", "MEMBER"]


async def test_a_person_is_signed_out_of_every_tenant_with_their_links_and_nobody_else_is(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant
) -> None:
    host = await sign_in_by_link(app, system, alice)
    member = await join(app, system, alice, "member")
    async with system.session_without_tenant() as session:
        await add_member(session, tenant_id=bob.id, user_id=member.user_id, role="MEMBER")
        link = await link_for(
            session, await place(session, bob), member.email, now=datetime.now(UTC)
        )

    async with system.session_without_tenant() as session:
        assert await sign_out_everywhere(session, member.email) == 2

    with pytest.raises(NotSignedIn):
        await enter(app, member.token)
    with pytest.raises(LinkUsed):
        async with app.session_without_tenant() as session:
            await open_session(session, link)
    assert (await enter(app, host.token)).user_id == host.user_id
    by = {"by": "the operator"}
    signed_out = ("signed out everywhere", member.email, {"sessions": 1, **by})
    assert await deeds(app, alice) == [signed_out]
    assert await deeds(app, bob) == [signed_out, ("made sign-in link", member.email, by)]


@pytest.mark.usefixtures("alice")
async def test_a_person_is_known_once_and_let_in_once(system: Database, bob: TestTenant) -> None:
    async with system.session_without_tenant() as session:
        await add_person(
            session, await place(session, bob), email="alice@example.com", name="X", role="MEMBER"
        )

    with pytest.raises(AlreadyExists, match=r"alice@example\.com is in the tenant bob already"):
        async with system.session_without_tenant() as session:
            await add_person(
                session, await place(session, bob), email="alice@example.com", name="", role="ADMIN"
            )

    assert await people(system) == [
        ("alice", "alice", "ADMIN"),
        ("bob", "bob", "ADMIN"),
        ("bob", "alice", "MEMBER"),
    ]


async def test_who_made_the_account_of_an_email_does_not_come_along_when_the_operator_lets_it_in(
    app: Database, system: Database, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    member = await join(app, system, alice, "ceo")
    await admin.execute(
        text("UPDATE users SET password_hash = 'of whoever made it' WHERE email = :email"),
        {"email": member.email},
    )
    await admin.commit()

    async with system.session_without_tenant() as session:
        tenant = await place(session, bob)
        await add_person(session, tenant, email=member.email, name=None, role="ADMIN")

    kept = text("SELECT password_hash FROM users WHERE email = :email")
    assert await admin.scalar(kept, {"email": member.email}) is None
    with pytest.raises(NotSignedIn):
        await enter(app, member.token)


@pytest.mark.usefixtures("bob")
async def test_a_link_is_for_members_of_this_tenant_only(
    system: Database, alice: TestTenant
) -> None:
    with pytest.raises(NotFound, match=r"no bob@example\.com in the tenant alice"):
        async with system.session_without_tenant() as session:
            await link_for(
                session, await place(session, alice), "bob@example.com", now=datetime.now(UTC)
            )
