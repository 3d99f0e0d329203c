"""Who shows the right password is let in, and nobody learns whether a person is known."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime

import pytest
from factories import TestTenant
from people import (
    CALLER,
    CHEAP,
    PASSWORD,
    PEPPER,
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
    LinkUsed,
    NotSignedIn,
    PasswordRefused,
    RateLimited,
    SignInRefused,
    ViralError,
)
from viral.features.limits import Caller, caller_at
from viral.features.users.members import add_member
from viral.features.users.passwords import Cost, Passwords
from viral.features.users.sessions import (
    SignedIn,
    make_sign_in_link,
    open_session,
)
from viral.features.users.sign_in import Door, set_password, sign_in
from viral.schema.tenants import User

NEW_PASSWORD = "another horse battery"


@pytest.fixture
def database_name(emptied_database: str) -> str:
    """One database for the module: a copy for each test would take longer than the tests."""
    return emptied_database


class Counting(Passwords):
    """Counts the work: hashes that are made or checked."""

    def __init__(self) -> None:
        super().__init__(CHEAP)
        self.work: list[str] = []

    async def hash(self, password: str) -> str:
        self.work.append("made")
        return await super().hash(password)

    def _verify(self, hashed: str, password: str) -> bool:
        self.work.append("checked")
        return super()._verify(hashed, password)


@pytest.fixture
async def door(signin: Database, system: Database, alice: TestTenant) -> Door:
    """A door that knows Alice's password."""
    door = door_of(signin)
    await set_hash(system, alice.user_id, await door.passwords.hash(PASSWORD))
    return door


async def by_password(
    door: Door,
    password: str = PASSWORD,
    *,
    email: str = "alice@example.com",
    caller: Caller = CALLER,
) -> SignedIn:
    return await sign_in(door, email=email, password=password, caller=caller)


async def replace(
    door: Door, app: Database, someone: Someone, *, current: str, new: str = NEW_PASSWORD
) -> None:
    identity = await enter(app, someone.token)
    await set_password(door, identity, current=current, new=new, caller=CALLER)


async def refusal(door: Door, email: str, password: str) -> str:
    with pytest.raises(SignInRefused) as refused:
        await by_password(door, password, email=email)
    return f"{refused.value.message} {refused.value.hint}"


