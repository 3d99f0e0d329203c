"""Who may call the functions of access, and what they say to what should not get in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from clusters import Cluster, superuser
from factories import TestTenant, make_tenant
from people import PEPPER, Someone, change, join, make_key, sign_in_by_link
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.database.tenancy import token_hash
from viral.errors import NotAllowed
from viral.features.users.api_keys import key_hmac
from viral.features.users.invitations import invite
from viral.features.users.members import add_member
from viral.features.users.sessions import make_sign_in_link
from viral.schema.functions import FUNCTIONS
from viral.schema.security import APP, LOGINS, READONLY, SIGNIN, SYSTEM, WORKER

ACCESS = [each for each in FUNCTIONS if each.name not in {"tenant_id", "make_partitions"}]


def _call_with_nulls(name: str, arguments: str) -> str:
    nulls = ", ".join(f"NULL::{kind}" for kind in arguments.split(", ") if kind)
    return f"SELECT viral.{name}({nulls})"


async def _is_refused(connection: asyncpg.Connection[asyncpg.Record], statement: str) -> bool:
    """Tell whether a role may not do something; what it does is undone."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return True
    except asyncpg.PostgresError:
        return False
    finally:
        with suppress(asyncpg.PostgresError):
            await transaction.rollback()
    return False


@pytest.mark.parametrize("role", LOGINS)
async def test_a26_a_role_calls_its_functions_and_no_others(
    cluster: Cluster, module_database: str, role: str
) -> None:
    connection = await cluster.connect(role, module_database)

    called = {
        each.name
        for each in FUNCTIONS
        if not await _is_refused(connection, _call_with_nulls(each.name, each.arguments))
    }
    await connection.close()

    assert {each.name for each in FUNCTIONS if role in each.callers} == called


def _paths(settings: list[str]) -> tuple[str, ...]:
    """Leave out what says how to go about it, and how long."""
    pace = ("enable_", "plan_cache_mode=", "lock_timeout=")
    return tuple(each for each in settings if not each.startswith(pace))


async def test_a26_functions_run_as_their_owners_with_a_fixed_path(
    cluster: Cluster, module_database: str
) -> None:
    connection = await cluster.connect_as_admin(module_database)
    rows = await connection.fetch(
        "SELECT p.proname, p.prosecdef, p.proconfig, r.rolname FROM pg_proc AS p"
        " JOIN pg_roles AS r ON r.oid = p.proowner WHERE p.pronamespace = 'viral'::regnamespace"
    )
    await connection.close()

    assert {(f.name, f.is_definer, ('search_path=""',), f.owner) for f in FUNCTIONS} == {
        (row["proname"], row["prosecdef"], _paths(row["proconfig"]), row["rolname"]) for row in rows
    }


SECRET_COLUMNS = [
    "users.password_hash",
    "users.clerk_id",
    "sessions.token_sha256",
    "sessions.id",
    "api_keys.key_hmac",
    "invitations.token_sha256",
    "viral.tenant_contexts.token_sha256",
    "viral.rate_limits.bucket",
]


@pytest.mark.parametrize("role", [APP, READONLY, SIGNIN, WORKER])
async def test_a40_no_role_of_people_reads_what_lets_them_in(
    cluster: Cluster, module_database: str, role: str
) -> None:
    connection = await cluster.connect(role, module_database)

    readable = [
        column
        for column in SECRET_COLUMNS
        if not await _is_refused(connection, "SELECT {2} FROM {0}".format(*column.rpartition(".")))
    ]
    await connection.close()

    assert [] == readable


async def test_c08_not_even_the_system_reads_the_hash_of_a_password(
    cluster: Cluster, module_database: str
) -> None:
    connection = await cluster.connect(SYSTEM, module_database)

    outcomes = [
        await _is_refused(connection, query)
        for query in (
            "SELECT count(password_hash) FROM users",
            "SELECT u FROM users AS u",
            "UPDATE users SET password_hash = NULL RETURNING password_hash",
            "UPDATE users SET password_hash = NULL WHERE email = ''",
        )
    ]
    await connection.close()

    assert [True, True, True, False] == outcomes


