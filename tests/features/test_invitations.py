"""A link makes the person with its e-mail a member: once, and nobody else."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from clusters import count_rows
from factories import TestTenant
from people import (
    CALLER,
    PASSWORD,
    Someone,
    change,
    door_of,
    enter,
    enter_by_key,
    join,
    make_key,
    set_hash,
    sign_in_by_link,
)
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.errors import (
    BadInput,
    LinkUsed,
    NotAllowed,
    NotFound,
    NotSignedIn,
    PasswordRefused,
    RateLimited,
    SignInRefused,
)
from viral.features.users.invitations import (
    LIFETIME,
    Offer,
    accept_as,
    accept_as_new,
    invite,
    list_invitations,
    offer_of,
    revoke_invitation,
)
from viral.features.users.members import change_role, end_membership
from viral.features.users.sessions import SignedIn
from viral.features.users.sign_in import Door, sign_in
from viral.schema.vocabulary import Role

GUEST = "guest@example.com"


@pytest.fixture
def database_name(emptied_database: str) -> str:
    """One database for the module: a copy for each test would take longer than the tests."""
    return emptied_database


@pytest.fixture
async def host(app: Database, system: Database, alice: TestTenant) -> Someone:
    """Alice, signed in."""
    return await sign_in_by_link(app, system, alice)


@pytest.fixture
def door(signin: Database) -> Door:
    return door_of(signin)


async def link_for(app: Database, host: Someone, email: str = GUEST, role: Role = "MEMBER") -> str:
    async with app.tenant_session(host.tenant.id) as session:
        _, link = await invite(session, host.credential, email=email, role=role)
    return link


async def offered(app: Database, link: str) -> Offer:
    async with app.session_without_tenant() as session:
        return await offer_of(session, link)


async def accepted(app: Database, door: Door, link: str, *, password: str = PASSWORD) -> SignedIn:
    """Accept with e-mail and password."""
    offer = await offered(app, link)
    return await accept_as_new(door, offer, link, name=" Guest ", password=password, caller=CALLER)


async def waiting(app: Database, tenant: TestTenant) -> list[str]:
    async with app.tenant_session(tenant.id) as session:
        return [each.email for each in await list_invitations(session)]


async def test_a_guest_becomes_a_member_and_is_signed_in(
    app: Database, door: Door, host: Someone, admin: AsyncConnection
) -> None:
    link = await link_for(app, host, email=" Guest@Example.com")
    assert await offered(app, link) == Offer(GUEST, "MEMBER", "Alice")
    assert await waiting(app, host.tenant) == [GUEST]

    opened = await accepted(app, door, link)

    identity = await enter(app, opened.token)
    assert (host.tenant.id, "MEMBER", GUEST) == (identity.tenant_id, identity.role, identity.email)
    assert await waiting(app, host.tenant) == []
    kept = await admin.execute(
        text("SELECT name, tenant_id FROM users WHERE email = 'guest@example.com'")
    )
    # Nobody has shown that the e-mail is theirs: it gets no tenant that Clerk would open, either.
    assert ("Guest", None) == tuple(kept.one())
    again = await sign_in(door, email=GUEST, password=PASSWORD, caller=CALLER)
    assert again.tenant_id == host.tenant.id


async def test_an_invitation_accepted_twenty_times_at_once_is_accepted_once(
    app: Database, door: Door, host: Someone, admin: AsyncConnection
) -> None:
    link = await link_for(app, host)
    offer = await offered(app, link)

    outcomes = await asyncio.gather(
        *(
            accept_as_new(door, offer, link, name="", password=PASSWORD, caller=CALLER)
            for _ in range(20)
        ),
        return_exceptions=True,
    )

    assert sum(isinstance(outcome, SignedIn) for outcome in outcomes) == 1
    assert {type(outcome) for outcome in outcomes} <= {SignedIn, LinkUsed, RateLimited}
    assert await count_rows(admin, "memberships") == 2
    assert await count_rows(admin, "users") == 2


async def test_a_known_email_is_proved_by_its_password(
    app: Database, door: Door, host: Someone, bob: TestTenant, system: Database
) -> None:
    await set_hash(system, bob.user_id, await door.passwords.hash(PASSWORD))
    link = await link_for(app, host, email="bob@example.com")

    with pytest.raises(SignInRefused):
        await accepted(app, door, link, password="another password")
    opened = await accepted(app, door, link)

    assert (bob.user_id, host.tenant.id) == (opened.user_id, opened.tenant_id)


async def test_a_known_email_without_a_password_is_not_given_one_by_a_link(
    app: Database, door: Door, host: Someone, bob: TestTenant, admin: AsyncConnection
) -> None:
    link = await link_for(app, host, email="bob@example.com")

    with pytest.raises(SignInRefused):
        await accepted(app, door, link)

    assert await admin.scalar(text("SELECT count(password_hash) FROM users")) == 0
    assert await waiting(app, host.tenant) == ["bob@example.com"]
    assert bob.user_id


async def test_who_left_without_a_password_comes_in_again_by_an_invitation(
    app: Database, door: Door, system: Database, host: Someone, admin: AsyncConnection
) -> None:
    member = await join(app, system, host.tenant, "guest")
    await let_go(app, host, member)
    await change(admin, "UPDATE users SET tenant_id = :id", id=host.tenant.id)

    opened = await accepted(app, door, await link_for(app, host))

    assert (member.user_id, host.tenant.id) == (opened.user_id, opened.tenant_id)
    kept = await admin.execute(
        text("SELECT name, tenant_id FROM users WHERE id = :id"), {"id": member.user_id}
    )
    assert ("Guest", None) == tuple(kept.one())
    assert (await sign_in(door, email=GUEST, password=PASSWORD, caller=CALLER)).token
    with pytest.raises(NotSignedIn):
        await enter(app, member.token)


@pytest.mark.parametrize(
    "opens",
    [
        "UPDATE users SET password_hash = '$argon2id$sample' WHERE id = :id",
        "UPDATE users SET clerk_id = 'user_guest' WHERE id = :id",
        "UPDATE users SET is_operator = true WHERE id = :id",
        "UPDATE memberships SET ended_at = NULL WHERE user_id = :id",
    ],
)
async def test_an_account_that_opens_anything_is_not_taken_over_by_an_invitation(
    app: Database,
    door: Door,
    system: Database,
    host: Someone,
    bob: TestTenant,
    admin: AsyncConnection,
    opens: str,
) -> None:
    someone = await join(app, system, bob, "guest")
    await change(
        admin, "UPDATE memberships SET ended_at = now() WHERE user_id = :id", id=someone.user_id
    )
    await change(admin, opens, id=someone.user_id)
    stored = text("SELECT u::text FROM users AS u WHERE id = :id").bindparams(id=someone.user_id)
    before = await admin.scalar(stored)
    await admin.rollback()

    with pytest.raises(SignInRefused):
        await accepted(app, door, await link_for(app, host))

    assert before == await admin.scalar(stored)
    assert await waiting(app, host.tenant) == [GUEST]


async def test_an_account_that_two_invitations_take_over_at_once_is_taken_once(
    app: Database, door: Door, system: Database, host: Someone, bob: TestTenant
) -> None:
    member = await join(app, system, host.tenant, "guest")
    await let_go(app, host, member)
    other = await sign_in_by_link(app, system, bob)
    links = [await link_for(app, host), await link_for(app, other)]

    outcomes = await asyncio.gather(
        *(
            accepted(app, door, link, password=f"{PASSWORD} {place}")
            for place, link in enumerate(links)
        ),
        return_exceptions=True,
    )

    assert sorted(type(each).__name__ for each in outcomes) == ["SignInRefused", "SignedIn"]


async def test_c12_passwords_are_not_guessed_through_an_invitation(
    app: Database, door: Door, host: Someone, bob: TestTenant, system: Database
) -> None:
    await set_hash(system, bob.user_id, await door.passwords.hash(PASSWORD))
    link = await link_for(app, host, email="bob@example.com")
    for _ in range(10):
        with pytest.raises(SignInRefused):
            await accepted(app, door, link, password="another password")

    with pytest.raises(RateLimited):
        await accepted(app, door, link)


async def test_who_is_signed_in_accepts_for_themselves_only(
    app: Database, door: Door, system: Database, host: Someone, bob: TestTenant
) -> None:
    link = await link_for(app, host, email="bob@example.com")
    offer = await offered(app, link)
    guest = await join(app, system, host.tenant, "guest")

    with pytest.raises(NotAllowed):
        await accept_as(door, await enter(app, guest.token), offer, link)
    # An offer that says something else than its link.
    with pytest.raises(LinkUsed):
        await accept_as(door, await enter(app, guest.token), Offer(GUEST, "ADMIN", "Alice"), link)
    someone = await sign_in_by_link(app, system, bob)
    opened = await accept_as(door, await enter(app, someone.token), offer, link)

    assert (bob.user_id, host.tenant.id) == (opened.user_id, opened.tenant_id)
    assert (await enter(app, someone.token)).tenant_id == bob.id


@pytest.mark.parametrize("link", ["", "x", "' OR true --", "0" * 43])
@pytest.mark.usefixtures("host")
async def test_an_invitation_that_was_guessed_offers_nothing(app: Database, link: str) -> None:
    with pytest.raises(LinkUsed):
        await offered(app, link)


@pytest.mark.parametrize(
    "end",
    [
        "UPDATE invitations SET expires_at = now()",
        "UPDATE invitations SET revoked_at = now()",
        "UPDATE invitations SET accepted_at = now()",
    ],
)
async def test_an_invitation_that_is_over_makes_nobody_a_member(
    app: Database, door: Door, host: Someone, admin: AsyncConnection, end: str
) -> None:
    link = await link_for(app, host)
    offer = await offered(app, link)
    await change(admin, end)

    with pytest.raises(LinkUsed):
        await offered(app, link)
    # As who looked at it before: a stranger stays one.
    with pytest.raises(SignInRefused):
        await accept_as_new(door, offer, link, name="", password=PASSWORD, caller=CALLER)
    assert await waiting(app, host.tenant) == []
    assert await count_rows(admin, "users") == 1


async def test_a_second_invitation_replaces_the_first(
    app: Database, door: Door, host: Someone
) -> None:
    first = await link_for(app, host, role="ADMIN")
    second = await link_for(app, host)

    with pytest.raises(LinkUsed):
        await offered(app, first)
    opened = await accepted(app, door, second)
    assert (await enter(app, opened.token)).role == "MEMBER"


async def test_an_invitation_is_taken_back_in_its_own_tenant_only(
    app: Database, system: Database, host: Someone, bob: TestTenant
) -> None:
    other = await sign_in_by_link(app, system, bob)
    async with app.tenant_session(host.tenant.id) as session:
        invitation_id, _ = await invite(session, host.credential, email=GUEST, role="MEMBER")
    assert await waiting(app, bob) == []

    for stranger in (invitation_id, UUID(int=0)):
        with pytest.raises(NotFound):
            async with app.tenant_session(bob.id) as session:
                await revoke_invitation(session, other.credential, stranger)
    assert await waiting(app, host.tenant) == [GUEST]

    async with app.tenant_session(host.tenant.id) as session:
        await revoke_invitation(session, host.credential, invitation_id)
    with pytest.raises(NotFound):
        async with app.tenant_session(host.tenant.id) as session:
            await revoke_invitation(session, host.credential, invitation_id)


async def test_b24_inviting_a_known_and_an_unknown_email_looks_the_same(
    app: Database, host: Someone, bob: TestTenant
) -> None:
    links = [await link_for(app, host, email=email) for email in ("bob@example.com", GUEST)]

    offers = [await offered(app, link) for link in links]

    assert len({len(link) for link in links}) == 1
    assert {("MEMBER", "Alice")} == {(each.role, each.tenant_name) for each in offers}
    assert bob.user_id


@pytest.mark.parametrize("email", ["", "x", "@", "a@b@c", "a b@c", "a@" + "b" * 320])
async def test_what_is_no_email_is_not_invited(app: Database, host: Someone, email: str) -> None:
    with pytest.raises(BadInput):
        await link_for(app, host, email=email)


async def test_a_weak_password_spends_no_invitation(
    app: Database, door: Door, host: Someone
) -> None:
    link = await link_for(app, host)

    with pytest.raises(PasswordRefused):
        await accepted(app, door, link, password="password1")

    assert await accepted(app, door, link)


async def test_an_invitation_lasts_a_week_and_never_more_than_thirty_days(
    app: Database, host: Someone, admin: AsyncConnection
) -> None:
    await link_for(app, host)
    lasts = text("SELECT max(expires_at - created_at) FROM invitations")
    assert await admin.scalar(lasts) == LIFETIME

    async with app.tenant_session(host.tenant.id) as session:
        await session.execute(
            text(
                "SELECT viral.invite(:credential, gen_random_uuid(), 'x@example.com', 'MEMBER',"
                " sha256('x'), NULL)"
            ),
            {"credential": host.credential},
        )

    await admin.rollback()
    assert await admin.scalar(lasts) == timedelta(days=30)


async def test_no_secret_of_an_invitation_is_stored_or_shown(
    app: Database, host: Someone, admin: AsyncConnection
) -> None:
    link = await link_for(app, host)

    stored = str(await admin.scalar(text("SELECT array_agg(i::text) FROM invitations AS i")))
    async with app.tenant_session(host.tenant.id) as session:
        [shown] = await list_invitations(session)

    assert link not in stored
    assert link.encode().hex() not in stored
    assert "token_sha256" not in vars(shown)


async def test_an_admin_who_accepts_a_members_invitation_stays_admin(
    app: Database, door: Door, host: Someone
) -> None:
    link = await link_for(app, host, email=host.email)

    opened = await accept_as(door, await enter(app, host.token), await offered(app, link), link)

    assert (await enter(app, opened.token)).role == "ADMIN"
    assert (await enter(app, host.token)).role == "ADMIN"


async def test_a_member_who_becomes_admin_by_invitation_signs_in_anew(
    app: Database, door: Door, system: Database, host: Someone
) -> None:
    member = await join(app, system, host.tenant, "guest")
    link = await link_for(app, host, role="ADMIN")

    opened = await accept_as(door, await enter(app, member.token), await offered(app, link), link)

    assert (await enter(app, opened.token)).role == "ADMIN"
    with pytest.raises(NotSignedIn):
        await enter(app, member.token)


async def test_b17_who_comes_back_brings_no_session_and_no_key_along(
    app: Database, door: Door, system: Database, host: Someone
) -> None:
    member = await join(app, system, host.tenant, "guest", "ADMIN")
    await set_hash(system, member.user_id, await door.passwords.hash(PASSWORD))
    key = await make_key(app, member, "admin", "read")
    async with app.tenant_session(host.tenant.id) as session:
        await end_membership(session, host.credential, member.membership_id)

    opened = await accepted(app, door, await link_for(app, host))

    assert (await enter(app, opened.token)).role == "MEMBER"
    with pytest.raises(NotSignedIn):
        await enter(app, member.token)
    with pytest.raises(NotSignedIn):
        await enter_by_key(app, key)


async def test_b17_not_even_what_slipped_past_the_end_of_a_membership(
    app: Database, door: Door, system: Database, host: Someone, admin: AsyncConnection
) -> None:
    # As when a session or a key is made at the moment in which the membership ends.
    member = await join(app, system, host.tenant, "guest")
    await set_hash(system, member.user_id, await door.passwords.hash(PASSWORD))
    key = await make_key(app, member)
    await change(
        admin, "UPDATE memberships SET ended_at = now() WHERE id = :id", id=member.membership_id
    )

    await accepted(app, door, await link_for(app, host))

    with pytest.raises(NotSignedIn):
        await enter(app, member.token)
    with pytest.raises(NotSignedIn):
        await enter_by_key(app, key)


async def let_go(app: Database, host: Someone, member: Someone) -> None:
    async with app.tenant_session(host.tenant.id) as session:
        await end_membership(session, host.credential, member.membership_id)


async def demote(app: Database, host: Someone, member: Someone) -> None:
    async with app.tenant_session(host.tenant.id) as session:
        await change_role(session, host.credential, member.membership_id, "MEMBER")


@pytest.mark.parametrize("end", [let_go, demote])
async def test_b17_invitations_of_a_former_admin_are_taken_back(
    app: Database, system: Database, host: Someone, end: object
) -> None:
    former = await join(app, system, host.tenant, "former", "ADMIN")
    sent = await link_for(app, former, role="ADMIN")
    kept = await link_for(app, host, email="other@example.com")

    await (let_go if end is let_go else demote)(app, host, former)

    with pytest.raises(LinkUsed):
        await offered(app, sent)
    assert (await offered(app, kept)).email == "other@example.com"


@pytest.mark.parametrize("end", [let_go, demote])
async def test_b17_an_invitation_that_waits_for_a_former_admin_is_taken_back(
    app: Database, system: Database, host: Someone, end: object
) -> None:
    former = await join(app, system, host.tenant, "former", "ADMIN")
    got = await link_for(app, host, email=former.email, role="ADMIN")

    await (let_go if end is let_go else demote)(app, host, former)

    with pytest.raises(LinkUsed):
        await offered(app, got)
