"""A key is shown once, found by its HMAC alone, and does what its scopes and its person may."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from factories import TestTenant
from people import PEPPER, Someone, change, enter_by_key, join, make_key, sign_in_by_link
from sqlalchemy import text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.errors import BadInput, NotAllowed, NotFound, NotSignedIn
from viral.features.users.api_keys import (
    PREFIX,
    create_key,
    key_hmac,
    list_keys,
    new_key,
    revoke_key,
)
from viral.schema.vocabulary import Scope


@pytest.fixture
def database_name(emptied_database: str) -> str:
    """One database for the module: a copy for each test would take longer than the tests."""
    return emptied_database


@pytest.fixture
async def host(app: Database, system: Database, alice: TestTenant) -> Someone:
    """Alice, signed in."""
    return await sign_in_by_link(app, system, alice)


async def revoke(app: Database, actor: Someone, key_id: UUID) -> None:
    async with app.tenant_session(actor.tenant.id) as session:
        await revoke_key(session, actor.credential, key_id)


async def key_ids(app: Database, tenant: TestTenant) -> list[UUID]:
    async with app.tenant_session(tenant.id) as session:
        return [each.id for each in await list_keys(session)]


def test_c07_a_key_is_its_prefix_and_256_random_bits() -> None:
    keys = {new_key() for _ in range(100)}

    assert len(keys) == 100
    for key in keys:
        assert key.startswith("vd_live_")
        assert len(base64.urlsafe_b64decode(key.removeprefix(PREFIX) + "=")) == 32


def test_c07_a_keys_hmac_is_worth_nothing_under_another_pepper() -> None:
    key = new_key()

    assert len(key_hmac(key, PEPPER)) == 32
    assert key_hmac(key, PEPPER) != key_hmac(key, b"another")


async def test_c07_a_key_acts_for_its_person_within_its_scopes(
    app: Database, host: Someone
) -> None:
    identity = await enter_by_key(app, await make_key(app, host, "read", "write", "read"))

    assert (host.user_id, host.tenant.id) == (identity.user_id, identity.tenant_id)
    assert identity.scopes == {"read", "write"}
    assert (identity.role, identity.is_admin) == ("ADMIN", False)
    assert [identity.key_id] == await key_ids(app, host.tenant)


async def test_a_key_of_the_operator_does_not_operate_the_installation(
    app: Database, host: Someone, admin: AsyncConnection
) -> None:
    await change(admin, "UPDATE users SET is_operator = true")

    identity = await enter_by_key(app, await make_key(app, host, "admin"))

    assert identity.is_admin
    assert not identity.is_operator


@pytest.mark.parametrize(
    "key", ["", "vd_live_", "' OR true --", "vd_live_" + "A" * 43, "vd_live_" + "é" * 43]
)
async def test_a_key_that_was_guessed_is_nobodys(app: Database, host: Someone, key: str) -> None:
    await make_key(app, host)

    with pytest.raises(NotSignedIn):
        await enter_by_key(app, key)


async def test_c07_what_a_list_shows_of_a_key_is_not_enough(app: Database, host: Someone) -> None:
    key = await make_key(app, host)

    for part in (key[:16], key[:-1], key + "x", key[:16] + new_key()[16:]):
        with pytest.raises(NotSignedIn):
            await enter_by_key(app, part)


async def test_c07_a_key_is_nobodys_under_another_pepper(app: Database, host: Someone) -> None:
    key = await make_key(app, host)

    with pytest.raises(NotSignedIn):
        await enter_by_key(app, key, pepper=b"another")


async def test_c07_no_key_is_stored(app: Database, host: Someone, admin: AsyncConnection) -> None:
    key = await make_key(app, host)
    await enter_by_key(app, key)

    secret = key[len(PREFIX) + 8 :]
    tables = await admin.scalars(
        text(
            "SELECT c.oid::regclass::text FROM pg_class AS c"
            " WHERE c.relkind = 'r' AND c.relnamespace IN ('public'::regnamespace,"
            " 'viral'::regnamespace)"
        )
    )
    for table in tables.all():
        stored = str(await admin.scalar(text(f"SELECT array_agg(t::text) FROM {table} AS t")))
        for shape in (secret, secret.encode().hex(), key.encode().hex()):
            assert shape not in stored, table


async def test_c07_a_list_of_keys_tells_them_apart_and_opens_nothing(
    app: Database, host: Someone
) -> None:
    keys = [await make_key(app, host) for _ in range(3)]

    async with app.tenant_session(host.tenant.id) as session:
        shown = await list_keys(session)
        for each in shown:
            with pytest.raises(InvalidRequestError):
                _ = each.key_hmac

    assert {key[:16] for key in keys} == {each.prefix for each in shown}


async def test_c07_a_key_ends_when_it_expires(
    app: Database, host: Someone, admin: AsyncConnection
) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    key = await make_key(app, host, "read", expires_at=soon)
    assert (await enter_by_key(app, key)).user_id == host.user_id

    await change(admin, "UPDATE api_keys SET expires_at = now()")

    with pytest.raises(NotSignedIn):
        await enter_by_key(app, key)


async def test_c07_a_revoked_key_is_over_and_leaves_the_list(app: Database, host: Someone) -> None:
    key, other = await make_key(app, host), await make_key(app, host)
    identity = await enter_by_key(app, key)
    assert identity.key_id is not None

    await revoke(app, host, identity.key_id)

    with pytest.raises(NotSignedIn):
        await enter_by_key(app, key)
    with pytest.raises(NotFound):
        await revoke(app, host, identity.key_id)
    assert [(await enter_by_key(app, other)).key_id] == await key_ids(app, host.tenant)


async def test_b18_a_member_makes_and_revokes_keys_of_their_own_without_admin(
    app: Database, system: Database, host: Someone
) -> None:
    member = await join(app, system, host.tenant, "member")
    admins = await enter_by_key(app, await make_key(app, host))
    own = await enter_by_key(app, await make_key(app, member, "read", "write"))
    assert admins.key_id is not None
    assert own.key_id is not None

    with pytest.raises(NotAllowed):
        await make_key(app, member, "admin")
    with pytest.raises(NotAllowed):
        await revoke(app, member, admins.key_id)
    await revoke(app, member, own.key_id)

    assert [admins.key_id] == await key_ids(app, host.tenant)


async def test_an_admin_revokes_keys_of_members_and_of_no_other_tenant(
    app: Database, system: Database, host: Someone, bob: TestTenant
) -> None:
    member = await join(app, system, host.tenant, "member")
    other = await sign_in_by_link(app, system, bob)
    members = await enter_by_key(app, await make_key(app, member))
    theirs = await enter_by_key(app, await make_key(app, other))
    assert members.key_id is not None
    assert theirs.key_id is not None

    await revoke(app, host, members.key_id)
    for stranger in (theirs.key_id, UUID(int=0)):
        with pytest.raises(NotFound):
            await revoke(app, host, stranger)

    assert [theirs.key_id] == await key_ids(app, bob)


async def test_b17_a_key_of_a_former_member_is_over(
    app: Database, system: Database, host: Someone, admin: AsyncConnection
) -> None:
    member = await join(app, system, host.tenant, "member")
    key = await make_key(app, member)
    await change(
        admin, "UPDATE memberships SET ended_at = now() WHERE id = :id", id=member.membership_id
    )

    with pytest.raises(NotSignedIn):
        await enter_by_key(app, key)


@pytest.mark.parametrize("scopes", [["read"], ["read", "write"], ["admin"]])
async def test_only_a_key_with_admin_makes_keys(
    app: Database, host: Someone, scopes: list[Scope]
) -> None:
    identity = await enter_by_key(app, await make_key(app, host, *scopes))

    async def again() -> None:
        async with app.tenant_session(host.tenant.id) as session:
            await create_key(
                session,
                identity.credential,
                name="another",
                scopes=["read"],
                expires_at=None,
                now=datetime.now(UTC),
                pepper=PEPPER,
            )

    if "admin" in scopes:
        await again()
        assert len(await key_ids(app, host.tenant)) == 2
    else:
        with pytest.raises(NotAllowed):
            await again()


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\nb", "a\0b", "\u202e"])
async def test_a_key_has_a_name_that_can_be_shown(app: Database, host: Someone, name: str) -> None:
    with pytest.raises(BadInput):
        async with app.tenant_session(host.tenant.id) as session:
            await create_key(
                session,
                host.credential,
                name=name,
                scopes=["read"],
                expires_at=None,
                now=datetime.now(UTC),
                pepper=PEPPER,
            )


async def test_a_key_that_could_do_nothing_is_not_made(app: Database, host: Someone) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)

    with pytest.raises(BadInput):
        await make_key(app, host, "read", expires_at=past)
    async with app.tenant_session(host.tenant.id) as session:
        with pytest.raises(BadInput):
            await create_key(
                session,
                host.credential,
                name="x",
                scopes=[],
                expires_at=None,
                now=past,
                pepper=PEPPER,
            )
    assert await key_ids(app, host.tenant) == []
