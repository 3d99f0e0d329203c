"""A tenant keeps an admin, and who is let go or given another role is so at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest
from factories import TestTenant
from people import (
    Someone,
    change,
    enter,
    enter_by_key,
    join,
    make_key,
    sign_in_by_link,
)
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.errors import LastAdmin, NotAllowed, NotFound, NotSignedIn
from viral.features.users.members import add_member, change_role, end_membership, list_members
from viral.features.users.sessions import make_sign_in_link, open_session, switch_tenant
from viral.schema.vocabulary import Role

ADMINS = text("SELECT count(*) FROM memberships WHERE role = 'ADMIN' AND ended_at IS NULL")


@pytest.fixture
def database_name(emptied_database: str) -> str:
    """One database for the module: a copy for each test would take longer than the tests."""
    return emptied_database


@pytest.fixture
async def host(app: Database, system: Database, alice: TestTenant) -> Someone:
    """Alice, signed in."""
    return await sign_in_by_link(app, system, alice)


async def give_role(app: Database, actor: Someone, member: Someone, role: Role) -> None:
    async with app.tenant_session(actor.tenant.id) as session:
        await change_role(session, actor.credential, member.membership_id, role)


async def let_go(app: Database, actor: Someone, member: Someone) -> None:
    async with app.tenant_session(actor.tenant.id) as session:
        await end_membership(session, actor.credential, member.membership_id)


async def join_all(
    app: Database, system: Database, tenant: TestTenant, count: int
) -> list[Someone]:
    return [await join(app, system, tenant, f"admin{n}", "ADMIN") for n in range(count)]


async def test_a_tenant_keeps_its_last_admin(
    app: Database, system: Database, host: Someone, admin: AsyncConnection
) -> None:
    member = await join(app, system, host.tenant, "member")

    with pytest.raises(LastAdmin):
        await give_role(app, host, host, "MEMBER")
    with pytest.raises(LastAdmin):
        await let_go(app, host, host)
    # Nothing of it happened, and another may leave.
    assert (await enter(app, host.token)).is_admin
    await let_go(app, member, member)
    assert await admin.scalar(ADMINS) == 1


@pytest.mark.parametrize("deed", ["demote", "let go"])
async def test_twenty_admins_who_give_up_at_once_leave_one(
    app: Database, system: Database, host: Someone, admin: AsyncConnection, deed: str
) -> None:
    admins = [host, *await join_all(app, system, host.tenant, 19)]

    outcomes = await asyncio.gather(
        *(
            give_role(app, each, each, "MEMBER") if deed == "demote" else let_go(app, each, each)
            for each in admins
        ),
        return_exceptions=True,
    )

    assert outcomes.count(None) == 19
    assert sum(isinstance(outcome, LastAdmin) for outcome in outcomes) == 1
    assert await admin.scalar(ADMINS) == 1


async def test_twenty_admins_who_demote_their_neighbour_at_once_leave_one(
    app: Database, system: Database, host: Someone, admin: AsyncConnection
) -> None:
    admins = [host, *await join_all(app, system, host.tenant, 19)]

    outcomes = await asyncio.gather(
        *(
            give_role(app, each, neighbour, "MEMBER")
            for each, neighbour in zip(admins, admins[1:] + admins[:1], strict=True)
        ),
        return_exceptions=True,
    )

    assert {type(outcome) for outcome in outcomes} <= {type(None), NotAllowed, LastAdmin}
    assert await admin.scalar(ADMINS) == 20 - outcomes.count(None)
    assert int(await admin.scalar(ADMINS) or 0) >= 1


async def test_b17_who_waited_for_the_lock_and_is_no_admin_any_more_changes_nothing(
    app: Database, system: Database, host: Someone
) -> None:
    rival, third = await join_all(app, system, host.tenant, 2)

    async with app.tenant_session(host.tenant.id) as session:
        await change_role(session, host.credential, rival.membership_id, "MEMBER")
        answer = asyncio.create_task(give_role(app, rival, third, "MEMBER"))
        await asyncio.sleep(0.3)
        assert not answer.done()

    with pytest.raises(NotAllowed):
        await answer
    assert (await enter(app, third.token)).is_admin


@pytest.mark.parametrize(("before", "after"), [("MEMBER", "ADMIN"), ("ADMIN", "MEMBER")])
async def test_c09_another_role_ends_the_sessions_and_links_of_its_tenant(
    app: Database,
    system: Database,
    host: Someone,
    bob: TestTenant,
    before: Role,
    after: Role,
) -> None:
    member = await join(app, system, host.tenant, "member", before)
    async with system.session_without_tenant() as session:
        elsewhere = await add_member(
            session, tenant_id=bob.id, user_id=member.user_id, role="MEMBER"
        )
        there = elsewhere.id
        link = await make_sign_in_link(
            session,
            tenant_id=host.tenant.id,
            user_id=member.user_id,
            now=(await session.execute(text("SELECT now()"))).scalar_one(),
        )
    second = await sign_in_by_link(app, system, host.tenant, member.user_id)
    async with app.session_without_tenant() as session:
        moved = await switch_tenant(session, second.token, there)

    await give_role(app, host, member, after)

    with pytest.raises(NotSignedIn):
        await enter(app, member.token)
    async with app.session_without_tenant() as session:
        with pytest.raises(NotFound):
            await switch_tenant(session, member.token, there)
    with pytest.raises(Exception, match="spent"):
        async with app.session_without_tenant() as session:
            await open_session(session, link)
    assert (await enter(app, moved.token)).tenant_id == bob.id
    fresh = await sign_in_by_link(app, system, host.tenant, member.user_id)
    assert (await enter(app, fresh.token)).role == after


async def test_the_role_that_a_member_has_already_ends_nothing(
    app: Database, system: Database, host: Someone
) -> None:
    member = await join(app, system, host.tenant, "member")

    await give_role(app, host, member, "MEMBER")

    assert (await enter(app, member.token)).role == "MEMBER"


async def test_b17_a_demoted_admins_key_is_an_admins_no_more(
    app: Database, system: Database, host: Someone
) -> None:
    former = await join(app, system, host.tenant, "former", "ADMIN")
    key = await make_key(app, former, "admin", "read")
    assert (await enter_by_key(app, key)).is_admin

    await give_role(app, host, former, "MEMBER")
    demoted = await enter_by_key(app, key)
    await give_role(app, host, former, "ADMIN")
    promoted = await enter_by_key(app, key)

    assert ("MEMBER", frozenset({"read"}), False) == (
        demoted.role,
        demoted.scopes,
        demoted.is_admin,
    )
    assert ("ADMIN", frozenset({"read"}), False) == (
        promoted.role,
        promoted.scopes,
        promoted.is_admin,
    )


async def test_b17_who_is_let_go_is_out_with_sessions_and_keys(
    app: Database, system: Database, host: Someone
) -> None:
    former = await join(app, system, host.tenant, "former", "ADMIN")
    key = await make_key(app, former, "admin")
    await let_go(app, host, former)

    with pytest.raises(NotSignedIn):
        await enter(app, former.token)
    with pytest.raises(NotSignedIn):
        await enter_by_key(app, key)
    for deed in (let_go(app, former, host), give_role(app, former, host, "MEMBER")):
        with pytest.raises(NotAllowed):
            await deed


async def test_who_is_let_go_from_one_tenant_stays_in_another(
    app: Database, system: Database, host: Someone, bob: TestTenant
) -> None:
    member = await join(app, system, host.tenant, "member")
    async with system.session_without_tenant() as session:
        await add_member(session, tenant_id=bob.id, user_id=member.user_id, role="ADMIN")
    there = await sign_in_by_link(app, system, bob, member.user_id)
    key = await make_key(app, there, "admin")

    await let_go(app, host, member)

    assert (await enter(app, there.token)).is_admin
    assert (await enter_by_key(app, key)).is_admin


@pytest.mark.parametrize("deed", ["demote", "let go"])
async def test_a_member_of_another_tenant_is_not_found(
    app: Database, system: Database, host: Someone, bob: TestTenant, deed: str
) -> None:
    other = await sign_in_by_link(app, system, bob)

    said = set()
    for membership_id in (other.membership_id, UUID(int=0)):
        stranger = replace(other, membership_id=membership_id)
        with pytest.raises(NotFound) as refused:
            await (
                give_role(app, host, stranger, "MEMBER")
                if deed == "demote"
                else let_go(app, host, stranger)
            )
        said.add(refused.value.message.replace(str(membership_id), ""))

    assert len(said) == 1
    assert (await enter(app, other.token)).is_admin


async def test_a_former_member_is_not_found_again(
    app: Database, system: Database, host: Someone
) -> None:
    member = await join(app, system, host.tenant, "member")
    await let_go(app, host, member)

    with pytest.raises(NotFound):
        await let_go(app, host, member)
    with pytest.raises(NotFound):
        await give_role(app, host, member, "ADMIN")


async def test_b18_a_member_changes_nobody_but_may_leave(
    app: Database, system: Database, host: Someone
) -> None:
    member = await join(app, system, host.tenant, "member")
    other = await join(app, system, host.tenant, "other")

    for deed in (
        give_role(app, member, member, "ADMIN"),
        give_role(app, member, host, "MEMBER"),
        let_go(app, member, host),
        let_go(app, member, other),
    ):
        with pytest.raises(NotAllowed):
            await deed
    await let_go(app, member, member)

    with pytest.raises(NotSignedIn):
        await enter(app, member.token)


async def test_members_are_those_of_the_tenant_who_did_not_leave(
    app: Database, system: Database, host: Someone, bob: TestTenant, admin: AsyncConnection
) -> None:
    member, former = [await join(app, system, host.tenant, each) for each in ("zoe", "former")]
    await change(
        admin, "UPDATE memberships SET ended_at = now() WHERE id = :id", id=former.membership_id
    )

    async with app.tenant_session(host.tenant.id) as session:
        members = await list_members(session)

    assert [("alice@example.com", "ADMIN"), (member.email, "MEMBER")] == [
        (each.email, each.role) for each in members
    ]
    assert bob.user_id not in {each.user_id for each in members}