OVERREACH = [
    "UPDATE tenants SET subscription_tier = 'AGENCY'",
    "UPDATE tenants SET monthly_quota = 9999",
    "UPDATE tenants SET used_quota = 0",
    "UPDATE tenants SET clerk_organization_id = 'org_1'",
    "INSERT INTO tenants (id, slug, name) VALUES (gen_random_uuid(), 'x', 'x')",
    "DELETE FROM tenants",
    "UPDATE memberships SET role = 'ADMIN'",
    "UPDATE memberships SET ended_at = NULL",
    "INSERT INTO memberships SELECT * FROM memberships",
    "DELETE FROM memberships",
    "UPDATE users SET is_operator = true",
    "INSERT INTO users (id, email) VALUES (gen_random_uuid(), 'x@example.com')",
    "INSERT INTO sessions (id) VALUES (gen_random_uuid())",
    "UPDATE api_keys SET scopes = '[\"admin\"]'",
    "INSERT INTO api_keys (id) VALUES (gen_random_uuid())",
    "UPDATE invitations SET role = 'ADMIN'",
    "INSERT INTO invitations (id) VALUES (gen_random_uuid())",
    "DELETE FROM viral.rate_limits",
]


@pytest.mark.parametrize("role", [APP, READONLY, SIGNIN, WORKER])
async def test_a41_no_role_of_people_gives_itself_more(
    cluster: Cluster, module_database: str, role: str
) -> None:
    connection = await cluster.connect(role, module_database)
    # A reader's default, which anybody may change.
    await connection.execute("SET default_transaction_read_only = off")

    done = [each for each in OVERREACH if not await _is_refused(connection, each)]
    await connection.close()

    assert [] == done


@dataclass(frozen=True)
class Cast:
    """Two tenants, their rows, and credentials that should not do in the first one."""

    app: Database
    home: TestTenant
    admin: Someone
    member: Someone
    other_admin: Someone
    credentials: dict[str, bytes | None]
    own: dict[str, UUID]
    foreign: dict[str, UUID]


async def _rows_of(app: Database, admin: Someone, member: Someone) -> dict[str, UUID]:
    """Make what a tenant's admin may change."""
    await make_key(app, admin, "admin")
    async with app.tenant_session(admin.tenant.id) as session:
        invitation, _ = await invite(
            session, admin.credential, email="guest@example.com", role="MEMBER"
        )
        key = await session.scalar(text("SELECT id FROM api_keys LIMIT 1"))
    assert isinstance(key, UUID)
    return {"invitation": invitation, "member": member.membership_id, "key": key}


async def _foreign_credentials(
    app: Database, system: Database, admin: Someone, other_admin: Someone
) -> dict[str, bytes | None]:
    """Make credentials of the second tenant; some of them are of the first one's admin."""
    away = other_admin.tenant
    async with system.session_without_tenant() as session:
        await add_member(session, tenant_id=away.id, user_id=admin.user_id, role="ADMIN")
    elsewhere = await sign_in_by_link(app, system, away, admin.user_id)
    return {
        "another tenant's admin": other_admin.credential,
        "another tenant's key": key_hmac(await make_key(app, other_admin, "admin"), PEPPER),
        "the admin's session elsewhere": elsewhere.credential,
        "the admin's key elsewhere": key_hmac(await make_key(app, elsewhere, "admin"), PEPPER),
    }


