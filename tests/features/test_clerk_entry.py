"""A token of Clerk lets in who is known here, where it says, as long as it says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from clusters import count_rows
from factories import TestTenant
from people import (
    change,
    door_of,
    enter,
    enter_from_clerk,
    sign_in_by_link,
)
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.database.tenancy import token_hash
from viral.errors import (
    NotAllowed,
    NotFound,
    NotSignedIn,
)
from viral.features.users.clerk import Verified
from viral.features.users.invitations import accept_as, invite, offer_of
from viral.features.users.members import add_member, end_membership
from viral.features.users.sessions import (
    end_all_sessions,
    list_own_tenants,
    switch_tenant,
)

NEW_PASSWORD = "another horse battery"


@pytest.fixture
def database_name(emptied_database: str) -> str:
    """One database for the module: a copy for each test would take longer than the tests."""
    return emptied_database


CLERK_SESSION = "clerk sess_1 None"


def said_by_clerk(
    person: str = "user_alice", organization: str | None = None, session: str = "sess_1"
) -> Verified:
    return Verified(
        person,
        organization,
        token_hash(f"clerk {session} {organization}"),
        datetime.now(UTC) + timedelta(minutes=1),
    )


@pytest.fixture
async def known_to_clerk(
    system: Database, admin: AsyncConnection, alice: TestTenant, bob: TestTenant
) -> None:
    """Alice is a person of Clerk with a tenant of her own, and a member of Bob's organization."""
    async with system.session_without_tenant() as session:
        await add_member(session, tenant_id=bob.id, user_id=alice.user_id, role="MEMBER")
    await change(
        admin,
        "UPDATE users SET clerk_id = 'user_alice', tenant_id = :tenant WHERE id = :person",
        tenant=alice.id,
        person=alice.user_id,
    )
    await change(
        admin, "UPDATE tenants SET clerk_organization_id = 'org_bob' WHERE id = :id", id=bob.id
    )


