"""Sessions: how a one-time link becomes one, and whose it is."""

from __future__ import annotations

import secrets as random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import func, select

from viral.database.tenancy import token_hash
from viral.errors import LinkUsed, NotFound, NotSignedIn
from viral.features.limits import refuse_wait
from viral.schema.tenants import Session
from viral.schema.vocabulary import ALL_SCOPES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from asyncpg import Record
    from sqlalchemy.ext.asyncio import AsyncSession

    from viral.database.engine import Database
    from viral.features.limits import Caller, Limits
    from viral.schema.vocabulary import Role, Scope

LINK_LIFETIME = timedelta(hours=1)
SESSION_LIFETIME = timedelta(days=30)
IDLE_LIFETIME = timedelta(days=7)

_BY_SESSION = "SELECT * FROM viral.enter_by_session($1, $2, $3, ARRAY[$4, $5, $6]::integer[])"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends a request, and for which tenant.

    `credential` is the hash of what they showed: functions that change members, invitations and
    keys ask for it. A key has an id, and scopes of its own.
    """

    user_id: UUID
    tenant_id: UUID
    role: Role
    is_operator: bool
    email: str
    credential: bytes = field(repr=False)
    key_id: UUID | None = None
    scopes: frozenset[Scope] = ALL_SCOPES

    @property
    def is_admin(self) -> bool:
        return self.role == "ADMIN" and "admin" in self.scopes


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session: its token, and whose it is where."""

    token: str
    user_id: UUID
    tenant_id: UUID


async def make_sign_in_link(
    session: AsyncSession, *, tenant_id: UUID, user_id: UUID, now: datetime
) -> str:
    """Return the secret of a link that signs a member in once; as the system role."""
    token = random.token_urlsafe(32)
    session.add(
        Session(
            tenant_id=tenant_id,
            user_id=user_id,
            token_sha256=token_hash(token),
            expires_at=now + LINK_LIFETIME,
        )
    )
    await session.flush()
    return token


async def open_session(session: AsyncSession, link: str) -> SignedIn:
    """Spend a link and return its session; LinkUsed the second time, and for who has left."""
    token = random.token_urlsafe(32)
    opened = func.viral.open_session(token_hash(link), token_hash(token), SESSION_LIFETIME)
    row = (await session.execute(select("*").select_from(opened))).one_or_none()
    if row is None:
        raise LinkUsed("This sign-in link is spent or too old.")
    return SignedIn(token, row.user_id, row.tenant_id)


async def identify(database: Database, token: str, *, caller: Caller, limits: Limits) -> Identity:
    """Tell whose session a token opens; NotSignedIn when it has ended, RateLimited when too often.

    One round trip: the session is found and the turns are taken in one function.
    """
    credential = token_hash(token)
    allowed = (limits.address, limits.user, limits.tenant)
    rows = await database.call(_BY_SESSION, credential, IDLE_LIFETIME, caller.bucket, *allowed)
    return identity_of(rows, credential)


def identity_of(rows: Sequence[Record], credential: bytes) -> Identity:
    """Read what a function that knows credentials answers: one row at most, of a key its scopes.

    It was called by itself, so the turns that it took are spent: who guesses runs out of them.
    """
    if not rows:
        raise NotSignedIn("You are not signed in.")
    row = rows[0]
    refuse_wait(row["wait_s"])
    key_id = row.get("key_id")
    return Identity(
        user_id=row["user_id"],
        tenant_id=row["tenant_id"],
        role=row["role"],
        is_operator=row["is_operator"],
        email=row["email"],
        credential=credential,
        key_id=key_id,
        scopes=ALL_SCOPES if key_id is None else frozenset(msgspec.json.decode(row["scopes"])),
    )


async def end_session(session: AsyncSession, token: str) -> None:
    """Sign out."""
    await session.execute(select(func.viral.end_session(token_hash(token))))


async def end_all_sessions(session: AsyncSession, credential: bytes) -> int:
    """Sign the person of a session out everywhere; return how many sessions ended."""
    ended = await session.scalar(select(func.viral.end_sessions(credential)))
    return int(ended or 0)


async def switch_tenant(session: AsyncSession, token: str, membership_id: UUID) -> SignedIn:
    """Move a session to another tenant of its person, under a new token."""
    fresh = random.token_urlsafe(32)
    moved = func.viral.switch_session(token_hash(token), token_hash(fresh), membership_id)
    row = (await session.execute(select("*").select_from(moved))).one_or_none()
    if row is None:
        raise NotFound("You are no member of such a tenant.")
    return SignedIn(fresh, row.user_id, row.tenant_id)


@dataclass(frozen=True, slots=True)
class TenantChoice:
    """A tenant that a person may open."""

    membership_id: UUID
    slug: str
    name: str
    role: Role
    is_current: bool


async def list_own_tenants(session: AsyncSession, credential: bytes) -> list[TenantChoice]:
    """List the tenants that the person of a session may open, by name."""
    rows = await session.execute(select("*").select_from(func.viral.my_tenants(credential)))
    return [TenantChoice(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Where a person is signed in."""

    tenant_name: str
    method: str
    opened_at: datetime
    last_seen_at: datetime
    is_current: bool


async def list_own_sessions(session: AsyncSession, credential: bytes) -> list[OpenSession]:
    """List where the person of a session is signed in, newest first."""
    rows = await session.execute(select("*").select_from(func.viral.my_sessions(credential)))
    return [OpenSession(*row) for row in rows]