async def test_the_right_password_opens_a_session(
    door: Door, app: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    opened = await by_password(door, email=" ALICE@example.com ")

    identity = await enter(app, opened.token)
    assert (alice.user_id, alice.id) == (identity.user_id, identity.tenant_id)
    assert await admin.scalar(text("SELECT method FROM sessions")) == "password"
    assert await admin.scalar(text("SELECT count(last_login_at) FROM users")) == 1


async def test_b24_a_wrong_password_and_an_unknown_person_are_told_the_same(
    door: Door, app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    linked = await join(app, system, alice, "linked")
    former = await join(app, system, alice, "former")
    await set_hash(system, former.user_id, await door.passwords.hash(PASSWORD))
    await change(
        admin, "UPDATE memberships SET ended_at = now() WHERE id = :id", id=former.membership_id
    )

    said = {
        await refusal(door, "alice@example.com", "wrong"),
        await refusal(door, "nobody@example.com", PASSWORD),
        await refusal(door, linked.email, PASSWORD),
        await refusal(door, former.email, PASSWORD),
        await refusal(door, "", ""),
    }

    assert len(said) == 1


@pytest.mark.parametrize("times", [1, 2])
async def test_b24_an_unknown_person_is_as_much_work_as_a_wrong_password(
    signin: Database, system: Database, alice: TestTenant, times: int
) -> None:
    await set_hash(system, alice.user_id, await Passwords(CHEAP).hash(PASSWORD))

    work = []
    for email in ("alice@example.com", "nobody@example.com"):
        passwords = Counting()
        for _ in range(times):
            await refusal(Door(signin, passwords, PEPPER), email, "wrong")
        work.append(passwords.work)

    assert work[0] == work[1]
    assert work[0].count("checked") == times


async def test_an_empty_hash_is_nobodys_password(
    door: Door, system: Database, alice: TestTenant
) -> None:
    await set_hash(system, alice.user_id, "")

    refusals = [await refusal(door, "alice@example.com", word) for word in ("", "x", PASSWORD)]

    assert 1 == len(set(refusals))


async def test_c12_ten_attempts_for_an_email_wherever_they_come_from(
    door: Door, bob: TestTenant, system: Database
) -> None:
    await set_hash(system, bob.user_id, await door.passwords.hash(PASSWORD))
    callers = [caller_at(f"192.0.2.{number}", PEPPER) for number in range(11)]
    for caller in callers[:10]:
        with pytest.raises(SignInRefused):
            await by_password(door, "wrong", caller=caller)

    with pytest.raises(RateLimited):
        await by_password(door, caller=callers[10])
    assert (await by_password(door, email="bob@example.com")).user_id == bob.user_id


async def test_c12_an_unknown_email_has_as_many_attempts_as_a_known_one(door: Door) -> None:
    for _ in range(10):
        await refusal(door, "nobody@example.com", PASSWORD)

    with pytest.raises(RateLimited):
        await by_password(door, email="nobody@example.com")


async def test_c12_fifty_attempts_from_an_address_for_whoever(door: Door) -> None:
    for number in range(50):
        await refusal(door, f"nobody{number}@example.com", PASSWORD)

    with pytest.raises(RateLimited):
        await by_password(door)
    assert await by_password(door, caller=caller_at("192.0.2.2", PEPPER))


async def test_c12_two_hundred_attempts_at_once_stay_within_ten(door: Door) -> None:
    callers = [caller_at(f"192.0.2.{number}", PEPPER) for number in range(200)]

    outcomes = await asyncio.gather(
        *(by_password(door, "wrong", caller=each) for each in callers), return_exceptions=True
    )

    assert [outcome for outcome in outcomes if not isinstance(outcome, ViralError)] == []
    assert sum(isinstance(outcome, SignInRefused) for outcome in outcomes) == 10


async def test_c08_a_hash_of_less_work_is_made_anew_at_the_right_password_only(
    signin: Database, door: Door, admin: AsyncConnection
) -> None:
    costlier = Door(signin, Passwords(Cost(passes=2, memory_kib=16)), PEPPER)
    query = text("SELECT password_hash FROM users WHERE email = 'alice@example.com'")
    before = await admin.scalar(query)

    await refusal(costlier, "alice@example.com", "wrong")
    assert await admin.scalar(query) == before

    await by_password(costlier)
    after = await admin.scalar(query)
    assert "m=16,t=2,p=1" in str(after)

    await by_password(costlier)
    await by_password(door)
    assert await admin.scalar(query) == after


async def test_a_person_of_two_tenants_begins_in_the_one_they_open_first(
    door: Door, system: Database, alice: TestTenant, bob: TestTenant
) -> None:
    async with system.session_without_tenant() as session:
        await add_member(session, tenant_id=bob.id, user_id=alice.user_id, role="MEMBER")
    assert (await by_password(door)).tenant_id == alice.id

    async with system.session_without_tenant() as session:
        user = await session.get_one(User, alice.user_id)
        user.tenant_id = bob.id

    assert (await by_password(door)).tenant_id == bob.id


async def test_a_new_password_asks_for_the_current_one(
    door: Door, app: Database, alice: TestTenant
) -> None:
    opened = await by_password(door)
    someone = Someone(alice, alice.user_id, alice.id, "alice@example.com", opened.token)

    for wrong in ("", "wrong", NEW_PASSWORD):
        with pytest.raises(SignInRefused):
            await replace(door, app, someone, current=wrong)
    await replace(door, app, someone, current=PASSWORD)

    await refusal(door, "alice@example.com", PASSWORD)
    assert (await by_password(door, NEW_PASSWORD)).user_id == alice.user_id


async def test_c09_a_new_password_ends_the_other_sessions_and_links(
    door: Door, app: Database, system: Database, alice: TestTenant
) -> None:
    other = await sign_in_by_link(app, system, alice)
    someone = await sign_in_by_link(app, system, alice)
    async with system.session_without_tenant() as session:
        link = await make_sign_in_link(
            session, tenant_id=alice.id, user_id=alice.user_id, now=datetime.now(UTC)
        )

    await replace(door, app, someone, current=PASSWORD)

    assert (await enter(app, someone.token)).user_id == alice.user_id
    with pytest.raises(NotSignedIn):
        await enter(app, other.token)
    with pytest.raises(LinkUsed):
        async with app.session_without_tenant() as session:
            await open_session(session, link)


async def test_a_fresh_link_replaces_a_forgotten_password_and_an_old_one_does_not(
    door: Door, app: Database, system: Database, alice: TestTenant, admin: AsyncConnection
) -> None:
    someone = await sign_in_by_link(app, system, alice)
    await replace(door, app, someone, current="forgotten")
    await change(admin, "UPDATE sessions SET opened_at = now() - interval '16 minutes'")

    with pytest.raises(SignInRefused):
        await replace(door, app, someone, current="forgotten", new=PASSWORD)


async def test_a_new_password_is_no_common_one(
    door: Door, app: Database, system: Database, alice: TestTenant
) -> None:
    someone = await sign_in_by_link(app, system, alice)

    with pytest.raises(PasswordRefused):
        await replace(door, app, someone, current=PASSWORD, new="Password1")


async def test_a_key_sets_no_password(
    door: Door, app: Database, system: Database, alice: TestTenant
) -> None:
    someone = await sign_in_by_link(app, system, alice)
    identity = await enter_by_key(app, await make_key(app, someone, "admin", "write"))

    with pytest.raises(NotSignedIn):
        await set_password(door, identity, current=PASSWORD, new=NEW_PASSWORD, caller=CALLER)


async def test_c12_the_current_password_is_not_guessed_through_a_session(
    door: Door, app: Database, alice: TestTenant
) -> None:
    opened = await by_password(door)
    someone = Someone(alice, alice.user_id, alice.id, "alice@example.com", opened.token)

    for _ in range(9):
        with pytest.raises(SignInRefused):
            await replace(door, app, someone, current="wrong")

    with pytest.raises(RateLimited):
        await replace(door, app, someone, current=PASSWORD)


async def test_c09_a_token_chosen_before_signing_in_opens_nothing(
    door: Door, app: Database
) -> None:
    chosen = secrets.token_urlsafe(32)

    opened = await by_password(door)

    assert len({chosen, opened.token, (await by_password(door)).token}) == 3
    with pytest.raises(NotSignedIn):
        await enter(app, chosen)