@pytest.mark.usefixtures("known_to_clerk")
async def test_a_token_of_clerk_opens_the_tenant_that_it_names(
    signin: Database, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    own = await enter_from_clerk(signin, said_by_clerk())
    theirs = await enter_from_clerk(signin, said_by_clerk(organization="org_bob"))
    again = await enter_from_clerk(signin, said_by_clerk())

    assert [(alice.id, "ADMIN"), (bob.id, "MEMBER")] == [
        (each.tenant_id, each.role) for each in (own, theirs)
    ]
    assert again == own
    assert await count_rows(admin, "sessions") == 2


@pytest.mark.usefixtures("known_to_clerk")
@pytest.mark.parametrize(
    ("person", "organization"),
    [
        ("user_bob", None),
        ("user_bob", "org_bob"),
        ("user_alice", "org_alice"),
        ("", None),
        ("' OR true --", None),
    ],
)
async def test_a_token_of_clerk_opens_nothing_for_who_is_not_known_there(
    signin: Database, admin: AsyncConnection, person: str, organization: str | None
) -> None:
    with pytest.raises(NotSignedIn):
        await enter_from_clerk(signin, said_by_clerk(person, organization))

    assert await count_rows(admin, "sessions") == 0


@pytest.mark.usefixtures("known_to_clerk")
async def test_an_organization_is_not_opened_as_a_tenant_of_ones_own(
    signin: Database, alice: TestTenant, bob: TestTenant, admin: AsyncConnection
) -> None:
    await change(
        admin,
        "UPDATE users SET tenant_id = :tenant WHERE id = :person",
        tenant=bob.id,
        person=alice.user_id,
    )

    with pytest.raises(NotSignedIn):
        await enter_from_clerk(signin, said_by_clerk())


@pytest.mark.usefixtures("known_to_clerk")
async def test_b17_a_former_member_is_out_whatever_the_token_of_clerk_says(
    signin: Database, admin: AsyncConnection
) -> None:
    await enter_from_clerk(signin, said_by_clerk(organization="org_bob"))
    await change(admin, "UPDATE memberships SET ended_at = now() WHERE role = 'MEMBER'")

    with pytest.raises(NotSignedIn):
        await enter_from_clerk(signin, said_by_clerk(organization="org_bob"))


@pytest.mark.usefixtures("known_to_clerk")
async def test_c09_an_ended_session_of_clerk_stays_ended_and_a_new_one_opens(
    signin: Database, app: Database, alice: TestTenant
) -> None:
    identity = await enter_from_clerk(signin, said_by_clerk())
    async with app.session_without_tenant() as session:
        await end_all_sessions(session, identity.credential)

    with pytest.raises(NotSignedIn):
        await enter_from_clerk(signin, said_by_clerk())
    fresh = await enter_from_clerk(signin, said_by_clerk(session="sess_2"))
    assert fresh.user_id == alice.user_id


@pytest.mark.parametrize("way", ["operator", "invitation"])
@pytest.mark.usefixtures("known_to_clerk")
async def test_a_session_of_clerk_outlives_a_membership_that_ends_and_comes_back(
    signin: Database,
    app: Database,
    system: Database,
    admin: AsyncConnection,
    alice: TestTenant,
    bob: TestTenant,
    way: str,
) -> None:
    at_bobs = said_by_clerk(organization="org_bob")
    identity = await enter_from_clerk(signin, at_bobs)
    host = await sign_in_by_link(app, system, bob)
    membership = await admin.scalar(text("SELECT id FROM memberships WHERE role = 'MEMBER'"))
    await admin.rollback()
    async with app.tenant_session(bob.id) as session:
        await end_membership(session, host.credential, membership)

    with pytest.raises(NotSignedIn):
        await enter_from_clerk(signin, at_bobs)
    with pytest.raises(NotAllowed):
        async with app.tenant_session(bob.id) as session:
            await end_membership(session, identity.credential, membership)

    if way == "operator":
        async with system.session_without_tenant() as session:
            await add_member(session, tenant_id=bob.id, user_id=alice.user_id, role="MEMBER")
    else:
        async with app.tenant_session(bob.id) as session:
            _, link = await invite(
                session, host.credential, email="alice@example.com", role="MEMBER"
            )
        async with app.session_without_tenant() as session:
            offer = await offer_of(session, link)
        await accept_as(door_of(signin), identity, offer, link)

    assert (await enter_from_clerk(signin, at_bobs)).tenant_id == bob.id


@pytest.mark.usefixtures("known_to_clerk")
async def test_a_session_of_clerk_acts_as_long_as_its_tokens_do(
    signin: Database, app: Database, admin: AsyncConnection
) -> None:
    identity = await enter_from_clerk(signin, said_by_clerk())
    await change(admin, "UPDATE sessions SET expires_at = now()")
    async with app.session_without_tenant() as session:
        assert await list_own_tenants(session, identity.credential) == []

    await enter_from_clerk(signin, said_by_clerk())

    async with app.session_without_tenant() as session:
        assert len(await list_own_tenants(session, identity.credential)) == 2


@pytest.mark.usefixtures("known_to_clerk")
async def test_a_session_of_clerk_moves_where_clerk_says_only(
    signin: Database, app: Database, admin: AsyncConnection
) -> None:
    await enter_from_clerk(signin, said_by_clerk())
    there = await admin.scalar(text("SELECT id FROM memberships WHERE role = 'MEMBER'"))
    assert isinstance(there, UUID)

    with pytest.raises(NotFound):
        async with app.session_without_tenant() as session:
            await switch_tenant(session, CLERK_SESSION, there)


@pytest.mark.usefixtures("known_to_clerk")
async def test_the_name_of_a_session_of_clerk_is_no_cookie(signin: Database, app: Database) -> None:
    await enter_from_clerk(signin, said_by_clerk())

    with pytest.raises(NotSignedIn):
        await enter(app, CLERK_SESSION)
