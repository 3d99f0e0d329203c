"""People for tests: members with sessions and keys, and what knows them again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from factories import TestTenant
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.database.engine import Database
from viral.database.tenancy import token_hash
from viral.features.limits import Caller, Limits, caller_at
from viral.features.users.api_keys import create_key, identify_key
from viral.features.users.clerk import Verified, enter_by_clerk
from viral.features.users.members import add_member
from viral.features.users.passwords import Cost, Passwords
from viral.features.users.sessions import Identity, identify, make_sign_in_link, open_session
from viral.features.users.sign_in import Door
from viral.schema.tenants import User
from viral.schema.vocabulary import Role, Scope

PEPPER = b"pepper"
CALLER = caller_at("192.0.2.1", PEPPER)
LIMITS = Limits(address=9999, user=9999, tenant=9999, key=9999)
PASSWORD = "correct horse battery"
# What a check costs is the business of one test file.
CHEAP = Cost(passes=1, memory_kib=8)


@dataclass(frozen=True)
class Someone:
    """A member of a tenant with an open session."""

    tenant: TestTenant
    user_id: UUID
    membership_id: UUID
    email: str
    token: str

    @property
    def credential(self) -> bytes:
        return token_hash(self.token)


def door_of(signin: Database) -> Door:
    return Door(signin, Passwords(CHEAP), PEPPER)


async def join(
    app: Database, system: Database, tenant: TestTenant, name: str, role: Role = "MEMBER"
) -> Someone:
    """Make a person a member and sign them in."""
    async with system.session_without_tenant() as session:
        user = User(email=f"{name}@example.com")
        session.add(user)
        await session.flush()
        await add_member(session, tenant_id=tenant.id, user_id=user.id, role=role)
    return await sign_in_by_link(app, system, tenant, user.id)


async def sign_in_by_link(
    app: Database, system: Database, tenant: TestTenant, user_id: UUID | None = None
) -> Someone:
    """Sign a member in, the tenant's admin when nobody is named."""
    user_id = user_id or tenant.user_id
    async with system.session_without_tenant() as session:
        link = await make_sign_in_link(
            session, tenant_id=tenant.id, user_id=user_id, now=datetime.now(UTC)
        )
        found = await session.execute(
            text(
                "SELECT m.id, u.email FROM memberships AS m JOIN users AS u ON u.id = m.user_id"
                " WHERE m.tenant_id = :tenant AND m.user_id = :person"
            ),
            {"tenant": tenant.id, "person": user_id},
        )
        membership_id, email = found.one()
    async with app.session_without_tenant() as session:
        token = (await open_session(session, link)).token
    return Someone(tenant, user_id, membership_id, email, token)


async def make_key(
    app: Database, someone: Someone, *scopes: Scope, expires_at: datetime | None = None
) -> str:
    """Make a key of a person."""
    async with app.tenant_session(someone.tenant.id) as session:
        _, key = await create_key(
            session,
            someone.credential,
            name="a program",
            scopes=scopes or ["read"],
            expires_at=expires_at,
            now=datetime.now(UTC),
            pepper=PEPPER,
        )
    return key


async def enter(
    app: Database, token: str, *, caller: Caller = CALLER, limits: Limits = LIMITS
) -> Identity:
    """Enter with the token of a session."""
    return await identify(app, token, caller=caller, limits=limits)


async def enter_by_key(
    app: Database,
    key: str,
    *,
    pepper: bytes = PEPPER,
    caller: Caller = CALLER,
    limits: Limits = LIMITS,
) -> Identity:
    """Enter with an API key."""
    return await identify_key(app, key, pepper=pepper, caller=caller, limits=limits)


async def enter_from_clerk(
    signin: Database, verified: Verified, *, limits: Limits = LIMITS
) -> Identity:
    """Enter with what a token of Clerk says."""
    return await enter_by_clerk(signin, verified, caller=CALLER, limits=limits)


async def set_hash(system: Database, user_id: UUID, hashed: str | None) -> None:
    """Give a person the hash of a password."""
    async with system.session_without_tenant() as session:
        await session.execute(update(User).where(User.id == user_id).values(password_hash=hashed))


async def change(admin: AsyncConnection, statement: str, **values: object) -> None:
    """Change rows behind row security."""
    await admin.execute(text(statement), values)
    await admin.commit()