async def _spent_credentials(
    app: Database, system: Database, connection: AsyncConnection, admin: Someone
) -> dict[str, bytes | None]:
    """Make credentials of the tenant's admins that are over, or not yet there."""
    home, soon = admin.tenant, datetime.now(UTC) + timedelta(hours=1)
    ended, expired = [await sign_in_by_link(app, system, home) for _ in range(2)]
    revoked, late = [
        key_hmac(await make_key(app, admin, "admin", expires_at=soon), PEPPER) for _ in range(2)
    ]
    former = await join(app, system, home, "former", "ADMIN")
    former_key = await make_key(app, former, "admin")
    async with system.session_without_tenant() as session:
        link = await make_sign_in_link(
            session, tenant_id=home.id, user_id=home.user_id, now=datetime.now(UTC)
        )
    for statement, row in (
        ("UPDATE sessions SET ended_at = now() WHERE token_sha256 = :row", ended.credential),
        ("UPDATE sessions SET expires_at = now() WHERE token_sha256 = :row", expired.credential),
        ("UPDATE memberships SET ended_at = now() WHERE id = :row", former.membership_id),
        ("UPDATE api_keys SET revoked_at = now() WHERE key_hmac = :row", revoked),
        ("UPDATE api_keys SET expires_at = now() WHERE key_hmac = :row", late),
    ):
        await change(connection, statement, row=row)
    return {
        "an ended session": ended.credential,
        "an expired session": expired.credential,
        "an unopened link": token_hash(link),
        "a former admin": former.credential,
        "a former admin's key": key_hmac(former_key, PEPPER),
        "a revoked key": revoked,
        "an expired key": late,
    }


@pytest.fixture(scope="module")
async def cast(cluster: Cluster, module_database: str) -> AsyncIterator[Cast]:
    app = cluster.database("viral_app", module_database)
    system = cluster.database("viral_system", module_database)
    home = await make_tenant(system, cluster.secrets, slug="home")
    away = await make_tenant(system, cluster.secrets, slug="away")
    admin, other_admin = [await sign_in_by_link(app, system, each) for each in (home, away)]
    member = await join(app, system, home, "member")
    other_member = await join(app, system, away, "other")
    own = await _rows_of(app, admin, member)
    foreign = await _rows_of(app, other_admin, other_member)
    async with superuser(cluster, module_database) as connection:
        credentials = {
            "nothing": None,
            "empty": b"",
            "a guess": token_hash("guess"),
            **await _foreign_credentials(app, system, admin, other_admin),
            **await _spent_credentials(app, system, connection, admin),
            "a key without admin": key_hmac(await make_key(app, admin, "read", "write"), PEPPER),
            "a member": member.credential,
        }
    yield Cast(app, home, admin, member, other_admin, credentials, own, foreign)
    await app.close()
    await system.close()


ADMIN_CALLS = {
    "invite": (
        "viral.invite(:credential, gen_random_uuid(), 'x@example.com', 'ADMIN',"
        " sha256('x'), '1 day')"
    ),
    "revoke_invitation": "viral.revoke_invitation(:credential, :invitation)",
    "promote": "viral.change_role(:credential, :member, 'ADMIN')",
    "end_membership": "viral.end_membership(:credential, :admin)",
    "create_api_key": (
        "viral.create_api_key(:credential, gen_random_uuid(), 'x', 'vd', sha256('x'),"
        " '[\"admin\"]', NULL)"
    ),
    "revoke_api_key": "viral.revoke_api_key(:credential, :key)",
}
IMPOSTORS = [
    "nothing",
    "empty",
    "a guess",
    "another tenant's admin",
    "another tenant's key",
    "the admin's session elsewhere",
    "the admin's key elsewhere",
    "an ended session",
    "an expired session",
    "an unopened link",
    "a former admin",
    "a former admin's key",
    "a revoked key",
    "an expired key",
    "a key without admin",
    "a member",
]


@pytest.mark.parametrize("call", ADMIN_CALLS)
@pytest.mark.parametrize("impostor", IMPOSTORS)
async def test_b18_what_takes_an_admin_takes_an_admins_secret(
    cast: Cast, impostor: str, call: str
) -> None:
    values = cast.own | {"admin": cast.admin.membership_id}

    with pytest.raises(NotAllowed):
        async with cast.app.tenant_session(cast.home.id) as session:
            await session.execute(
                text(f"SELECT {ADMIN_CALLS[call]}").bindparams(
                    credential=cast.credentials[impostor],
                    **{
                        name: value
                        for name, value in values.items()
                        if f":{name}" in ADMIN_CALLS[call]
                    },
                )
            )


@pytest.mark.parametrize(
    "call", ["revoke_invitation", "promote", "end_membership", "revoke_api_key"]
)
async def test_a17_an_admin_finds_no_row_of_another_tenant(cast: Cast, call: str) -> None:
    kind = {"revoke_invitation": "invitation", "revoke_api_key": "key"}.get(call, "member")
    statement = f"SELECT {ADMIN_CALLS[call]}".replace(":admin", ":member")

    outcomes = []
    for row in (cast.foreign[kind], UUID(int=0), None):
        async with cast.app.tenant_session(cast.home.id) as session:
            outcomes.append(
                await session.scalar(
                    text(statement).bindparams(credential=cast.admin.credential, **{kind: row})
                )
            )

    assert [False, False, False] == outcomes


async def test_b18_the_secret_of_an_admin_does_nothing_under_another_tenants_context(
    cast: Cast,
) -> None:
    with pytest.raises(NotAllowed):
        async with cast.app.tenant_session(cast.other_admin.tenant.id) as session:
            await session.execute(
                text("SELECT viral.end_membership(:credential, :member)"),
                {"credential": cast.admin.credential, "member": cast.foreign["member"]},
            )


NOTHING_FOUND = {
    APP: [
        "viral.enter_by_session(NULL, '1 day', 'x', '{9,9,9}')",
        "viral.enter_by_key(NULL, 'x', '{9,9,9,9}')",
        "viral.my_sessions(NULL)",
        "viral.my_tenants(NULL)",
        "viral.invitation_of(NULL)",
        "viral.open_session(NULL, sha256('a'), NULL)",
        "viral.switch_session(NULL, sha256('a'), NULL)",
        "nullif(viral.end_sessions(NULL), 0)",
    ],
    SIGNIN: [
        "viral.password_of(NULL)",
        "viral.password_of_session(NULL)",
        "viral.begin_session(NULL, NULL, gen_random_uuid(), sha256('a'), '1 day')",
        "nullif(viral.replace_password(NULL, NULL, 'x', NULL), false)",
        "viral.register_invited(NULL, gen_random_uuid(), 'x', 'x')",
        "viral.accept_invitation(NULL, NULL, gen_random_uuid())",
        ("viral.enter_by_clerk(NULL, NULL, gen_random_uuid(), sha256('a'), now(), 'x', '{9,9,9}')"),
    ],
}


@pytest.mark.parametrize("role", NOTHING_FOUND)
@pytest.mark.usefixtures("cast")
async def test_a26_functions_that_know_secrets_know_nobody_by_null(
    cluster: Cluster, module_database: str, role: str
) -> None:
    connection = await cluster.connect(role, module_database)

    found = {
        call: row[0]
        for call in NOTHING_FOUND[role]
        for row in await connection.fetch(f"SELECT {call}")
        if row[0] is not None
    }
    await connection.close()

    assert {} == found


async def test_a_person_of_clerk_is_found_in_the_index_alone(
    cluster: Cluster, database_name: str
) -> None:
    connection = await cluster.connect_as_admin(database_name)
    body = await connection.fetchval("SELECT prosrc FROM pg_proc WHERE proname = 'enter_by_clerk'")
    query = re.search(r"SELECT u\.id INTO someone (FROM [^;]*)person;", body)
    assert query is not None
    await connection.execute(
        "INSERT INTO users (id, email, clerk_id)"
        " SELECT gen_random_uuid(), n || '@example.com', 'user_' || n"
        " FROM generate_series(1, 5000) AS n"
    )
    await connection.execute("VACUUM ANALYZE users")

    plan = [row[0] for row in await connection.fetch(f"EXPLAIN SELECT u.id {query[1]} 'user_7'")]
    await connection.close()

    assert "Index Only Scan using uq_users_clerk_id" in plan[0]
